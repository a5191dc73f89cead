package quill

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// frameBytes returns the request as it arrives at a node that speaks Produce in just this version, over a
// real connection: what follows its header. The request stays as it was.
func frameBytes(t *testing.T, req *produceRequest, version int16) []byte {
	t.Helper()
	events := make(chan network.Event, 16)
	ours, theirs := net.Pipe()
	c := network.New(network.Config{
		Post:        func(e network.Event) { events <- e },
		DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
	})
	body := make(chan []byte, 1)
	go func() {
		defer close(body)
		body <- serveProduce(theirs, version)
	}()
	c.SetNodes(slices.Values([]metadata.Node{{ID: 1, Host: "node", Port: 1}}))
	now := time.Now()
	for !c.Ready(1, now) {
		c.Handle(<-events, now, nil)
		require.NoError(t, c.LastError(1))
	}
	c.Send(1, &network.Request{Exchange: req}, now)
	got := <-body
	c.Close()
	c.Wait()
	theirs.Close()
	require.NotEmpty(t, got)
	return got
}

// serveProduce plays the node: it answers with its versions and returns the body of the next request.
func serveProduce(nc net.Conn, version int16) []byte {
	frame, err := readFrame(nc)
	if err != nil {
		return nil
	}
	rd := protocol.NewReader(frame)
	key, asked, id, _ := message.DecodeRequestHeader(&rd)
	resp := message.APIVersionsResponse{APIKeys: []message.APIVersion{
		{APIKey: int16(protocol.Produce), MinVersion: version, MaxVersion: version},
		{APIKey: int16(protocol.Metadata), MinVersion: message.MetadataMinVersion, MaxVersion: message.MetadataMaxVersion},
		{APIKey: int16(key), MaxVersion: asked},
	}}
	out := message.AppendResponseHeader(make([]byte, 4), key, asked, id)
	out = resp.Append(out, asked)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := nc.Write(out); err != nil {
		return nil
	}
	if frame, err = readFrame(nc); err != nil {
		return nil
	}
	rd = protocol.NewReader(frame)
	if key, got, _, _ := message.DecodeRequestHeader(&rd); key != protocol.Produce || got != version {
		return nil
	}
	return rd.Rest()
}

// produceFixture returns a request for several topics and partitions, with batches of one and more chunks.
func produceFixture(t *testing.T, codec compress.Codec, ids bool) (*produceRequest, *bufferPool) {
	t.Helper()
	pool := newBufferPool(1<<20, 2048)
	seal, err := newSealer(codec, compress.DefaultLevel)
	require.NoError(t, err)
	req := &produceRequest{acks: -1, timeout: 1500 * time.Millisecond, sealer: seal}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, at := range []struct {
		topic     string
		partition int32
	}{{"orders", 3}, {"invoices", 0}, {"orders", 0}, {"x", 9}, {"invoices", 7}, {"orders", 2}} {
		ts := &topicState{name: at.topic}
		for _, b := range req.batches {
			if b.queue.topic.name == at.topic {
				ts = b.queue.topic
			}
		}
		if ids {
			ts.info.Store(&metadata.Topic{Name: at.topic, ID: [16]byte{byte(len(at.topic)), 1}})
		}
		b := buildBatch(pool, &partitionQueue{topic: ts, index: at.partition}, rnd, 1+i*40)
		b.producerID, b.producerEpoch, b.baseSequence = 4711, 3, int32(i)
		req.add(b)
	}
	req.Exchange = req
	return req, pool
}

// buildBatch makes a closed batch of n records, with a new chunk whenever one is full.
func buildBatch(pool *bufferPool, q *partitionQueue, rnd *rand.Rand, n int) *batch {
	lim := batchLimits{size: 1 << 20, small: 2048, rawMax: 1 << 20}
	b := &batch{res: newResult(nil)}
	b.begin(q, pool.memoryShare, pool.overdraw(2048), 1_000_000, time.Now())
	var o openBatch
	o.begin(b, false)
	for i := range n {
		in := one(fmt.Sprint("key", i), string(make([]byte, rnd.IntN(100))), Header{Key: "h", Value: []byte{byte(i)}})
		for o.tryAdd(in, int64(1_000_000+rnd.IntN(1000)), &lim, &q.topic.ratio) == appendNeedChunk {
			o.grow(pool.overdraw(2048))
		}
	}
	o.close()
	return b
}

// generated returns the same request written by the generated code.
func generated(req *produceRequest, version int16) []byte {
	m := &message.ProduceRequest{Acks: req.acks, TimeoutMs: int32(req.timeout.Milliseconds())}
	for _, b := range req.batches {
		data := message.PartitionProduceData{Index: b.queue.index, Records: wireBytes(b)}
		at := slices.IndexFunc(m.TopicData, func(d message.TopicProduceData) bool { return d.Name == b.queue.topic.name })
		if at < 0 {
			at = len(m.TopicData)
			topic := message.TopicProduceData{Name: b.queue.topic.name}
			if info := b.queue.topic.info.Load(); info != nil {
				topic.TopicID = info.ID
			}
			m.TopicData = append(m.TopicData, topic)
		}
		m.TopicData[at].PartitionData = append(m.TopicData[at].PartitionData, data)
	}
	return m.Append(nil, version)
}

func TestProduceIsWrittenAsGenerated(t *testing.T) {
	for version := int16(message.ProduceMinVersion); version <= message.ProduceMaxVersion; version++ {
		for _, codec := range []compress.Codec{compress.None, compress.LZ4} {
			t.Run(fmt.Sprint("v", version, "/", codec), func(t *testing.T) {
				if version == maxProduceVersionByName {
					req, _ := produceFixture(t, codec, true)
					requireNotWritten(t, req, version)
					return
				}
				synctest.Test(t, func(t *testing.T) {
					req, _ := produceFixture(t, codec, version > maxProduceVersionByName)
					got := frameBytes(t, req, version)
					require.Equal(t, generated(req, version), got)
					again := frameBytes(t, req, version)
					require.Equal(t, got, again, "a second attempt is the same")
				})
			})
		}
	}
}

// requireNotWritten: version 12 means transactions of the second kind to a node. The generated
// encoding of it is that of version 11, so nothing is lost.
func requireNotWritten(t *testing.T, req *produceRequest, version int16) {
	req.noIDs = true
	_, highest := req.Versions()
	require.Less(t, highest, version)
	require.Equal(t, generated(req, version-1), generated(req, version))
}

func TestProduceAsksForTopicIDsOnlyIfAllAreKnown(t *testing.T) {
	req, _ := produceFixture(t, compress.None, true)
	lowest, highest := req.Versions()
	require.EqualValues(t, 3, lowest)
	require.EqualValues(t, 13, highest)
	req, _ = produceFixture(t, compress.None, false)
	lowest, highest = req.Versions()
	require.EqualValues(t, 3, lowest)
	require.EqualValues(t, 11, highest)
}

// In a transaction the version says which protocol it follows (KIP-890): from 12 on Produce adds the partition itself.
func TestProduceSpeaksTheVersionOfItsTransaction(t *testing.T) {
	id := "mover"
	for _, c := range []struct {
		ids, version2   bool
		lowest, highest int16
	}{
		{ids: true, lowest: 3, highest: 11},
		{ids: false, lowest: 3, highest: 11},
		{ids: true, version2: true, lowest: 12, highest: 13},
		{ids: false, version2: true, lowest: 12, highest: 12},
	} {
		req, _ := produceFixture(t, compress.None, c.ids)
		req.transactionalID, req.version2 = &id, c.version2
		lowest, highest := req.Versions()
		require.Equal(t, c.lowest, lowest)
		require.Equal(t, c.highest, highest)
	}
}

// What a large answer was decoded into is let go of, so that one such answer does not stay in memory; that of usual
// ones is used again.
func TestTheMemoryOfALargeAnswerIsNotKept(t *testing.T) {
	for _, large := range []bool{false, true} {
		req, _ := produceFixture(t, compress.None, true)
		answer := message.NewResponse(protocol.Produce).(*message.ProduceResponse)
		partitions := 10
		if large {
			partitions = keptAnswer / 10
		}
		req.asked.Partitions = partitions
		answer.Responses = []message.TopicProduceResponse{{Name: "test", PartitionResponses: make([]message.PartitionProduceResponse, partitions)}}
		text := answer.Append(nil, 9)
		require.Equal(t, large, len(text) > keptAnswer)
		rd := protocol.NewReader(text)
		require.NoError(t, req.Decode(&rd, 9))
		require.Len(t, req.response.Responses[0].PartitionResponses, partitions)
		req.reset()
		require.Equal(t, !large, cap(req.response.Responses) > 0)
	}
}

// A request is kept for the next one; what it was about may be forgotten meanwhile.
func TestARequestThatIsKeptHoldsOnToNothing(t *testing.T) {
	req, _ := produceFixture(t, compress.None, true)
	id := "mover"
	req.transactionalID = &id
	require.NotEmpty(t, req.batches)
	batches, topics := len(req.batches), len(req.topics)
	req.reset()
	require.Equal(t, make([]*batch, batches), req.batches[:batches])
	require.Equal(t, make([]produceTopic, topics), req.topics[:topics])
	require.Nil(t, req.transactionalID)
	require.Zero(t, req.size)
}

func TestProduceGroupsBatchesByTopic(t *testing.T) {
	req, _ := produceFixture(t, compress.None, true)
	require.Len(t, req.topics, 3)
	var order []string
	size := 0
	for _, b := range req.batches {
		order = append(order, fmt.Sprint(b.queue.topic.name, b.queue.index))
		size += b.size()
	}
	require.Equal(t, []string{"orders3", "orders0", "orders2", "invoices0", "invoices7", "x9"}, order)
	require.Equal(t, size, req.size)
	req.reset()
	require.Empty(t, req.batches)
	require.Empty(t, req.topics)
	require.Zero(t, req.size)
}

// The answer is matched by the id that the request was made with, or by name, not by what the metadata
// say by then (KAFKA-19397).
func TestProduceAnswersAreMatchedByIDOrName(t *testing.T) {
	for _, byName := range []bool{false, true} {
		req, _ := produceFixture(t, compress.None, true)
		for i, b := range req.batches {
			topic := message.TopicProduceResponse{TopicID: b.queue.topic.info.Load().ID}
			if byName {
				topic = message.TopicProduceResponse{Name: b.queue.topic.name}
			}
			p := answered(protocol.None, int64(i))
			p.Index = b.queue.index
			topic.PartitionResponses = append(topic.PartitionResponses, p)
			p.BaseOffset = 999 // a second answer for the same partition
			topic.PartitionResponses = append(topic.PartitionResponses, p)
			if i != 4 {
				req.response.Responses = append([]message.TopicProduceResponse{topic}, req.response.Responses...)
			}
		}
		for _, b := range req.batches {
			b.queue.topic.info.Store(&metadata.Topic{Name: b.queue.topic.name, ID: [16]byte{99}})
		}
		for i, b := range req.batches {
			if i == 4 {
				require.Nil(t, req.answer(b))
				continue
			}
			require.EqualValues(t, i, req.answer(b).BaseOffset)
		}
	}
}

func TestProduceDecodeSaysWhatIsMalformed(t *testing.T) {
	req, _ := produceFixture(t, compress.None, true)
	resp := &message.ProduceResponse{Responses: []message.TopicProduceResponse{{Name: "orders",
		PartitionResponses: []message.PartitionProduceResponse{answered(protocol.NotLeaderOrFollower, -1)}}}}
	wire := resp.Append(nil, 11)
	for cut := range wire {
		rd := protocol.NewReader(wire[:cut])
		require.Error(t, req.Decode(&rd, 11))
	}
	rd := protocol.NewReader(wire)
	require.NoError(t, req.Decode(&rd, 11))
	require.Equal(t, protocol.NotLeaderOrFollower, req.response.Responses[0].PartitionResponses[0].ErrorCode)
}

// In any order of the answers, each batch has the first one that is about it, and only that.
func TestEachBatchHasItsOwnAnswerInAnyOrder(t *testing.T) {
	type at struct {
		topic int
		index int32
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		topics := []*topicState{{name: "a"}, {name: "b"}, {name: "c"}}
		byID := rnd.IntN(2) == 0
		r := &produceRequest{}
		var answers []at
		for i, topic := range topics {
			n := 1 + rnd.IntN(5)
			r.topics = append(r.topics, produceTopic{topic, protocol.UUID{byte(i + 1)}, n})
			for index := range int32(n) {
				r.batches = append(r.batches, &batch{queue: &partitionQueue{topic: topic, index: index}})
				answers = append(answers, at{i, index})
			}
		}
		for range rnd.IntN(3) { // one more than once, one missing, two in each other's place
			i, j := rnd.IntN(len(answers)), rnd.IntN(len(answers))
			switch rnd.IntN(3) {
			case 0:
				answers = slices.Insert(answers, i, answers[j])
			case 1:
				answers = slices.Delete(answers, i, i+1)
			default:
				answers[i], answers[j] = answers[j], answers[i]
			}
		}
		first := map[at]int64{}
		for n, a := range answers {
			all := &r.response.Responses
			name, id := topics[a.topic].name, protocol.UUID{}
			if byID {
				name, id = "", r.topics[a.topic].id
			}
			if last := len(*all) - 1; last < 0 || (*all)[last].Name != name || (*all)[last].TopicID != id {
				*all = append(*all, message.TopicProduceResponse{Name: name, TopicID: id})
			}
			topic := &(*all)[len(*all)-1]
			topic.PartitionResponses = append(topic.PartitionResponses, message.PartitionProduceResponse{Index: a.index, BaseOffset: int64(n)})
			if _, known := first[a]; !known {
				first[a] = int64(n)
			}
		}
		for _, b := range r.batches {
			want, there := first[at{slices.Index(topics, b.queue.topic), b.queue.index}]
			p := r.answer(b)
			require.Equal(t, there, p != nil)
			if there {
				require.Equal(t, want, p.BaseOffset)
			}
		}
	}
}
