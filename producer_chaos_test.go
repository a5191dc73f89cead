package quill_test

import (
	"context"
	"fmt"
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
//	QUILL_CHAOS_SEEDS=2000  run so many (60 if not set)
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
	p       *quill.BytesProducer

	patient    bool // delivery.timeout.ms is far longer than all faults together
	forgetful  bool // partitions forget producers and records; then no answer is ever lost
	goroutines int
	records    int           // per goroutine
	pause      time.Duration // between two records, at most
	faultsFor  time.Duration
	abrupt     bool     // Close gets little time
	world      chan int // a token per goroutine: whoever has all of them runs alone

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
		cfg.Idempotence = quill.Disabled
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

func (x *chaos) idempotent() bool { return x.cfg.Idempotence != quill.Disabled }

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
