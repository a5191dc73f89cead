package integration

// quilltest's coordinator against Kafka's: two clients of one transactional id, whose moves are drawn, do the same to both, and
// every answer has to be the same. So must be what the clients can't do: write with an old epoch, end a transaction twice.
//
// In CI the schedules are few. QUILL_TX_SCHEDULES says how many.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

func TestCoordinatorAnswersAsKafkas(t *testing.T) {
	cluster := oneNode(t)
	topic := newTopic(t, cluster, "coordinated", 2)
	double, err := quilltest.NewCluster(quilltest.Options{Nodes: 1})
	require.NoError(t, err)
	defer double.Close()
	double.MustCreateTopic(topic, 2, quilltest.TopicConfig{})
	kafka, ours := dialCoordinator(t, cluster.Bootstrap()[0], topic), dialCoordinator(t, double.BootstrapServers()[0], topic)
	kafka.cluster = cluster
	kafka.wake()
	ours.wake()
	for schedule := range numberFrom(t, "QUILL_TX_SCHEDULES", 20) {
		random := rand.New(rand.NewPCG(uint64(schedule), 1))
		here, there := newTxnClients(schedule), newTxnClients(schedule)
		var story []string
		for range 25 {
			m := drawMove(random, here)
			before := *here[m.client]
			want, got := kafka.play(m, there[m.client]), ours.play(m, here[m.client])
			story = append(story, fmt.Sprintf("%+v by %v: %s", m, before, want))
			require.Equal(t, want, got, "schedule %d:\n%s", schedule, strings.Join(story, "\n"))
		}
	}
}

// move is one request of one of the clients.
type move struct {
	kind      string
	client    int
	partition int32
	flag      bool // init: with the id and epoch it has; end: commit
}

func drawMove(r *rand.Rand, clients [2]*txnClient) move {
	kinds := [...]string{"init", "init", "add", "add", "write", "write", "write", "write with a gap", "group", "offset", "offset",
		"offset of no topic", "end", "end", "end", "end, answer lost"}
	m := move{kind: kinds[r.IntN(len(kinds))], client: r.IntN(2), partition: int32(r.IntN(2)), flag: r.IntN(2) == 0}
	if clients[m.client].producerID < 0 {
		m.kind, m.flag = "init", false
	}
	return m
}

// txnClient is what a client knows.
type txnClient struct {
	id         string
	version2   bool
	producerID int64
	epoch      int16
	next       [2]int32 // sequence, by partition
}

// newTxnClients are two clients of one id: both of version 1, both of version 2, or one of each.
func newTxnClients(schedule int) (clients [2]*txnClient) {
	for i := range clients {
		clients[i] = &txnClient{id: fmt.Sprintf("id-%d", schedule), version2: schedule%3 == 0 || schedule%3 == 1 && i == 0, producerID: -1, epoch: -1}
	}
	return clients
}

func (x *txnClient) adopt(id int64, epoch int16) {
	if id != x.producerID || epoch != x.epoch {
		x.next = [2]int32{}
	}
	x.producerID, x.epoch = id, epoch
}

// version is the one of a request that x speaks.
func (x *txnClient) version(one, two int16) int16 {
	if x.version2 {
		return two
	}
	return one
}

// coordinatorSide is a connection to one of the two clusters.
type coordinatorSide struct {
	t       *testing.T
	conn    net.Conn
	cluster *kafkaharness.Cluster // nil: quilltest's
	topic   string
	topicID protocol.UUID
	calls   int32
	names   map[int64]int // of producer ids, in the order in which they came up
}

func dialCoordinator(t *testing.T, address, topic string) *coordinatorSide {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s := &coordinatorSide{t: t, conn: conn, topic: topic, names: map[int64]int{}}
	res := s.ask(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &topic}}}, 12).(*message.MetadataResponse)
	s.topicID = res.Topics[0].TopicID
	return s
}

// ask is a request and its answer.
func (s *coordinatorSide) ask(req message.Message, version int16) message.Message {
	s.t.Helper()
	s.calls++
	require.NoError(s.t, s.conn.SetDeadline(time.Now().Add(30*time.Second)))
	b := message.AppendRequestHeader(make([]byte, 4), req.APIKey(), version, s.calls, "coordinator-test")
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := s.conn.Write(b)
	require.NoError(s.t, err)
	_, err = io.ReadFull(s.conn, b[:4])
	require.NoError(s.t, err)
	b = make([]byte, binary.BigEndian.Uint32(b))
	_, err = io.ReadFull(s.conn, b)
	require.NoError(s.t, err)
	in := protocol.NewReader(b)
	message.DecodeResponseHeader(&in, req.APIKey(), version)
	res := message.NewResponse(req.APIKey())
	res.Decode(&in, version)
	require.NoError(s.t, in.Err())
	return res
}

// wake waits for coordinators, which a new cluster does not have at once.
func (s *coordinatorSide) wake() {
	s.t.Helper()
	for _, kind := range []quilltest.CoordinatorType{quilltest.GroupCoordinator, quilltest.TransactionCoordinator} {
		require.Eventually(s.t, func() bool {
			res := s.ask(&message.FindCoordinatorRequest{KeyType: int8(kind), CoordinatorKeys: []string{"group"}}, 4).(*message.FindCoordinatorResponse)
			return res.Coordinators[0].ErrorCode == protocol.None
		}, time.Minute, 100*time.Millisecond)
	}
}

// play makes a move and describes what came of it. What a client of Kafka would try again is tried again.
func (s *coordinatorSide) play(m move, x *txnClient) string {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	code := s.once(m, x)
	for ; time.Now().Before(deadline); code = s.once(m, x) {
		switch code {
		case protocol.ConcurrentTransactions, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable, protocol.NotCoordinator:
			time.Sleep(20 * time.Millisecond)
			continue
		}
		break
	}
	s.settle(x.id)
	if _, known := s.names[x.producerID]; !known {
		s.names[x.producerID] = len(s.names)
	}
	return fmt.Sprintf("%s, then producer %d epoch %d", code.Name(), s.names[x.producerID], x.epoch)
}

// settle waits until Kafka has written its markers.
func (s *coordinatorSide) settle(id string) {
	s.t.Helper()
	for s.cluster != nil {
		ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
		state, err := s.cluster.TransactionState(ctx, id)
		cancel()
		require.NoError(s.t, err)
		if !strings.HasPrefix(state, "Prepare") {
			return
		}
	}
}
