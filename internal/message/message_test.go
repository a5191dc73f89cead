package message

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/protocol"
)

func TestResetSetsKafkasDefaults(t *testing.T) {
	var metadata MetadataRequest
	metadata.Reset()
	require.True(t, metadata.AllowAutoTopicCreation)
	require.NotNil(t, metadata.Topics, "null asks for all topics")

	init := NewRequest(protocol.InitProducerID).(*InitProducerIDRequest)
	require.Equal(t, &InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1}, init)

	partition := PartitionProduceResponse{Index: 3, CurrentLeader: LeaderIDAndEpoch{LeaderID: 7}}
	partition.Reset()
	require.Equal(t, PartitionProduceResponse{
		LogAppendTimeMs: -1, LogStartOffset: -1,
		CurrentLeader: LeaderIDAndEpoch{LeaderID: -1, LeaderEpoch: -1},
	}, partition)
}

func TestVersionsAreTheStableOnesOfKafka(t *testing.T) {
	for key, want := range map[protocol.APIKey][2]int16{
		protocol.Produce:                   {3, 13},
		protocol.Metadata:                  {0, 13},
		protocol.FindCoordinator:           {0, 6},
		protocol.SaslHandshake:             {0, 1},
		protocol.APIVersions:               {0, 5},
		protocol.InitProducerID:            {0, 5}, // 6 is unstable in Kafka 4.4
		protocol.AddPartitionsToTxn:        {0, 5},
		protocol.AddOffsetsToTxn:           {0, 4},
		protocol.EndTxn:                    {0, 5},
		protocol.TxnOffsetCommit:           {0, 6},
		protocol.SaslAuthenticate:          {0, 2},
		protocol.GetTelemetrySubscriptions: {0, 0},
		protocol.PushTelemetry:             {0, 0},
		protocol.ListOffsets:               {1, 11},
		protocol.Fetch:                     {4, 18},
		protocol.OffsetForLeaderEpoch:      {2, 4},
	} {
		request := NewRequest(key).(Request)
		require.Equal(t, want, [2]int16{request.MinVersion(), request.MaxVersion()}, key)
		require.Equal(t, key, request.APIKey())
		require.Equal(t, key, NewResponse(key).APIKey())
	}
	require.Nil(t, NewRequest(9999))
	require.Nil(t, NewResponse(9999))
}

// An ApiVersions request of a version that does not exist yet still has the
// header that a newer node expects, and its response the oldest one.
func TestHeaderVersions(t *testing.T) {
	require.EqualValues(t, 1, RequestHeaderVersion(protocol.APIVersions, 2))
	require.EqualValues(t, 2, RequestHeaderVersion(protocol.APIVersions, 32767))
	require.EqualValues(t, 0, ResponseHeaderVersion(protocol.APIVersions, 32767))
	require.EqualValues(t, 1, RequestHeaderVersion(protocol.SaslHandshake, 1))
	require.EqualValues(t, 0, ResponseHeaderVersion(protocol.SaslHandshake, 1))
	require.EqualValues(t, 1, RequestHeaderVersion(9999, 3))

	r := protocol.NewReader([]byte{0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff}) // null client id
	_, _, id, clientID := DecodeRequestHeader(&r)
	require.NoError(t, r.Err())
	require.EqualValues(t, 5, id)
	require.Empty(t, clientID)
}

func TestThrottleIsNeverNegative(t *testing.T) {
	for ms, want := range map[int32]time.Duration{
		-1 << 31: 0, -1: 0, 0: 0, 30: 30 * time.Millisecond,
		1<<31 - 1: (1<<31 - 1) * time.Millisecond,
	} {
		require.Equal(t, want, (&ProduceResponse{ThrottleTimeMs: ms}).Throttle())
	}
	for _, key := range keys {
		_, throttled := NewResponse(key).(Throttled)
		sasl := key == protocol.SaslHandshake || key == protocol.SaslAuthenticate
		require.Equal(t, !sasl, throttled, key)
	}
}

func TestCheckRefusesWhatTheVersionCannotSay(t *testing.T) {
	name := "orders"
	for what, c := range map[string]struct {
		request Request
		version int16
		field   string // empty: allowed
	}{
		"all topics":               {&MetadataRequest{AllowAutoTopicCreation: true}, 0, "MetadataRequest.Topics"},
		"all topics later":         {&MetadataRequest{AllowAutoTopicCreation: true}, 1, ""},
		"no creation":              {&MetadataRequest{Topics: []MetadataRequestTopic{}}, 3, "MetadataRequest.AllowAutoTopicCreation"},
		"no creation later":        {&MetadataRequest{}, 4, ""},
		"topic by id":              {&MetadataRequest{Topics: []MetadataRequestTopic{{Name: &name}, {}}}, 9, "MetadataRequestTopic.Name"},
		"topic by id later":        {&MetadataRequest{Topics: []MetadataRequestTopic{{}}}, 10, ""},
		"cluster operations":       {&MetadataRequest{IncludeClusterAuthorizedOperations: true}, 10, ""},
		"cluster operations later": {&MetadataRequest{IncludeClusterAuthorizedOperations: true}, 11, "MetadataRequest.IncludeClusterAuthorizedOperations"},
		"producer id":              {&InitProducerIDRequest{ProducerID: 5, ProducerEpoch: -1}, 2, "InitProducerIDRequest.ProducerID"},
		"ignorable leader epoch":   {&TxnOffsetCommitRequest{GenerationIDOrMemberEpoch: -1, Topics: []TxnOffsetCommitRequestTopic{{Partitions: []TxnOffsetCommitRequestPartition{{CommittedLeaderEpoch: 4}}}}}, 0, ""},
		"generation":               {&TxnOffsetCommitRequest{GenerationIDOrMemberEpoch: 3}, 2, "TxnOffsetCommitRequest.GenerationIDOrMemberEpoch"},
		"coordinator keys":         {&FindCoordinatorRequest{CoordinatorKeys: []string{"a"}}, 3, "FindCoordinatorRequest.CoordinatorKeys"},
		"coordinator key":          {&FindCoordinatorRequest{Key: "a"}, 4, "FindCoordinatorRequest.Key"},
		"ignorable client name":    {&APIVersionsRequest{ClientSoftwareName: "quill"}, 0, ""},
	} {
		t.Run(what, func(t *testing.T) {
			err := c.request.Check(c.version)
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, protocol.UnsupportedVersion)
			require.ErrorContains(t, err, c.field+" ")
		})
	}
}

func TestNullIsRefusedWhereTheVersionForbidsIt(t *testing.T) {
	for what, c := range map[string]struct {
		message Message
		version int16
		wire    []byte
	}{
		"array":           {new(MetadataRequest), 0, []byte{0xff, 0xff, 0xff, 0xff}},
		"compact array":   {new(MetadataResponse), 9, []byte{0, 0, 0, 0, 0}},
		"string":          {new(SaslHandshakeRequest), 0, []byte{0xff, 0xff}},
		"compact string":  {new(MetadataRequest), 9, []byte{2, 0, 0, 0, 0, 0, 0}},
		"bytes":           {new(SaslAuthenticateRequest), 0, []byte{0xff, 0xff, 0xff, 0xff}},
		"compact bytes":   {new(SaslAuthenticateRequest), 2, []byte{0, 0}},
		"negative length": {new(MetadataRequest), 1, []byte{0xff, 0xff, 0xff, 0xfe}},
	} {
		t.Run(what, func(t *testing.T) {
			r := protocol.NewReader(c.wire)
			c.message.Decode(&r, c.version)
			require.ErrorIs(t, r.Err(), protocol.ErrMalformed)
		})
	}
}

// A count of 2^31-1 in a short answer must not allocate anything.
func TestHugeCountsAreRefused(t *testing.T) {
	for version, count := range map[int16][]byte{
		8:  {0x7f, 0xff, 0xff, 0xff},
		13: {0xff, 0xff, 0xff, 0xff, 0x07},
	} {
		wire := append([]byte{0, 0, 0, 0}, count...) // throttle time, number of brokers
		wire = append(wire, make([]byte, 10)...)
		m := new(MetadataResponse)
		r := protocol.NewReader(wire)
		m.Decode(&r, version)
		require.ErrorIs(t, r.Err(), protocol.ErrMalformed)
		require.Zero(t, cap(m.Brokers))
	}
}

func TestDecodeIntoUsedResponseAllocatesNothing(t *testing.T) {
	response := ProduceResponse{Responses: make([]TopicProduceResponse, 5)}
	for i := range response.Responses {
		response.Responses[i].TopicID[0] = byte(i)
		response.Responses[i].PartitionResponses = make([]PartitionProduceResponse, 3)
	}
	wire := response.Append(nil, 13)
	var used ProduceResponse
	var r protocol.Reader
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r = protocol.NewReader(wire)
		used.Decode(&r, 13)
		if r.Err() != nil {
			t.Error(r.Err())
		}
	}))
	require.Zero(t, testing.AllocsPerRun(100, func() { wire = used.Append(wire[:0], 13) }))
}

// The size in front of a tagged field takes one byte up to 127 and two above.
func TestTaggedFieldOfAnySize(t *testing.T) {
	for n := range 300 {
		want := ProduceResponse{Responses: []TopicProduceResponse{}}
		want.NodeEndpoints = []NodeEndpoint{{NodeID: 1, Host: string(make([]byte, n)), Port: 9092}}
		var got ProduceResponse
		decode(t, &got, want.Append(nil, 10), 10)
		require.Equal(t, want, got)
	}
}
