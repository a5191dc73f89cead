package delivery_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A process that stands still, as its callers see it: what nodes answer lies in the sockets, and a deadline that
// passes is noticed when the process goes on.

// sockets are the connections of a producer. While they sleep, what arrives is read only by who asks with a fresh
// deadline, as the readers do when they catch up.
type sockets struct{ asleep atomic.Bool }

func (s *sockets) dial(cfg *quill.Config) {
	dial := cfg.DialContext
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &sleepySocket{Conn: nc, all: s, asked: make(chan struct{}, 1), gone: make(chan struct{})}, nil
	}
}

type sleepySocket struct {
	net.Conn
	all   *sockets
	asked chan struct{}
	gone  chan struct{}
	close sync.Once
}

func (s *sleepySocket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 && s.all.asleep.Load() {
		select {
		case <-s.asked:
		case <-s.gone:
			return 0, net.ErrClosed
		}
	}
	return n, err
}

func (s *sleepySocket) SetReadDeadline(t time.Time) error {
	if s.all.asleep.Load() {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	return s.Conn.SetReadDeadline(t)
}

// Close lets a reader go, without what has arrived.
func (s *sleepySocket) Close() error {
	s.close.Do(func() { close(s.gone) })
	return s.Conn.Close()
}

// lateContext is a context whose deadline has long been over when that is noticed.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// frozen returns a context with a deadline after a second, in a process that goes on after two and a half.
func frozen(t *testing.T) context.Context {
	return lateContext{testkit.After(t, 2500*time.Millisecond), time.Now().Add(time.Second)}
}

// callsFrozen are the calls that wait for answers, with the request whose answer they wait for. Each begins when the
// producer is ready for it.
var callsFrozen = []struct {
	name  string
	api   protocol.APIKey
	txn   bool
	ready func(t *testing.T, p *quill.Producer[string, string])
	call  func(ctx context.Context, p *quill.Producer[string, string]) error
}{
	{"InitTransactions", protocol.InitProducerID, true, nil,
		func(ctx context.Context, p *quill.Producer[string, string]) error { return p.InitTransactions(ctx) }},
	{"CommitTransaction", protocol.EndTxn, true, inTransaction,
		func(ctx context.Context, p *quill.Producer[string, string]) error { return p.CommitTransaction(ctx) }},
	{"AbortTransaction", protocol.EndTxn, true, inTransaction,
		func(ctx context.Context, p *quill.Producer[string, string]) error { return p.AbortTransaction(ctx) }},
	{"SendOffsetsToTransaction", protocol.TxnOffsetCommit, true, inTransaction,
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 1}}
			return p.SendOffsetsToTransaction(ctx, offsets, quill.GroupMetadata{GroupID: "g"})
		}},
	{"PartitionsFor", protocol.Metadata, false, sentBefore, // and each Send to a topic that is not known yet
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			_, err := p.PartitionsFor(ctx, "u")
			return err
		}},
	{"SendSync", protocol.Produce, false, sentBefore,
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			_, err := p.SendSync(ctx, testkit.Rec("t", "k", "v"))
			return err
		}},
	{"Flush", protocol.Produce, false, sentBefore,
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			p.SendFunc(ctx, testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {})
			return p.Flush(ctx)
		}},
	{"Close", protocol.Produce, false, sentBefore,
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			f := p.Send(ctx, testkit.Rec("t", "k", "v"))
			if err := p.Close(ctx); err != nil {
				return err
			}
			_, err := f.Wait(context.Background())
			return err
		}},
	{"Close while committing", protocol.EndTxn, true, inTransaction,
		func(ctx context.Context, p *quill.Producer[string, string]) error {
			committed := make(chan error)
			go func() { committed <- p.CommitTransaction(context.Background()) }()
			synctest.Wait()
			if err := p.Close(ctx); err != nil {
				<-committed
				return err
			}
			return <-committed
		}},
}

func sentBefore(t *testing.T, p *quill.Producer[string, string]) { testkit.Known(t, p, "t") }

func inTransaction(t *testing.T, p *quill.Producer[string, string]) {
	require.NoError(t, p.InitTransactions(t.Context()))
	require.NoError(t, p.BeginTransaction())
	testkit.Known(t, p, "t")
}

// eachWait runs the test for each of the waits: call is the wait, about which the node does what the fault says.
func eachWait(t *testing.T, fault quilltest.Fault, test func(t *testing.T, s *sockets, call func(ctx context.Context) error)) {
	t.Helper()
	for _, w := range callsFrozen {
		t.Run(w.name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				c.MustCreateTopic("u", 1, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				s := &sockets{}
				s.dial(&cfg)
				if w.txn {
					cfg.TransactionalID = testkit.TxnID
				}
				p := testkit.Open(t, cfg)
				if w.ready != nil {
					w.ready(t, p)
				}
				hit := fault
				hit.APIs = []protocol.APIKey{w.api}
				c.Inject(hit)
				test(t, s, func(ctx context.Context) error { return w.call(ctx, p) })
				s.asleep.Store(false)
				_ = p.Close(testkit.Ended(context.Canceled))
			})
		})
	}
}

func TestAWaitThatWasOverInAStandstillTakesTheAnswerInTheSocket(t *testing.T) {
	eachWait(t, quilltest.Fault{AnswerDelay: 200 * time.Millisecond}, func(t *testing.T, s *sockets, call func(context.Context) error) {
		time.AfterFunc(100*time.Millisecond, func() { s.asleep.Store(true) })
		testkit.Within(t, 2500*time.Millisecond, 2600*time.Millisecond, func() { require.NoError(t, call(frozen(t))) })
	})
}

// If there is no answer the wait is over as soon as the readers have looked.
func TestAWaitThatWasOverInAStandstillIsNotWaitedForLong(t *testing.T) {
	eachWait(t, quilltest.Fault{DropAnswer: true}, func(t *testing.T, _ *sockets, call func(context.Context) error) {
		testkit.Within(t, 2500*time.Millisecond, 2600*time.Millisecond, func() { require.ErrorIs(t, call(frozen(t)), context.DeadlineExceeded) })
	})
}

// A deadline in time ends the wait in time: nothing is looked for. So does the end of a context that has no deadline,
// or had ended before.
func TestAWaitThatIsOverInTimeEndsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		ctx   func(t *testing.T) context.Context
		after time.Duration
	}{
		"deadline": {func(t *testing.T) context.Context { return testkit.After(t, time.Second) }, time.Second},
		"cancelled": {func(t *testing.T) context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			return lateContext{ctx, time.Now().Add(time.Millisecond)}
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			eachWait(t, quilltest.Fault{AnswerDelay: 200 * time.Millisecond}, func(t *testing.T, s *sockets, call func(context.Context) error) {
				time.AfterFunc(100*time.Millisecond, func() { s.asleep.Store(true) })
				testkit.Within(t, c.after, c.after, func() { require.Error(t, call(c.ctx(t))) })
			})
		})
	}
}

// max.block.ms is such a deadline.
func TestMaxBlockIsABoundInTime(t *testing.T) {
	testkit.InRelease(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MaxBlock = time.Second }, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, AnswerDelay: 1500 * time.Millisecond})
		testkit.Within(x.T, time.Second, time.Second, func() { require.ErrorIs(x, x.P.InitTransactions(x.Context()), quill.ErrTimeout) })
		require.NoError(x, x.P.InitTransactions(x.Context()))
	})
}

// A Close that is forced, and finds nothing to give up, closed the producer as any other.
func TestAForcedCloseThatGaveUpNothingIsNoError(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(testkit.Ended(testkit.ErrOwn))) })
		require.NoError(t, p.Close(t.Context()))
	})
}

// One that leaves a transaction open is an error although no record was given up.
func TestAForcedCloseSaysThatATransactionWasGivenUp(t *testing.T) {
	for name, open := range map[string]bool{"open": true, "committed": false} {
		t.Run(name, func(t *testing.T) {
			testkit.InRelease(t, quilltest.Options{}, nil, func(x *testkit.TxnLab) {
				inTransaction(x.T, x.P)
				if !open {
					x.Commit()
					require.NoError(x, x.P.Close(testkit.Ended(testkit.ErrOwn)))
					return
				}
				err := x.P.Close(testkit.Ended(testkit.ErrOwn))
				require.ErrorIs(x, err, quill.ErrForceClosed)
				require.ErrorIs(x, err, testkit.ErrOwn)
				require.ErrorContains(x, err, "the transaction was left open: its coordinator aborts it when it is older than 1m0s (transaction.timeout.ms)")
				time.Sleep(2 * time.Minute) // its coordinator aborts it
			})
		})
	}
}
