package quill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A benchmark for each stage of a record's way, in the order of that way, and one of the whole. Where
// an iteration is not one record the figures to look at are ns/record and allocs/record; where it
// is, ns/op says the same. bench/compare.sh compares two revisions with them.

const stageValueSize = 100

// stage is an engine whose sender does not run: full batches are thrown away by a goroutine.
type stage struct {
	e *engine
	p *Producer[[]byte, []byte]
}

func newStage(b *testing.B, cfg Config) *stage {
	e := assembleStage(b, cfg)
	p, err := newView[[]byte, []byte](e, Bytes, Bytes, nil)
	require.NoError(b, err)
	s := &stage{e, p}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		timer := time.NewTimer(forever)
		var in mail
		for {
			select {
			case <-stop:
				return
			default:
			}
			e.box.sleep(time.Now().Add(10*time.Millisecond), timer)
			e.box.take(&in)
			s.discard(in.queues)
		}
	}()
	b.Cleanup(func() {
		close(stop)
		e.box.wakeNow()
		<-stopped
		e.clock.close()
	})
	return s
}

// assembleStage returns an engine that knows topic "t", and whose sender does not run.
func assembleStage(t testing.TB, cfg Config) *engine {
	e, n := assembleNull(t, cfg, 3, 3, func(string) int { return 12 })
	topic := e.acc.ensureTopic("t", e.newTopic)
	name := "t"
	var res message.MetadataResponse
	n.mu.Lock()
	n.describeLocked(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &name}}}, &res)
	n.mu.Unlock()
	snapshot := metadata.NewSnapshot(e.sender.refresh.update(&metadataAsk{topics: []*topicState{topic}}, &res, 13))
	info, _ := snapshot.Topic(name)
	topic.setInfo(info)
	e.acc.inCallback = func() bool { return false }
	return e
}

// discard takes the full batches of queues away.
func (s *stage) discard(notices []notice) {
	for _, n := range notices {
		q := n.queue
		q.mu.Lock()
		q.notified = false
		for q.batches.Len() > 0 && q.batches.Front().closed {
			b := q.batches.PopFront()
			s.e.acc.delist(b)
			b.drop(s.e.acc)
			b.drop(s.e.acc)
		}
		q.length.Store(int32(q.batches.Len()))
		q.mu.Unlock()
	}
}

func stageValue() []byte { return []byte(strings.Repeat("v", stageValueSize)) }

// stageText returns a value that codecs make smaller, but not by much.
func stageText(rnd *rand.Rand) string {
	return fmt.Sprintf(`{"id":%010d,"user":"user-%03d","price":%02d.%02d,"comment":"%016x","unit":"kilogram","state":"new"}`,
		rnd.Uint32(), rnd.IntN(1000), rnd.IntN(100), rnd.IntN(100), rnd.Uint64())
}

// stageValues returns n different ones.
func stageValues(n int) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := make([][]byte, n)
	for i := range values {
		values[i] = []byte(stageText(rnd))
	}
	return values
}

// BenchmarkTopic finds the topic of a record.
func BenchmarkTopic(b *testing.B) {
	s := newStage(b, Config{})
	r := &outgoing{mayWait: true}
	r.record.Topic = "t"
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.e.topicFor(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChoose finds its partition.
func BenchmarkChoose(b *testing.B) {
	for _, key := range []string{"0123456789abcdef", ""} {
		b.Run(map[bool]string{true: "sticky", false: "key"}[key == ""], func(b *testing.B) {
			s := newStage(b, Config{})
			t := s.e.acc.topic("t")
			info := t.info.Load()
			r := &outgoing{appendInput: *one(key, "")}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.e.choose(r, t, info); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBatchAppend measures tryAdd alone: 100-byte records into batches of 16 KiB.
func BenchmarkBatchAppend(b *testing.B) {
	lim := newBatchLimits(16<<10, 32<<20, false)
	batch, chunk := &batch{res: newResult(nil)}, make([]byte, 0, 16<<10)
	share := newBufferPool(1 << 20).memoryShare
	q := &partitionQueue{topic: &topicState{name: "t"}}
	now := time.Now()
	in := &appendInput{record: bytesRecord{Value: stageValue()}, callback: func(RecordMetadata, error) {}}
	batch.begin(q, share, chunk, 1, now)
	q.open.begin(batch, false)
	b.ReportAllocs()
	for b.Loop() {
		if q.open.tryAdd(in, 1, &lim, &q.topic.ratio) != appendDone {
			q.open.close()
			batch.res.reset()
			batch.reset(batch.res)
			batch.begin(q, share, chunk, 1, now)
			q.open.begin(batch, false)
		}
	}
}

// BenchmarkAppend measures all of accumulator.append, with the opening and closing of batches.
func BenchmarkAppend(b *testing.B) {
	for _, goroutines := range []int{1, 8} {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			s := newStage(b, Config{BatchSize: 16 << 10})
			q := s.e.acc.topic("t").queue(3)
			value, fn := stageValue(), Callback(func(RecordMetadata, error) {})
			atOnce(b, goroutines, func() error {
				in := appendInput{record: bytesRecord{Value: value}, timestamp: -1, callback: fn, maxSize: protocol.MaxRecordSize(nil, value, nil)}
				_, err := s.e.acc.append(context.Background(), q, &in, nil, &blockLimit{max: time.Minute})
				return err
			})
		})
	}
}

// atOnce runs one from several goroutines.
func atOnce(b *testing.B, goroutines int, one func() error) {
	b.ReportAllocs()
	if goroutines == 1 {
		for b.Loop() {
			if err := one(); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(max(1, goroutines/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := one(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSend measures Send as far as it goes on the caller's goroutine. A future keeps its batch's result
// from being used again, so that way has some allocations per batch.
func BenchmarkSend(b *testing.B) {
	value, key := stageValue(), []byte("0123456789abcdef")
	fn := Callback(func(RecordMetadata, error) {})
	for _, kind := range []struct {
		name string
		key  []byte
		send func(p *Producer[[]byte, []byte], r Record[[]byte, []byte])
	}{
		{"func", nil, func(p *Producer[[]byte, []byte], r Record[[]byte, []byte]) { p.SendFunc(context.Background(), r, fn) }},
		{"keyed", key, func(p *Producer[[]byte, []byte], r Record[[]byte, []byte]) { p.SendFunc(context.Background(), r, fn) }},
		{"future", nil, func(p *Producer[[]byte, []byte], r Record[[]byte, []byte]) { p.Send(context.Background(), r) }},
	} {
		for _, goroutines := range []int{1, 8} {
			b.Run(fmt.Sprint(kind.name, "/", goroutines), func(b *testing.B) {
				s := newStage(b, Config{BatchSize: 16 << 10})
				atOnce(b, goroutines, func() error {
					kind.send(s.p, Record[[]byte, []byte]{Topic: "t", Key: kind.key, Value: value})
					return nil
				})
			})
		}
	}
}

// BenchmarkPool takes a chunk out of the pool and puts it back.
func BenchmarkPool(b *testing.B) {
	for _, goroutines := range []int{1, 8} {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			p := newBufferPool(32<<20, 16<<10)
			p.setNodes(1, 2, 3)
			share := p.share(1)
			atOnce(b, goroutines, func() error {
				chunk, err := share.tryAllocate(16 << 10)
				if err == nil {
					share.release(chunk)
				}
				return err
			})
		})
	}
}

// BenchmarkInbox reports a queue to the sender and lets it look, a hundred at a time.
func BenchmarkInbox(b *testing.B) {
	box, q := newInbox(), &partitionQueue{}
	var to mail
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		box.notify(notice{queue: q}, true)
		if n++; n%100 == 0 {
			box.take(&to)
		}
	}
}

// BenchmarkSeal seals a batch: codec, header, CRC. The plain records are put back each time, which costs
// as much as without a codec the CRC.
func BenchmarkSeal(b *testing.B) {
	for _, codec := range codecs {
		for _, size := range []int{16 << 10, 1_000_000} {
			b.Run(fmt.Sprintf("%v/%d", codec, size), func(b *testing.B) { benchSeal(b, codec, size) })
		}
	}
}

func benchSeal(b *testing.B, codec compress.Codec, size int) {
	s, err := newSealer(codec, compress.DefaultLevel)
	require.NoError(b, err)
	lim := newBatchLimits(size, 64<<20, false)
	pool := newBufferPool(64<<20, lim.sizes()...)
	batch, rnd := &batch{res: newResult(nil)}, rand.New(rand.NewPCG(1, 1))
	batch.begin(&partitionQueue{topic: &topicState{name: "t"}}, pool.memoryShare, pool.overdraw(lim.small), 1, time.Now())
	var o openBatch
	o.begin(batch, false)
	for {
		in := one("", stageText(rnd))
		result := o.tryAdd(in, 1, &lim, nil)
		if result == appendFull {
			break
		}
		if result == appendNeedChunk {
			o.grow(pool.overdraw(lim.nextChunk(batch, in.maxSize)))
		}
	}
	o.close()
	plain, raw := make([][]byte, len(batch.chunks)), batch.raw
	chunks := append([][]byte(nil), batch.chunks...)
	for i, c := range batch.chunks {
		plain[i] = append([]byte(nil), c...)
	}
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	for b.Loop() {
		if codec != compress.None {
			for len(batch.chunks) < len(chunks) { // the pool's only one of that size
				batch.chunks = append(batch.chunks, pool.overdraw(cap(chunks[len(batch.chunks)])))
			}
			for i, c := range plain {
				batch.chunks[i] = append(batch.chunks[i][:0], c...)
			}
		}
		batch.raw, batch.codec, batch.sealed, batch.headerDone = raw, compress.None, false, false
		if err := batch.seal(s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.records), "ns/record")
}

// The whole producer against an in-memory cluster, in one process. cpu-ns/record counts both.

// BenchmarkCluster measures the same load with little known of the cluster, with much known, and with much of
// that in use, always on three nodes. The first one is what the others are measured by.
func BenchmarkCluster(b *testing.B) {
	for _, c := range []struct {
		name                    string
		nodes, partitions, used int
	}{
		{"12Partitions3Nodes", 3, 12, 12},
		{"100kPartitions", 3, 100_000, 100},
		{"100Partitions", 3, 100, 100},
		{"1000Nodes", 1000, 4000, 12},
		{"100kPartitions1000Nodes", 1000, 100_000, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			cluster := quilltest.Start(b, quilltest.Options{Nodes: c.nodes, Pipes: true, Retain: -1, RetainRequests: -1})
			cluster.MustCreateTopic("t", c.partitions, quilltest.TopicConfig{})
			p, err := New(Config{BootstrapServers: cluster.BootstrapServers()[:1], DialContext: cluster.DialContext, BufferMemory: 64 << 20}, Bytes, Bytes)
			require.NoError(b, err)
			value := stageValue()
			sendMany(b, p, 1, func(i int) Record[[]byte, []byte] {
				at := i % c.used // partition n is led by node n % nodes
				return Record[[]byte, []byte]{Topic: "t", Partition: Partition(int32(at%3 + at/3*c.nodes)), Value: value}
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			require.NoError(b, p.Close(ctx))
		})
	}
}

// A hundred batches find their answers, which are in their order.
func BenchmarkAnswersOfARequest(b *testing.B) {
	topic := &topicState{name: "a"}
	r := &produceRequest{topics: []produceTopic{{topic: topic}}, response: message.ProduceResponse{Responses: []message.TopicProduceResponse{{Name: "a"}}}}
	for i := range int32(100) {
		r.batches = append(r.batches, &batch{queue: &partitionQueue{topic: topic, index: i}})
		answers := &r.response.Responses[0].PartitionResponses
		*answers = append(*answers, message.PartitionProduceResponse{Index: i})
	}
	for b.Loop() {
		r.atTopic, r.atPartition = 0, 0
		for _, batch := range r.batches {
			if r.answer(batch) == nil {
				b.Fatal("none")
			}
		}
	}
}
