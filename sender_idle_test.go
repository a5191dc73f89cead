package quill_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// An idle producer sleeps: bench/idle counts the wake-ups of the process, here are the sender's turns
// of ten minutes, in which metadata are asked for anew and idle connections are closed by both sides.
func TestAnIdleProducerSleeps(t *testing.T) {
	const minutes, most = 10, 120 // two a second would be 1,200
	for name, change := range map[string]func(*quill.Config){
		"defaults":    func(*quill.Config) {},
		"lz4":         func(cfg *quill.Config) { cfg.Compression = quill.CompressionLZ4 },
		"acks 1":      func(cfg *quill.Config) { cfg.Acks, cfg.Idempotence = quill.AcksLeader, quill.Disabled },
		"short times": func(cfg *quill.Config) { cfg.MetadataMaxAge, cfg.RequestTimeout = 20*time.Second, time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 12, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				change(&cfg)
				p := testkit.Open(t, cfg)
				turns := p.CountTurns()
				for i := range 1000 {
					p.SendFunc(t.Context(), testkit.Rec("t", fmt.Sprint(i), "value"), nil)
				}
				require.NoError(t, p.Flush(t.Context()))
				time.Sleep(time.Second)
				before := turns()
				time.Sleep(minutes * time.Minute)
				slept := turns() - before
				t.Logf("%d turns in %d minutes", slept, minutes)
				require.LessOrEqual(t, slept, int64(most))
				testkit.Known(t, p, "t") // it is still there
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// A producer that nothing was ever sent with has nothing to do at all.
func TestAProducerWithoutWorkDoesNotEvenConnect(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		turns := p.CountTurns()
		before := turns()
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, turns()-before, int64(1))
		testkit.CloseProducer(t, p)
	})
}
