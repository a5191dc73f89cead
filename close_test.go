package quill_test

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
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// within fails the test unless f takes from least to most of virtual time.
func within(t *testing.T, least, most time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	took := time.Since(start)
	require.GreaterOrEqual(t, took, least)
	require.LessOrEqual(t, took, most)
}

// after is a context that ends so much later.
func after(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// fates collects what callbacks tell.
type fates struct {
	mu      sync.Mutex
	offsets []int64
	errs    []error
}

func (f *fates) callback(m quill.RecordMetadata, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errs = append(f.errs, err)
		return
	}
	f.offsets = append(f.offsets, m.Offset)
}

func (f *fates) count() (delivered, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.offsets), len(f.errs)
}

// known sends one record, so that connections are up, metadata are there and a producer id is known.
func known(t *testing.T, p *quill.Producer[string, string], topic string) {
	t.Helper()
	_, err := p.SendSync(t.Context(), rec(topic, "k", "first"))
	require.NoError(t, err)
	synctest.Wait() // its memory comes back after it is told
}

func pauseAll(t *testing.T, c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		require.NoError(t, c.PauseNode(id))
	}
}

func resumeAll(t *testing.T, c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		require.NoError(t, c.ResumeNode(id))
	}
}

// C1
func TestCloseOfAnIdleProducerTakesNoTime(t *testing.T) {
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprint("used=", used), func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				p := open(t, config(c))
				if used {
					known(t, p, "t")
				}
				within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
			})
		})
	}
}

// C2
func TestCloseDeliversAFullBuffer(t *testing.T) {
	bubble(t, quilltest.Options{Retain: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		p := open(t, cfg)
		known(t, p, "t")
		pauseAll(t, c)
		var f fates
		n := 0
		value := strings.Repeat("x", 10000)
		for p.TrySendFunc(quill.Record[string, string]{Topic: "t", Value: value, Partition: quill.Partition(int32(n % 6))}, f.callback) {
			n++
		}
		require.Greater(t, n, 1000)
		resumeAll(t, c)
		within(t, 0, 50*time.Millisecond, func() { require.NoError(t, p.Close(t.Context())) })
		delivered, failed := f.count()
		require.Equal(t, n, delivered)
		require.Zero(t, failed)
		require.EqualValues(t, n+1, c.Appended("t"))
		require.EqualValues(t, 32<<20, freeMemory(p))
	})
}

// C3
func TestCloseGivesUpAtItsDeadline(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.MaxInFlightRequestsPerConnection = 1
		p := open(t, cfg)
		known(t, p, "t")
		pauseAll(t, c)
		var f fates
		onWire := p.Send(t.Context(), rec("t", "k", "leaves"))
		time.Sleep(time.Second)
		var waiting []quill.Future
		for i := range 100 {
			p.SendFunc(t.Context(), rec("t", "k", fmt.Sprint(i)), f.callback)
			waiting = append(waiting, p.Send(t.Context(), rec("t", "k", fmt.Sprint(i))))
		}
		var err error
		within(t, time.Second, 1250*time.Millisecond, func() { err = p.Close(after(t, time.Second)) })
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorIs(t, err, quill.ErrClosed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		within(t, 0, 0, func() { checkGivenUp(t, onWire, quill.MaybeWritten) })
		for _, w := range waiting {
			checkGivenUp(t, w, quill.NotSent)
		}
		delivered, failed := f.count()
		require.Zero(t, delivered)
		require.Equal(t, 100, failed)
		require.EqualValues(t, 32<<20, freeMemory(p))
		resumeAll(t, c)
	})
}

// checkGivenUp expects the future of a record that a forced Close failed.
func checkGivenUp(t *testing.T, f quill.Future, outcome quill.Outcome) {
	t.Helper()
	m, err := f.Wait(t.Context())
	e, ok := errors.AsType[*quill.Error](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, quill.ErrForceClosed)
	require.Equal(t, outcome, e.Outcome())
	require.Equal(t, "t", e.Topic)
	require.Equal(t, m.Partition, e.Partition)
	require.False(t, m.HasOffset())
}

// C3: without any time at all.
func TestCloseWithoutTimeFailsAllAtOnce(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.Linger = time.Minute
		p := open(t, cfg)
		known(t, p, "t")
		f := p.Send(t.Context(), rec("t", "k", "lingers"))
		within(t, 0, 0, func() { require.ErrorIs(t, p.Close(ended(errOwn)), errOwn) })
		checkGivenUp(t, f, quill.NotSent)
		require.Len(t, logged(t, c, "t", 2), 1)
		require.ErrorIs(t, p.Close(ended(errOwn)), quill.ErrForceClosed, "it is closed, and a record was given up")
	})
}

// C4
func TestCloseInACallbackDoesNotWaitForItself(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.Linger = time.Minute
		closed := &closer{}
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](closed))
		require.NoError(t, err)
		known(t, p, "t")
		lingering := p.Send(t.Context(), onPartition(0, rec("t", "k", "lingers")))
		inside := make(chan error, 1)
		p.SendFunc(t.Context(), onPartition(1, rec("t", "k", "a")), func(_ quill.RecordMetadata, err error) {
			require.NoError(t, err)
			inside <- p.Close(t.Context())
		})
		_, err = p.SendSync(t.Context(), onPartition(1, rec("t", "k", "b"))) // takes the other one with it
		require.NoError(t, err)
		require.ErrorIs(t, <-inside, quill.ErrInCallback)
		within(t, 0, 0, func() { checkGivenUp(t, lingering, quill.NotSent) })
		synctest.Wait()
		require.EqualValues(t, 1, closed.closed.Load())
		// No other Close: that no goroutine is left over is checked by the end of the bubble.
	})
}

func onPartition(p int32, r quill.Record[string, string]) quill.Record[string, string] {
	r.Partition = quill.Partition(p)
	return r
}

// closer is a plug-in of every kind that counts its configurations and closes.
type closer struct {
	configured, closed atomic.Int32
	clientID           atomic.Pointer[string]
	fail               error // of Configure
	failClose          error
}

func (x *closer) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}

func (x *closer) Partition(quill.PartitionInput) (int32, error) { return 0, nil }

func (x *closer) Configure(info quill.ClientInfo) error {
	x.configured.Add(1)
	x.clientID.Store(&info.ClientID)
	return x.fail
}

func (x *closer) Close() error {
	x.closed.Add(1)
	return x.failClose
}

// closingSerializer is a closer as a serializer.
type closingSerializer struct{ closer }

func (x *closingSerializer) Configure(info quill.ClientInfo, _ bool) error {
	return x.closer.Configure(info)
}

func (x *closingSerializer) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	return append(dst, v...), nil
}

// C5
func TestCloseReturnsAlthoughACallbackDoesNot(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := open(t, config(c))
		stuck := make(chan struct{})
		p.SendFunc(t.Context(), rec("t", "k", "v"), func(quill.RecordMetadata, error) { <-stuck })
		var err error
		within(t, 5*time.Second, 5250*time.Millisecond, func() { err = p.Close(after(t, 5*time.Second)) })
		require.ErrorIs(t, err, quill.ErrForceClosed)
		require.ErrorContains(t, err, "callback")
		close(stuck)
		require.NoError(t, p.Close(t.Context()))
	})
}

// C6
func TestCloseWakesASenderThatWaitsForMemory(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.BufferMemory, cfg.BatchSize = 4096, 1024
		p := open(t, cfg)
		known(t, p, "t")
		pauseAll(t, c)
		for p.TrySend(rec("t", "k", strings.Repeat("x", 900))) {
		}
		blocked := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), rec("t", "k", strings.Repeat("x", 900))).Wait(t.Context())
			blocked <- err
		}()
		synctest.Wait()
		closing := make(chan error, 1)
		go func() { closing <- p.Close(after(t, time.Second)) }()
		within(t, 0, 0, func() {
			err := <-blocked
			require.ErrorIs(t, err, quill.ErrClosed)
			require.NotErrorIs(t, err, quill.ErrForceClosed)
			e, ok := errors.AsType[*quill.Error](err)
			require.True(t, ok)
			require.Equal(t, "t", e.Topic)
			require.EqualValues(t, 0, e.Partition)
			require.Equal(t, quill.NotSent, e.Outcome())
		})
		require.ErrorIs(t, <-closing, quill.ErrForceClosed)
		require.EqualValues(t, 4096, freeMemory(p))
		resumeAll(t, c)
	})
}

// A dialer that waits is a name server that does not answer just as well as a host that does not.
//
// C6, C10
func TestCloseWakesASenderThatWaitsForMetadata(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, c *quilltest.Cluster){
		"connecting": func(_ *testing.T, c *quilltest.Cluster) { cutOffAll(c) },
		"negotiating": func(_ *testing.T, c *quilltest.Cluster) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, DropRequest: true, Times: -1})
		},
		"asking": func(_ *testing.T, c *quilltest.Cluster) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, DropRequest: true, Times: -1})
		},
		"missing topic": func(t *testing.T, c *quilltest.Cluster) { require.NoError(t, c.DeleteTopic("t")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cut(t, c)
				p := open(t, config(c))
				blocked := make(chan error, 2)
				go func() {
					_, err := p.Send(t.Context(), rec("t", "k", "v")).Wait(t.Context())
					blocked <- err
				}()
				go func() {
					_, err := p.PartitionsFor(t.Context(), "t")
					blocked <- err
				}()
				time.Sleep(time.Second)
				within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
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
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		slow := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
			time.Sleep(time.Second)
			return append(dst, v...), nil
		})
		p, err := quill.New(config(c), quill.String, slow)
		require.NoError(t, err)
		blocked := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), rec("t", "k", "v")).Wait(t.Context())
			blocked <- err
		}()
		time.Sleep(500 * time.Millisecond)
		within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
		require.ErrorIs(t, <-blocked, quill.ErrClosed)
		require.Empty(t, logged(t, c, "t", 0))
	})
}

// C7
func TestCloseManyTimesAtOnce(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		part := &closer{}
		cfg.Partitioner, cfg.Linger = part, time.Second
		key, value, tap := &closingSerializer{}, &closingSerializer{}, &closer{}
		p, err := quill.New(cfg, key, value, quill.Interceptor[string, string](tap))
		require.NoError(t, err)
		f := p.Send(t.Context(), rec("t", "k", "v"))
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
		for _, x := range []*closer{part, &key.closer, &value.closer, tap} {
			require.EqualValues(t, 1, x.configured.Load())
			require.EqualValues(t, 1, x.closed.Load())
		}
	})
}

// C8
func TestUseAfterCloseIsErrClosed(t *testing.T) {
	for _, topic := range []string{"t", "unseen"} {
		t.Run(topic, func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) { useAfterClose(t, c, topic) })
		})
	}
}

func useAfterClose(t *testing.T, c *quilltest.Cluster, topic string) {
	c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
	seen, calls := &acknowledged{}, atomic.Int32{}
	value := quill.SerializerFunc[string](func(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
		calls.Add(1)
		return append(dst, v...), nil
	})
	p, err := quill.New(config(c), quill.String, value, quill.Interceptor[string, string](seen))
	require.NoError(t, err)
	view, err := quill.Share(p, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	shut, err := quill.Share(p, quill.String, quill.String)
	require.NoError(t, err)
	known(t, p, "t")
	seen.take(t)
	calls.Store(0)

	require.NoError(t, shut.Close(t.Context()))
	shutView(t, shut, topic)
	require.NoError(t, p.Close(t.Context()))
	shutView(t, shut, topic)

	start := time.Now()
	r := rec(topic, "k", "v")
	for name, use := range map[string]func() error{
		"Send":     func() error { _, err := p.Send(t.Context(), r).Wait(t.Context()); return err },
		"SendFunc": func() error { _, err := sendFunc(t, p, r); return err },
		"SendSync": func() error { _, err := p.SendSync(t.Context(), r); return err },
		"TrySend": func() error {
			require.False(t, p.TrySend(r))
			require.False(t, p.TrySendFunc(r, func(quill.RecordMetadata, error) { t.Error("called") }))
			require.Len(t, seen.told, 2)
			seen.told = seen.told[:1]
			return seen.told[0].err
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
		require.Same(t, err, seen.take(t).err, name)
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
	_, err := p.SendSync(t.Context(), rec(topic, "k", "v"))
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
	require.Equal(t, quill.NotSent, e.Outcome())
}

// C12
func TestFlushDoesNotWaitOutLinger(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.Linger, cfg.DeliveryTimeout = time.Hour, 2*time.Hour
		p := open(t, cfg)
		var futures []quill.Future
		for i := range 10 {
			futures = append(futures, p.Send(t.Context(), rec("t", fmt.Sprint(i), "v")))
		}
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: time.Second})
		within(t, time.Second, 1100*time.Millisecond, func() { require.NoError(t, p.Flush(t.Context())) })
		for _, f := range futures {
			require.True(t, f.Done())
		}
		within(t, 0, 0, func() { require.NoError(t, p.Flush(t.Context())) })
		closeProducer(t, p)
	})
}

func TestFlushAfterFailuresIsNoError(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.TopicAuthorizationFailed})
		p := open(t, config(c))
		f := p.Send(t.Context(), rec("t", "k", "v"))
		require.NoError(t, p.Flush(t.Context()))
		_, err := f.Wait(t.Context())
		require.ErrorIs(t, err, protocol.TopicAuthorizationFailed)
		closeProducer(t, p)
	})
}

// C14
func TestFlushWaitsForEarlierRecordsOnly(t *testing.T) {
	bubble(t, quilltest.Options{Retain: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := config(c)
		cfg.Linger, cfg.BufferMemory = 50*time.Millisecond, 64<<10
		p := open(t, cfg)
		known(t, p, "t")
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
						p.SendFunc(t.Context(), rec("t", fmt.Sprint(g), strings.Repeat("x", 200)), func(_ quill.RecordMetadata, err error) {
							if err != nil {
								t.Error(err)
							}
						})
					}
				}
			})
		}
		for range 20 {
			f := p.Send(t.Context(), rec("t", "k", "earlier"))
			within(t, 10*time.Millisecond, 100*time.Millisecond, func() { require.NoError(t, p.Flush(t.Context())) })
			require.True(t, f.Done())
		}
		close(stop)
		wg.Wait()
		closeProducer(t, p)
	})
}

// C15
func TestFlushEndsWithItsContextAlone(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := open(t, config(c))
		known(t, p, "t")
		pauseAll(t, c)
		f := p.Send(t.Context(), rec("t", "k", "v"))
		other := make(chan error, 1)
		go func() { other <- p.Flush(t.Context()) }()
		within(t, time.Second, time.Second, func() {
			err := p.Flush(after(t, time.Second))
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
		resumeAll(t, c)
		require.NoError(t, <-other)
		require.True(t, f.Done())
		closeProducer(t, p)
	})
}

// C16
func TestFlushGoesThroughRetriesSplitsExpiryAndForcedClose(t *testing.T) {
	t.Run("retry", func(t *testing.T) {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Err: protocol.NotEnoughReplicas, Times: 3})
			p := open(t, config(c))
			f := p.Send(t.Context(), rec("t", "k", "v"))
			within(t, 400*time.Millisecond, time.Second, func() { require.NoError(t, p.Flush(t.Context())) })
			require.True(t, f.Done())
			closeProducer(t, p)
		})
	})
	t.Run("split", func(t *testing.T) {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{MaxMessageBytes: 1500})
			cfg := config(c)
			cfg.Linger = time.Second
			p := open(t, cfg)
			var futures []quill.Future
			for range 12 {
				futures = append(futures, p.Send(t.Context(), rec("t", "k", strings.Repeat("x", 1000))))
			}
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 10 * time.Millisecond, Times: -1})
			require.NoError(t, p.Flush(t.Context()))
			for i, f := range futures {
				require.True(t, f.Done())
				m, err := f.Wait(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, i, m.Offset)
			}
			closeProducer(t, p)
		})
	})
	t.Run("expiry", func(t *testing.T) {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := config(c)
			cfg.RequestTimeout, cfg.DeliveryTimeout = time.Second, 3*time.Second
			p := open(t, cfg)
			known(t, p, "t")
			pauseAll(t, c)
			f := p.Send(t.Context(), rec("t", "k", "v"))
			within(t, 3*time.Second, 3*time.Second, func() { require.NoError(t, p.Flush(t.Context())) })
			_, err := f.Wait(t.Context())
			require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
			resumeAll(t, c)
			closeProducer(t, p)
		})
	})
	t.Run("forced close", func(t *testing.T) {
		bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			p := open(t, config(c))
			known(t, p, "t")
			pauseAll(t, c)
			p.Send(t.Context(), rec("t", "k", "v"))
			flushed := make(chan error, 1)
			go func() { flushed <- p.Flush(t.Context()) }()
			time.Sleep(time.Millisecond)
			require.ErrorIs(t, p.Close(ended(errOwn)), quill.ErrForceClosed)
			require.NoError(t, <-flushed)
			resumeAll(t, c)
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
	cfg := config(c)
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
		p.Send(t.Context(), rec("t", fmt.Sprint(i), "v"))
	}
	require.NoError(t, p.Flush(t.Context()))
	require.Positive(t, open.Load())
	closeProducer(t, p)
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
	part, key, value, first, second := &closer{}, &closingSerializer{}, &closingSerializer{}, &closer{}, &closer{}
	all := []*closer{part, &key.closer, &value.closer, first, second}
	for i, name := range []string{"partitioner", "key serializer", "value serializer", "first interceptor", "second interceptor"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				for _, x := range all {
					x.configured.Store(0)
					x.closed.Store(0)
					x.fail = nil
				}
				all[i].fail = errOwn
				cfg := config(c)
				cfg.Partitioner = part
				_, err := quill.New(cfg, key, value, quill.Interceptor[string, string](first), second)
				require.ErrorIs(t, err, errOwn)
				for j, x := range all {
					require.EqualValues(t, min(1, max(0, i-j+1)), x.configured.Load(), j)
					if j != i {
						require.Equal(t, x.configured.Load(), x.closed.Load(), "plug-in %d is closed if it was configured", j)
					}
				}
			})
		})
	}
}

func TestCloseTellsTheFirstErrorOfPlugins(t *testing.T) {
	bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := config(c)
		part, value := &closer{failClose: errors.New("not heard")}, &closingSerializer{}
		part.failClose, value.failClose = errOwn, errors.New("value serializer")
		cfg.Partitioner = part
		p, err := quill.New(cfg, quill.Serializer[string](&closingSerializer{}), value)
		require.NoError(t, err)
		err = p.Close(t.Context())
		require.ErrorIs(t, err, errOwn)
		require.ErrorIs(t, err, value.failClose)
		require.EqualValues(t, 1, value.closed.Load())
	})
}
