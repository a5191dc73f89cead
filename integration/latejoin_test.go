package integration

// A request to add a partition to a transaction that comes when the transaction is over, in version 1 of transactions:
// Kafka 3.9's coordinator begins another one then (KIP-890).

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/protocol"
)

// TestVersion1ALateJoinIsRefusedUnderTheNextEpoch: after a request to join a transaction that got no answer, the next
// transaction has another epoch, and the copy that comes late is refused. Nothing times out.
func TestVersion1ALateJoinIsRefusedUnderTheNextEpoch(t *testing.T) {
	c := threeOldNodes(t)
	x := newLateJoin(t, c, "late-join-refused")
	x.send(t, "a")
	require.NoError(t, x.producer.CommitTransaction(x.ctx))
	require.Contains(t, []protocol.ErrorCode{protocol.InvalidProducerEpoch, protocol.ProducerFenced}, x.held.deliver(t))
	require.NotEqual(t, "Ongoing", x.state(t, c))
	x.send(t, "b")
	require.NoError(t, x.producer.CommitTransaction(x.ctx))
	require.Equal(t, []string{"a", "b"}, valuesOf(x.ctx, t, c, x.topic, kafkaharness.ReadCommitted))
}

// TestVersion1ALateJoinBeforeTheNextEpochFences: in the moment between the end and the new epoch the copy is accepted,
// and the coordinator fences the producer. What was committed stays, and the error says what may have been.
func TestVersion1ALateJoinBeforeTheNextEpochFences(t *testing.T) {
	c := threeOldNodes(t)
	x := newLateJoin(t, c, "late-join-fences")
	x.send(t, "a")
	release := x.held.hold(protocol.InitProducerID)
	committed := make(chan error, 1)
	go func() { committed <- x.producer.CommitTransaction(x.ctx) }()
	require.Eventually(t, func() bool { return x.state(t, c) == "CompleteCommit" }, time.Minute, 20*time.Millisecond)
	require.Equal(t, protocol.None, x.held.deliver(t))
	require.Equal(t, "Ongoing", x.state(t, c))
	release()
	require.NoError(t, <-committed)
	err := x.producer.BeginTransaction()
	require.ErrorIs(t, err, quill.ErrProducerFenced)
	require.ErrorContains(t, err, "or a late copy of a request began another transaction")
	require.Equal(t, []string{"a"}, valuesOf(x.ctx, t, c, x.topic, kafkaharness.ReadCommitted))
}

// lateJoin is a producer whose first request to add a partition is held back.
type lateJoin struct {
	ctx      context.Context
	id       string
	topic    string
	held     *heldRequest
	producer *quill.Producer[[]byte, []byte]
}

func newLateJoin(t *testing.T, c *kafkaharness.Cluster, id string) *lateJoin {
	t.Helper()
	x := &lateJoin{ctx: within(t, 2*time.Minute), id: id, topic: newTopic(t, c, id, 1), held: &heldRequest{api: protocol.AddPartitionsToTxn}}
	x.producer = newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), TransactionalID: id, RequestTimeout: 2 * time.Second,
		DeliveryTimeout: time.Minute, DialContext: x.held.dial})
	require.NoError(t, x.producer.InitTransactions(x.ctx))
	return x
}

// send begins a transaction and sends a record in it.
func (x *lateJoin) send(t *testing.T, value string) {
	t.Helper()
	require.NoError(t, x.producer.BeginTransaction())
	_, err := x.producer.SendSync(x.ctx, quill.Record[[]byte, []byte]{Topic: x.topic, Value: []byte(value)})
	require.NoError(t, err)
}

// state is that of the transaction, as its coordinator says.
func (x *lateJoin) state(t *testing.T, c *kafkaharness.Cluster) string {
	t.Helper()
	state, err := c.TransactionState(x.ctx, x.id)
	require.NoError(t, err)
	return state
}

// heldRequest is the first request of an API. It is kept, with a connection to its node, however long its sender waits.
type heldRequest struct {
	api protocol.APIKey

	mu sync.Mutex
	// +checklocks:mu
	frame []byte
	// +checklocks:mu
	nc net.Conn
	// +checklocks:mu
	waits map[protocol.APIKey]chan struct{} // requests of these wait until it is closed
}

// hold has requests of another API wait until release is called.
func (h *heldRequest) hold(api protocol.APIKey) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := make(chan struct{})
	h.waits = map[protocol.APIKey]chan struct{}{api: ch}
	return func() { close(ch) }
}

// take reports whether a frame is the one to keep; it comes over nc.
func (h *heldRequest) take(nc net.Conn, frame []byte) (taken bool, wait <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	api := protocol.APIKey(binary.BigEndian.Uint16(frame[4:]))
	if api == h.api && h.frame == nil {
		h.frame, h.nc = append([]byte(nil), frame...), nc
		return true, nil
	}
	return false, h.waits[api]
}

// deliver sends what was kept and returns the error code of the answer.
func (h *heldRequest) deliver(t *testing.T) protocol.ErrorCode {
	t.Helper()
	h.mu.Lock()
	frame, nc := h.frame, h.nc
	h.mu.Unlock()
	require.NotNil(t, nc)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	_, err := nc.Write(frame)
	require.NoError(t, err)
	size := make([]byte, 4)
	_, err = io.ReadFull(nc, size)
	require.NoError(t, err)
	answer := make([]byte, binary.BigEndian.Uint32(size))
	_, err = io.ReadFull(nc, answer)
	require.NoError(t, err)
	// Version 3 ends with a partition's index and code, and the tags of the partition, its topic and the answer.
	return protocol.ErrorCode(binary.BigEndian.Uint16(answer[len(answer)-5:]))
}

// dial connects to a node.
func (h *heldRequest) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &holdingConn{Conn: nc, held: h}, nil
}

// holdingConn keeps the request, and its connection to the node open.
type holdingConn struct {
	net.Conn
	held *heldRequest

	mu sync.Mutex
	// +checklocks:mu
	kept bool
}

// Write implements net.Conn. Requests as small as those about transactions come in one piece.
func (c *holdingConn) Write(b []byte) (int, error) {
	if len(b) > 6 && int(binary.BigEndian.Uint32(b)) == len(b)-4 {
		taken, wait := c.held.take(c.Conn, b)
		if taken {
			c.mu.Lock()
			c.kept = true
			c.mu.Unlock()
			return len(b), nil
		}
		if wait != nil {
			<-wait
		}
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn: it ends the reads of a connection that is kept, and leaves the node's end open.
func (c *holdingConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept {
		return c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
	return c.Conn.Close()
}
