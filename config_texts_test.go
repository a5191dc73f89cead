package quill

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// configTexts provokes what can be wrong with a configuration, each fault once.
var configTexts = map[string]func() error{
	// Properties by themselves.
	"a time with a unit":             wrongProperty("linger.ms", "5ms"),
	"a time in seconds":              wrongProperty("max.block.ms", "1m30s"),
	"a time that is a fraction":      wrongProperty("linger.ms", "0.5"),
	"a time that is none":            wrongProperty("linger.ms", "soon"),
	"an empty number":                wrongProperty("retries", ""),
	"a negative time":                wrongProperty("linger.ms", "-1"),
	"a time too short":               wrongProperty("metadata.max.idle.ms", "4999"),
	"a time too long":                wrongProperty("request.timeout.ms", "2147483648"),
	"a time of nothing":              wrongProperty("socket.connection.setup.timeout.ms", "0"),
	"a size with a unit":             wrongProperty("buffer.memory", "64MiB"),
	"a size with a unit that is two": wrongProperty("batch.size", "64kB"),
	"a size with marks":              wrongProperty("batch.size", "65_536"),
	"a size as a power":              wrongProperty("buffer.memory", "1e6"),
	"a size below -1":                wrongProperty("send.buffer.bytes", "-2"),
	"a number that is too large":     wrongProperty("buffer.memory", "9223372036854775808"),
	"a number far below":             wrongProperty("retries", "-2147483649"),
	"a count of nothing":             wrongProperty("max.in.flight.requests.per.connection", "0"),
	"a level beyond":                 wrongProperty("compression.zstd.level", "23"),
	"a level between":                wrongProperty("compression.gzip.level", "0"),
	"a level in words":               wrongProperty("compression.lz4.level", "fast"),
	"a switch in other words":        wrongProperty("enable.idempotence", "yes"),
	"a switch that is none":          wrongProperty("enable.idempotence", "perhaps"),
	"a word that is none":            wrongProperty("acks", "2"),
	"a word in capitals":             wrongProperty("compression.type", "LZ4"),
	"a text too long":                wrongProperty("client.id", strings.Repeat("x", 40000)),
	"an empty identity":              wrongProperty("transactional.id", " "),
	"no server at all":               wrongProperty("bootstrap.servers", ""),
	"TLS":                            wrongProperty("ssl.keystore.location", "/etc/keys"),
	"a password":                     wrongProperty("ssl.keystore.password", "s3cret"),
	"SASL":                           wrongProperty("sasl.mechanism", "PLAIN"),
	"indirect values":                wrongProperty("config.providers", "file"),
	"a file that is too long":        func() error { _, err := LoadProperties(strings.NewReader(strings.Repeat("#", 1<<20+1))); return err },
	"an escape that is none":         func() error { _, err := LoadProperties(strings.NewReader(`client.id=\u12`)); return err },

	// Fields of Config.
	"field: nothing":             func() error { return (&Config{}).fails() },
	"field: no port":             wrongConfig(func(c *Config) { c.BootstrapServers = []string{"kafka"} }),
	"field: a list in one":       wrongConfig(func(c *Config) { c.BootstrapServers = []string{"a:1,b:2"} }),
	"field: a port beyond":       wrongConfig(func(c *Config) { c.BootstrapServers = []string{"a:99999"} }),
	"field: no IPv6 brackets":    wrongConfig(func(c *Config) { c.BootstrapServers = []string{"2001:db8::204"} }),
	"field: a URL":               wrongConfig(func(c *Config) { c.BootstrapServers = []string{"http://a/b:1"} }),
	"field: an unknown constant": wrongConfig(func(c *Config) { c.Acks = 9 }),
	"field: an unknown toggle":   wrongConfig(func(c *Config) { c.Idempotence = 7 }),
	"field: a time too short":    wrongConfig(func(c *Config) { c.MetadataMaxIdle = 4999*time.Millisecond + 999*time.Microsecond }),
	"field: a time too long":     wrongConfig(func(c *Config) { c.RequestTimeout, c.DeliveryTimeout = 0, math.MaxInt64 }),
	"field: a time of nothing":   wrongConfig(func(c *Config) { c.TransactionTimeout = -1 }),
	"field: none in flight":      wrongConfig(func(c *Config) { c.MaxInFlightRequestsPerConnection = -1 }),
	"field: a size below -1":     wrongConfig(func(c *Config) { c.ReceiveBufferBytes = -2 }),
	"field: a level beyond":      wrongConfig(func(c *Config) { c.CompressionLZ4Level = new(18) }),
	"field: a blank identity":    wrongConfig(func(c *Config) { c.TransactionalID = "\n" }),
	"field: too many faults":     wrongConfig(func(c *Config) { c.MaxRequestSize, c.BatchSize, c.MetricsNumSamples = math.MaxInt, math.MaxInt, -1 }),

	// How they go together.
	"deliveries shorter than requests": wrongConfig(func(c *Config) { c.DeliveryTimeout = time.Second }),
	"the same in properties":           wrongSettings("delivery.timeout.ms=30004"),
	"six in flight":                    wrongSettings("max.in.flight.requests.per.connection=6"),
	"idempotence without acks":         wrongSettings("enable.idempotence=true acks=1 retries=0"),
	"transactions without idempotence": wrongSettings("transactional.id=t acks=0"),
	"two phases with a time-out":       wrongSettings("transactional.id=t transaction.two.phase.commit.enable=true transaction.timeout.ms=1000"),
	"two phases":                       wrongSettings("transactional.id=t transaction.two.phase.commit.enable=true"),
	"incremental memory":               wrongSettings("buffer.memory.allocation.strategy=incremental compression.type=lz4"),
	"a rack that is not given":         wrongSettings("partitioner.rack.aware=true"),
	"a secure protocol":                wrongSettings("security.protocol=ssl"),
	"a secure protocol with SASL":      wrongSettings("security.protocol=sasl_ssl"),
	"a partitioner of one's own":       wrongSettings("partitioner.class=com.example.Mine"),
	"Java's round robin":               wrongSettings("partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner"),
	"Java's sticky":                    wrongSettings("partitioner.class=org.apache.kafka.clients.producer.UniformStickyPartitioner"),
	"Java's default":                   wrongSettings("partitioner.class=" + builtinPartitioner),
	"no name that resolves":            wrongSettings("bootstrap.servers=a..b:9092"),
	"a serializer that is nil":         func() error { _, err := newView[string, string](&engine{}, nil, String, nil); return err },
}

func wrongProperty(name, value string) func() error {
	return func() error {
		_, err := ParseProperties(map[string]string{name: value})
		return err
	}
}

func wrongConfig(change func(*Config)) func() error {
	return func() error {
		c := Config{BootstrapServers: []string{"localhost:9092"}}
		change(&c)
		return c.fails()
	}
}

func wrongSettings(pairs string) func() error {
	return func() error {
		props := map[string]string{"bootstrap.servers": "localhost:9092"}
		for pair := range strings.FieldsSeq(pairs) {
			name, value, _ := strings.Cut(pair, "=")
			props[name] = value
		}
		c, err := ParseProperties(props)
		if err != nil {
			return err
		}
		return c.fails()
	}
}

func (c *Config) fails() error {
	_, err := assemble(*c)
	return err
}

// testdata/config-errors.txt is made from the table: go test -run TestConfigErrorTexts . -update. Read it
// aloud after each change.
func TestConfigErrorTexts(t *testing.T) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(configTexts)) {
		err := configTexts[name]()
		require.ErrorIs(t, err, ErrConfig, name)
		require.NotContains(t, err.Error(), "s3cret", name)
		for _, joint := range []string{".;", ".:", ":;", ";;", "  ", "; :"} {
			require.NotContains(t, err.Error(), joint, name)
		}
		fmt.Fprintf(&b, "%s\n\t%v\n", name, err)
	}
	const path = "testdata/config-errors.txt"
	if *updateFiles {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "run the test with -update, and read")
}
