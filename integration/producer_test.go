package integration

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/ledger"
)

// recordsOfRun is how many records the long tests send in all: QUILL_RECORDS, or enough for a run in CI.
func recordsOfRun(t *testing.T) int {
	t.Helper()
	words := os.Getenv("QUILL_RECORDS")
	if words == "" {
		return 200_000
	}
	n, err := strconv.Atoi(words)
	require.NoError(t, err, "QUILL_RECORDS")
	return n
}

// codecsOfRun are the codecs of the longest test: the comma-separated names in QUILL_CODECS, or one that is enough for CI.
func codecsOfRun(t *testing.T) []quill.Compression {
	t.Helper()
	words := os.Getenv("QUILL_CODECS")
	if words == "" {
		return []quill.Compression{quill.CompressionLZ4}
	}
	var codecs []quill.Compression
	for name := range strings.SplitSeq(words, ",") {
		codec := quill.CompressionNone
		for codec.String() != name {
			codec++
			require.LessOrEqual(t, codec, quill.CompressionZstd, "no codec %q (QUILL_CODECS)", name)
		}
		codecs = append(codecs, codec)
	}
	return codecs
}

// logLevel is what the producer logs into the test: warnings, or what QUILL_LOG says.
func logLevel() slog.Level {
	level := slog.LevelWarn
	if words := os.Getenv("QUILL_LOG"); words != "" {
		_ = level.UnmarshalText([]byte(words)) // an unknown word changes nothing
	}
	return level
}

// open counts the producers that newProducer made and the end of a test did not close yet.
var open atomic.Int32

// newProducer starts a producer that logs into the test. At the end of the test it is closed, if it was not
// before, and none of its goroutines may be left (I6); of several producers in a test the last one closed is checked.
func newProducer(t *testing.T, cfg quill.Config) *quill.Producer[[]byte, []byte] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: logLevel()}))
	}
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	open.Add(1)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if open.Add(-1) > 0 {
			return
		}
		left := goroutines()
		for deadline := time.Now().Add(2 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = goroutines() {
			time.Sleep(10 * time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("%d goroutines of the producer are left (I6):\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
	return p
}

// goroutines returns the stacks of all goroutines in which the library runs.
func goroutines() []string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var ours []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "\ngithub.com/quill-kafka/quill.") || strings.Contains(stack, "\ngithub.com/quill-kafka/quill/network.") {
			ours = append(ours, stack)
		}
	}
	return ours
}

// resultOf is a completion as the ledger takes it down.
func resultOf(m quill.RecordMetadata, err error) ledger.Result {
	r := ledger.Result{Outcome: ledger.Acknowledged, Partition: m.Partition, Offset: m.Offset, Timestamp: -1}
	if m.HasTimestamp() {
		r.Timestamp = m.Timestamp.UnixMilli()
	}
	if err == nil {
		return r
	}
	e, ok := errors.AsType[*quill.Error](err)
	if !ok {
		return ledger.Result{Outcome: ledger.MaybeWritten, Partition: -1, Offset: -1, Class: "no quill.Error: " + err.Error()}
	}
	r.Outcome = map[quill.Outcome]ledger.Outcome{
		quill.NotSent: ledger.NotSent, quill.MaybeWritten: ledger.MaybeWritten, quill.Rejected: ledger.Rejected,
	}[e.Outcome]
	r.Class = e.Code.Name()
	if e.Kind != nil {
		r.Class = e.Kind.Error()
	}
	if e.Attempts == 0 && !errors.Is(err, quill.ErrDeliveryTimeout) {
		r.Partition = -1 // it failed within Send: such a record is told before those that wait for their answer
	}
	return r
}

// load sends the records of a plan, each stream from a goroutine of its own.
type load struct {
	producer *quill.Producer[[]byte, []byte]
	topic    string
	ledger   *ledger.Ledger
	rate     int             // records a second, all streams together; 0: as fast as possible
	stop     <-chan struct{} // ends the load early; may be nil
	slowSend func(time.Duration)
	futures  bool // every other stream waits on futures instead of having callbacks

	sent atomic.Int64
	hold atomic.Int64 // no more than so many records are sent for now; 0: no limit
}

// run returns when every record was handed over. It does not wait for what callbacks tell, only for futures.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for stream := range l.ledger.Plan().Streams {
		wg.Go(func() { l.stream(ctx, stream) })
	}
	wg.Wait()
}

func (l *load) stream(ctx context.Context, stream int) {
	plan := l.ledger.Plan()
	begin := time.Now()
	send := func(counter int, r quill.Record[[]byte, []byte]) {
		l.producer.SendFunc(ctx, r, func(m quill.RecordMetadata, err error) {
			l.ledger.Done(stream, counter, resultOf(m, err))
		})
	}
	if l.futures && stream%2 == 1 {
		w := l.watch(ctx, stream)
		defer w.end()
		send = func(counter int, r quill.Record[[]byte, []byte]) {
			w.sent <- sentRecord{counter, l.producer.Send(ctx, r)}
		}
	}
	var key, value []byte
	for counter := range plan.PerStream {
		select {
		case <-l.stop:
			return
		default:
		}
		for hold := l.hold.Load(); hold > 0 && l.sent.Load() >= hold && ctx.Err() == nil; hold = l.hold.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		if l.rate > 0 && counter%50 == 0 {
			due := begin.Add(time.Duration(counter) * time.Second * time.Duration(plan.Streams) / time.Duration(l.rate))
			time.Sleep(time.Until(due))
		}
		key, value = plan.AppendKey(key[:0], stream, counter), plan.AppendValue(value[:0], stream, counter)
		r := quill.Record[[]byte, []byte]{Topic: l.topic, Key: key, Value: value}
		if plan.Keys == 0 {
			r.Key = nil
		}
		for _, h := range plan.RecordHeaders(stream, counter) {
			r.Headers.Add(h.Name, h.Value)
		}
		l.ledger.Sent(stream, counter)
		begun := time.Now()
		send(counter, r)
		if l.slowSend != nil {
			l.slowSend(time.Since(begun))
		}
		l.sent.Add(1)
	}
}

// watcher waits on the futures of one stream, in the order of its sends.
type watcher struct {
	sent chan sentRecord
	done chan struct{}
}

type sentRecord struct {
	counter int
	future  quill.Future
}

// watch starts a watcher that tells the ledger. A future that says something else when it is asked again was completed twice.
func (l *load) watch(ctx context.Context, stream int) *watcher {
	w := &watcher{sent: make(chan sentRecord, 1<<16), done: make(chan struct{})}
	go func() { // ends with end
		defer close(w.done)
		for s := range w.sent {
			m, err := s.future.Wait(ctx)
			l.ledger.Done(stream, s.counter, resultOf(m, err))
			if again, errAgain := s.future.Wait(ctx); again != m || (err == nil) != (errAgain == nil) {
				l.ledger.Done(stream, s.counter, resultOf(again, errAgain))
			}
		}
	}()
	return w
}

// end returns when every future was waited for.
func (w *watcher) end() {
	close(w.sent)
	<-w.done
}

// rulesOf are what every run with Kafka's defaults promises. Two readers that share the processors with three
// brokers make callbacks late: the bound has ten seconds of slack.
func rulesOf() ledger.Rules {
	return ledger.Rules{Idempotent: true, DeliveryTimeout: 2 * time.Minute, BlockTimeout: time.Minute, Slack: 10 * time.Second}
}

// requireFailure checks kind and outcome of a failed send.
func requireFailure(t *testing.T, err, kind error, outcome quill.Outcome) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%T is no *quill.Error", err)
	require.Equal(t, outcome, e.Outcome, "%v", err)
	t.Log(err)
}
