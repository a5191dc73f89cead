package quill_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// lines are the log's lines that hold the text.
func (l *logText) lines(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// asked is what a call in a callback returned.
type asked struct {
	call string
	err  error
}

// waitingCalls are all methods that can wait for the dispatcher.
var waitingCalls = []struct {
	name string
	do   func(ctx context.Context, p *quill.Producer[string, string], pending quill.Future) error
}{
	{"SendAll", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		n := 0
		for m, err := range p.SendAll(ctx, numbered("t", 3, new(int))) {
			if n++; err == nil || m.Offset >= 0 {
				return err
			}
		}
		if n != 3 {
			return context.DeadlineExceeded // each record has its outcome
		}
		for _, err := range p.SendAll(ctx, numbered("t", 3, new(int))) {
			return err
		}
		return nil
	}},
	{"Wait", func(ctx context.Context, _ *quill.Producer[string, string], pending quill.Future) error {
		_, err := pending.Wait(ctx)
		return err
	}},
	{"SendSync", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		_, err := p.SendSync(ctx, rec("t", "k", "inner"))
		return err
	}},
	{"Flush", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.Flush(ctx)
	}},
	{"PartitionsFor", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		_, err := p.PartitionsFor(ctx, "unknown")
		return err
	}},
	{"InTransaction", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.InTransaction(ctx, func(*quill.Tx[string, string]) error { return nil })
	}},
	{"Close", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		return p.Close(ctx)
	}},
}

// plugIn makes the call in one of the places where user code runs.
type plugIn struct {
	place string
	make  func()
}

func (x *plugIn) at(place string) {
	if x.place == place && x.make != nil {
		do := x.make
		x.make = nil
		do()
	}
}

func (x *plugIn) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	if r.Value == "inner" {
		x.at("OnSend")
	}
	return r, nil
}

func (x *plugIn) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) {
	x.at("OnAcknowledgement")
}

func (x *plugIn) Partition(in quill.PartitionInput) (int32, error) {
	if string(in.Value) == "inner" {
		x.at("Partition")
	}
	return 0, nil
}

func (x *plugIn) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	if v == "inner" {
		x.at("Serialize")
	}
	return append(dst, v...), nil
}

// Whatever can wait is refused where it would wait for itself: on the dispatcher, in whichever plug-in.
func TestWhatWouldWaitForItselfIsRefused(t *testing.T) {
	for _, place := range []string{"callback", "OnAcknowledgement", "OnSend", "Partition", "Serialize"} {
		for _, call := range waitingCalls {
			t.Run(place+"/"+call.name, func(t *testing.T) {
				bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					cfg := config(c)
					x := &plugIn{place: place}
					cfg.Partitioner = x
					cfg.Linger = time.Minute
					p, err := quill.New(cfg, quill.String, quill.Serializer[string](x), quill.Interceptor[string, string](x))
					require.NoError(t, err)
					giveUpIfFailed(t, p)
					told := make(chan asked, 1)
					x.make = func() {
						told <- asked{call.name, call.do(context.Background(), p, p.Send(t.Context(), rec("t", "k", "later")))}
					}
					p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) {
						x.at("callback")
						if x.make != nil { // in the Send that the callback makes
							p.SendFunc(t.Context(), rec("t", "k", "inner"), nil)
						}
					})
					within(t, 0, 2*time.Minute, func() {
						require.ErrorIs(t, (<-told).err, quill.ErrInCallback)
						_ = p.Close(context.Background())
					})
				})
			})
		}
	}
}

// SendAll in a callback sends nothing, and says so for each record.
func TestSendAllInACallbackIsRefused(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := open(t, config(c))
		told := make(chan error, 10)
		p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			for m, err := range p.SendAll(t.Context(), numbered("t", 3, new(int))) {
				if m.Topic != "t" || m.Offset != -1 {
					t.Error(m)
				}
				told <- err
			}
			close(told)
		})
		n := 0
		for err := range told {
			checkNotSent(t, err, "t", -1)
			require.ErrorIs(t, err, quill.ErrInCallback)
			n++
		}
		require.Equal(t, 3, n)
		closeProducer(t, p)
		require.Len(t, logged(t, c, "t", 0), 1)
	})
}

// A future of another producer may be waited for in a callback: its dispatcher is another one.
func TestAFutureOfAnotherProducerIsWaitedForInACallback(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, other := open(t, config(c)), open(t, config(c))
		told := make(chan error, 1)
		p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			_, err := other.Send(t.Context(), rec("t", "k", "v")).Wait(t.Context())
			told <- err
		})
		require.NoError(t, <-told)
		closeProducer(t, p)
		closeProducer(t, other)
	})
}

// A callback that does not return is seen in the log: the producer, the partition, and for how long.
func TestACallbackThatDoesNotReturnIsLogged(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		var log logText
		cfg.Logger, cfg.ClientID = log.logger(), "payments"
		p := open(t, cfg)
		release, entered := make(chan struct{}), make(chan struct{})
		p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) { close(entered); <-release })
		<-entered
		time.Sleep(9900 * time.Millisecond)
		require.Empty(t, log.lines("callback"))
		time.Sleep(6 * time.Second)
		found := log.lines("a callback has not returned")
		require.Len(t, found, 1)
		for _, text := range []string{"level=WARN", "client_id=payments", "topic=t", "partition=0"} {
			require.Contains(t, found[0], text)
		}
		time.Sleep(5 * time.Minute)
		n := len(log.lines("a callback has not returned"))
		require.GreaterOrEqual(t, n, 4, "it is repeated")
		require.LessOrEqual(t, n, 7, "but not often")
		close(release)
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		require.Len(t, log.lines("a callback has not returned"), n)
		closeProducer(t, p)
	})
}

// Many quick callbacks are not one slow one, nor are those that take nine seconds each.
func TestCallbacksThatReturnAreNotLogged(t *testing.T) {
	for _, each := range []time.Duration{time.Millisecond, 9 * time.Second} {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := config(c)
			var log logText
			cfg.Logger = log.logger()
			p := open(t, cfg)
			n := int(time.Minute / each)
			for range min(n, 2000) {
				p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) { time.Sleep(each) })
			}
			require.NoError(t, p.Flush(t.Context()))
			closeProducer(t, p)
			require.Empty(t, log.lines("callback"))
		})
	}
}
