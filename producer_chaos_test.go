package quill_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The property test of delivery: a random producer under random faults, and afterwards what it said
// about each record is held against what the cluster's log holds.
//
//	QUILL_CHAOS_SEED=17     run this seed only
//	QUILL_CHAOS_SEEDS=2000  run this many (60 if not set)
//	QUILL_CHAOS_FIRST=500   begin with this seed
//	QUILL_CHAOS_LOG=1       show what the producer logs, for seeds that fail
//
// A seed decides the configuration, what is sent and the faults with their times. The order in which
// goroutines run at one instant is not its own, so a failure may need a few runs to come back.

func TestChaos(t *testing.T) {
	if one := os.Getenv("QUILL_CHAOS_SEED"); one != "" {
		runChaos(t, uint64(testkit.Number(t, one)))
		return
	}
	first, n := testkit.Number(t, os.Getenv("QUILL_CHAOS_FIRST")), 60
	if s := os.Getenv("QUILL_CHAOS_SEEDS"); s != "" {
		n = testkit.Number(t, s)
	}
	for i := range n {
		runChaos(t, uint64(first+i))
	}
}

func runChaos(t *testing.T, seed uint64) {
	t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
		watchdog := time.AfterFunc(testkit.ChaosLimit, func() { panic(fmt.Sprintf("chaos seed %d: time stands still", seed)) })
		defer watchdog.Stop()
		synctest.Test(t, func(t *testing.T) {
			x := newChaos(t, seed)
			defer x.cluster.Close()
			x.run()
			for _, fault := range x.check() {
				t.Error(fault)
			}
			if t.Failed() {
				t.Logf("%v\nQUILL_CHAOS_SEED=%d go test -run TestChaos .", x, seed)
			}
		})
	})
}

// chaosTopic is a topic of the test.
type chaosTopic struct {
	name       string
	partitions int
	cfg        quilltest.TopicConfig
}

var chaosTopics = []chaosTopic{
	{"plain", 4, quilltest.TopicConfig{}},
	{"small", 2, quilltest.TopicConfig{MaxMessageBytes: 1500}},
	{"strict", 3, quilltest.TopicConfig{MinISR: 2, LogAppendTime: true}},
}

// sent is one record in the ledger.
type sent struct {
	topic     string
	value     []byte
	returned  time.Time // when Send did
	done      time.Time
	completed int
	meta      quill.RecordMetadata
	err       error
}

// chaos is one run.
type chaos struct {
	t       *testing.T
	seed    uint64
	opts    quilltest.Options
	cfg     quill.Config
	cluster *quilltest.Cluster
	p       *quill.Producer[[]byte, []byte]

	patient    bool // delivery.timeout.ms is far longer than all faults together
	forgetful  bool // partitions forget producers and records; then no answer is ever lost
	goroutines int
	records    int           // per goroutine
	pause      time.Duration // between two records, at most
	faultsFor  time.Duration
	abrupt     bool     // Close gets little time
	world      chan int // a token per goroutine: the one that has all of them runs alone

	mu sync.Mutex // guards the records in the ledger too, while goroutines run
	// +checklocks:mu
	ledger [][]*sent // per goroutine, in the order of sending
	// +checklocks:mu
	last map[string]int // per goroutine and partition, the last record called back
	// +checklocks:mu
	faults []string
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newChaos draws everything that a seed decides but the faults' times.
func newChaos(t *testing.T, seed uint64) *chaos {
	r := rand.New(rand.NewPCG(seed, 1))
	x := &chaos{t: t, seed: seed, last: map[string]int{}}
	x.patient, x.forgetful, x.abrupt = r.IntN(2) == 0, r.IntN(6) == 0, r.IntN(5) == 0
	x.goroutines, x.records = 1+r.IntN(4), 50+r.IntN(250)
	x.pause = pick(r, 0, time.Millisecond, 10*time.Millisecond, 60*time.Millisecond)
	x.faultsFor = time.Duration(1+r.IntN(8)) * time.Second
	x.opts = quilltest.Options{Pipes: true, Strict: true, Release: pick(r, "", "", "", "3.9", "3.3", "2.8", "2.1")}
	var err error
	x.cluster, err = quilltest.NewCluster(x.opts)
	require.NoError(t, err)
	for _, topic := range chaosTopics {
		x.cluster.MustCreateTopic(topic.name, topic.partitions, topic.cfg)
	}
	x.cfg = chaosConfig(r, x.patient)
	x.cfg.BootstrapServers, x.cfg.DialContext = x.cluster.BootstrapServers(), x.cluster.DialContext
	x.ledger = make([][]*sent, x.goroutines)
	x.world = make(chan int, x.goroutines)
	for i := range x.goroutines {
		x.world <- i
	}
	if os.Getenv("QUILL_CHAOS_LOG") != "" {
		x.cfg.Logger = chaosLogger(t)
	}
	x.p, err = quill.New(x.cfg, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	x.p.SealWith(int(seed % 3))
	return x
}

// chaosConfig draws the producer's configuration.
func chaosConfig(r *rand.Rand, patient bool) quill.Config {
	cfg := quill.Config{
		Compression:                      quill.Compression(r.IntN(5)),
		Linger:                           pick(r, -1, 0, 20*time.Millisecond, 300*time.Millisecond),
		BatchSize:                        pick(r, -1, 400, 1000, 4096, 16384),
		MaxInFlightRequestsPerConnection: 1 + r.IntN(5),
		RequestTimeout:                   pick(r, 200*time.Millisecond, time.Second, 4*time.Second),
		RetryBackoff:                     pick(r, 0, 10*time.Millisecond),
		ReconnectBackoff:                 pick(r, 0, 10*time.Millisecond),
		MaxBlock:                         pick(r, 0, 300*time.Millisecond),
		MaxRequestSize:                   pick(r, 0, 0, 5000),
	}
	cfg.BufferMemory = pick[int64](r, 0, 2, 8) * int64(max(cfg.BatchSize, 2048))
	if !patient {
		cfg.DeliveryTimeout = cfg.RequestTimeout + max(cfg.Linger, 5*time.Millisecond) + time.Duration(r.IntN(3000))*time.Millisecond
	}
	if r.IntN(4) == 0 {
		cfg.Idempotence = new(false)
		cfg.Acks = pick(r, quill.AcksAll, quill.AcksLeader, quill.AcksNone)
	}
	return cfg
}

func (x *chaos) String() string {
	return fmt.Sprintf("release %q, codec %v, linger %v, batch %d, buffer %d, in flight %d, request %v, delivery %v, max block %v, max request %d, idempotence %v, acks %v, "+
		"patient %v, forgetful %v, abrupt %v, %d x %d records every %v, faults for %v", x.opts.Release, x.cfg.Compression, x.cfg.Linger, x.cfg.BatchSize, x.cfg.BufferMemory,
		x.cfg.MaxInFlightRequestsPerConnection, x.cfg.RequestTimeout, x.cfg.DeliveryTimeout, x.cfg.MaxBlock, x.cfg.MaxRequestSize, x.cfg.Idempotence, x.cfg.Acks,
		x.patient, x.forgetful, x.abrupt, x.goroutines, x.records, x.pause, x.faultsFor)
}

func (x *chaos) idempotent() bool { return x.cfg.Idempotence == nil }

// run sends under faults, heals, and closes.
func (x *chaos) run() {
	var all sync.WaitGroup
	all.Go(x.breakThings)
	for g := range x.goroutines {
		all.Go(func() { x.send(g) })
	}
	if x.abrupt {
		time.Sleep(time.Duration(rand.New(rand.NewPCG(x.seed, 2)).Int64N(int64(x.faultsFor))))
		ctx, cancel := context.WithTimeout(x.t.Context(), 50*time.Millisecond)
		started := time.Now()
		if err := x.p.Close(ctx); err != nil && !isForced(err) {
			x.fault("close: %v", err)
		}
		if took := time.Since(started); took > 300*time.Millisecond {
			x.fault("close with 50ms took %v", took)
		}
		cancel()
	}
	all.Wait()
	if !x.abrupt {
		x.drain()
	}
	if err := x.p.Close(x.t.Context()); err != nil && !isForced(err) {
		x.fault("close: %v", err)
	}
	time.Sleep(time.Minute) // late copies arrive
}

// drain flushes a producer whose cluster is well again. That takes no longer than a few
// time-outs and back-offs: nothing is stuck.
func (x *chaos) drain() {
	ctx, cancel := context.WithTimeout(x.t.Context(), 20*time.Second)
	defer cancel()
	if err := x.p.Flush(ctx); err != nil {
		x.fault("flush after the cluster is well: %v", err)
	}
	x.mu.Lock()
	open := 0
	for _, l := range x.ledger {
		for _, s := range l {
			if s.completed == 0 {
				open++
			}
		}
	}
	x.mu.Unlock()
	if open > 0 {
		x.fault("%d records have no outcome after Flush", open)
	}
}

func (x *chaos) fault(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faultLocked(format, args...)
}

// +checklocks:x.mu
func (x *chaos) faultLocked(format string, args ...any) {
	if len(x.faults) < 12 {
		x.faults = append(x.faults, fmt.Sprintf(format, args...))
	}
}

// What the goroutines of TestChaos send, and how outcomes come into the ledger.

func chaosLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("t", a.Value.Time().Format("05.000"))
		}
		return a
	}}))
}

func isForced(err error) bool { return errors.Is(err, quill.ErrForceClosed) }

// send is one goroutine's work.
func (x *chaos) send(g int) {
	r := rand.New(rand.NewPCG(x.seed, uint64(100+g)))
	var open sync.WaitGroup
	defer open.Wait()
	for i := range x.records {
		if x.pause > 0 && r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.Int64N(int64(x.pause))))
		}
		token := <-x.world
		x.sendOne(g, i, r, &open)
		x.world <- token
		if r.IntN(60) == 0 {
			x.flush(r)
		}
	}
}

// sendOne sends the goroutine's i-th record in one of the ways there are.
func (x *chaos) sendOne(g, i int, r *rand.Rand, open *sync.WaitGroup) {
	topic := chaosTopics[r.IntN(len(chaosTopics))]
	s := &sent{topic: topic.name, value: chaosValue(g, i, r)}
	rec := quill.Record[[]byte, []byte]{Topic: topic.name, Value: s.value}
	switch r.IntN(3) {
	case 0:
		rec.Partition = quill.Partition(int32(r.IntN(topic.partitions)))
	case 1:
		rec.Key = s.value[:4]
	}
	x.mu.Lock()
	x.ledger[g] = append(x.ledger[g], s)
	x.mu.Unlock()
	ctx := x.t.Context()
	started := time.Now()
	switch n := r.IntN(100); {
	case n < 60:
		x.p.SendFunc(ctx, rec, func(m quill.RecordMetadata, err error) { x.calledBack(g, i, s, m, err) })
	case n < 85:
		f := x.p.Send(ctx, rec)
		open.Go(func() {
			m, err := f.Wait(context.Background())
			x.completed(s, m, err)
		})
	case n < 95:
		m, err := x.p.SendSync(ctx, rec)
		x.completed(s, m, err)
		started = time.Now() // not a send alone
	default:
		if !x.p.TrySendFunc(rec, func(m quill.RecordMetadata, err error) { x.calledBack(g, i, s, m, err) }) {
			x.completed(s, quill.RecordMetadata{Topic: s.topic, Partition: -1, Offset: -1}, &quill.Error{Op: "try", Kind: quill.ErrWouldBlock})
		}
	}
	maxBlock := x.cfg.MaxBlock
	if maxBlock == 0 {
		maxBlock = time.Minute
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.returned = time.Now()
	if took := s.returned.Sub(started); took > maxBlock+chaosSlack {
		x.faultLocked("Send of %d/%d took %v", g, i, took)
	}
}

// chaosValue returns the goroutine, the number and some bytes that compress a little.
func chaosValue(g, i int, r *rand.Rand) []byte {
	n := 8 + r.IntN(200)
	if r.IntN(30) == 0 {
		n += r.IntN(1700)
	}
	v := make([]byte, n)
	for j := range v {
		v[j] = byte(r.IntN(20))
	}
	binary.BigEndian.PutUint32(v, uint32(g))
	binary.BigEndian.PutUint32(v[4:], uint32(i))
	return v
}

// chaosNumber reads what chaosValue wrote.
func chaosNumber(v []byte) (g, i int) {
	return int(binary.BigEndian.Uint32(v)), int(binary.BigEndian.Uint32(v[4:]))
}

// calledBack is the callback of record i of a goroutine.
func (x *chaos) calledBack(g, i int, s *sent, m quill.RecordMetadata, err error) {
	x.completed(s, m, err)
	x.mu.Lock()
	defer x.mu.Unlock()
	if neverAppended(err) {
		return
	}
	key := fmt.Sprint(g, m.Topic, m.Partition)
	if before, ok := x.last[key]; ok && before > i {
		if x.ordered() {
			x.faultLocked("callback of %d/%d (%v, err %v) ran after that of %d/%d, in %s-%d", g, i, m.Offset, err, g, before, m.Topic, m.Partition)
		}
	}
	x.last[key] = max(i, x.last[key])
}

// neverAppended reports whether a record failed in its Send, where its callback ran then.
func neverAppended(err error) bool {
	e, ok := errors.AsType[*quill.Error](err)
	if !ok || e.Attempts > 0 || e.Code != 0 || errors.Is(err, quill.ErrForceClosed) || errors.Is(err, quill.ErrDeliveryTimeout) {
		return false
	}
	return errors.Is(err, quill.ErrClosed) || errors.Is(err, quill.ErrTimeout) || errors.Is(err, quill.ErrRecordTooLarge) || errors.Is(err, quill.ErrWouldBlock)
}

// completed notes an outcome.
func (x *chaos) completed(s *sent, m quill.RecordMetadata, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s.completed++
	s.done, s.meta, s.err = time.Now(), m, err
}

// flush is a Flush that may be cut short.
func (x *chaos) flush(r *rand.Rand) {
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	if r.IntN(2) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(500))*time.Millisecond)
		defer cancel()
	}
	if err := x.p.Flush(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) && !(x.abrupt && errors.Is(err, quill.ErrClosed)) {
		x.fault("flush: %v", err)
	}
}
