//go:build !race

// The race detector keeps memory of its own for each allocation.

package message

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/protocol"
)

// filler builds answers that are full of elements. Each of its fields is one way of making them cheap on
// the wire and dear in memory.
type filler struct {
	text  string // of strings; "" may be a pointer to nothing
	null  bool   // nullable strings are null
	inner int    // elements of arrays within elements
	made  int32  // numbers differ, so that no two lists are the same
}

func (f *filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		v.Addr().Interface().(interface{ Reset() }).Reset()
		for _, field := range v.Fields() {
			f.fill(field)
		}
	case reflect.String:
		v.SetString(f.text)
	case reflect.Int32:
		f.made++
		v.SetInt(int64(f.made))
	case reflect.Pointer:
		switch {
		case v.Type() == reflect.TypeFor[*Int32s]():
			l := make(Int32s, f.inner)
			for i := range l {
				f.made++
				l[i] = f.made
			}
			v.Set(reflect.ValueOf(&l))
		case !f.null:
			v.Set(reflect.ValueOf(&f.text))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.inner, f.inner))
		for i := range f.inner {
			f.elem(v.Index(i))
		}
	}
}

func (f *filler) elem(v reflect.Value) {
	if v.Kind() == reflect.Struct || v.Kind() == reflect.String {
		f.fill(v)
	}
}

// arrays walks the arrays of structs and strings in m, however deep, as paths of field numbers.
func arrays(t reflect.Type, path []int) (paths [][]int) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch f.Type.Kind() {
		case reflect.Struct:
			paths = append(paths, arrays(f.Type, append(slices.Clone(path), i))...)
		case reflect.Slice:
			here := append(slices.Clone(path), i)
			paths = append(paths, here)
			if f.Type.Elem().Kind() == reflect.Struct {
				paths = append(paths, arrays(f.Type.Elem(), here)...)
			}
		}
	}
	return paths
}

// at returns the field at the end of a path; on the way arrays get one element.
func at(v reflect.Value, path []int) reflect.Value {
	for _, i := range path {
		if v.Kind() == reflect.Slice {
			if v.Len() == 0 {
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			}
			v = v.Index(0)
		}
		v = v.Field(i)
	}
	return v
}

// A node may fill an answer with what takes the most memory for its bytes: what Decode allocates stays
// below twice the answer's size and a MiB, for each array of each answer in each version.
func TestDecodeOfTheWorstAnswersStaysBelowTwiceTheirSize(t *testing.T) {
	const elements = 50_000
	shapes := []filler{{}, {null: true, inner: 1}, {text: "ab"}, {text: "0123456789abcdef0", inner: 1}}
	for api, key := range keys {
		request := NewRequest(key).(Request)
		for _, path := range arrays(reflect.TypeOf(NewResponse(key)).Elem(), nil) {
			for _, shape := range shapes {
				m := NewResponse(key)
				field := at(reflect.ValueOf(m).Elem(), path)
				field.Set(reflect.MakeSlice(field.Type(), elements, elements))
				for i := range elements {
					shape.elem(field.Index(i))
				}
				first, last := request.MinVersion(), request.MaxVersion()
				for _, version := range slices.Compact([]int16{first, last}) {
					wire := m.Append(nil, version)
					got, r := NewResponse(key), protocol.NewReader(wire)
					used := allocated(func() { got.Decode(&r, version) })
					require.LessOrEqual(t, used, allowance(len(wire)), "%s v%d %v %+v: %d bytes, %v", api, version, path, shape, len(wire), r.Err())
				}
			}
		}
	}
}

// The largest answers that clusters give are not refused for their size in memory.
func TestLargeHonestAnswersAreDecoded(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("topic-%07d", i) }
	metadata := func(topics, partitions, replicas int) Message {
		m := &MetadataResponse{ClusterID: new("0123456789abcdefghijkl")}
		for i := range 300 {
			m.Brokers = append(m.Brokers, MetadataResponseBroker{NodeID: int32(i), Host: "broker-1234567.region.example.com", Port: 9092, Rack: new("az1")})
		}
		for i := range topics {
			topic := MetadataResponseTopic{Name: new(name(i)), TopicID: protocol.UUID{1: byte(i), 2: byte(i >> 8), 3: byte(i >> 16)}}
			for j := range partitions {
				lists := make(Int32s, replicas)
				for k := range lists {
					lists[k] = int32((i + j + k*(1+i%17)) % 300)
				}
				topic.Partitions = append(topic.Partitions, MetadataResponsePartition{PartitionIndex: int32(j), ReplicaNodes: &lists, ISRNodes: &lists})
			}
			m.Topics = append(m.Topics, topic)
		}
		return m
	}
	produce := &ProduceResponse{}
	added, ended := &AddPartitionsToTxnResponse{}, &TxnOffsetCommitResponse{}
	for i := range 15_000 { // more batches than fit into the default max.request.size
		produce.Responses = append(produce.Responses, TopicProduceResponse{Name: name(i), PartitionResponses: make([]PartitionProduceResponse, 1)})
		added.ResultsByTopicV3AndBelow = append(added.ResultsByTopicV3AndBelow,
			AddPartitionsToTxnTopicResult{Name: name(i), ResultsByPartition: make([]AddPartitionsToTxnPartitionResult, 1)})
		ended.Topics = append(ended.Topics, TxnOffsetCommitResponseTopic{Name: name(i), Partitions: make([]TxnOffsetCommitResponsePartition, 1)})
	}
	blamed := &ProduceResponse{Responses: []TopicProduceResponse{{Name: "a", PartitionResponses: make([]PartitionProduceResponse, 1)}}}
	for i := range 100_000 {
		blamed.Responses[0].PartitionResponses[0].RecordErrors = append(blamed.Responses[0].PartitionResponses[0].RecordErrors,
			BatchIndexAndErrorMessage{BatchIndex: int32(i), BatchIndexErrorMessage: new(strings.Repeat("x", 10+i%60))})
	}
	for what, m := range map[string]Message{
		"one topic of 200,000 partitions, one replica":     metadata(1, 200_000, 1),
		"one topic of 200,000 partitions, three replicas":  metadata(1, 200_000, 3),
		"20,000 topics with a partition of one replica":    metadata(20_000, 1, 1),
		"100,000 topics with a partition, three replicas":  metadata(100_000, 1, 3),
		"3,000 topics with 50 partitions of five replicas": metadata(3_000, 50, 5),
		"a full produce request":                           produce,
		"a large transaction":                              added,
		"offsets of many topics":                           ended,
		"a batch of which every record is refused":         blamed,
	} {
		request := NewRequest(m.APIKey()).(Request)
		first, last := request.MinVersion(), request.MaxVersion()
		for _, version := range []int16{first, last} {
			got, r := NewResponse(m.APIKey()).(Response), protocol.NewReader(m.Append(nil, version))
			var asked Asked
			switch m := m.(type) {
			case *MetadataResponse:
				asked = Asked{Topics: len(m.Topics)}
			case *ProduceResponse:
				asked = Asked{Topics: len(m.Responses), Partitions: len(m.Responses)}
			}
			got.DecodeWithin(&r, version, asked)
			require.NoError(t, r.Err(), "%s, version %d", what, version)
		}
	}
}

// What an answer says about more than was asked for is skipped, what comes behind it is read.
func TestWhatWasNotAskedForIsSkipped(t *testing.T) {
	const many = 10_000
	partition := AddPartitionsToTxnPartitionResult{PartitionIndex: 7}
	for what, c := range map[string]struct {
		request Message
		asked   Asked
		answer  Message
		version int16
		kept    func(m Message) int
	}{
		"topics of metadata": {&MetadataRequest{Topics: make([]MetadataRequestTopic, 2)}, Asked{Topics: 2, Brokers: MaxBrokers, TopicPartitions: MaxTopicPartitions},
			&MetadataResponse{Topics: make([]MetadataResponseTopic, many), ErrorCode: 3}, 13,
			func(m Message) int { return len(m.(*MetadataResponse).Topics) }},
		"partitions of a topic": {&MetadataRequest{Topics: make([]MetadataRequestTopic, 1)}, Asked{Topics: 1, Brokers: MaxBrokers, TopicPartitions: MaxTopicPartitions},
			&MetadataResponse{Topics: []MetadataResponseTopic{{Name: new("a"), Partitions: make([]MetadataResponsePartition, MaxTopicPartitions+many)}}, ErrorCode: 3}, 13,
			func(m Message) int { return len(m.(*MetadataResponse).Topics[0].Partitions) }},
		"brokers": {&MetadataRequest{Topics: make([]MetadataRequestTopic, 1)}, Asked{Topics: 1, Brokers: MaxBrokers, TopicPartitions: MaxTopicPartitions},
			&MetadataResponse{Brokers: make([]MetadataResponseBroker, MaxBrokers+many), ErrorCode: 3}, 13,
			func(m Message) int { return len(m.(*MetadataResponse).Brokers) }},
		"topics where none is asked for": {&MetadataRequest{Topics: []MetadataRequestTopic{}}, Asked{Topics: 1, Brokers: MaxBrokers, TopicPartitions: MaxTopicPartitions},
			&MetadataResponse{Topics: make([]MetadataResponseTopic, many)}, 13,
			func(m Message) int { return len(m.(*MetadataResponse).Topics) }},
		"coordinators": {&FindCoordinatorRequest{CoordinatorKeys: []string{"a"}}, Asked{Keys: 1},
			&FindCoordinatorResponse{Coordinators: make([]Coordinator, many)}, 4,
			func(m Message) int { return len(m.(*FindCoordinatorResponse).Coordinators) }},
		"partitions of a transaction": {
			&AddPartitionsToTxnRequest{V3AndBelowTopics: []AddPartitionsToTxnTopic{{Name: "a", Partitions: []int32{1, 2}}, {Name: "b", Partitions: []int32{1}}}},
			Asked{Topics: 2, Partitions: 3},
			&AddPartitionsToTxnResponse{ResultsByTopicV3AndBelow: []AddPartitionsToTxnTopicResult{{Name: "a", ResultsByPartition: slices.Repeat([]AddPartitionsToTxnPartitionResult{partition}, many)}, {Name: "b"}}}, 3,
			func(m Message) int {
				topics := m.(*AddPartitionsToTxnResponse).ResultsByTopicV3AndBelow
				require.Equal(t, "b", topics[1].Name)
				return len(topics[0].ResultsByPartition) - 1
			}},
		"transactions": {
			&AddPartitionsToTxnRequest{Transactions: []AddPartitionsToTxnTransaction{{Topics: []AddPartitionsToTxnTopic{{Name: "a", Partitions: []int32{1, 2}}}}}},
			Asked{Keys: 1, Topics: 1, Partitions: 2},
			&AddPartitionsToTxnResponse{ResultsByTransaction: make([]AddPartitionsToTxnResult, many)}, 4,
			func(m Message) int { return len(m.(*AddPartitionsToTxnResponse).ResultsByTransaction) }},
		"offsets": {&TxnOffsetCommitRequest{Topics: []TxnOffsetCommitRequestTopic{{Partitions: make([]TxnOffsetCommitRequestPartition, 2)}}},
			Asked{Topics: 1, Partitions: 2},
			&TxnOffsetCommitResponse{Topics: make([]TxnOffsetCommitResponseTopic, many)}, 3,
			func(m Message) int { return len(m.(*TxnOffsetCommitResponse).Topics) }},
		"records of a batch": {&ProduceRequest{}, Asked{Topics: 1, Partitions: 1, Records: 2},
			&ProduceResponse{Responses: []TopicProduceResponse{{Name: "a", PartitionResponses: []PartitionProduceResponse{{RecordErrors: make([]BatchIndexAndErrorMessage, many)}}}}}, 9,
			func(m Message) int {
				return len(m.(*ProduceResponse).Responses[0].PartitionResponses[0].RecordErrors)
			}},
	} {
		if c.request.APIKey() != protocol.Produce { // whose request is written by hand
			require.Equal(t, c.asked, AskedBy(c.request), what)
		}
		got, r := NewResponse(c.answer.APIKey()).(Response), protocol.NewReader(c.answer.Append(nil, c.version))
		got.DecodeWithin(&r, c.version, c.asked)
		require.NoError(t, r.Err(), what)
		require.Zero(t, r.Remaining(), what)
		most := max(c.asked.Topics, c.asked.Keys, c.asked.Records)
		switch what {
		case "partitions of a topic":
			most = c.asked.TopicPartitions
		case "brokers":
			most = c.asked.Brokers
		}
		require.Equal(t, most+surplus, c.kept(got), what)

		all, r := NewResponse(c.answer.APIKey()), protocol.NewReader(c.answer.Append(nil, c.version))
		all.Decode(&r, c.version)
		require.Greater(t, c.kept(all), many-2, "%s: without a question nothing is skipped", what)
	}
	require.Zero(t, AskedBy(&EndTxnRequest{}))
	for key := range keys {
		require.Implements(t, (*Response)(nil), NewResponse(keys[key]))
	}
}

// A broker that blames a million records of a batch of ten takes no memory of ours, however long its text about them is.
func TestAMillionRecordErrorsTakeNoMemory(t *testing.T) {
	for _, text := range []*string{nil, new("")} {
		m := &ProduceResponse{Responses: []TopicProduceResponse{{Name: "a", PartitionResponses: make([]PartitionProduceResponse, 1)}}}
		m.Responses[0].PartitionResponses[0].RecordErrors = slices.Repeat([]BatchIndexAndErrorMessage{{1, text}}, 1_000_000)
		wire := m.Append(nil, 13)
		var got ProduceResponse
		r := protocol.NewReader(wire)
		used := allocated(func() { got.DecodeWithin(&r, 13, Asked{Topics: 1, Partitions: 1, Records: 10}) })
		require.NoError(t, r.Err())
		require.Less(t, used, uint64(16<<10))
	}
}

// Partitions of a topic mostly have the same replicas: they are kept once.
func TestListsOfNumbersAreShared(t *testing.T) {
	a, b := &Int32s{1, 2, 3}, &Int32s{2, 3, 1}
	m := &MetadataResponse{Topics: []MetadataResponseTopic{{Name: new("t"), Partitions: []MetadataResponsePartition{
		{ReplicaNodes: a, ISRNodes: a}, {ReplicaNodes: b, ISRNodes: a, OfflineReplicas: &Int32s{3}},
	}}}}
	for _, version := range []int16{5, 12} {
		var got MetadataResponse
		decode(t, &got, m.Append(nil, version), version)
		p := got.Topics[0].Partitions
		require.Equal(t, []int32{1, 2, 3}, p[0].ReplicaNodes.List())
		require.Same(t, p[0].ReplicaNodes, p[0].ISRNodes)
		require.Same(t, p[0].ReplicaNodes, p[1].ISRNodes)
		require.Equal(t, []int32{2, 3, 1}, p[1].ReplicaNodes.List())
		require.Equal(t, []int32{3}, p[1].OfflineReplicas.List())
		require.Empty(t, p[0].OfflineReplicas.List())
	}
}
