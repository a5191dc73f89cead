package inspect_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// settings opens a producer with the configuration and returns its settings by name.
func settings(t *testing.T, cfg quill.Config) map[string]inspect.Setting {
	t.Helper()
	p := testkit.Open(t, cfg)
	by := map[string]inspect.Setting{}
	for _, s := range p.Inspect(t.Context()).Settings {
		by[s.Name] = s
	}
	require.NoError(t, p.Close(t.Context()))
	return by
}

// TestInspectShowsSettingsAndTheirSources: each of Kafka's 120, secrets hidden.
func TestInspectShowsSettingsAndTheirSources(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{Pipes: true})
	file := filepath.Join(t.TempDir(), "values.properties")
	require.NoError(t, os.WriteFile(file, []byte("user=s3cr3t-user\nlinger=7\nurl=s3cr3t-url\n"), 0o600))
	cfg, err := quill.ParseProperties(map[string]string{
		"bootstrap.servers": c.BootstrapServers()[0], "config.providers": "file", "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
		"linger.ms": "${file:" + file + ":linger}", "client.rack": "${file:" + file + ":user}", "batch.size": " 1000 ", "acks": "-1", "retries": "0",
		"ssl.keystore.password": "s3cr3t-password", "sasl.jaas.config": "s3cr3t-login", "partitioner.ignore.keys": "false",
		"sasl.oauthbearer.token.endpoint.url": "https://s3cr3t-id:s3cr3t-key@host:1/path?token=s3cr3t-token",
	})
	require.NoError(t, err)
	cfg.DialContext, cfg.MaxBlock, cfg.RequestTimeout, cfg.ReconnectBackoff = c.DialContext, 3*time.Second, 3*time.Minute, 9*time.Second
	by := settings(t, cfg)
	require.Len(t, by, 120)
	for name, want := range map[string]inspect.Setting{
		"linger.ms": {Value: "7", Source: inspect.Provider, Field: "Linger"}, "client.rack": {Value: "${file:" + file + ":user}", Source: inspect.Provider, Field: "ClientRack"},
		"batch.size": {Value: "1000", Source: inspect.Property, Field: "BatchSize"}, "acks": {Value: "all", Source: inspect.Property, Field: "Acks"},
		"max.block.ms": {Value: "3000", Source: inspect.Field, Field: "MaxBlock"}, "buffer.memory": {Value: "33554432", Source: inspect.Default, Field: "BufferMemory"},
		"delivery.timeout.ms":      {Value: "180007", Source: inspect.Derived, Field: "DeliveryTimeout"},
		"enable.idempotence":       {Value: "false", Source: inspect.Derived, Field: "Idempotence"},
		"reconnect.backoff.max.ms": {Value: "9000", Source: inspect.Derived, Field: "ReconnectBackoffMax"},
		"partitioner.ignore.keys":  {Value: "false", Source: inspect.Property, Field: "PartitionerIgnoreKeys"},
		"ssl.keystore.password":    {Value: "***", Source: inspect.Property}, "sasl.jaas.config": {Value: "***", Source: inspect.Property},
		"sasl.oauthbearer.token.endpoint.url": {Value: "https://***@host:1/path?***", Source: inspect.Property},
		"ssl.truststore.password":             {Value: "", Source: inspect.Default},
	} {
		want.Name = name
		require.Equal(t, want, by[name])
	}
	for _, s := range by {
		require.NotContains(t, s.Value, "s3cr3t")
	}
}

// TestInspectShowsSecurityThatIsSetInGo.
func TestInspectShowsSecurityThatIsSetInGo(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{Pipes: true})
	cfg := testkit.Config(c)
	cfg.SASL = sasl.Plain("s3cr3t-user", "s3cr3t-password")
	by := settings(t, cfg)
	require.Equal(t, inspect.Setting{Name: "security.protocol", Value: "SASL_PLAINTEXT", Source: inspect.Derived, Field: "SecurityProtocol"}, by["security.protocol"])
	require.Equal(t, inspect.Setting{Name: "sasl.mechanism", Value: "PLAIN", Source: inspect.Field}, by["sasl.mechanism"])
}
