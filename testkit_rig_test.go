package quill

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// rig is an accumulator with a sender, none of whose goroutines run: the test itself takes the
// sender's turns, plays the nodes, and dispatches. It lives in a bubble, so that time passes only in
// time.Sleep.
//
// Topic "test" has four partitions; node 0 leads 0 and 1, node 1 leads 2 and 3.
type rig struct {
	t     *testing.T
	cfg   *settings
	acc   *accumulator
	s     *sender
	topic *topicState
	sent  map[int32][]*produceRequest // on the wire, by node

	shares bool // nodes may not hold more than their share; most tests need the whole buffer
}

const (
	rigBatch  = 1025 + protocol.BatchOverhead
	rigMemory = 10 * 1024
)

var rigLeaders = []int32{0, 0, 1, 1}

// withRig runs the test in a bubble on a rig, after changes to its settings.
func withRig(t *testing.T, change func(*settings), test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t, change)) })
}

func newRig(t *testing.T, change func(*settings)) *rig {
	cfg := &settings{
		logger: slog.New(slog.DiscardHandler), batchSize: rigBatch, bufferMemory: rigMemory, linger: 10 * time.Millisecond,
		deliveryTimeout: 3200 * time.Millisecond, requestTimeout: 30 * time.Second, retries: math.MaxInt32, maxInFlight: 5,
		retryBackoff: 100 * time.Millisecond, retryBackoffMax: time.Second, acks: -1, maxRequestSize: math.MaxInt32,
		metadataMaxAge: 5 * time.Minute, metadataMaxIdle: 5 * time.Minute, maxBlock: time.Second, codecLevel: compress.DefaultLevel,
	}
	if change != nil {
		change(cfg)
	}
	box, clock, board := newInbox(), newCoarseClock(), newBoard()
	r := &rig{t: t, cfg: cfg, acc: newAccumulator(cfg, box, clock), sent: map[int32][]*produceRequest{}}
	r.acc.inCallback = func() bool { return false }
	seal, err := newSealer(cfg.codec, cfg.codecLevel)
	require.NoError(t, err)
	r.s = &sender{
		cfg: cfg, acc: r.acc, box: box, dispatch: newDispatcher(r.acc, cfg.logger), sealer: seal, logger: cfg.logger,
		refresh: newRefresher(cfg, board, r.acc.setNodes, rand.Float64), retry: backoff.New(cfg.retryBackoff, cfg.retryBackoffMax),
		snapshot: new(metadata.Snapshot), nodes: map[int32]*nodeOut{}, random: rand.Float64,
		idem: idempotence{on: cfg.idempotent, state: idReady, id: 7}, finished: make(chan struct{}), onFatal: func(*Error) {},
		client: network.New(network.Config{Post: func(network.Event) {}}),
	}
	r.topic = r.acc.ensureTopic("test", func(name string) *topicState {
		return &topicState{name: name, sticky: newStickyPartitioner(cfg.batchSize, cfg.adaptive, false, "", rand.Uint32)}
	})
	r.setLeaders(rigLeaders, 0)
	t.Cleanup(clock.close)
	return r
}

// setLeaders brings new metadata: partition i is led by leaders[i] under the given epoch.
func (r *rig) setLeaders(leaders []int32, epoch int32) {
	u := metadata.Update{Nodes: []metadata.Node{{ID: 0, Host: "a", Port: 1}, {ID: 1, Host: "b", Port: 2}}}
	topic := metadata.Topic{Name: r.topic.name, ID: [16]byte{1}}
	for i, leader := range leaders {
		topic.Partitions = append(topic.Partitions, metadata.Partition{Index: int32(i), Leader: leader, LeaderEpoch: epoch})
	}
	u.Topics = []metadata.Topic{topic}
	snapshot := metadata.NewSnapshot(u)
	info, ok := snapshot.Topic(r.topic.name)
	require.True(r.t, ok)
	r.acc.setNodes(snapshot)
	r.topic.setInfo(info)
	r.s.adopt(snapshot, time.Now())
	if !r.shares {
		r.acc.pool.setNodes()
	}
}

// one returns a record as Send passes it on.
func one(key, value string, headers ...Header) *appendInput {
	in := &appendInput{record: bytesRecord{Value: []byte(value), Headers: headers}, hasFuture: true}
	if key != "" {
		in.record.Key = []byte(key)
	}
	in.maxSize = protocol.MaxRecordSize(in.record.Key, in.record.Value, in.record.Headers)
	return in
}

// append adds a record without waiting for memory.
func (r *rig) append(partition int32, key, value string) Future {
	r.t.Helper()
	return r.appendInput(partition, one(key, value))
}

func (r *rig) appendInput(partition int32, in *appendInput) Future {
	r.t.Helper()
	at, err := r.acc.append(context.Background(), r.topic.queue(partition), in, nil, nil)
	require.NoError(r.t, err)
	return Future(at)
}

// appendSticky adds a record to the sticky partition, which it returns.
func (r *rig) appendSticky(in *appendInput) int32 {
	r.t.Helper()
	for {
		lane := r.topic.sticky.lane()
		p := r.topic.sticky.peek(lane, r.topic.info.Load())
		if _, err := r.acc.append(context.Background(), r.topic.queue(p), in, lane, nil); err != errMoved {
			require.NoError(r.t, err)
			return p
		}
	}
}

// fits returns how many records of this kind fill a batch without closing it.
func (r *rig) fits(key, value string) int {
	size := protocol.BatchOverhead
	for n := 0; ; n++ {
		if size += protocol.RecordSize(int32(n), 0, []byte(key), []byte(value), nil); size >= r.cfg.batchSize {
			return n
		}
	}
}

// ready lets the sender look at what was appended and at its timers. It returns the nodes that
// something may be sent to.
func (r *rig) ready() []int32 {
	r.s.box.take(&r.s.mail)
	r.s.lookAll(time.Now())
	var ids []int32
	for id, n := range r.s.nodes {
		for i := range n.ready.Len() {
			if n.ready.At(i).out.readyFor == n && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// drain makes one request for the node out of what is ready and puts it on the wire.
func (r *rig) drain(node int32) []*batch {
	r.ready()
	n := r.s.nodes[node]
	if n == nil {
		return nil
	}
	req := r.s.build(n, time.Now())
	if req == nil {
		return nil
	}
	for _, b := range req.batches {
		b.attempts++
		b.move(placeWire)
	}
	r.s.onWire += len(req.batches)
	req.Exchange, req.Node, req.Version = req, node, message.ProduceMaxVersion
	r.sent[node] = append(r.sent[node], req)
	return slices.Clone(req.batches)
}

// drainOne drains where exactly one batch is expected.
func (r *rig) drainOne(node int32) *batch {
	r.t.Helper()
	batches := r.drain(node)
	require.Len(r.t, batches, 1)
	return batches[0]
}

// written brings the node's oldest request into its wire form, as a connection does.
func (r *rig) written(node int32) *produceRequest {
	req := r.sent[node][0]
	require.NoError(r.t, req.Encode(&network.Frame{}, req.Version))
	return req
}

// answer lets the node answer its oldest request: each batch with what verdict says.
func (r *rig) answer(node int32, verdict func(b *batch) message.PartitionProduceResponse) {
	r.t.Helper()
	req := r.written(node)
	r.sent[node] = r.sent[node][1:]
	req.response.Reset()
	for _, b := range req.batches {
		p := verdict(b)
		p.Index = b.queue.index
		req.response.Responses = append(req.response.Responses, message.TopicProduceResponse{Name: b.queue.topic.name,
			PartitionResponses: []message.PartitionProduceResponse{p}})
	}
	r.comeBack(req)
}

// comeBack lets the sender take a request back.
func (r *rig) comeBack(req *produceRequest) {
	r.s.done = append(r.s.done[:0], &req.Request)
	r.s.finishAll(time.Now())
}

// lose lets the node's oldest request be lost, after the node may have seen it.
func (r *rig) lose(node int32) {
	req := r.written(node)
	r.sent[node] = r.sent[node][1:]
	req.Err, req.MaybeSent = network.ErrDisconnected, true
	r.comeBack(req)
}

// accepted returns the answer to a batch that was written at the offset.
func accepted(offset int64) func(*batch) message.PartitionProduceResponse {
	return func(*batch) message.PartitionProduceResponse { return answered(protocol.None, offset) }
}

// refusedWith returns the answer to a batch that was not.
func refusedWith(code protocol.ErrorCode) func(*batch) message.PartitionProduceResponse {
	return func(*batch) message.PartitionProduceResponse { return answered(code, -1) }
}

// appendedAt returns the success of a batch with a log append time, in milliseconds.
func appendedAt(offset, ms int64) func(*batch) message.PartitionProduceResponse {
	return func(*batch) message.PartitionProduceResponse {
		p := answered(protocol.None, offset)
		p.LogAppendTimeMs = ms
		return p
	}
}

func answered(code protocol.ErrorCode, offset int64) (p message.PartitionProduceResponse) {
	p.Reset()
	p.ErrorCode, p.BaseOffset = code, offset
	return p
}

// dispatch runs the callbacks of everything decided.
func (r *rig) dispatch() {
	d := r.s.dispatch
	d.kick()
	for {
		d.mu.Lock()
		queue := d.queue
		d.queue = nil
		d.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, b := range queue {
			d.deliver(b)
		}
	}
}

// free returns the memory that is not handed out.
func (r *rig) free() int64 {
	n, _ := r.acc.pool.available()
	return n
}

// queued returns the partition's batches, oldest first.
func (r *rig) queued(partition int32) []*batch {
	q := r.topic.queue(partition)
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*batch
	for i := range q.batches.Len() {
		all = append(all, q.batches.At(i))
	}
	return all
}

// wireBytes returns the batch as it goes over the wire.
func wireBytes(b *batch) []byte { return slices.Concat(b.chunks...) }

// read decodes a sealed batch of any codec, and checks its CRC.
func read(t *testing.T, wire []byte) (protocol.BatchHeader, []protocol.Record) {
	t.Helper()
	h, err := protocol.ReadBatchHeader(wire)
	require.NoError(t, err)
	require.Equal(t, h.Size(), len(wire))
	require.Equal(t, protocol.BatchCRC(wire), h.CRC)
	section := wire[protocol.BatchOverhead:]
	if h.Codec() != 0 {
		section, err = compress.Decompress(compress.Codec(h.Codec()), nil, section, 64<<20)
		require.NoError(t, err)
	}
	var records []protocol.Record
	for record, err := range protocol.Records(section, h.Count) {
		require.NoError(t, err)
		records = append(records, record)
	}
	require.Len(t, records, int(h.Count))
	return h, records
}

// sealed seals the batch and decodes it.
func (r *rig) sealed(b *batch) (protocol.BatchHeader, []protocol.Record) {
	r.t.Helper()
	b.queue.mu.Lock()
	b.queue.freezeLocked(b)
	b.queue.mu.Unlock()
	require.NoError(r.t, b.seal(r.s.sealer))
	return read(r.t, wireBytes(b))
}

// outcomeOf returns the outcome of a future that must be done.
func outcomeOf(t *testing.T, f Future) (RecordMetadata, error) {
	t.Helper()
	require.True(t, f.Done())
	return f.Wait(t.Context())
}

// partitionsOf names the batches' partitions in order.
func partitionsOf(batches []*batch) (ids []int32) {
	for _, b := range batches {
		ids = append(ids, b.queue.index)
	}
	return ids
}

// noise returns n bytes that no codec makes smaller.
func noise(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

// numbers returns n bytes of small numbers, which compress to about 0.6.
func numbers(rnd *rand.Rand, n int) string {
	s := ""
	for len(s) < n {
		s += fmt.Sprintf("%c%c", 0, rnd.IntN(1000)/4)
	}
	return s[:n]
}

// open returns the partition's open batch as it is now.
func (r *rig) open(partition int32) openBatch {
	q := r.topic.queue(partition)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

// filled returns how many records a batch has, and its size, be it open or not.
func (r *rig) filled(b *batch) (records, size int) {
	if o := r.open(b.queue.index); o.batch == b {
		return len(o.meta), o.size()
	}
	return int(b.records), b.size()
}

// newTestBatch returns an open batch with one chunk of the given size, which belongs to no pool.
func newTestBatch(size int) *openBatch {
	b := &batch{res: newResult(nil)}
	b.begin(&partitionQueue{topic: &topicState{name: "test"}}, newBufferPool(int64(size)).memoryShare, make([]byte, 0, size), 0, time.Now())
	o := new(openBatch)
	o.begin(b, false)
	return o
}
