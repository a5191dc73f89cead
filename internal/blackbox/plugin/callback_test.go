package plugin_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

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
		for m, err := range p.SendAll(ctx, testkit.Numbered("t", 3, new(int))) {
			if n++; err == nil || m.Offset >= 0 {
				return err
			}
		}
		if n != 3 {
			return context.DeadlineExceeded // each record has its outcome
		}
		for _, err := range p.SendAll(ctx, testkit.Numbered("t", 3, new(int))) {
			return err
		}
		return nil
	}},
	{"Wait", func(ctx context.Context, _ *quill.Producer[string, string], pending quill.Future) error {
		_, err := pending.Wait(ctx)
		return err
	}},
	{"SendSync", func(ctx context.Context, p *quill.Producer[string, string], _ quill.Future) error {
		_, err := p.SendSync(ctx, testkit.Rec("t", "k", "inner"))
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

// Each call that can wait is refused where it would wait for itself: on the dispatcher, in whichever plug-in.
func TestWhatWouldWaitForItselfIsRefused(t *testing.T) {
	for _, place := range []string{"callback", "OnAcknowledgement", "OnSend", "Partition", "Serialize"} {
		for _, call := range waitingCalls {
			t.Run(place+"/"+call.name, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					x := &plugIn{place: place}
					cfg.Partitioner = x
					cfg.Linger = time.Minute
					p, err := quill.New(cfg, quill.String, quill.Serializer[string](x), quill.Interceptor[string, string](x))
					require.NoError(t, err)
					testkit.GiveUpIfFailed(t, p)
					told := make(chan asked, 1)
					x.make = func() {
						told <- asked{call.name, call.do(context.Background(), p, p.Send(t.Context(), testkit.Rec("t", "k", "later")))}
					}
					p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {
						x.at("callback")
						if x.make != nil { // in the Send that the callback makes
							p.SendFunc(t.Context(), testkit.Rec("t", "k", "inner"), nil)
						}
					})
					testkit.Within(t, 0, 2*time.Minute, func() {
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
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		told := make(chan error, 10)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			for m, err := range p.SendAll(t.Context(), testkit.Numbered("t", 3, new(int))) {
				if m.Topic != "t" || m.Offset != -1 {
					t.Error(m)
				}
				told <- err
			}
			close(told)
		})
		n := 0
		for err := range told {
			testkit.CheckNotSent(t, err, "t", -1)
			require.ErrorIs(t, err, quill.ErrInCallback)
			n++
		}
		require.Equal(t, 3, n)
		testkit.CloseProducer(t, p)
		require.Len(t, testkit.Logged(t, c, "t", 0), 1)
	})
}

// A future of another producer may be waited for in a callback: its dispatcher is another one.
func TestAFutureOfAnotherProducerIsWaitedForInACallback(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, other := testkit.Open(t, testkit.Config(c)), testkit.Open(t, testkit.Config(c))
		told := make(chan error, 1)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) {
			_, err := other.Send(t.Context(), testkit.Rec("t", "k", "v")).Wait(t.Context())
			told <- err
		})
		require.NoError(t, <-told)
		testkit.CloseProducer(t, p)
		testkit.CloseProducer(t, other)
	})
}

// A callback that does not return is seen in the log: the producer, the partition, and for how long.
func TestACallbackThatDoesNotReturnIsLogged(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.Logger, cfg.ClientID = log.Logger(), "payments"
		p := testkit.Open(t, cfg)
		release, entered := make(chan struct{}), make(chan struct{})
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { close(entered); <-release })
		<-entered
		time.Sleep(9900 * time.Millisecond)
		require.Empty(t, log.Lines("callback"))
		time.Sleep(6 * time.Second)
		found := log.Lines("a callback has not returned")
		require.Len(t, found, 1)
		for _, text := range []string{"level=WARN", "client_id=payments", "topic=t", "partition=0"} {
			require.Contains(t, found[0], text)
		}
		time.Sleep(5 * time.Minute)
		n := len(log.Lines("a callback has not returned"))
		require.GreaterOrEqual(t, n, 4, "it is repeated")
		require.LessOrEqual(t, n, 7, "but not often")
		close(release)
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		require.Len(t, log.Lines("a callback has not returned"), n)
		testkit.CloseProducer(t, p)
	})
}

// Many quick callbacks are not one slow one, nor are those that take nine seconds each.
func TestCallbacksThatReturnAreNotLogged(t *testing.T) {
	for _, each := range []time.Duration{time.Millisecond, 9 * time.Second} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			var log testkit.LogText
			cfg.Logger = log.Logger()
			p := testkit.Open(t, cfg)
			n := int(time.Minute / each)
			for range min(n, 2000) {
				p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { time.Sleep(each) })
			}
			require.NoError(t, p.Flush(t.Context()))
			testkit.CloseProducer(t, p)
			require.Empty(t, log.Lines("callback"))
		})
	}
}
