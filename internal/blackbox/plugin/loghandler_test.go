package plugin_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// askingLog is a handler that makes a call when it gets a certain line.
type askingLog struct {
	line string
	ask  *atomic.Pointer[func()]
}

func (askingLog) Enabled(context.Context, slog.Level) bool { return true }
func (x askingLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, x.line) {
		if ask := x.ask.Swap(nil); ask != nil {
			(*ask)()
		}
	}
	return nil
}
func (x askingLog) WithAttrs([]slog.Attr) slog.Handler { return x }
func (x askingLog) WithGroup(string) slog.Handler      { return x }

// A handler of the log runs while the goroutine that logs waits for it: the sender, the dispatcher, a connection. What
// would wait for these is refused there, as in a callback, and the producer goes on.
func TestWhatALogHandlerWouldWaitForIsRefused(t *testing.T) {
	calls := waitingCalls
	calls = append(calls[:len(calls):len(calls)], struct {
		name string
		do   func(ctx context.Context, p *quill.Producer[string, string], pending quill.Future) error
	}{"Send to a new topic", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		_, err := p.Send(ctx, testkit.Rec("other", "k", "v")).Wait(ctx)
		return err
	}})
	for _, line := range []string{"could not connect to node", "callback panicked"} {
		for _, call := range calls {
			t.Run(line+"/"+call.name, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					c.MustCreateTopic("other", 1, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					log := askingLog{line, new(atomic.Pointer[func()])}
					cfg.Logger = slog.New(log)
					p := testkit.Open(t, cfg)
					testkit.SendOK(t, p, "t")
					told := make(chan error, 1)
					log.ask.Store(new(func() {
						told <- call.do(context.Background(), p, p.Send(t.Context(), testkit.Rec("t", "k", "later")))
					}))
					testkit.Within(t, 0, 10*time.Second, func() {
						if line == "callback panicked" {
							p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { panic("in a callback") })
						} else {
							require.NoError(t, c.StopNode(1))
							p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), nil)
						}
						require.ErrorIs(t, <-told, quill.ErrInCallback)
					})
					if line != "callback panicked" {
						require.NoError(t, c.StartNode(1))
					}
					if call.name != "Close" {
						testkit.SendOK(t, p, "t")
					}
					_ = p.Close(t.Context())
				})
			})
		}
	}
}

// A handler may send, as long as that needs no waiting: its lines can go to Kafka through the producer that logs them.
func TestALogHandlerMaySend(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		log := askingLog{"connection to node lost", new(atomic.Pointer[func()])}
		cfg.Logger = slog.New(log)
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		told := make(chan error, 1)
		log.ask.Store(new(func() {
			p.SendFunc(context.Background(), testkit.Rec("t", "k", "a line"), func(_ quill.RecordMetadata, err error) { told <- err })
		}))
		require.NoError(t, c.Disconnect(1))
		require.NoError(t, <-told)
		testkit.CloseProducer(t, p)
	})
}
