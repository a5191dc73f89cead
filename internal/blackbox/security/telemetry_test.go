package security_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// S14: what a producer measures is sent to no node, even if nodes ask for it, unless that is switched on (KIP-714).
func TestNothingIsPushedUnlessItIsSwitchedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := quilltest.Start(t, quilltest.Options{Pipes: true})
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, err := quill.New(quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext}, quill.Bytes, quill.Bytes)
		require.NoError(t, err)
		for range 10 {
			_, err = p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "t", Value: []byte("v")})
			require.NoError(t, err)
			time.Sleep(5 * time.Minute) // Kafka's push.interval.ms
		}
		require.NoError(t, p.Close(t.Context()))
		require.Zero(t, c.RequestCount(protocol.GetTelemetrySubscriptions))
		require.Zero(t, c.RequestCount(protocol.PushTelemetry))
		require.Positive(t, c.RequestCount(protocol.Produce))
	})
}
