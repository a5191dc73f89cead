package quilltest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// A rawClient speaks the protocol without any of the library's client code.
type rawClient struct {
	t           testing.TB
	nc          net.Conn
	correlation int32
}

func dial(t testing.TB, c *Cluster, node int32) *rawClient {
	t.Helper()
	nc, err := c.DialContext(context.Background(), "tcp", c.NodeAddr(node))
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return &rawClient{t: t, nc: nc}
}

// frame encodes a request with its size.
func (r *rawClient) frame(m message.Message, version int16) []byte {
	r.correlation++
	b := message.AppendRequestHeader(make([]byte, 4), m.APIKey(), version, r.correlation, "raw")
	b = m.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (r *rawClient) send(m message.Message, version int16) {
	r.t.Helper()
	_, err := r.nc.Write(r.frame(m, version))
	require.NoError(r.t, err)
}

// read reads one frame.
func (r *rawClient) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r.nc, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r.nc, b)
	return b, err
}

func (r *rawClient) receive(key protocol.APIKey, version int16) message.Message {
	r.t.Helper()
	b, err := r.read()
	require.NoError(r.t, err)
	in := protocol.NewReader(b)
	require.Equal(r.t, r.correlation, message.DecodeResponseHeader(&in, key, version))
	res := message.NewResponse(key)
	res.Decode(&in, version)
	require.NoError(r.t, in.Err())
	require.Zero(r.t, in.Remaining())
	return res
}

func (r *rawClient) do(m message.Message, version int16) message.Message {
	r.t.Helper()
	r.send(m, version)
	return r.receive(m.APIKey(), version)
}

// requireClosed makes sure that the node has closed the connection without an answer.
func (r *rawClient) requireClosed() {
	r.t.Helper()
	_, err := r.read()
	require.Error(r.t, err)
	require.NotErrorIs(r.t, err, context.DeadlineExceeded)
}

// requireSilence makes sure that nothing arrives for a (virtual) minute.
func (r *rawClient) requireSilence() {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err := r.read()
	var ne net.Error
	require.ErrorAs(r.t, err, &ne)
	require.True(r.t, ne.Timeout())
	require.NoError(r.t, r.nc.SetReadDeadline(time.Time{}))
}

// A testBatch is a batch to send; the zero value of most fields is the ordinary thing.
type testBatch struct {
	values    []string
	pid       int64 // 0: not idempotent
	epoch     int16
	sequence  int32
	timestamp int64 // of the first record; 0: now. The others follow by one millisecond.
	header    func(h *protocol.BatchHeader)
	section   func(records []byte) []byte
	raw       func(batch []byte) []byte
}

// records returns n values.
func records(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("value %d", i)
	}
	return values
}

func (b testBatch) bytes() []byte {
	base := b.timestamp
	if base == 0 {
		base = time.Now().UnixMilli()
	}
	var section []byte
	for i, v := range b.values {
		section = protocol.AppendRecord(section, int32(i), int64(i), []byte("key"), []byte(v), []protocol.Header{{Key: "h", Value: []byte("x")}})
	}
	if b.section != nil {
		section = b.section(section)
	}
	n := int32(len(b.values))
	h := protocol.BatchHeader{
		Length: int32(protocol.BatchOverhead - 12 + len(section)), PartitionLeaderEpoch: -1, Magic: 2,
		LastOffsetDelta: n - 1, BaseTimestamp: base, MaxTimestamp: base + int64(n) - 1,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: n,
	}
	if b.pid != 0 {
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = b.pid, b.epoch, b.sequence
	}
	if b.header != nil {
		b.header(&h)
	}
	raw := append(make([]byte, protocol.BatchOverhead), section...)
	protocol.PutBatchHeader(raw, &h)
	protocol.PutBatchCRC(raw, protocol.BatchCRC(raw))
	if b.raw != nil {
		raw = b.raw(raw)
	}
	return raw
}

const latestProduce = message.ProduceMaxVersion

// produceRequest writes batches to partitions 0, 1, … of a topic.
func produceRequest(c *Cluster, topic string, acks int16, batches ...[]byte) *message.ProduceRequest {
	t := message.TopicProduceData{Name: topic, TopicID: c.TopicID(topic)}
	for i, b := range batches {
		t.PartitionData = append(t.PartitionData, message.PartitionProduceData{Index: int32(i), Records: b})
	}
	return &message.ProduceRequest{Acks: acks, TimeoutMs: 1000, TopicData: []message.TopicProduceData{t}}
}

// produce writes one batch to partition 0 with acks=all.
func (r *rawClient) produce(c *Cluster, topic string, batch []byte) message.PartitionProduceResponse {
	r.t.Helper()
	return r.produceAt(c, topic, batch, latestProduce)
}

func (r *rawClient) produceAt(c *Cluster, topic string, batch []byte, version int16) message.PartitionProduceResponse {
	r.t.Helper()
	res := r.do(produceRequest(c, topic, -1, batch), version).(*message.ProduceResponse)
	require.Len(r.t, res.Responses, 1)
	require.Len(r.t, res.Responses[0].PartitionResponses, 1)
	return res.Responses[0].PartitionResponses[0]
}

// inBubble runs a test on a cluster with pipes, in a bubble that fails it if a goroutine is left.
func inBubble(t *testing.T, opts Options, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Pipes = true
		test(t, Start(t, opts))
	})
}
