package quill

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/provider"
	configprovider "github.com/quill-kafka/quill/provider"
)

var updateFiles = flag.Bool("update", false, "rewrite the files that are made from this package")

// The file is what Kafka 4.4's own ProducerConfig says about itself.
func TestTableIsKafkas(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-producer-configs.tsv")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")[1:]
	require.Len(t, lines, 120)
	for _, line := range lines {
		f := strings.Split(line, "\t")
		row := propertyByName[f[0]]
		require.NotNil(t, row, f[0])
		require.Equal(t, f[1:], []string{row.typ, row.def, row.valid, string(row.importance)}, f[0])
	}
	require.Len(t, propertyByName, len(lines))
}

// A mistyped name of a property is a compile error: what code needs besides its row is a constant or the name of a value.
func TestEachNameOfAPropertyIsALiteralOnce(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset, at := token.NewFileSet(), map[string][]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value)
				at[text] = append(at[text], fset.Position(literal.Pos()).String())
			}
			return true
		})
	}
	for name := range propertyByName {
		if name == provider.List { // a literal of that package
			require.Empty(t, at[name])
			continue
		}
		require.Len(t, at[name], 1, "%s: %q", name, at[name])
	}
}

func TestEveryFieldHasARowAndEveryRowAStatus(t *testing.T) {
	withoutProperty := []string{"DialContext", "Logger", "SASL", "TLS"}
	fields := map[string]bool{}
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.IsExported() {
			fields[f.Name] = false
		}
	}
	for name, row := range propertyByName {
		require.NotEmpty(t, row.help, name)
		require.Equal(t, row.status == statusSupported, row.note == "", name)
		require.Equal(t, row.field != "", row.value != nil, name)
		if row.field != "" {
			seen, ok := fields[row.field]
			require.True(t, ok && !seen, "field %s of %s", row.field, name)
			fields[row.field] = true
		}
		require.Equal(t, strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") || name == "config.providers", row.kept, name)
	}
	for name, seen := range fields {
		require.Equal(t, !slices.Contains(withoutProperty, name), seen, name)
	}
}

// sampleProperties has a value other than the default for every property with a field.
var sampleProperties = map[string]string{
	"bootstrap.servers": "a:1,[::1]:2", "bootstrap.resolve.timeout.ms": "7", "client.dns.lookup": "resolve_canonical_bootstrap_servers_only",
	"client.id": "me", "client.rack": "r1", "connections.max.idle.ms": "8", "metadata.cluster.check.enable": "false", "metadata.max.age.ms": "9",
	"metadata.max.idle.ms": "5001", "metadata.recovery.rebootstrap.trigger.ms": "10", "metadata.recovery.strategy": "NONE",
	"receive.buffer.bytes": "11", "reconnect.backoff.max.ms": "12", "reconnect.backoff.ms": "13", "security.protocol": "SASL_SSL",
	"send.buffer.bytes": "14", "socket.connection.setup.timeout.max.ms": "15", "socket.connection.setup.timeout.ms": "16",
	"acks": "1", "batch.size": "17", "buffer.memory": "18", "buffer.memory.allocation.strategy": "INCREMENTAL", "compression.gzip.level": "6",
	"compression.lz4.level": "5", "compression.type": "zstd", "compression.zstd.level": "0", "delivery.timeout.ms": "19", "linger.ms": "20",
	"max.block.ms": "21", "max.in.flight.requests.per.connection": "4", "max.request.size": "22", "request.timeout.ms": "23", "retries": "24",
	"retry.backoff.max.ms": "25", "retry.backoff.ms": "26", "enable.metrics.push": "false", "metric.reporters": "com.example.M", "metrics.num.samples": "3",
	"metrics.recording.level": "TRACE", "metrics.sample.window.ms": "27", "partitioner.adaptive.partitioning.enable": "false",
	"partitioner.availability.timeout.ms": "28", "partitioner.class": "com.example.P", "partitioner.ignore.keys": "true",
	"partitioner.rack.aware": "true", "enable.idempotence": "false", "transaction.timeout.ms": "29",
	"transaction.two.phase.commit.enable": "true", "transactional.id": "tx",
	"key.serializer": "com.example.S", "interceptor.classes": "com.example.I",
}

func TestPropertiesRoundTrip(t *testing.T) {
	for name, row := range propertyByName {
		require.Equal(t, row.value != nil, row.value != nil && sampleProperties[name] != "", "no sample for %s", name)
	}
	c := mustParse(t, sampleProperties)
	require.Equal(t, sampleProperties, c.Properties())
	again := mustParse(t, c.Properties())
	c.props.all, again.props.all = nil, nil // how it was written differs
	require.Equal(t, c, again)
	require.Empty(t, Config{}.Properties())
	for f, v := range reflect.ValueOf(c).Fields() { // every field was reached
		if f.IsExported() && f.Name != "Logger" && f.Name != "DialContext" && f.Name != "Partitioner" && f.Name != "MetricsReporters" && f.Name != "TLS" && f.Name != "SASL" {
			require.False(t, v.IsZero(), f.Name)
		}
	}
}

func TestPropertyZeroIsKept(t *testing.T) {
	zero := map[string]string{}
	for name, row := range propertyByName {
		if row.value != nil && strings.HasPrefix(row.valid, "[0,...") {
			zero[name] = "0"
		}
	}
	require.Len(t, zero, 17)
	c := mustParse(t, zero)
	s, err := func() (settings, error) { c.BootstrapServers = []string{"a:1"}; return c.resolve() }()
	require.NoError(t, err)
	for _, d := range []any{
		s.metadataMaxAge, s.rebootstrapTrigger, s.reconnectBackoff, s.reconnectBackoffMax, s.deliveryTimeout, s.linger, s.maxBlock,
		s.requestTimeout, s.retryBackoff, s.retryBackoffMax, s.retries, s.maxRequestSize, s.bufferMemory, s.availabilityTimeout, s.bootstrapResolveTimeout,
	} {
		require.Zero(t, d)
	}
	require.Equal(t, 1, s.batchSize)
	again := mustParse(t, c.Properties())
	again.BootstrapServers = c.BootstrapServers
	c.props, again.props = givenProperties{}, givenProperties{} // two zeros say the same as nothing
	require.Equal(t, c, again)
}

func TestPropertyValuesAsJavaReadsThem(t *testing.T) {
	c := mustParse(t, map[string]string{
		"acks": " 1\t", "enable.idempotence": "FALSE", "linger.ms": "+07", "bootstrap.servers": " a:1 ,\tb:2 ",
		"connections.max.idle.ms": "-1", "security.protocol": "PlainText", "retries": "2147483647",
	})
	require.Equal(t, AcksLeader, c.Acks)
	require.Equal(t, new(false), c.Idempotence)
	require.EqualValues(t, 7e6, c.Linger)
	require.Equal(t, []string{"a:1", "b:2"}, c.BootstrapServers)
	require.EqualValues(t, -1, c.ConnectionsMaxIdle)
	require.Equal(t, plaintext, c.SecurityProtocol)
}

// All lists of the table, also those that nothing is done with. Java: ConfigDef.ValidList.
func TestListsAreReadAsJavaReadsThem(t *testing.T) {
	for _, row := range propertyByName {
		if row.typ != "LIST" {
			continue
		}
		for _, text := range []string{"a,,b", ",", "a,", ", a", "a , \t, b"} {
			props := map[string]string{"bootstrap.servers": "a:1"}
			props[row.name] = text
			c, err := ParseProperties(props)
			if err == nil {
				_, err = New(c, Bytes, Bytes)
			}
			require.ErrorContains(t, err, row.name, text)
			if row.name != "bootstrap.servers" { // its addresses are checked later
				require.ErrorContains(t, err, "has an empty element; remove the comma", text)
			}
		}
		if row.name != "bootstrap.servers" {
			mustParse(t, map[string]string{row.name: ""})
			mustParse(t, map[string]string{row.name: " a , a "})
		}
	}
}

// An empty class name is no class in Java either, and not the default. The serializers' rows are not read: New gets them.
func TestClassNamesAreNotEmpty(t *testing.T) {
	for _, row := range propertyByName {
		if row.typ != "CLASS" || strings.HasSuffix(row.name, ".serializer") {
			continue
		}
		for _, text := range []string{"", " \t"} {
			_, err := ParseProperties(map[string]string{"bootstrap.servers": "a:1", row.name: text})
			require.ErrorContains(t, err, row.name+`: is empty; name a Java class, or leave it out`, "%q", text)
		}
	}
}

func TestWrongTypesAreReportedTogether(t *testing.T) {
	_, err := ParseProperties(map[string]string{
		"linger.ms": "5ms", "retries": "2147483648", "batch.size": "1_000", "enable.idempotence": "yes", "acks": "some", "compression.type": "LZ4",
		"metrics.recording.level": "info", "compression.zstd.level": "fast", "request.timeout.ms": "2147483648", "buffer.memory": "1e6", "max.block.ms": "",
		"socket.connection.setup.timeout.ms": "0", "metadata.max.idle.ms": "4999", "client.id": strings.Repeat("i", 40000),
	})
	require.Equal(t, []string{
		"acks", "batch.size", "buffer.memory", "client.id", "compression.type", "compression.zstd.level", "enable.idempotence", "linger.ms", "max.block.ms",
		"metadata.max.idle.ms", "metrics.recording.level", "request.timeout.ms", "retries", "socket.connection.setup.timeout.ms",
	}, faultNames(t, err))
	require.ErrorContains(t, err, `linger.ms="5ms": must be an integer (milliseconds); write 5`)
	require.ErrorContains(t, err, "14 faults")
}

// S11: the secrets among the properties of TLS are in nothing that shows a Config.
func TestPropertiesOfTLSAreKeptAndNotShown(t *testing.T) {
	props := map[string]string{}
	for _, row := range sslProperties {
		props[row.name] = "s3cret"
	}
	c := mustParse(t, props)
	for _, row := range sslProperties {
		if row.typ == "PASSWORD" {
			require.Equal(t, "[hidden]", c.Properties()[row.name], row.name)
		} else {
			require.Equal(t, "s3cret", c.Properties()[row.name], row.name)
		}
	}
	for _, row := range sslProperties {
		if row.typ != "PASSWORD" {
			delete(props, row.name)
		}
	}
	c = mustParse(t, props)
	for _, v := range []any{c, &c, c.Properties()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(verb, v), "s3cret", verb)
		}
	}
}

// What is given its default, word for word, is as good as not given.
func TestPropertiesOfTLSAtTheirDefaultsAreNone(t *testing.T) {
	for _, row := range sslProperties {
		def := strings.NewReplacer("null", "", `""`, "").Replace(row.def)
		if row.typ == "CLASS" && def == "" {
			continue // no text stands for no class
		}
		c := mustParse(t, map[string]string{row.name: def})
		require.Nil(t, c.props.givenTLS(), row.name)
	}
	c := mustParse(t, map[string]string{"ssl.endpoint.identification.algorithm": ""})
	require.Equal(t, "ssl.endpoint.identification.algorithm", c.props.givenTLS().name)
}

func TestUnusedPropertiesAreLogged(t *testing.T) {
	c := mustParse(t, map[string]string{
		"lingr.ms": "5", "compression.typ": "x", "BATCH_SIZE": "1", "zookeeper.connect": "z", "evil\nname": "secret-value",
		"key.serializer": "com.example.S", "value.serializer": " org.apache.kafka.common.serialization.StringSerializer", "enable.metrics.push": "false", "security.providers": "x",
	})
	c.MetricsRecordingLevel = "DEBUG"
	var log bytes.Buffer
	c.logUnused(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	unknown := `level=WARN msg="property was supplied but isn't a known config" property=`
	unused := `level=INFO msg="property has no effect" property=`
	require.Equal(t, unknown+"BATCH_SIZE did_you_mean=batch.size\n"+
		unknown+"compression.typ did_you_mean=compression.type\n"+
		unknown+`evil\nname`+"\n"+
		unknown+"lingr.ms did_you_mean=linger.ms\n"+
		unknown+"zookeeper.connect\n"+
		unused+`security.providers reason="registers providers in the JVM"`+"\n"+
		unused+`enable.metrics.push reason="client telemetry is not built yet"`+"\n"+
		unused+`key.serializer reason="names a Java class; the Go value is an argument of New"`+"\n"+
		unused+`metrics.recording.level reason="as in Java, all metrics of a producer are of level INFO"`+"\n"+
		unused+`value.serializer reason="names a Java class; the Go value is an argument of New" counterpart=quill.String`+"\n", log.String())

	log.Reset()
	Config{}.logUnused(slog.New(slog.NewTextHandler(&log, nil)))
	require.Empty(t, log.String())
}

// A check at the start gets what New logs, and can distinguish a misspelled name from a property that only a JVM needs.
func TestWarningsAreWhatNewLogs(t *testing.T) {
	c := mustParse(t, map[string]string{
		"lingr.ms": "s3cret", "evil\nname": "s3cret", "config.providers": "env", "client.id": "${env:QUILL_TEST_NONE}", "linger.ms": "5",
		"config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
		"security.providers":         "x", "value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
	})
	var texts []string
	misspelled := 0
	for _, f := range c.Warnings() {
		texts = append(texts, f.String())
		if !f.Unsupported {
			misspelled++
		}
	}
	require.Equal(t, []string{
		`evil\nname: not a property of Kafka's producer`,
		`lingr.ms: not a property of Kafka's producer; did you mean linger.ms?`,
		`client.id=${env:QUILL_TEST_NONE}: a variable without a value, which stays as it is`,
		`security.providers="x": registers providers in the JVM`,
		`value.serializer="org.apache.kafka.common.serialization.StringSerializer": names a Java class; the Go value is an argument of New; use quill.String`,
	}, texts)
	require.Equal(t, 3, misspelled)
	var log bytes.Buffer
	c.logUnused(slog.New(slog.NewTextHandler(&log, nil)))
	require.Equal(t, len(texts), strings.Count(log.String(), "\n"))
	require.Empty(t, Config{}.Warnings())
	for range c.unused {
		break // the walk may be left
	}
}

func TestNearestProperty(t *testing.T) {
	for name, want := range map[string]string{
		"bootstrap.server": "bootstrap.servers", "linger-ms": "linger.ms", "acsk": "acks", "Retries": "retries", "max.in.flight.requests": "",
		"spring.kafka.bootstrap-servers": "bootstrap.servers", "spring.kafka.producer.acks": "acks", "group.id": "", "": "", "x": "", "enable.idempotency": "enable.idempotence",
	} {
		got, ok := nearestProperty(name)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok)
	}
	got, ok := nearestProperty(strings.Repeat("a", 1000))
	require.False(t, ok, got)
}

func TestMalformedPropertiesAreReportedTogether(t *testing.T) {
	_, err := LoadProperties(strings.NewReader("linger.ms=x\n\nacks=\\u12\nclient.id=a\\\n  b\\uzzzz\nretries=-1\n"))
	require.Equal(t, []string{"line 3", "line 4", "linger.ms", "retries"}, faultNames(t, err))

	_, err = LoadProperties(failingReader{})
	require.ErrorContains(t, err, "unexpected EOF")

	_, err = LoadProperties(strings.NewReader(strings.Repeat("#", 2<<20)))
	require.Equal(t, []string{"properties"}, faultNames(t, err))
}

func FuzzLoadProperties(f *testing.F) {
	f.Add([]byte("linger.ms = 5\nacks=\\u0031\\\n  \n"))
	f.Add([]byte("bootstrap.servers=a:1,b:2\nssl.key.password=x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := LoadProperties(bytes.NewReader(data))
		if err != nil {
			require.ErrorAs(t, err, new(*ConfigError))
			return
		}
		c.logUnused(slog.New(slog.DiscardHandler))
		props := c.Properties()
		again, err := ParseProperties(props)
		require.NoError(t, err)
		require.True(t, maps.Equal(props, again.Properties()))
		_, _ = c.resolve()
	})
}

// docs/configuration.md is made from the table: go test -run TestConfigurationReference . -update
func TestConfigurationReference(t *testing.T) {
	const path = "docs/configuration.md"
	want := configurationReference()
	if *updateFiles {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run the test with -update")
}

const referenceHead = `# Configuration

<!-- Made from the table in properties_table.go by TestConfigurationReference. Change that. -->

A producer is configured by a ` + "`quill.Config`" + `. Its zero value is Kafka's default for every field; only
` + "`BootstrapServers`" + ` is required. ` + "`ParseProperties` and `LoadProperties`" + ` make one from Kafka's property names, which
this page lists: all 120 of Kafka 4.4's producer.

- **Zero and none.** In a ` + "`Config`" + `, zero means the default and a negative number means none (no waiting, no retry): ` + "`Linger: -1`" + `
  does not linger. Exceptions: ` + "`RequestTimeout: -1`" + ` allows 1 ms for an answer, and ` + "`BufferMemory`" + ` and ` + "`MaxRequestSize`" + ` must not be negative.
  A property of 0 becomes that negative number. In a property a negative number is refused unless the table allows it.
- **Set by hand.** A field that is not zero counts as set, also if it equals the default.
- **Milliseconds.** Fields are ` + "`time.Duration`" + ` and may be finer; ` + "`Config.Properties`" + ` rounds them up. Less than a microsecond is refused: ` + "`Linger: 5`" + `
  is 5 nanoseconds; write ` + "`5*time.Millisecond`" + `. More than 100 years are 100 years.
- **Faults.** New reports everything that is wrong at once in a ` + "`*ConfigError`" + `.
- **Unknown names** are accepted and logged as a warning, with the name that was probably meant. Config.Warnings returns them, so that a test or a check at the start can fail on one.
- **Fields without a property:** ` + "`Logger`, `DialContext`, `TLS`, `SASL`" + `.

Status: *yes*; *no effect* (accepted, logged once at INFO); *not yet* (refused by New).

`

const referenceTail = `
## Rules between properties

| given | result |
|---|---|
| acks 0 or 1, or retries 0 | idempotence goes off, unless enable.idempotence is given as true: then refused |
| max.in.flight.requests.per.connection above 5 | refused, unless enable.idempotence is given as false |
| transactional.id without idempotence | refused |
| transaction.two.phase.commit.enable with transaction.timeout.ms | refused |
| delivery.timeout.ms below linger.ms + request.timeout.ms | refused if given; otherwise raised, with a warning |
| reconnect.backoff.ms without reconnect.backoff.max.ms | the maximum is the base, with a warning |
| retry.backoff.ms or socket.connection.setup.timeout.ms above its maximum | the maximum always, with a warning |
| linger.ms above 2147483647 | 2147483647 |
| batch.size 0 | 1: every record is a batch of its own |
| compression levels | checked for every codec, chosen or not |
| buffer.memory.allocation.strategy incremental with compression | refused |
| partitioner.rack.aware without client.rack | refused |
| request.timeout.ms 0 | an answer that takes a millisecond comes too late, with a warning |
| a bootstrap server that is an IPv6 address without brackets | refused, unlike Java: where the port begins can't be told |
| partitioner.class without Config.Partitioner | refused, unlike Java: the class cannot be loaded, and ignoring it would move keys |
| no bootstrap server's name can be resolved | refused, unless bootstrap.resolve.timeout.ms is above 0 or DialContext is set |
`

// The table is printed by TestLevelsBesideJava in internal/compress.
const referenceLevels = `
## Compression levels

The libraries here have fewer levels than Java's. These levels give the same result:

| codec | levels |
|---|---|
| gzip | each of 1 to 9 is different; -1, the default, is 6 |
| lz4 | 9, the default (the fast compressor, as in Java); 1 and 2; 3; all others |
| zstd | below 0; 0 to 3, the default; 4 and 5; 6 to 9; 10 to 22 |

JSON records of 400 bytes, packed 64 KiB at a time, beside Kafka 4.3.1 with the same level: size after compression divided by
size before, and MB per second of CPU time, on a busy machine of two virtual processors.

| codec | level | size | Java's | of Java's | MB/s | Java's |
|---|---|---|---|---|---|---|
| gzip | -1 | 0.239 | 0.230 | 1.04 | 111 | 49 |
| gzip | 1 | 0.269 | 0.286 | 0.94 | 222 | 116 |
| gzip | 3 | 0.262 | 0.261 | 1.01 | 169 | 86 |
| gzip | 5 | 0.243 | 0.236 | 1.03 | 125 | 62 |
| gzip | 6 | 0.239 | 0.230 | 1.04 | 115 | 50 |
| gzip | 9 | 0.219 | 0.223 | 0.98 | 16 | 14 |
| lz4 | 1 | 0.341 | 0.356 | 0.96 | 151 | 181 |
| lz4 | 2 | 0.341 | 0.356 | 0.96 | 153 | 169 |
| lz4 | 3 | 0.316 | 0.315 | 1.00 | 79 | 86 |
| lz4 | 4 | 0.314 | 0.308 | 1.02 | 65 | 72 |
| lz4 | 6 | 0.314 | 0.302 | 1.04 | 66 | 53 |
| lz4 | 9 | 0.371 | 0.382 | 0.97 | 457 | 446 |
| lz4 | 12 | 0.314 | 0.295 | 1.07 | 66 | 16 |
| lz4 | 17 | 0.314 | 0.295 | 1.07 | 65 | 16 |
| zstd | -5 | 0.315 | 0.412 | 0.76 | 277 | 356 |
| zstd | 1 | 0.238 | 0.240 | 0.99 | 249 | 259 |
| zstd | 3 | 0.238 | 0.235 | 1.01 | 245 | 223 |
| zstd | 5 | 0.236 | 0.230 | 1.02 | 158 | 95 |
| zstd | 7 | 0.227 | 0.218 | 1.04 | 96 | 50 |
| zstd | 9 | 0.227 | 0.212 | 1.07 | 90 | 28 |
| zstd | 10 | 0.223 | 0.209 | 1.06 | 20 | 18 |
| zstd | 15 | 0.223 | 0.206 | 1.08 | 21 | 2 |
| zstd | 22 | 0.223 | 0.198 | 1.12 | 16 | below 1 |

Batches are 2 to 12 % larger than Java's of the same level with gzip 5 and 6, lz4 from 4 and zstd from 5 on, and, except lz4 4, made faster.
These libraries can't compress as well as Java's highest levels, at any level.

**How much goes into a batch.** batch.size counts bytes as they are on the wire, as in Java, which estimates them by what was
compressed before. Here a batch has, before compression, at most min(4 × batch.size, buffer.memory / 16), but never below
batch.size: an open batch may take that much memory. Data that shrinks to less than a quarter makes batches smaller than batch.size; raise it for such data.
`

func configurationReference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, group := range properties {
		b.WriteString("## " + group.title + "\n\n")
		b.WriteString("| property | field | type | default | valid | importance | status | meaning |\n|---|---|---|---|---|---|---|---|\n")
		for _, row := range group.rows {
			status := map[status]string{statusSupported: "yes", statusNoEffect: "no effect: ", statusNotYet: "not yet: "}[row.status] + row.note
			field := ""
			if row.field != "" {
				field = "`" + row.field + "`"
			}
			cells := []string{"`" + row.name + "`", field, row.typ, row.def, row.valid, string(row.importance), status, row.help}
			b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n") + referenceTail + referenceLevels
}

func TestAFileOfOneMiBIsRead(t *testing.T) {
	text := "linger.ms=7\n#"
	c, err := LoadProperties(strings.NewReader(text + strings.Repeat("x", 1<<20-len(text))))
	require.NoError(t, err)
	require.EqualValues(t, 7e6, c.Linger)
	_, err = LoadProperties(strings.NewReader(text + strings.Repeat("x", 1<<20-len(text)+1)))
	require.ErrorContains(t, err, "longer than 1 MiB")
}

// A file for a Java producer as one meets it: classes of Java's, blanks, what other clients and frameworks put in.
func TestATypicalFileOfJavasIsTaken(t *testing.T) {
	c, err := LoadProperties(strings.NewReader(`
# producer.properties
bootstrap.servers = broker-1:9092, broker-2:9092
key.serializer=org.apache.kafka.common.serialization.StringSerializer
value.serializer=org.apache.kafka.common.serialization.ByteArraySerializer
acks = all
compression.type=lz4
linger.ms = 20
retries: 2147483647
max.in.flight.requests.per.connection=5
metric.reporters=
schema.registry.url=http://registry:8081
security.protocol=PLAINTEXT
ssl.protocol=TLSv1.3
group.id=g
`))
	require.NoError(t, err)
	s, err := c.resolve()
	require.NoError(t, err)
	require.Equal(t, []string{"broker-1:9092", "broker-2:9092"}, s.bootstrap)
	require.Equal(t, 20*time.Millisecond, s.linger)
	var log bytes.Buffer
	c.logUnused(slog.New(slog.NewTextHandler(&log, nil)))
	require.Equal(t, 2, strings.Count(log.String(), "level=WARN"), "%s", log.String())
	require.Contains(t, log.String(), "property=group.id")
	require.Contains(t, log.String(), "property=schema.registry.url")
	require.Contains(t, log.String(), "counterpart=quill.String")
	require.Contains(t, log.String(), "counterpart=quill.Bytes")
}

func TestAMisspelledRequiredPropertyIsNamed(t *testing.T) {
	for _, name := range []string{"bootstrap.server", "spring.kafka.bootstrap-servers", "BOOTSTRAP_SERVERS"} {
		_, err := mustParse(t, map[string]string{name: "a:1", "client.ip": "x"}).resolve()
		require.Equal(t, []string{"bootstrap.servers"}, faultNames(t, err))
		require.ErrorContains(t, err, "is required; "+name+" was given: is it that?")
	}
	_, err := mustParse(t, map[string]string{"client.ip": "x"}).resolve()
	require.ErrorContains(t, err, "is required; name one or more host:port")
}

func TestAllFaultsOfASecureConnectionComeAtOnce(t *testing.T) {
	_, err := mustParse(t, map[string]string{"security.protocol": "SSL", "ssl.truststore.location": "/none/trust", "ssl.keystore.location": "/none/keys", "ssl.keystore.password": "s3cret"}).resolve()
	require.Equal(t, []string{"bootstrap.servers", "ssl.keystore.location", "ssl.truststore.location"}, faultNames(t, err))
	require.NotContains(t, err.Error(), "s3cret")
	_, err = ParseProperties(map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"})
	require.NoError(t, err)
	_, err = ParseProperties(map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.login.refresh.window.factor": "2"})
	require.Equal(t, []string{"sasl.login.refresh.window.factor"}, faultNames(t, err))
	require.NotContains(t, err.Error(), "DialContext")
}

// KIP-297: what providers have stands in for variables, and is not shown where the variable is.
func TestConfigProvidersGiveValues(t *testing.T) {
	t.Setenv("QUILL_TEST_LINGER", "7")
	t.Setenv("QUILL_TEST_SECRET", "s3cret")
	props := map[string]string{
		"config.providers": "env", "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
		"config.providers.env.param.allowlist.pattern": "QUILL_TEST_.*",
		"linger.ms": "${env:QUILL_TEST_LINGER}", "sasl.jaas.config": "${env:QUILL_TEST_SECRET}", "client.id": "${env:QUILL_TEST_NONE}", "plug.in": "${env:QUILL_TEST_LINGER}",
	}
	c := mustParse(t, props)
	require.Equal(t, 7*time.Millisecond, c.Linger)
	require.Equal(t, "s3cret", c.keptText("sasl.jaas.config"))
	require.Equal(t, "${env:QUILL_TEST_NONE}", c.ClientID)
	require.Equal(t, "7", c.props.all["plug.in"], "plug-ins get the values, as in Java")
	require.Equal(t, "[hidden]", c.props.all["config.providers.env.param.allowlist.pattern"])
	require.Equal(t, "[hidden]", c.Properties()["sasl.jaas.config"])
	require.NotContains(t, c.Properties(), "config.providers")
	var log bytes.Buffer
	c.logUnused(slog.New(slog.NewTextHandler(&log, nil)))
	require.Contains(t, log.String(), "client.id=${env:QUILL_TEST_NONE}")
	require.NotContains(t, log.String(), "config.providers")

	props["linger.ms"] = "${env:QUILL_TEST_SECRET}"
	_, err := ParseProperties(props)
	require.ErrorContains(t, err, `linger.ms="${env:QUILL_TEST_SECRET}": must be an integer`)
	require.NotContains(t, err.Error(), "s3cret")
}

// vault is a provider of the user's.
type vault struct{ address string }

func (v vault) Get(path string, keys []string) (map[string]string, error) {
	if path == "panic" {
		panic("vault")
	}
	return map[string]string{keys[0]: v.address + "/" + path}, nil
}

func TestConfigProviderOfTheUsers(t *testing.T) {
	class := "com.example.Vault" + time.Now().String() // the test may run more than once
	configprovider.Register(class, func(params map[string]string) (configprovider.Provider, error) { return vault{params["address"]}, nil })
	props := map[string]string{"config.providers": "v", "config.providers.v.class": class, "config.providers.v.param.address": "here", "client.id": "${v:path:key}"}
	require.Equal(t, "here/path", mustParse(t, props).ClientID)
	props["client.id"] = "${v:panic:key}"
	_, err := ParseProperties(props)
	require.Equal(t, []string{"client.id"}, faultNames(t, err))
	again := func(map[string]string) (configprovider.Provider, error) { return vault{}, nil }
	require.Panics(t, func() { configprovider.Register(class, again) })
	require.Panics(t, func() { configprovider.Register(class+".nil", nil) })
	require.Panics(t, func() {
		configprovider.Register("org.apache.kafka.common.config.provider.FileConfigProvider", again)
	})
}
