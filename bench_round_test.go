package quill

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// The stages behind the append: a benchmark plays rounds of all of them and times one.

// recordMeter counts what the timed part of a benchmark does by record.
type recordMeter struct {
	b       *testing.B
	records int
	mallocs uint64
	before  runtime.MemStats
}

// loop does what b.Loop does, for a benchmark that times parts of it only: start and stop enclose them.
func (m *recordMeter) loop() bool {
	m.b.StartTimer()
	more := m.b.Loop()
	m.b.StopTimer()
	return more
}

func (m *recordMeter) start() {
	runtime.ReadMemStats(&m.before)
	m.b.StartTimer()
}

func (m *recordMeter) stop(records int) {
	m.b.StopTimer()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	m.records += records
	m.mallocs += after.Mallocs - m.before.Mallocs
}

func (m *recordMeter) report() {
	m.b.ReportMetric(float64(m.b.Elapsed().Nanoseconds())/float64(m.records), "ns/record")
	m.b.ReportMetric(float64(m.mallocs)/float64(m.records), "allocs/record")
	m.b.ReportMetric(0, "ns/op") // of many records: would only confuse
}

// round is the way of batches from the queues to the end, step by step, for benchmarks that time one
// of them: batches of 16 KiB for 12 partitions on one node, as many as may be in flight.
type round struct {
	e       *engine
	s       *sender
	topic   *topicState
	in      appendInput
	frame   network.Frame
	answers [][]byte
	sent    []*produceRequest
	offset  int64
}

const (
	roundPartitions = 12
	roundBatches    = maxInFlightPerPartition
	roundVersion    = message.ProduceMaxVersion
)

func newRound(b *testing.B, shared bool) *round {
	e, n := assembleNull(b, Config{BatchSize: 16 << 10}, 1, 1, func(string) int { return roundPartitions })
	e.acc.inCallback = func() bool { return false }
	r := &round{e: e, s: e.sender, topic: e.acc.ensureTopic("t", e.newTopic)}
	r.in = appendInput{record: bytesRecord{Value: stageValue()}, timestamp: 1, callback: func(RecordMetadata, error) {}, hasFuture: shared}
	r.in.maxSize = protocol.MaxRecordSize(nil, r.in.record.Value, nil)
	name := "t"
	var res message.MetadataResponse
	n.mu.Lock()
	n.describeLocked(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &name}}}, &res)
	n.mu.Unlock()
	snapshot := metadata.NewSnapshot(r.s.refresh.update(&metadataAsk{topics: []*topicState{r.topic}}, &res, 13))
	info, _ := snapshot.Topic(name)
	r.s.acc.setNodes(snapshot)
	r.topic.setInfo(info)
	r.s.adopt(snapshot, time.Now())
	r.s.idem.state, r.s.idem.id, r.s.idem.epoch = idReady, 7, 0
	for range 3 { // until the node knows the id
		r.fill(b)
		r.drain(b)
		r.answer(b)
		r.finish()
		r.dispatch()
	}
	return r
}

// fill appends until every partition has its batches, and returns the number of records.
func (r *round) fill(b *testing.B) (records int) {
	for p := range int32(roundPartitions) {
		q := r.topic.queue(p)
		for int(q.length.Load()) <= roundBatches {
			if _, err := r.e.acc.append(context.Background(), q, &r.in, nil, nil); err != nil {
				b.Fatal(err)
			}
			records++
		}
	}
	return records
}

// drain makes requests of all closed batches, in their wire form.
func (r *round) drain(b *testing.B) {
	now := time.Now()
	r.s.box.take(&r.s.mail)
	r.s.lookAll(now)
	n := r.s.nodes[0]
	for n != nil && n.forced > 0 {
		req := r.s.build(n, now)
		if req == nil {
			break
		}
		for _, b := range req.batches {
			b.attempts++
			b.move(placeWire)
		}
		req.Exchange, req.Version = req, roundVersion
		r.frame = network.Frame{Buf: r.frame.Buf[:0]}
		if err := req.Encode(&r.frame, roundVersion); err != nil {
			b.Fatal(err)
		}
		r.sent = append(r.sent, req)
	}
}

// answer makes the answers to what is on the wire.
func (r *round) answer(b *testing.B) {
	if len(r.sent) == 0 {
		b.Fatal("nothing was sent")
	}
	r.answers = r.answers[:0]
	for _, req := range r.sent {
		r.offset += 1 << 20
		req.response.Reset()
		accept(req, r.offset)
		r.answers = append(r.answers, req.response.Append(nil, roundVersion))
	}
}

// finish decodes the answers and lets the sender do what follows from them.
func (r *round) finish() {
	now := time.Now()
	for i, req := range r.sent {
		rd := protocol.NewReader(r.answers[i])
		req.Err = req.Decode(&rd, roundVersion)
		r.s.done = append(r.s.done[:0], &req.Request)
		r.s.finishAll(now)
	}
	r.sent = r.sent[:0]
}

// dispatch runs the callbacks of all that is decided, and gives memory back.
func (r *round) dispatch() { drainDispatcher(r.s.dispatch) }

// delivered returns the number of records that wait for the dispatcher.
func (r *round) delivered() (records int) {
	d := r.s.dispatch
	d.kick()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.queue {
		records += int(b.records)
	}
	return records
}

// BenchmarkDrain looks at queues, takes batches, seals them (no codec) and writes requests.
func BenchmarkDrain(b *testing.B) {
	r := newRound(b, false)
	m := recordMeter{b: b}
	for m.loop() {
		r.fill(b)
		m.start()
		r.drain(b)
		m.stop(0)
		r.answer(b)
		r.finish()
		m.records += r.delivered()
		r.dispatch()
	}
	m.report()
}

// BenchmarkAnswer decodes answers, decides and applies.
func BenchmarkAnswer(b *testing.B) {
	r := newRound(b, false)
	m := recordMeter{b: b}
	for m.loop() {
		r.fill(b)
		r.drain(b)
		r.answer(b)
		m.start()
		r.finish()
		m.stop(r.delivered())
		r.dispatch()
	}
	m.report()
}

// BenchmarkDispatch runs callbacks, or completes futures, and gives the batches' memory back.
func BenchmarkDispatch(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(map[bool]string{false: "callbacks", true: "futures"}[shared], func(b *testing.B) {
			r := newRound(b, shared)
			if shared {
				r.in.callback = nil
			}
			m := recordMeter{b: b}
			for m.loop() {
				r.fill(b)
				r.drain(b)
				r.answer(b)
				r.finish()
				records := r.delivered()
				m.start()
				r.dispatch()
				m.stop(records)
			}
			m.report()
		})
	}
}

// All stages together, and whether they cost more when more is known of the cluster than is in use.

// BenchmarkWhole measures the engine with all its goroutines, over nodes that cost nothing: send, deliver,
// run callbacks. cpu-ns/record counts all goroutines, those of the nodes too.
func BenchmarkWhole(b *testing.B) {
	for _, c := range []struct {
		name       string
		batch      int
		codec      Compression
		goroutines int
	}{
		{"16KiB", 16 << 10, CompressionNone, 1},
		{"1MB", 1_000_000, CompressionNone, 1},
		{"16KiB/8", 16 << 10, CompressionNone, 8},
		{"1MB/8", 1_000_000, CompressionNone, 8},
		{"16KiB/lz4", 16 << 10, CompressionLZ4, 1},
		{"1MB/zstd", 1_000_000, CompressionZstd, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, _ := newNullEngine(b, Config{BatchSize: c.batch, BufferMemory: 64 << 20, MaxRequestSize: 8 << 20, Compression: c.codec}, 3, 3, func(string) int { return 12 })
			nullKnown(b, p, "t")
			values := stageValues(4096)
			sendMany(b, p, c.goroutines, func(i int) Record[[]byte, []byte] {
				return Record[[]byte, []byte]{Topic: "t", Value: values[i%len(values)]}
			})
		})
	}
}

// sendMany sends a thousand records per iteration, and reports what all of it cost by record.
func sendMany(b *testing.B, p *Producer[[]byte, []byte], goroutines int, record func(i int) Record[[]byte, []byte]) {
	const per = 1000
	var failed error
	fn := Callback(func(_ RecordMetadata, err error) {
		if err != nil {
			failed = err // the dispatcher's; read after Flush
		}
	})
	ctx := context.Background()
	send := func(from, to int) {
		for i := from; i < to; i++ {
			p.SendFunc(ctx, record(i), fn)
		}
	}
	send(0, 20*per)
	require.NoError(b, p.Flush(ctx))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := processTime()
	at := 0
	for b.Loop() {
		if goroutines == 1 {
			send(at, at+per)
		} else {
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() { send(at+g*per/goroutines, at+(g+1)*per/goroutines) })
			}
			wg.Wait()
		}
		at += per
	}
	require.NoError(b, p.Flush(ctx))
	cpu = processTime() - cpu
	runtime.ReadMemStats(&after)
	require.NoError(b, failed)
	records := float64(b.N) * per
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(cpu.Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/records, "allocs/record")
	b.ReportMetric(0, "ns/op")
}

// The same load with few partitions and nodes known, with many, and with many in use. The first is
// what the others are measured by; TestWhatIsNotInUseCostsNothing holds why they don't differ.

func BenchmarkSend12Partitions3Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 12, used: 12})
}

// 100,000 partitions in one topic, 100 of them in use.
func BenchmarkSend100kPartitions(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100_000, used: 100})
}

// 100,000 partitions in 1,000 topics, 100 of them in use, in ten topics.
func BenchmarkSend1000Topics(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1000, partitions: 100, used: 100})
}

// What of that is due to the number in use: 100 batches are open at a time instead of 12.
func BenchmarkSend100Partitions3Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100, used: 100})
}

// 1,000 nodes, three of which lead what is in use.
func BenchmarkSend1000Nodes(b *testing.B) {
	sendAtScale(b, scale{nodes: 1000, leads: 3, topics: 1, partitions: 12, used: 12})
}

// 1,000 nodes, all in use: a request has one batch.
func BenchmarkSend1000NodesInUse(b *testing.B) {
	sendAtScale(b, scale{nodes: 1000, leads: 1000, topics: 1, partitions: 1000, used: 1000})
}

// Keyless records to a topic of 100,000 partitions: in use are those that the sticky partitioner chose.
func BenchmarkSend100kSticky(b *testing.B) {
	sendAtScale(b, scale{nodes: 3, leads: 3, topics: 1, partitions: 100_000})
}

// scale is how much is known, and how much of it is in use.
type scale struct{ nodes, leads, topics, partitions, used int }

// topicsInUse is among how many topics the partitions in use lie.
const topicsInUse = 10

func sendAtScale(b *testing.B, s scale) {
	p, _ := newNullEngine(b, Config{BatchSize: 16 << 10, BufferMemory: 64 << 20}, s.nodes, s.leads, func(string) int { return s.partitions })
	names := make([]string, s.topics)
	for i := range names {
		names[i] = "topic-" + strconv.Itoa(i)
	}
	nullKnown(b, p, names...)
	value := stageValue()
	sendMany(b, p, 1, func(i int) Record[[]byte, []byte] {
		r := Record[[]byte, []byte]{Topic: names[0], Value: value}
		if s.used == 0 {
			return r
		}
		at := i % s.used
		if s.topics > 1 {
			r.Topic, at = names[at%topicsInUse], at/topicsInUse
		}
		r.Partition = Partition(int32(at))
		return r
	})
}
