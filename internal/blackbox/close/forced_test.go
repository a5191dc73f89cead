package close_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// stuckPlugin is a plug-in of every kind whose Close does what the test says.
type stuckPlugin struct{ close func() error }

func (x *stuckPlugin) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}

func (x *stuckPlugin) Partition(quill.PartitionInput) (int32, error) { return 0, nil }

func (x *stuckPlugin) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	return append(dst, v...), nil
}

func (x *stuckPlugin) Close() error { return x.close() }

// plugged returns a producer with the plug-in in the given place.
func plugged(t *testing.T, cfg quill.Config, place string, x *stuckPlugin) *quill.Producer[string, string] {
	t.Helper()
	value, interceptors := quill.String, []quill.Interceptor[string, string](nil)
	switch place {
	case "partitioner":
		cfg.Partitioner = x
	case "serializer":
		value = x
	case "interceptor":
		interceptors = append(interceptors, x)
	}
	p, err := quill.New(cfg, quill.String, value, interceptors...)
	require.NoError(t, err)
	testkit.GiveUpIfFailed(t, p)
	return p
}

// A plug-in whose Close blocks holds up Close no longer than ctx allows, and its error is heard by all.
func TestCloseOfAPluginIsBoundedByTheContext(t *testing.T) {
	for _, place := range []string{"partitioner", "serializer", "interceptor"} {
		t.Run(place, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				stuck := make(chan struct{})
				x := &stuckPlugin{close: func() error { <-stuck; return testkit.ErrOwn }}
				p := plugged(t, testkit.Config(c), place, x)
				testkit.Within(t, 5*time.Second, 5300*time.Millisecond, func() {
					err := p.Close(testkit.After(t, 5*time.Second))
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.ErrorContains(t, err, "has not returned")
				})
				close(stuck)
				require.ErrorIs(t, p.Close(t.Context()), testkit.ErrOwn)
				require.ErrorIs(t, p.Close(t.Context()), testkit.ErrOwn)
			})
		})
	}
}

// A plug-in may close its producer in its own Close.
func TestAPluginMayCloseItsProducerWhenItIsClosed(t *testing.T) {
	for _, place := range []string{"partitioner", "serializer", "interceptor"} {
		t.Run(place, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				var p *quill.Producer[string, string]
				x := &stuckPlugin{close: func() error { return p.Close(context.Background()) }}
				p = plugged(t, testkit.Config(c), place, x)
				testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
			})
		})
	}
}

// Other calls of a plug-in in its own Close fail at once, with ErrClosed: none waits for the Close that it is part of. What was
// sent before is delivered.
func TestWhatAPluginAsksOfItsProducerWhenItIsClosed(t *testing.T) {
	type producer = quill.Producer[string, string]
	for name, call := range map[string]func(ctx context.Context, p *producer) error{
		"Flush": func(ctx context.Context, p *producer) error { return p.Flush(ctx) },
		"SendSync": func(ctx context.Context, p *producer) error {
			_, err := p.SendSync(ctx, testkit.Rec("t", "", "late"))
			return err
		},
		"PartitionsFor": func(ctx context.Context, p *producer) error { _, err := p.PartitionsFor(ctx, "t"); return err },
		"Share": func(_ context.Context, p *producer) error {
			_, err := quill.Share(p, quill.String, quill.String)
			return err
		},
	} {
		for _, place := range []string{"partitioner", "serializer", "interceptor"} {
			t.Run(name+" in "+place, func(t *testing.T) {
				testkit.WithTopic(t, func(t *testing.T, c *quilltest.Cluster) {
					var p *producer
					x := &stuckPlugin{close: func() error { return call(context.Background(), p) }}
					p = plugged(t, testkit.Config(c), place, x)
					testkit.Known(t, p, "t")
					var got testkit.Outcomes
					for range 5 {
						p.SendFunc(t.Context(), testkit.Rec("t", "", "v"), got.Callback)
					}
					testkit.Within(t, 0, 0, func() { require.ErrorIs(t, p.Close(t.Context()), quill.ErrClosed) })
					delivered, failed := got.Count()
					require.Equal(t, []int{5, 0}, []int{delivered, failed})
				})
			})
		}
	}
}

// Records that Close gave up are reported by every Close and by the log, with their number.
func TestEveryCloseTellsWhatAForcedOneGaveUp(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		var log testkit.LogText
		cfg.MaxInFlightRequestsPerConnection, cfg.Logger = 1, log.Logger()
		p := testkit.Open(t, cfg)
		view, err := quill.Share(p, quill.String, quill.String)
		require.NoError(t, err)
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "leaves"), nil)
		time.Sleep(time.Second)
		for i := range 20 {
			p.SendFunc(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i)), nil)
		}
		var closes sync.WaitGroup
		check := func(err error) {
			require.ErrorIs(t, err, quill.ErrForceClosed)
			require.ErrorContains(t, err, "records given up: 21, of which 1 may have been written")
		}
		for range 3 {
			closes.Go(func() { check(p.Close(context.Background())) })
		}
		check(p.Close(testkit.After(t, 5*time.Second)))
		closes.Wait()
		check(p.Close(t.Context()))
		check(view.Close(t.Context()))
		found := log.Lines("were given up")
		require.Len(t, found, 1)
		require.Contains(t, found[0], "level=WARN")
		require.Contains(t, found[0], "records=21")
		require.Contains(t, found[0], "maybe_written=1")
	})
}

// So they are if the Close was in a callback.
func TestALaterCloseTellsWhatOneInACallbackGaveUp(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Minute
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		p.SendFunc(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "lingers")), nil)
		p.SendFunc(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "v")), func(quill.RecordMetadata, error) { _ = p.Close(t.Context()) })
		_, err := p.SendSync(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "w")))
		require.NoError(t, err)
		err = p.Close(t.Context())
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorContains(t, err, "records given up: 1")
	})
}

// Of a producer that is closed no view is made: its plug-ins would be configured for nothing.
func TestAClosedProducerIsNotShared(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		view, err := quill.Share(p, quill.String, quill.String)
		require.NoError(t, err)
		require.NoError(t, view.Close(t.Context()))
		x := &testkit.ClosingSerializer{}
		_, err = quill.Share(view, quill.String, quill.Serializer[string](x))
		require.ErrorIs(t, err, quill.ErrClosed, "a view that is closed")
		testkit.CloseProducer(t, p)
		_, err = quill.Share(p, quill.String, quill.Serializer[string](x))
		require.ErrorIs(t, err, quill.ErrClosed)
		require.Zero(t, x.Configured.Load())
	})
}

// A view that is closed in a callback takes no more records, delivers those it took, and closes its plug-ins
// after that.
func TestCloseOfAViewInACallbackGivesUpNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 2, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Minute
		p := testkit.Open(t, cfg)
		var tail quill.Future
		x := &stuckPlugin{close: func() error {
			if !tail.Done() {
				t.Error("a plug-in was closed before the last outcome")
			}
			return nil
		}}
		closed := &testkit.Closer{}
		view, err := quill.Share(p, quill.String, quill.Serializer[string](x), quill.Interceptor[string, string](closed))
		require.NoError(t, err)
		testkit.Known(t, view, "t")
		tail = view.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "lingers")))
		told := make(chan error, 1)
		view.SendFunc(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "v")), func(quill.RecordMetadata, error) { told <- view.Close(t.Context()) })
		_, err = p.SendSync(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "w")))
		require.NoError(t, err)
		testkit.Within(t, 0, time.Second, func() {
			require.ErrorIs(t, <-told, quill.ErrInCallback)
			_, err = tail.Wait(t.Context())
			require.NoError(t, err)
		})
		synctest.Wait()
		require.EqualValues(t, 1, closed.Closed.Load())
		require.NoError(t, view.Close(t.Context()))
		_, err = view.SendSync(t.Context(), testkit.Rec("t", "k", "too late"))
		require.ErrorIs(t, err, quill.ErrClosed)
		_, err = p.SendSync(t.Context(), testkit.Rec("t", "k", "goes on"))
		require.NoError(t, err)
		testkit.CloseProducer(t, p)
	})
}
