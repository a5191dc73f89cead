package delivery_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A broker before 2.5 that has lost the producer's state answers UNKNOWN_PRODUCER_ID, whether or not it has the batch in
// its log. If an attempt may have been written before, a copy under new sequences may be the second one.
func TestAForgottenProducerSendsNothingTwice(t *testing.T) {
	for _, release := range []string{"1.0", "2.1", "2.4"} {
		t.Run(release, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{Nodes: 1, Release: release}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				p, err := quill.New(quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext}, quill.String, quill.String)
				require.NoError(t, err)
				defer testkit.CloseProducer(t, p)
				record := quill.Record[string, string]{Topic: "t", Value: "v"}
				_, err = p.SendSync(t.Context(), record)
				require.NoError(t, err)
				c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DisconnectAfter: true})
				doubtful := p.Send(t.Context(), record)
				time.Sleep(20 * time.Millisecond)
				require.EqualValues(t, 2, c.Appended("t"))
				require.NoError(t, c.ForgetProducers("t", 0))
				behind := p.Send(t.Context(), record)

				_, err = doubtful.Wait(t.Context())
				require.ErrorIs(t, err, protocol.UnknownProducerID)
				var e *quill.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, quill.MaybeWritten, e.Outcome)
				_, err = behind.Wait(t.Context())
				require.NoError(t, err, "what was not sent before goes on under a new epoch")
				require.EqualValues(t, 3, c.Appended("t"), "each is there once")
			})
		})
	}
}
