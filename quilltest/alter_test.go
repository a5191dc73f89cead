package quilltest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// A topic's settings may change while a producer sends: the next batch meets the new ones.
func TestAlteredTopicsTakeAndRefuseByTheirNewSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := quilltest.NewCluster(quilltest.Options{Pipes: true})
		require.NoError(t, err)
		defer c.Close()
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p, err := quill.New(quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext, Retries: 1}, quill.String, quill.String)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Close(t.Context())) }()
		send := func() error {
			_, err := p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "some value"})
			return err
		}
		alter := func(change func(cfg *quilltest.TopicConfig)) { require.NoError(t, c.AlterTopic("t", change)) }
		require.NoError(t, send())

		alter(func(cfg *quilltest.TopicConfig) { cfg.MaxMessageBytes = 70 })
		require.ErrorIs(t, send(), quill.ErrRecordTooLarge)
		alter(func(cfg *quilltest.TopicConfig) { cfg.MaxMessageBytes = 0 })
		require.NoError(t, send(), "the default again")

		alter(func(cfg *quilltest.TopicConfig) { cfg.Compacted = true })
		require.ErrorIs(t, send(), quill.ErrInvalidRecord)
		alter(func(cfg *quilltest.TopicConfig) { cfg.Compacted, cfg.MinISR = false, 4 })
		require.ErrorIs(t, send(), protocol.NotEnoughReplicas)

		alter(func(cfg *quilltest.TopicConfig) { cfg.MinISR, cfg.LogAppendTime = 1, true })
		_ = send() // the first answer of a topic that changed its timestamps looks like one about another producer's batch
		require.NoError(t, send())
		records, err := c.Records("t", 0)
		require.NoError(t, err)
		require.Len(t, records, 4)

		require.ErrorIs(t, c.AlterTopic("missing", func(*quilltest.TopicConfig) {}), protocol.UnknownTopicOrPartition)
		require.ErrorIs(t, c.AlterTopic("t", func(cfg *quilltest.TopicConfig) { cfg.Replicas = 1 }), protocol.InvalidConfig)
		require.NoError(t, c.AddPartitions("t", 2), "with the settings as they are now")
	})
}
