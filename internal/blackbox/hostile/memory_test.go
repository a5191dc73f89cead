//go:build !race

// The race detector keeps memory of its own for each allocation.

package hostile_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// flood is one answer of many equal elements, made as it is read, so that the heap is the producer's alone.
type flood struct {
	api       protocol.APIKey
	size      int                                 // of the answer, about
	most      int                                 // bytes of heap it may take; 0: twice its size
	answer    func(version int16) message.Message // with one element
	unit      []byte                              // the element on the wire
	tagged    bool                                // the array is a tagged field, with its size before it
	untopical bool                                // it answers a question that names no topic
	numbered  bool                                // partitions that have the indexes 0, 1, 2 …
}

// reader returns the answer, with its size in front.
func (f *flood) reader(t *testing.T, c *quilltest.Cluster, version int16, correlation []byte) io.Reader {
	answer := f.answer(version)
	if m, ok := answer.(*message.MetadataResponse); ok && len(m.Brokers) == 0 { // or nothing of it would be believed
		host, port, err := net.SplitHostPort(c.NodeAddr(1))
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		m.Brokers = []message.MetadataResponseBroker{{NodeID: 1, Host: host, Port: int32(number)}}
	}
	body := answer.Append(nil, version)
	at := bytes.Index(body, f.unit)
	require.Positive(t, at, "the element is not in the answer")
	require.EqualValues(t, 2, body[at-1], "a compact array of one")
	n := f.size / len(f.unit)
	length := protocol.AppendUvarint(nil, uint32(n+1))
	head := append(bytes.Clone(correlation), 0) // no tags
	if f.tagged {
		require.EqualValues(t, len(f.unit)+1, body[at-2], "the size of the field")
		head = protocol.AppendUvarint(append(head, body[:at-2]...), uint32(len(length)+n*len(f.unit)))
	} else {
		head = append(head, body[:at-1]...)
	}
	head = append(head, length...)
	tail := body[at+len(f.unit):]
	size := binary.BigEndian.AppendUint32(nil, uint32(len(head)+n*len(f.unit)+len(tail)))
	return io.MultiReader(bytes.NewReader(size), bytes.NewReader(head),
		io.LimitReader(&repeated{text: bytes.Repeat(f.unit, max(1, 32<<10/len(f.unit))), unit: len(f.unit), numbered: f.numbered}, int64(n*len(f.unit))), bytes.NewReader(tail))
}

// repeated reads a text of some elements again and again.
type repeated struct {
	text     []byte
	unit     int // the size of an element
	at       int
	numbered bool // they are partitions, with the indexes 0, 1, 2 and so on
	count    uint32
}

// Read implements io.Reader.
func (r *repeated) Read(b []byte) (int, error) {
	if r.at == 0 && r.numbered {
		for unit := range slices.Chunk(r.text, r.unit) {
			binary.BigEndian.PutUint32(unit[2:], r.count) // behind the code
			r.count++
		}
	}
	n := copy(b, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// flooded is a connection on which the first answer to a request is replaced.
type flooded struct {
	net.Conn
	t       *testing.T
	cluster *quilltest.Cluster
	flood   *flood
	once    *sync.Once // of all connections

	mu sync.Mutex
	// +checklocks:mu
	asked map[uint32]int16 // versions of the requests that are to be answered so, by correlation id
	sent  []byte           // the writer's: of a request that is not whole yet
	from  io.Reader        // the reader's: the answer that is being read
}

// Write implements net.Conn.
func (c *flooded) Write(b []byte) (int, error) {
	for c.sent = append(c.sent, b...); len(c.sent) >= 4; {
		size := 4 + int(binary.BigEndian.Uint32(c.sent))
		if len(c.sent) < size {
			break
		}
		if protocol.APIKey(binary.BigEndian.Uint16(c.sent[4:])) == c.flood.api {
			c.once.Do(func() {
				c.mu.Lock()
				c.asked[binary.BigEndian.Uint32(c.sent[8:])] = int16(binary.BigEndian.Uint16(c.sent[6:]))
				c.mu.Unlock()
			})
		}
		c.sent = append([]byte{}, c.sent[size:]...)
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *flooded) Read(b []byte) (int, error) {
	for {
		if c.from == nil {
			if err := c.next(); err != nil {
				return 0, err
			}
		}
		n, err := c.from.Read(b)
		if err == io.EOF {
			c.from = nil
		}
		if n > 0 {
			return n, nil
		}
	}
}

// next reads an answer of the node, and replaces it if it is the one.
func (c *flooded) next() error {
	var head [8]byte
	if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
		return err
	}
	rest := io.LimitReader(c.Conn, int64(binary.BigEndian.Uint32(head[:]))-4)
	c.mu.Lock()
	version, ok := c.asked[binary.BigEndian.Uint32(head[4:])]
	c.mu.Unlock()
	if !ok {
		c.from = io.MultiReader(bytes.NewReader(bytes.Clone(head[:])), rest)
		return nil
	}
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return err
	}
	c.from = c.flood.reader(c.t, c.cluster, version, head[4:])
	return nil
}

// peakHeap samples the bytes of the heap's objects, garbage included, until stop. It returns by how much they grew at most.
func peakHeap() (stop func() int64) {
	runtime.GC()
	end, ended := make(chan struct{}), make(chan int64)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	base := sample[0].Value.Uint64()
	go func() { // ends with stop
		peak := base
		for {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-end:
				ended <- int64(peak - base)
				return
			case <-time.After(200 * time.Microsecond):
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-ended
	}
}

var floods = map[string]flood{
	"produce, record errors": {
		api: protocol.Produce, size: 95 << 20, unit: []byte{0x7a, 0x7b, 0x7c, 0x7d, 1, 0},
		answer: producedWith(func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
			p.ErrorCode, p.BaseOffset = protocol.InvalidRecord, -1
			p.RecordErrors = []message.BatchIndexAndErrorMessage{{BatchIndex: 0x7a7b7c7d, BatchIndexErrorMessage: new("")}}
		}),
	},
	"produce, partitions": {
		api: protocol.Produce, size: 95 << 20, unit: []byte{0x7a, 0x7b, 0x7c, 0x7d, 0, 0},
		answer: producedWith(func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.Index = 0x7a7b7c7d }),
	},
	"produce, endpoints": {
		api: protocol.Produce, size: 95 << 20, unit: endpoint(""), tagged: true, answer: endpointsOf(""),
	},
	"produce, endpoints with names": {
		api: protocol.Produce, size: 95 << 20, unit: endpoint(name40), tagged: true, answer: endpointsOf(name40),
	},
	"metadata, brokers": {
		api: protocol.Metadata, size: 95 << 20, unit: endpoint(""), answer: metadataWith(func(m *message.MetadataResponse) {
			m.Brokers = []message.MetadataResponseBroker{{NodeID: 0x7a7b7c7d, Host: "", Port: 9092}}
		}),
	},
	"metadata, brokers with names": {
		api: protocol.Metadata, size: 95 << 20, unit: endpoint(name40), answer: metadataWith(func(m *message.MetadataResponse) {
			m.Brokers = []message.MetadataResponseBroker{{NodeID: 0x7a7b7c7d, Host: name40, Port: 9092}}
		}),
	},
	"metadata, partitions": {
		api: protocol.Metadata, size: 95 << 20, unit: partitionUnit, answer: metadataWith(func(m *message.MetadataResponse) {
			m.Topics[0].Partitions = []message.MetadataResponsePartition{{PartitionIndex: 0x7a7b7c7d, ReplicaNodes: new(message.Int32s), ISRNodes: new(message.Int32s), OfflineReplicas: new(message.Int32s)}}
		}),
	},
	"metadata, partitions with replicas": {
		api: protocol.Metadata, size: 95 << 20, unit: replicatedUnit, numbered: true, answer: metadataWith(func(m *message.MetadataResponse) {
			m.Topics[0].Partitions = []message.MetadataResponsePartition{replicated()}
		}),
	},
	// A topic may have this number, whose queues, batches' numbers and leaders are then at hand.
	"metadata, as many partitions as are believed": {
		api: protocol.Metadata, size: message.MaxTopicPartitions * len(replicatedUnit), most: message.MaxTopicPartitions << 10,
		unit: replicatedUnit, numbered: true, answer: metadataWith(func(m *message.MetadataResponse) {
			m.Topics[0].Partitions = []message.MetadataResponsePartition{replicated()}
		}),
	},
	"metadata, topics that were not asked for": {
		api: protocol.Metadata, size: 95 << 20, unit: largeTopic, answer: metadataWith(func(m *message.MetadataResponse) {
			m.Topics = []message.MetadataResponseTopic{largeTopicOf("x")}
		}),
	},
	"metadata, topics where none was asked for": {
		api: protocol.Metadata, size: 95 << 20, untopical: true, unit: smallTopic, answer: metadataWith(func(m *message.MetadataResponse) {
			m.Topics = []message.MetadataResponseTopic{{Name: new("small topic 1234"), TopicID: protocol.UUID{2}}}
		}),
	},
}

// smallTopic is a topic without partitions, as metadata answers have it: code, name, id, not internal, no partitions, no rights, no tags.
var smallTopic = slices.Concat([]byte{0, 0, 17}, []byte("small topic 1234"), append([]byte{2}, make([]byte, 15)...), []byte{0, 1, 0, 0, 0, 0, 0})

// replicated returns replicatedUnit before it has an index.
func replicated() message.MetadataResponsePartition {
	replicas := &message.Int32s{1, 2, 3}
	return message.MetadataResponsePartition{PartitionIndex: 0x7a7b7c7d, ReplicaNodes: replicas, ISRNodes: replicas, OfflineReplicas: new(message.Int32s)}
}

// largeTopicOf returns a topic of as many partitions as are believed in two answers.
func largeTopicOf(name string) message.MetadataResponseTopic {
	t := message.MetadataResponseTopic{Name: &name, TopicID: protocol.UUID{2}, Partitions: make([]message.MetadataResponsePartition, message.MaxTopicPartitions/2)}
	for i := range t.Partitions {
		t.Partitions[i] = replicated()
		t.Partitions[i].PartitionIndex = int32(i)
	}
	return t
}

// largeTopic is largeTopicOf on the wire: what it adds to an answer without topics.
var largeTopic = func() []byte {
	const version = 12 // of Kafka 3.9
	none, one := new(message.MetadataResponse), new(message.MetadataResponse)
	one.Topics = []message.MetadataResponseTopic{largeTopicOf("x")}
	without := none.Append(nil, version)
	shared := len(without) - 1 // both end with no tags
	return one.Append(nil, version)[shared:][:len(one.Append(nil, version))-len(without)]
}()

const name40 = "broker-1234567890123456789012345.example"

// endpoint returns a node as answers have it: id, host, port, no rack, no tags.
func endpoint(host string) []byte {
	b := append([]byte{0x7a, 0x7b, 0x7c, 0x7d, byte(len(host) + 1)}, host...)
	return append(b, 0, 0, 0x23, 0x84, 0, 0)
}

// partitionUnit is a partition as metadata answers have it: code, index, leader, epoch, three empty lists, no tags.
var partitionUnit = []byte{0, 0, 0x7a, 0x7b, 0x7c, 0x7d, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0}

// replicatedUnit is one with three replicas that are in sync.
var replicatedUnit = append(append(append(bytes.Clone(partitionUnit[:14]), replicas...), replicas...), 1, 0)

var replicas = []byte{4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}

func endpointsOf(host string) func(int16) message.Message {
	return producedWith(func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) {
		m.NodeEndpoints = []message.NodeEndpoint{{NodeID: 0x7a7b7c7d, Host: host, Port: 9092}}
	})
}

func metadataWith(change func(m *message.MetadataResponse)) func(int16) message.Message {
	return func(int16) message.Message {
		m := new(message.MetadataResponse)
		m.Reset()
		m.ClusterID = new("c")
		m.Topics = []message.MetadataResponseTopic{{Name: new("t"), TopicID: protocol.UUID{1}}}
		change(m)
		return m
	}
}

func producedWith(change func(p *message.PartitionProduceResponse, m *message.ProduceResponse)) func(int16) message.Message {
	return func(int16) message.Message {
		m := new(message.ProduceResponse)
		m.Reset()
		var p message.PartitionProduceResponse
		p.Reset()
		m.Responses = make([]message.TopicProduceResponse, 1)
		m.Responses[0].Reset()
		m.Responses[0].Name = "t"
		change(&p, m)
		m.Responses[0].PartitionResponses = []message.PartitionProduceResponse{p}
		return m
	}
}

// An answer of nearly MaxResponse bytes that is full of equal elements takes no more than twice its size, buffers and
// garbage included, and the record gets its outcome.
func TestFloodedAnswersTakeAtMostTwiceTheirSize(t *testing.T) {
	for name, f := range floods {
		t.Run(name, func(t *testing.T) { f.test(t) })
	}
}

func (f *flood) test(t *testing.T) {
	c, err := quilltest.NewCluster(quilltest.Options{Nodes: 1, Release: "3.9"})
	require.NoError(t, err)
	defer c.Close()
	c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
	var once sync.Once
	cfg := testkit.Config(c)
	dial := cfg.DialContext
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &flooded{Conn: nc, t: t, cluster: c, flood: f, once: &once, asked: map[uint32]int16{}}, nil
	}
	p := testkit.Open(t, cfg)
	stop := peakHeap()
	if f.untopical {
		_, err = p.Cluster(t.Context())
		require.NoError(t, err)
	}
	_, err = p.SendSync(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "", "a")))
	peak := stop()
	once.Do(func() { t.Error("no answer was replaced") })
	t.Logf("%d MiB of answer, %d MiB of heap at most; %v", f.size>>20, peak>>20, err)
	if err != nil {
		_, ok := errors.AsType[*quill.Error](err)
		require.True(t, ok)
	}
	_, err = p.SendSync(t.Context(), testkit.Rec("t", "", "b"))
	require.NoError(t, err)
	require.LessOrEqual(t, peak, int64(cmp.Or(f.most, 2*f.size)+16<<20))
}
