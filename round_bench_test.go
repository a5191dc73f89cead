package quill

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// The stages behind the append: a benchmark plays rounds of all of them and times one.

// recordMeter counts what the timed part of a benchmark does by record.
type recordMeter struct {
	b       *testing.B
	records int
	mallocs uint64
	before  runtime.MemStats
}

// loop is b.Loop for a benchmark that times parts of it only: start and stop enclose them.
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
	r.in = appendInput{bytesRecord: bytesRecord{Value: stageValue()}, timestamp: 1, callback: func(RecordMetadata, error) {}, shared: shared}
	r.in.maxSize = protocol.MaxRecordSize(nil, r.in.Value, nil)
	name := "t"
	var res message.MetadataResponse
	n.mu.Lock()
	n.describeLocked(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &name}}}, &res)
	n.mu.Unlock()
	snapshot := metadata.NewSnapshot(r.s.refresh.update(&res, 13))
	info, _ := snapshot.Topic(name)
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
			b.onWire = true
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

// delivered is the number of records that wait for the dispatcher.
func (r *round) delivered() (records int) {
	d := r.s.dispatch
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
