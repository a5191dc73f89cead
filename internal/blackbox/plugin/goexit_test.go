package plugin_test

import (
	"context"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// ending ends the goroutine in one of the places where user code runs.
type ending struct {
	place string
	acks  int
}

func (x *ending) at(place string) {
	if x.place == place {
		runtime.Goexit()
	}
}

func (x *ending) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	x.at("OnSend")
	return r, nil
}

func (x *ending) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) {
	x.acks++
	x.at("OnAcknowledgement")
}

func (x *ending) Partition(quill.PartitionInput) (int32, error) { x.at("Partition"); return 0, nil }

func (x *ending) OnNewBatch(_ *metadata.Topic, _ int32) { x.at("OnNewBatch") }

func (x *ending) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	x.at("Serialize")
	return append(dst, v...), nil
}

func (x *ending) Configure(quill.ClientInfo) error { x.at("Configure"); return nil }

// A plug-in that ends the goroutine (t.FailNow does) leaves no record without an outcome, and no interceptor
// and callback behind it without its call.
func TestAPluginThatEndsTheGoroutineLeavesNoRecordWithoutOutcome(t *testing.T) {
	for _, place := range []string{"OnSend", "OnAcknowledgement", "Partition", "OnNewBatch", "Serialize", "callback"} {
		t.Run(place, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				x, behind := &ending{place: place}, &ending{}
				cfg.Partitioner = x
				p, err := quill.New(cfg, quill.String, quill.Serializer[string](x), quill.Interceptor[string, string](x), behind)
				require.NoError(t, err)
				testkit.GiveUpIfFailed(t, p)
				var errs []error
				for range 2 {
					done := make(chan struct{})
					go func() {
						defer close(done)
						p.SendFunc(context.Background(), testkit.Rec("t", "k", "v"), func(_ quill.RecordMetadata, err error) {
							errs = append(errs, err)
							x.at("callback")
						})
					}()
					<-done
				}
				require.NoError(t, p.Flush(t.Context()))
				require.Len(t, errs, 2)
				delivered := place == "OnAcknowledgement" || place == "callback"
				for _, err := range errs {
					if delivered {
						require.NoError(t, err)
						continue
					}
					testkit.CheckNotSent(t, err, "t", -1)
					require.ErrorContains(t, err, "ended the goroutine")
				}
				require.Equal(t, 2, x.acks)
				require.Equal(t, 2, behind.acks)
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// A plug-in that ends the goroutine of New leaves nothing running; the bubble would notice.
func TestAPluginThatEndsTheGoroutineOfNewLeavesNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		value := &testkit.ClosingSerializer{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = quill.New(testkit.Config(c), quill.String, quill.Serializer[string](value), quill.Interceptor[string, string](&ending{place: "Configure"}))
		}()
		<-done
		synctest.Wait()
		require.EqualValues(t, 1, value.Closed.Load())
	})
}

// Timestamps that Kafka can't hold are refused with the right reason, the last one that it can is sent.
func TestTimestampsBeyondMillisecondsAreRefused(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{MaxTimestampAhead: -1})
		p, err := quill.New(testkit.Config(c), quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		testkit.GiveUpIfFailed(t, p)
		send := func(at time.Time) error {
			_, err := p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Timestamp: at})
			if err != nil {
				return err
			}
			m, err := p.Send(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Timestamp: at}).Wait(t.Context())
			if err == nil {
				require.True(t, at.Truncate(time.Millisecond).Equal(m.Timestamp), "%v %v", at, m.Timestamp)
			}
			return err
		}
		for _, year := range []int{300_000_000, 600_000_000, 900_000_000} {
			err := send(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
			require.ErrorIs(t, err, quill.ErrInvalidRecord)
			require.ErrorContains(t, err, "after the year 292278993")
		}
		require.ErrorContains(t, send(time.Unix(math.MaxInt64/1000, 0)), "after the year")
		require.ErrorContains(t, send(time.UnixMilli(-1)), "before 1970")
		require.NoError(t, send(time.Unix(0, 0)))
		require.NoError(t, send(time.Unix(math.MaxInt64/1000-1, 999_999_999)))
		testkit.CloseProducer(t, p)
	})
}

// An interceptor that ends the goroutine when it hears of a Send that failed hears of it once.
func TestAnAcknowledgementThatEndsTheGoroutineIsNotRepeated(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		x, behind, calls := &ending{place: "OnAcknowledgement"}, &ending{}, 0
		p, err := quill.New(testkit.Config(c), quill.String, quill.String, quill.Interceptor[string, string](x), behind)
		require.NoError(t, err)
		testkit.GiveUpIfFailed(t, p)
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.SendFunc(t.Context(), testkit.Rec("no topic's name", "k", "v"), func(quill.RecordMetadata, error) { calls++ })
		}()
		<-done
		synctest.Wait()
		require.Equal(t, []int{1, 1, 1}, []int{x.acks, behind.acks, calls})
		testkit.CloseProducer(t, p)
	})
}
