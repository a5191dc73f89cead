package close_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
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

// C1
func TestCloseOfAnIdleProducerTakesNoTime(t *testing.T) {
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprint("used=", used), func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				p := testkit.Open(t, testkit.Config(c))
				if used {
					testkit.Known(t, p, "t")
				}
				testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
			})
		})
	}
}

// C2
func TestCloseDeliversAFullBuffer(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		var f testkit.Outcomes
		n := 0
		value := strings.Repeat("x", 10000)
		for p.TrySendFunc(quill.Record[string, string]{Topic: "t", Value: value, Partition: quill.Partition(int32(n % 6))}, f.Callback) {
			n++
		}
		require.Greater(t, n, 1000)
		testkit.ResumeAll(t, c)
		testkit.Within(t, 0, 50*time.Millisecond, func() { require.NoError(t, p.Close(t.Context())) })
		delivered, failed := f.Count()
		require.Equal(t, n, delivered)
		require.Zero(t, failed)
		require.EqualValues(t, n+1, c.Appended("t"))
		require.EqualValues(t, 32<<20, testkit.FreeMemory(p))
	})
}

// C3
func TestCloseGivesUpAtItsDeadline(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxInFlightRequestsPerConnection = 1
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		var f testkit.Outcomes
		onWire := p.Send(t.Context(), testkit.Rec("t", "k", "leaves"))
		time.Sleep(time.Second)
		var waiting []quill.Future
		for i := range 100 {
			p.SendFunc(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i)), f.Callback)
			waiting = append(waiting, p.Send(t.Context(), testkit.Rec("t", "k", fmt.Sprint(i))))
		}
		var err error
		testkit.Within(t, time.Second, 1250*time.Millisecond, func() { err = p.Close(testkit.After(t, time.Second)) })
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorIs(t, err, quill.ErrClosed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		testkit.Within(t, 0, 0, func() { checkGivenUp(t, onWire, quill.MaybeWritten) })
		for _, w := range waiting {
			checkGivenUp(t, w, quill.NotSent)
		}
		delivered, failed := f.Count()
		require.Zero(t, delivered)
		require.Equal(t, 100, failed)
		require.EqualValues(t, 32<<20, testkit.FreeMemory(p))
		testkit.ResumeAll(t, c)
	})
}

// checkGivenUp expects the future of a record that a forced Close failed.
func checkGivenUp(t *testing.T, f quill.Future, outcome quill.Outcome) {
	t.Helper()
	m, err := f.Wait(t.Context())
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, quill.ErrForceClosed)
	require.Equal(t, outcome, e.Outcome)
	require.Equal(t, "t", e.Topic)
	require.Equal(t, m.Partition, e.Partition)
	require.False(t, m.HasOffset())
}

// C3: without any time at all.
func TestCloseWithoutTimeFailsAllAtOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Minute
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		f := p.Send(t.Context(), testkit.Rec("t", "k", "lingers"))
		testkit.Within(t, 0, 0, func() { require.ErrorIs(t, p.Close(testkit.Ended(testkit.ErrOwn)), testkit.ErrOwn) })
		checkGivenUp(t, f, quill.NotSent)
		require.Len(t, testkit.Logged(t, c, "t", 2), 1)
		require.ErrorIs(t, p.Close(testkit.Ended(testkit.ErrOwn)), quill.ErrForceClosed, "it is closed, and a record was given up")
	})
}

// C4
func TestCloseInACallbackDoesNotWaitForItself(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = time.Minute
		closed := &testkit.Closer{}
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](closed))
		require.NoError(t, err)
		testkit.Known(t, p, "t")
		lingering := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", "lingers")))
		inside := make(chan error, 1)
		p.SendFunc(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "a")), func(_ quill.RecordMetadata, err error) {
			require.NoError(t, err)
			inside <- p.Close(t.Context())
		})
		_, err = p.SendSync(t.Context(), testkit.OnPartition(1, testkit.Rec("t", "k", "b"))) // takes the other one with it
		require.NoError(t, err)
		require.ErrorIs(t, <-inside, quill.ErrInCallback)
		testkit.Within(t, 0, 0, func() { checkGivenUp(t, lingering, quill.NotSent) })
		synctest.Wait()
		require.EqualValues(t, 1, closed.Closed.Load())
		// No other Close: that no goroutine is left over is checked by the end of the bubble.
	})
}

// C5
func TestCloseReturnsAlthoughACallbackDoesNot(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		stuck := make(chan struct{})
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { <-stuck })
		var err error
		testkit.Within(t, 5*time.Second, 5250*time.Millisecond, func() { err = p.Close(testkit.After(t, 5*time.Second)) })
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorContains(t, err, "callback")
		close(stuck)
		require.NoError(t, p.Close(t.Context()))
	})
}

// C6
func TestCloseWakesASenderThatWaitsForMemory(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.BatchSize = 4096, 1024
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		for p.TrySend(testkit.Rec("t", "k", strings.Repeat("x", 900))) {
		}
		blocked := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 900))).Wait(t.Context())
			blocked <- err
		}()
		synctest.Wait()
		closing := make(chan error, 1)
		go func() { closing <- p.Close(testkit.After(t, time.Second)) }()
		testkit.Within(t, 0, 0, func() {
			err := <-blocked
			require.ErrorIs(t, err, quill.ErrClosed)
			require.NotErrorIs(t, err, quill.ErrForceClosed)
			e, ok := errors.AsType[*quill.Error](err)
			require.True(t, ok)
			require.Equal(t, "t", e.Topic)
			require.EqualValues(t, 0, e.Partition)
			require.Equal(t, quill.NotSent, e.Outcome)
		})
		require.ErrorIs(t, <-closing, quill.ErrForceClosed)
		require.EqualValues(t, 4096, testkit.FreeMemory(p))
		testkit.ResumeAll(t, c)
	})
}

// A dialer that waits is a name server that does not answer just as well as a host that does not.
//
// C6, C10
func TestCloseWakesASenderThatWaitsForMetadata(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, c *quilltest.Cluster){
		"connecting": func(_ *testing.T, c *quilltest.Cluster) { testkit.CutOffAll(c) },
		"negotiating": func(_ *testing.T, c *quilltest.Cluster) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, DropRequest: true, Times: -1})
		},
		"asking": func(_ *testing.T, c *quilltest.Cluster) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DropRequest: true, Times: -1})
		},
		"missing topic": func(t *testing.T, c *quilltest.Cluster) { require.NoError(t, c.DeleteTopic("t")) },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cut(t, c)
				p := testkit.Open(t, testkit.Config(c))
				blocked := make(chan error, 2)
				go func() {
					_, err := p.Send(t.Context(), testkit.Rec("t", "k", "v")).Wait(t.Context())
					blocked <- err
				}()
				go func() {
					_, err := p.PartitionsFor(t.Context(), "t")
					blocked <- err
				}()
				time.Sleep(time.Second)
				testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
				for range 2 {
					err := <-blocked
					require.ErrorIs(t, err, quill.ErrClosed)
					e, ok := errors.AsType[*quill.Error](err)
					require.True(t, ok)
					require.Equal(t, "t", e.Topic)
				}
			})
		})
	}
}

// C6
func TestCloseWhileASenderIsInItsSerializer(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		slow := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
			time.Sleep(time.Second)
			return append(dst, v...), nil
		})
		p, err := quill.New(testkit.Config(c), quill.String, slow)
		require.NoError(t, err)
		blocked := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), testkit.Rec("t", "k", "v")).Wait(t.Context())
			blocked <- err
		}()
		time.Sleep(500 * time.Millisecond)
		testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
		require.ErrorIs(t, <-blocked, quill.ErrClosed)
		require.Empty(t, testkit.Logged(t, c, "t", 0))
	})
}

// C7
func TestCloseManyTimesAtOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		part := &testkit.Closer{}
		cfg.Partitioner, cfg.Linger = part, time.Second
		key, value, tap := &testkit.ClosingSerializer{}, &testkit.ClosingSerializer{}, &testkit.Closer{}
		p, err := quill.New(cfg, key, value, quill.Interceptor[string, string](tap))
		require.NoError(t, err)
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := p.Close(t.Context()); err != nil || !f.Done() {
					t.Error(err, f.Done())
				}
			})
		}
		wg.Wait()
		require.NoError(t, p.Close(t.Context()))
		for _, x := range []*testkit.Closer{part, &key.Closer, &value.Closer, tap} {
			require.EqualValues(t, 1, x.Configured.Load())
			require.EqualValues(t, 1, x.Closed.Load())
		}
	})
}

// C8
func TestUseAfterCloseIsErrClosed(t *testing.T) {
	for _, topic := range []string{"t", "unseen"} {
		t.Run(topic, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) { useAfterClose(t, c, topic) })
		})
	}
}

func useAfterClose(t *testing.T, c *quilltest.Cluster, topic string) {
	c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
	seen, calls := &testkit.Acknowledged{}, atomic.Int32{}
	value := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
		calls.Add(1)
		return append(dst, v...), nil
	})
	p, err := quill.New(testkit.Config(c), quill.String, value, quill.Interceptor[string, string](seen))
	require.NoError(t, err)
	view, err := quill.Share(p, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	shut, err := quill.Share(p, quill.String, quill.String)
	require.NoError(t, err)
	testkit.Known(t, p, "t")
	seen.Take(t)
	calls.Store(0)

	require.NoError(t, shut.Close(t.Context()))
	shutView(t, shut, topic)
	require.NoError(t, p.Close(t.Context()))
	shutView(t, shut, topic)

	start := time.Now()
	r := testkit.Rec(topic, "k", "v")
	for name, use := range map[string]func() error{
		"Send":     func() error { _, err := p.Send(t.Context(), r).Wait(t.Context()); return err },
		"SendFunc": func() error { _, err := testkit.SendFunc(t, p, r); return err },
		"SendSync": func() error { _, err := p.SendSync(t.Context(), r); return err },
		"TrySend": func() error {
			require.False(t, p.TrySend(r))
			require.False(t, p.TrySendFunc(r, func(quill.RecordMetadata, error) { t.Error("called") }))
			require.Len(t, seen.Told, 2)
			seen.Told = seen.Told[:1]
			return seen.Told[0].Err
		},
		"SendAll": func() (err error) {
			for m, failure := range p.SendAll(t.Context(), slices.Values([]quill.Record[string, string]{r})) {
				require.Equal(t, topic, m.Topic)
				err = failure
			}
			return err
		},
	} {
		err := use()
		require.Same(t, err, seen.Take(t).Err, name)
		checkClosed(t, err, topic)
	}
	_, err = p.PartitionsFor(t.Context(), topic)
	checkClosed(t, err, topic)
	require.ErrorIs(t, p.Flush(t.Context()), quill.ErrClosed)
	_, err = view.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: topic})
	checkClosed(t, err, topic)
	require.ErrorIs(t, view.Flush(t.Context()), quill.ErrClosed)
	require.NoError(t, view.Close(t.Context()))
	require.NoError(t, p.Close(t.Context()))
	require.Zero(t, time.Since(start))
	require.Zero(t, calls.Load(), "a closed serializer is not called")
	require.EqualValues(t, 1, c.Appended("t"))
}

func shutView(t *testing.T, p *quill.Producer[string, string], topic string) {
	t.Helper()
	_, err := p.SendSync(t.Context(), testkit.Rec(topic, "k", "v"))
	checkClosed(t, err, topic)
	_, err = p.PartitionsFor(t.Context(), topic)
	checkClosed(t, err, topic)
	require.ErrorIs(t, p.Flush(t.Context()), quill.ErrClosed)
	require.NoError(t, p.Close(t.Context()))
}

func checkClosed(t *testing.T, err error, topic string) {
	t.Helper()
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, quill.ErrClosed)
	require.ErrorIs(t, err, quill.ErrFatal)
	require.Equal(t, topic, e.Topic)
	require.EqualValues(t, -1, e.Partition)
	require.Equal(t, quill.NotSent, e.Outcome)
}

// C12
func TestFlushDoesNotWaitOutLinger(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		p := testkit.Open(t, cfg)
		var futures []quill.Future
		for i := range 10 {
			futures = append(futures, p.Send(t.Context(), testkit.Rec("t", fmt.Sprint(i), "v")))
		}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: time.Second})
		testkit.Within(t, time.Second, 1100*time.Millisecond, func() { require.NoError(t, p.Flush(t.Context())) })
		for _, f := range futures {
			require.True(t, f.Done())
		}
		testkit.Within(t, 0, 0, func() { require.NoError(t, p.Flush(t.Context())) })
		testkit.CloseProducer(t, p)
	})
}

func TestFlushAfterFailuresIsNoError(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
		p := testkit.Open(t, testkit.Config(c))
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		require.NoError(t, p.Flush(t.Context()))
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, protocol.TopicAuthorizationFailed)
		testkit.CloseProducer(t, p)
	})
}

// C14
func TestFlushWaitsForEarlierRecordsOnly(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger, cfg.BufferMemory = 50*time.Millisecond, 64<<10
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 10 * time.Millisecond, Times: -1})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						p.SendFunc(t.Context(), testkit.Rec("t", fmt.Sprint(g), strings.Repeat("x", 200)), func(_ quill.RecordMetadata, err error) {
							if err != nil {
								t.Error(err)
							}
						})
					}
				}
			})
		}
		for range 20 {
			f := p.Send(t.Context(), testkit.Rec("t", "k", "earlier"))
			testkit.Within(t, 10*time.Millisecond, 100*time.Millisecond, func() { require.NoError(t, p.Flush(t.Context())) })
			require.True(t, f.Done())
		}
		close(stop)
		wg.Wait()
		testkit.CloseProducer(t, p)
	})
}

// C15
func TestFlushEndsWithItsContextAlone(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.Known(t, p, "t")
		testkit.PauseAll(t, c)
		f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
		other := make(chan error, 1)
		go func() { other <- p.Flush(t.Context()) }()
		testkit.Within(t, time.Second, time.Second, func() {
			err := p.Flush(testkit.After(t, time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, ok := errors.AsType[*quill.Error](err)
			require.True(t, ok)
		})
		require.False(t, f.Done())
		select {
		case err := <-other:
			require.Fail(t, "the other flush ended too", "%v", err)
		default:
		}
		testkit.ResumeAll(t, c)
		require.NoError(t, <-other)
		require.True(t, f.Done())
		testkit.CloseProducer(t, p)
	})
}

// C16
func TestFlushGoesThroughRetriesSplitsExpiryAndForcedClose(t *testing.T) {
	t.Run("retry", func(t *testing.T) {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: 3})
			p := testkit.Open(t, testkit.Config(c))
			f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
			testkit.Within(t, 400*time.Millisecond, time.Second, func() { require.NoError(t, p.Flush(t.Context())) })
			require.True(t, f.Done())
			testkit.CloseProducer(t, p)
		})
	})
	t.Run("split", func(t *testing.T) {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{MaxMessageBytes: 1500})
			cfg := testkit.Config(c)
			cfg.Linger = time.Second
			p := testkit.Open(t, cfg)
			var futures []quill.Future
			for range 12 {
				futures = append(futures, p.Send(t.Context(), testkit.Rec("t", "k", strings.Repeat("x", 1000))))
			}
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 10 * time.Millisecond, Times: -1})
			require.NoError(t, p.Flush(t.Context()))
			for i, f := range futures {
				require.True(t, f.Done())
				m, err := f.Wait(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, i, m.Offset)
			}
			testkit.CloseProducer(t, p)
		})
	})
	t.Run("expiry", func(t *testing.T) {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			cfg.RequestTimeout, cfg.DeliveryTimeout = time.Second, 3*time.Second
			p := testkit.Open(t, cfg)
			testkit.Known(t, p, "t")
			testkit.PauseAll(t, c)
			f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
			testkit.Within(t, 3*time.Second, 3*time.Second, func() { require.NoError(t, p.Flush(t.Context())) })
			_, err := f.Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
			testkit.ResumeAll(t, c)
			testkit.CloseProducer(t, p)
		})
	})
	t.Run("forced close", func(t *testing.T) {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			p := testkit.Open(t, testkit.Config(c))
			testkit.Known(t, p, "t")
			testkit.PauseAll(t, c)
			p.Send(t.Context(), testkit.Rec("t", "k", "v"))
			flushed := make(chan error, 1)
			go func() { flushed <- p.Flush(t.Context()) }()
			time.Sleep(time.Millisecond)
			require.ErrorIs(t, p.Close(testkit.Ended(testkit.ErrOwn)), quill.ErrForceClosed)
			require.NoError(t, <-flushed)
			testkit.ResumeAll(t, c)
		})
	})
}

// Against sockets, outside a bubble: what was open is closed, what ran has ended.
//
// C17
func TestNothingIsLeftAfterClose(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{})
	c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
	before := runtime.NumGoroutine()
	var open atomic.Int32
	cfg := testkit.Config(c)
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := c.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &countedConn{Conn: nc, open: &open}, nil
	}
	p, err := quill.New(cfg, quill.String, quill.String)
	require.NoError(t, err)
	for i := range 100 {
		p.Send(t.Context(), testkit.Rec("t", fmt.Sprint(i), "v"))
	}
	require.NoError(t, p.Flush(t.Context()))
	require.Positive(t, open.Load())
	testkit.CloseProducer(t, p)
	require.Zero(t, open.Load())
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before { // the nodes' goroutines see the end a little later
		require.True(t, time.Now().Before(deadline), "%d goroutines, %d before", runtime.NumGoroutine(), before)
		time.Sleep(time.Millisecond)
	}
}

type countedConn struct {
	net.Conn
	once sync.Once
	open *atomic.Int32
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// C18
func TestFailingNewLeavesNothing(t *testing.T) {
	part, key, value, first, second := &testkit.Closer{}, &testkit.ClosingSerializer{}, &testkit.ClosingSerializer{}, &testkit.Closer{}, &testkit.Closer{}
	all := []*testkit.Closer{part, &key.Closer, &value.Closer, first, second}
	for i, name := range []string{"partitioner", "key serializer", "value serializer", "first interceptor", "second interceptor"} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				for _, x := range all {
					x.Configured.Store(0)
					x.Closed.Store(0)
					x.Fail = nil
				}
				all[i].Fail = testkit.ErrOwn
				cfg := testkit.Config(c)
				cfg.Partitioner = part
				_, err := quill.New(cfg, key, value, quill.Interceptor[string, string](first), second)
				require.ErrorIs(t, err, testkit.ErrOwn)
				for j, x := range all {
					require.EqualValues(t, min(1, max(0, i-j+1)), x.Configured.Load(), j)
					if j != i {
						require.Equal(t, x.Configured.Load(), x.Closed.Load(), "plug-in %d is closed if it was configured", j)
					}
				}
			})
		})
	}
}

func TestCloseTellsTheFirstErrorOfPlugins(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		part, value := &testkit.Closer{FailClose: errors.New("not heard")}, &testkit.ClosingSerializer{}
		part.FailClose, value.FailClose = testkit.ErrOwn, errors.New("value serializer")
		cfg.Partitioner = part
		p, err := quill.New(cfg, quill.Serializer[string](&testkit.ClosingSerializer{}), value)
		require.NoError(t, err)
		err = p.Close(t.Context())
		require.ErrorIs(t, err, testkit.ErrOwn)
		require.ErrorIs(t, err, value.FailClose)
		require.EqualValues(t, 1, value.Closed.Load())
	})
}
