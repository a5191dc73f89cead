package config_test

import (
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A cluster on pipes can only be reached through its DialContext. A producer without it must not look
// for it on the network for a minute.
func TestNewRefusesPipesWithoutTheirDialContext(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{Pipes: true})
	cfg := quill.Config{BootstrapServers: c.BootstrapServers()}
	_, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	require.ErrorAs(t, err, new(*quill.ConfigError))
	require.ErrorContains(t, err, "set Config.DialContext")
	require.ErrorContains(t, err, "node-1.set-dialcontext-to-that-of-the-quilltest-cluster.invalid:9092")

	cfg.BootstrapServers = []string{"a.Invalid.:9092"}
	_, err = quill.New(cfg, quill.Bytes, quill.Bytes)
	require.ErrorAs(t, err, new(*quill.ConfigError))

	cfg.BootstrapServers = []string{"a.invalid:9092", "127.0.0.1:1"}
	p, err := quill.New(cfg, quill.Bytes, quill.Bytes)
	require.NoError(t, err, "one that may exist is enough, as for Java")
	require.NoError(t, p.Close(t.Context()))

	cfg.BootstrapServers, cfg.DialContext = c.BootstrapServers(), c.DialContext
	p, err = quill.New(cfg, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	require.NoError(t, p.Close(t.Context()))
}
