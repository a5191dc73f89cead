package quill

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// resolveProperties takes a properties map all the way into settings: both sources of faults in one.
func resolveProperties(props map[string]string) (settings, error) {
	all := map[string]string{"bootstrap.servers": "localhost:9092"}
	maps.Copy(all, props)
	c, err := ParseProperties(all)
	if err != nil {
		return settings{}, err
	}
	return c.resolve()
}

func faultNames(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	require.ErrorAs(t, err, new(*ConfigError))
	ce, ok := errors.AsType[*ConfigError](err)
	require.True(t, ok, "%v", err)
	var names []string
	for _, f := range ce.Faults {
		require.NotEmpty(t, f.Reason)
		names = append(names, f.Name)
	}
	return names
}

type interplay struct {
	input  string // the line of the table
	props  map[string]string
	faults []string              // names of the properties that are refused
	holds  func(s settings) bool // of what is accepted
	logs   string                // part of a note for the log
}

// The lines were run against Kafka's own client, version 4.4.
var interplays = []interplay{
	{"acks=1", map[string]string{"acks": "1"}, nil, func(s settings) bool { return !s.idempotent && s.acks == 1 }, "idempotence is off because of acks"},
	{"acks=0", map[string]string{"acks": "0"}, nil, func(s settings) bool { return !s.idempotent && s.acks == 0 }, "idempotence is off because of acks"},
	{"acks=1 + enable.idempotence=true", map[string]string{"acks": "1", "enable.idempotence": "true"}, []string{"acks"}, nil, ""},
	{"retries=0", map[string]string{"retries": "0"}, nil, func(s settings) bool { return !s.idempotent && s.retries == 0 }, "idempotence is off because of retries"},
	{"retries=0 + enable.idempotence=true", map[string]string{"retries": "0", "enable.idempotence": "TRUE"}, []string{"retries"}, nil, ""},
	{"max.in.flight=6", map[string]string{"max.in.flight.requests.per.connection": "6"}, []string{"max.in.flight.requests.per.connection"}, nil, ""},
	{"max.in.flight=5", map[string]string{"max.in.flight.requests.per.connection": "5"}, nil, func(s settings) bool { return s.idempotent && s.maxInFlight == 5 }, ""},
	{"acks=1 + max.in.flight=10", map[string]string{"acks": "1", "max.in.flight.requests.per.connection": "10"}, []string{"max.in.flight.requests.per.connection"}, nil, ""},
	{"enable.idempotence=false + max.in.flight=10", map[string]string{"enable.idempotence": "false", "max.in.flight.requests.per.connection": "10"}, nil, func(s settings) bool { return !s.idempotent && s.maxInFlight == 10 }, ""},
	{"enable.idempotence=false + transactional.id", map[string]string{"enable.idempotence": "false", "transactional.id": "t"}, []string{"transactional.id"}, nil, ""},
	{"acks=1 + transactional.id", map[string]string{"acks": "1", "transactional.id": "t"}, []string{"transactional.id"}, nil, ""},
	{"acks=2", map[string]string{"acks": "2"}, []string{"acks"}, nil, ""},
	{"acks=ALL", map[string]string{"acks": "ALL"}, []string{"acks"}, nil, ""},
	{"acks=-1", map[string]string{"acks": "-1"}, nil, func(s settings) bool { return s.acks == -1 && s.idempotent }, ""},
	{"delivery.timeout.ms=30004", map[string]string{"delivery.timeout.ms": "30004"}, []string{"delivery.timeout.ms"}, nil, ""},
	{"delivery.timeout.ms=30005", map[string]string{"delivery.timeout.ms": "30005"}, nil, func(s settings) bool { return s.deliveryTimeout == 30005*time.Millisecond }, ""},
	{"linger.ms=200000", map[string]string{"linger.ms": "200000"}, nil, func(s settings) bool { return s.deliveryTimeout == 230*time.Second }, "delivery.timeout.ms was raised"},
	{"request.timeout.ms=200000", map[string]string{"request.timeout.ms": "200000"}, nil, func(s settings) bool { return s.deliveryTimeout == 200005*time.Millisecond }, "delivery.timeout.ms was raised"},
	{"delivery.timeout.ms=120000 by hand + linger.ms=200000", map[string]string{"delivery.timeout.ms": "120000", "linger.ms": "200000"}, []string{"delivery.timeout.ms"}, nil, ""},
	{"linger.ms > MaxInt32", map[string]string{"linger.ms": "9999999999"}, nil, func(s settings) bool {
		return s.linger == math.MaxInt32*time.Millisecond && s.deliveryTimeout == math.MaxInt32*time.Millisecond
	}, "delivery.timeout.ms was raised"},
	{"batch.size=0", map[string]string{"batch.size": "0"}, nil, func(s settings) bool { return s.batchSize == 1 }, ""},
	{"buffer.memory=10", map[string]string{"buffer.memory": "10"}, nil, func(s settings) bool { return s.bufferMemory == 10 }, ""},
	{"transactional.id=\"\"", map[string]string{"transactional.id": " "}, []string{"transactional.id"}, nil, ""},
	{"two phase commit + transaction.timeout.ms", map[string]string{"transactional.id": "t", "transaction.two.phase.commit.enable": "true", "transaction.timeout.ms": "60000"}, []string{"transaction.timeout.ms"}, nil, ""},
	{"two phase commit alone", map[string]string{"transactional.id": "t", "transaction.two.phase.commit.enable": "true"}, nil, func(s settings) bool { return s.twoPhaseCommit && s.clientID == "producer-t" }, ""},
	{"compression levels, codec not chosen", map[string]string{"compression.gzip.level": "0", "compression.lz4.level": "18", "compression.zstd.level": "23"}, []string{"compression.gzip.level", "compression.lz4.level", "compression.zstd.level"}, nil, ""},
	{"compression.gzip.level=10", map[string]string{"compression.gzip.level": "10"}, []string{"compression.gzip.level"}, nil, ""},
	{"compression.gzip.level=-1", map[string]string{"compression.type": "gzip", "compression.gzip.level": "-1"}, nil, func(s settings) bool { return s.codec == compress.Codec(1) && s.codecLevel == -1 }, ""},
	{"compression.zstd.level=0 and below", map[string]string{"compression.type": "zstd", "compression.zstd.level": "-131072"}, nil, func(s settings) bool { return s.codec == compress.Codec(4) && s.codecLevel == -131072 }, ""},
	{"compression.type=lzo", map[string]string{"compression.type": "lzo"}, []string{"compression.type"}, nil, ""},
	{"incremental + compression", map[string]string{"buffer.memory.allocation.strategy": "incremental", "compression.type": "lz4"}, []string{"buffer.memory.allocation.strategy"}, nil, ""},
	{"incremental + batch.size < 16384", map[string]string{"buffer.memory.allocation.strategy": "Incremental", "batch.size": "16383"}, nil, func(s settings) bool { return s.batchSize == 16383 }, "strategy is full"},
	{"partitioner.rack.aware without client.rack", map[string]string{"partitioner.rack.aware": "true", "client.rack": " "}, []string{"partitioner.rack.aware"}, nil, ""},
	{"partitioner.rack.aware with client.rack", map[string]string{"partitioner.rack.aware": "true", "client.rack": "r"}, nil, func(s settings) bool { return s.rackAware && s.clientRack == "r" }, ""},
	{"bootstrap.servers=\"\"", map[string]string{"bootstrap.servers": ""}, []string{"bootstrap.servers"}, nil, ""},
	{"bootstrap.servers, trailing comma", map[string]string{"bootstrap.servers": "a:1,"}, []string{"bootstrap.servers"}, nil, ""},
	{"bootstrap.servers, duplicates", map[string]string{"bootstrap.servers": "a:1 , a:1"}, nil, func(s settings) bool { return reflect.DeepEqual(s.bootstrap, []string{"a:1", "a:1"}) }, ""},
	{"bootstrap.servers=nohost", map[string]string{"bootstrap.servers": "nohost"}, []string{"bootstrap.servers"}, nil, ""},
	{"security.protocol=plaintext", map[string]string{"security.protocol": "plaintext"}, nil, nil, ""},
	{"security.protocol=ssl", map[string]string{"security.protocol": "ssl"}, nil, nil, ""},
	{"security.protocol=foo", map[string]string{"security.protocol": "foo"}, []string{"security.protocol"}, nil, ""},
	{"SASL_* without jaas config", map[string]string{"security.protocol": "SASL_PLAINTEXT"}, []string{"security.protocol"}, nil, ""},
	{"SASL_* + sasl.mechanism=\"\"", map[string]string{"security.protocol": "SASL_SSL", "sasl.mechanism": ""}, []string{"sasl.mechanism"}, nil, ""},
	{"unknown.key=1", map[string]string{"unknown.key": "1"}, nil, func(settings) bool { return true }, ""},
	{"reconnect.backoff.ms without its max", map[string]string{"reconnect.backoff.ms": "5000"}, nil, func(s settings) bool {
		return s.reconnectBackoff == 5*time.Second && s.reconnectBackoffMax == 5*time.Second
	}, "the backoff does not grow"},
	{"retry.backoff.ms > retry.backoff.max.ms", map[string]string{"retry.backoff.ms": "5000"}, nil, func(s settings) bool {
		return s.retryBackoff == time.Second && s.retryBackoffMax == time.Second
	}, "retry.backoff.ms is greater"},
	{"connection.setup.timeout > its max", map[string]string{"socket.connection.setup.timeout.ms": "40000"}, nil, func(s settings) bool {
		return s.setupTimeout == 30*time.Second && s.setupTimeoutMax == 30*time.Second
	}, "socket.connection.setup.timeout.ms is greater"},
	{"metadata.max.idle.ms=100", map[string]string{"metadata.max.idle.ms": "100"}, []string{"metadata.max.idle.ms"}, nil, ""},
	{"max.block.ms=0, request.timeout.ms=0", map[string]string{"max.block.ms": "0", "request.timeout.ms": "0"}, nil, func(s settings) bool { return s.maxBlock == 0 && s.requestTimeout == 0 }, "request.timeout.ms is 0"},
	{"delivery.timeout.ms=0 with nothing to cover", map[string]string{"delivery.timeout.ms": "0", "linger.ms": "0", "request.timeout.ms": "0"}, nil, func(s settings) bool { return s.deliveryTimeout == 0 }, "request.timeout.ms is 0"},
	{"negative retries, linger, socket buffers, 0 in flight", map[string]string{
		"retries": "-1", "linger.ms": "-1", "send.buffer.bytes": "-2", "receive.buffer.bytes": "-2", "max.in.flight.requests.per.connection": "0",
	}, []string{"linger.ms", "max.in.flight.requests.per.connection", "receive.buffer.bytes", "retries", "send.buffer.bytes"}, nil, ""},
	{"partitioner.class without Config.Partitioner", map[string]string{"partitioner.class": "com.example.Mine"}, []string{"partitioner.class"}, nil, ""},
}

func TestInterplayAsInKafka(t *testing.T) {
	for _, line := range interplays {
		t.Run(line.input, func(t *testing.T) {
			s, err := resolveProperties(line.props)
			require.Equal(t, line.faults, faultNames(t, err), "%v", err)
			if err != nil {
				return
			}
			if line.holds != nil {
				require.True(t, line.holds(s), "%+v", s)
			}
			var log bytes.Buffer
			s.logger = slog.New(slog.NewTextHandler(&log, nil))
			s.logNotes()
			require.Contains(t, log.String(), line.logs)
			if line.logs == "" {
				require.Empty(t, log.String())
			}
		})
	}
}

func TestZeroConfigIsKafkasDefault(t *testing.T) {
	s, err := Config{BootstrapServers: []string{"localhost:9092"}}.resolve()
	require.NoError(t, err)
	require.NotNil(t, s.logger)
	require.Nil(t, s.dial)
	require.Regexp(t, `^producer-\d+$`, s.clientID)
	s.logger, s.logCalls, s.clientID, s.inspected = nil, nil, "", nil
	require.Equal(t, settings{
		bootstrap: []string{"localhost:9092"}, metadataMaxAge: 5 * time.Minute, metadataMaxIdle: 5 * time.Minute,
		rebootstrap: true, rebootstrapTrigger: 5 * time.Minute, reconnectBackoff: 50 * time.Millisecond, reconnectBackoffMax: time.Second,
		setupTimeout: 10 * time.Second, setupTimeoutMax: 30 * time.Second, connectionsMaxIdle: 9 * time.Minute,
		sendBuffer: 131072, receiveBuffer: 32768, acks: -1, idempotent: true, retries: math.MaxInt32, maxInFlight: 5,
		retryBackoff: 100 * time.Millisecond, retryBackoffMax: time.Second, deliveryTimeout: 2 * time.Minute, requestTimeout: 30 * time.Second,
		linger: 5 * time.Millisecond, maxBlock: time.Minute, maxRequestSize: 1048576, batchSize: 16384, bufferMemory: 33554432,
		codecLevel: compress.DefaultLevel, adaptive: true, transactionTimeout: time.Minute,
		metricsNumSamples: 2, metricsSampleWindow: 30 * time.Second, metricsPush: true, metadataClusterCheck: true,
	}, s)
}

// Each size and time of a Config that is negative means none, or is refused with its value and what to do instead.
func TestANegativeSizeOrTimeMeansNoneOrIsRefused(t *testing.T) {
	refused := map[string]string{
		"buffer.memory":                          "must not be negative: no record would fit; leave it out for the default, 33554432",
		"max.request.size":                       "must not be negative: no record would fit; leave it out for the default, 1048576",
		"max.in.flight.requests.per.connection":  "must be at least 1; leave it out for the default, 5",
		"metrics.num.samples":                    "must be at least 1; leave it out for the default, 2",
		"receive.buffer.bytes":                   "must be at least -1; leave it out for the default, 32768",
		"send.buffer.bytes":                      "must be at least -1; leave it out for the default, 131072",
		"metadata.max.idle.ms":                   "must be at least 5s; leave it out for the default, 5m0s",
		"socket.connection.setup.timeout.ms":     "must be at least 1 ms; 0 leaves no time for anything; leave it out for the default, 10s",
		"socket.connection.setup.timeout.max.ms": "must be at least 1 ms; 0 leaves no time for anything; leave it out for the default, 30s",
		"transaction.timeout.ms":                 "must be at least 1 ms; 0 leaves no time for anything; leave it out for the default, 1m0s",
		"delivery.timeout.ms":                    "must be at least linger.ms + request.timeout.ms, 30.005s; raise it, or lower request.timeout.ms or linger.ms",
	}
	tried := 0
	for _, group := range properties {
		for _, row := range group.rows {
			c := Config{BootstrapServers: []string{"a:1"}}
			var value string
			switch v := row.value.(type) {
			case millisValue:
				*v.at(&c), value = -2*time.Millisecond, "-2ms"
			case numberValue[int]:
				*v.at(&c), value = -2, "-2"
			case numberValue[int64]:
				*v.at(&c), value = -2, "-2"
			default:
				continue
			}
			tried++
			_, err := c.resolve()
			want := refused[row.name]
			if delete(refused, row.name); want == "" {
				require.NoError(t, err, row.name)
				continue
			}
			require.ErrorAs(t, err, new(*ConfigError))
			require.EqualError(t, err, fmt.Sprintf("quill: invalid configuration: %s (Config.%s)=%q: %s", row.name, row.field, value, want))
		}
	}
	require.Empty(t, refused)
	require.Greater(t, tried, 20)
}

// Kafka takes the properties buffer.memory=0 and max.request.size=0, by which every record is too large.
func TestNoMemoryIsAPropertyOfKafkas(t *testing.T) {
	for _, name := range []string{"buffer.memory", "max.request.size"} {
		c, err := ParseProperties(map[string]string{"bootstrap.servers": "a:1", name: "0"})
		require.NoError(t, err)
		require.Equal(t, "0", c.Properties()[name])
		s, err := c.resolve()
		require.NoError(t, err)
		require.True(t, s.bufferMemory == 0 || s.maxRequestSize == 0)
	}
}

func TestNegativeIsNone(t *testing.T) {
	s, err := Config{
		BootstrapServers: []string{"a:1"}, Linger: -1, Retries: -1, MaxBlock: -time.Hour, BatchSize: -7,
		RequestTimeout: -1, DeliveryTimeout: -1, RetryBackoff: -1, RetryBackoffMax: -1, ReconnectBackoff: -1, MetadataMaxAge: -1,
		SendBufferBytes: -1, ReceiveBufferBytes: -1, ConnectionsMaxIdle: -1, BootstrapResolveTimeout: -1, MetricsSampleWindow: -1,
	}.resolve()
	require.NoError(t, err)
	require.Zero(t, s.linger)
	require.Zero(t, s.retries)
	require.False(t, s.idempotent)
	require.Zero(t, s.maxBlock)
	require.Equal(t, 1, s.batchSize)
	require.Zero(t, s.requestTimeout)
	require.Zero(t, s.deliveryTimeout)
	require.Zero(t, s.retryBackoff)
	require.Zero(t, s.retryBackoffMax)
	require.Zero(t, s.reconnectBackoffMax)
	require.Zero(t, s.metadataMaxAge)
	require.Equal(t, -1, s.sendBuffer)
	require.Equal(t, -1, s.receiveBuffer)
	require.Equal(t, maxDuration, s.connectionsMaxIdle)
}

func TestFieldsAreCheckedAndAllFaultsReported(t *testing.T) {
	_, err := Config{
		BootstrapServers: []string{"a:1", "b", "c:99999"}, Acks: 9, Compression: 5, SecurityProtocol: 8,
		MetricsRecordingLevel: "debug",
		MetadataMaxIdle:       4999*time.Millisecond + 999*time.Microsecond, MaxInFlightRequestsPerConnection: -1, SendBufferBytes: -2,
		SocketConnectionSetupTimeout: -1, CompressionZstdLevel: new(23), CompressionGzipLevel: new(0), CompressionLZ4Level: new(0),
		DeliveryTimeout: math.MaxInt64, RequestTimeout: math.MaxInt64, MetricsNumSamples: -1, TransactionTimeout: -1,
		ClientID: strings.Repeat("x", 40000),
	}.resolve()
	names := faultNames(t, err)
	require.Equal(t, []string{"bootstrap.servers", "bootstrap.servers"}, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n != "bootstrap.servers" }))
	for _, name := range []string{
		"acks", "compression.type", "security.protocol", "metrics.recording.level", "metadata.max.idle.ms", "max.in.flight.requests.per.connection",
		"send.buffer.bytes", "socket.connection.setup.timeout.ms", "compression.zstd.level", "compression.gzip.level", "compression.lz4.level",
		"delivery.timeout.ms", "request.timeout.ms", "metrics.num.samples", "transaction.timeout.ms", "client.id",
	} {
		require.Contains(t, names, name)
	}
	require.Less(t, len(err.Error()), 10000)
}

func TestLongDurationsAreCut(t *testing.T) {
	for _, c := range []Config{{MetadataMaxAge: math.MaxInt64, MaxBlock: math.MaxInt64}, mustParse(t, map[string]string{
		"metadata.max.age.ms": "9223372036854775807", "max.block.ms": "9223372036854775807",
	})} {
		c.BootstrapServers = []string{"a:1"}
		s, err := c.resolve()
		require.NoError(t, err)
		require.Equal(t, maxDuration, s.metadataMaxAge)
		require.Equal(t, maxDuration, s.maxBlock)
	}
}

func mustParse(t *testing.T, props map[string]string) Config {
	t.Helper()
	c, err := ParseProperties(props)
	require.NoError(t, err)
	return c
}

func TestClientIDIsNumberedUnlessGiven(t *testing.T) {
	before := clientIDs.Load()
	c := Config{BootstrapServers: []string{"a:1"}}
	one, err := c.resolve()
	require.NoError(t, err)
	two, err := c.resolve()
	require.NoError(t, err)
	require.Equal(t, "producer-"+strconv.FormatInt(before+1, 10), one.clientID)
	require.Equal(t, "producer-"+strconv.FormatInt(before+2, 10), two.clientID)

	_, err = Config{}.resolve()
	require.Error(t, err)
	require.Equal(t, before+2, clientIDs.Load(), "a refused Config takes no number")

	c.ClientID = "mine"
	s, err := c.resolve()
	require.NoError(t, err)
	require.Equal(t, "mine", s.clientID)

	s, err = resolveProperties(map[string]string{"client.id": ""})
	require.NoError(t, err)
	require.Empty(t, s.clientID, "empty by hand stays empty")
}

func TestBootstrapServers(t *testing.T) {
	for server, want := range map[string]string{
		"127.0.0.1:8000": "127.0.0.1:8000",
		"localhost:8080": "localhost:8080",
		"[::1]:8000":     "[::1]:8000",
		"[2001:db8:85a3:8d3:1319:8a2e:370:7348]:1234": "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:1234",
		"[fe80::1%eth0]:9092":                         "[fe80::1%eth0]:9092",
		"[::ffff:10.0.0.1]:9092":                      "[::ffff:10.0.0.1]:9092",
		"[localhost]:9092":                            "localhost:9092", // as Kafka's client reads it
		"PLAINTEXT://broker-1.example.com:9092":       "broker-1.example.com:9092",
		"PLAINTEXT://[::1]:9092":                      "[::1]:9092",
		"broker_1:09092":                              "broker_1:9092",
		"xn--bcher-kva.example:1":                     "xn--bcher-kva.example:1",
		" localhost:9999":                             "localhost:9999",
		"localhost:9999\r\n":                          "localhost:9999",
		"\t[::1]:9999 ":                               "[::1]:9999",
	} {
		addr, reason, fix := parseServer(server)
		require.Empty(t, reason, server)
		require.Empty(t, fix, server)
		require.Equal(t, want, addr, server)
	}
	for _, server := range []string{
		"", " ", "127.0.0.1", "localhost:", "localhost:70000", "localhost:0", "localhost:-1", "localhost:+1", "localhost:9092x", ":9092", "[::1]", "[::1",
		"[]:1", "[::1:9092", "localhost:9997 localhost:9998", "localhost:9997\nlocalhost:9998", "a:1,b:2", "localhost: 9092",
		"http://a/b:1", "ho\x00st:1", "bücher.example:1", "[2001:zz::1]:9092", "[1:2]:9092", "a:b:9092", "2001:zz::1:9092",
	} {
		addr, reason, fix := parseServer(server)
		require.NotEmpty(t, reason, "%q gave %q", server, addr)
		require.NotEmpty(t, fix, "%q", server)
	}
}

// Java takes the last group for the port, and 2001:db8: for the host.
func TestAnIPv6AddressWithoutBracketsIsRefusedWithItsFix(t *testing.T) {
	for server, want := range map[string]string{
		"2001:db8::204":                        "is an IPv6 address without brackets, and without a port; write [2001:db8::204]:port",
		"PLAINTEXT://2001:db8::204":            "is an IPv6 address without brackets, and without a port; write [2001:db8::204]:port",
		"2001:db8:85a3:8d3:1319:8a2e:370:7348": "is an IPv6 address without brackets, and without a port; write [2001:db8:85a3:8d3:1319:8a2e:370:7348]:port",
		"2001:db8:1:2:3:4:5:6:9092":            "is an IPv6 address without brackets; write [2001:db8:1:2:3:4:5:6]:9092",
		"2001:db8::204:39092":                  "is an IPv6 address without brackets; write [2001:db8::204]:39092",
		"::1:9092":                             "is an IPv6 address without brackets; write [::1:9092]:port, or [::1]:9092 if that is its port",
		"fe80::1%eth0":                         "is an IPv6 address without brackets, and without a port; write [fe80::1%eth0]:port",
		"::ffff:1.2.3.4":                       "is an IPv6 address without brackets, and without a port; write [::ffff:1.2.3.4]:port",
		"2001:db8::1:abcd":                     "is an IPv6 address without brackets, and without a port; write [2001:db8::1:abcd]:port",
		"::1":                                  "is an IPv6 address without brackets, and without a port; write [::1]:port",
		"::":                                   "is an IPv6 address without brackets, and without a port; write [::]:port",
	} {
		_, err := Config{BootstrapServers: []string{"a:1", server}}.resolve()
		require.Equal(t, []string{"bootstrap.servers"}, faultNames(t, err), server)
		require.ErrorContains(t, err, want, server)
		_, err = resolveProperties(map[string]string{"bootstrap.servers": "a:1, " + server})
		require.ErrorContains(t, err, want, server)
	}
}

// Java trims what is a string, in a map of properties as in a file.
func TestBlanksAroundTextMeanNothing(t *testing.T) {
	s, err := Config{BootstrapServers: []string{" a:1\n", "\tb:2"}, ClientID: " me ", ClientRack: "r1\n", TransactionalID: "till-7\n"}.resolve()
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:2"}, s.bootstrap)
	require.Equal(t, "me", s.clientID)
	require.Equal(t, "r1", s.clientRack)
	require.Equal(t, "till-7", s.transactionalID)

	s, err = Config{BootstrapServers: []string{"a:1"}, ClientID: " "}.resolve()
	require.NoError(t, err)
	require.Empty(t, s.clientID, "empty by hand stays empty")
	_, err = Config{BootstrapServers: []string{"a:1"}, TransactionalID: " "}.resolve()
	require.Equal(t, []string{"transactional.id"}, faultNames(t, err))
}

func TestLoggerCarriesTheClientID(t *testing.T) {
	var log bytes.Buffer
	c := Config{BootstrapServers: []string{"a:1"}, ClientID: "mine", Acks: AcksLeader, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := c.resolve()
	require.NoError(t, err)
	s.logNotes()
	require.Contains(t, log.String(), "client_id=mine")
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
}

func TestPartitionerOfTheUserAnswersPartitionerClass(t *testing.T) {
	c, err := ParseProperties(map[string]string{"bootstrap.servers": "a:1", "partitioner.class": "com.example.Mine"})
	require.NoError(t, err)
	c.Partitioner = anyPartitioner{}
	s, err := c.resolve()
	require.NoError(t, err)
	require.Equal(t, c.Partitioner, s.partitioner)
}

// anyPartitioner is a Partitioner by name only; the embedded interface is never called.
type anyPartitioner struct{ Partitioner }

func TestEnumerationsPrintAsProperties(t *testing.T) {
	for want, v := range map[string]any{
		"all": AcksAll, "0": AcksNone, "1": AcksLeader, "zstd": CompressionZstd, "SASL_PLAINTEXT": SASLPlaintext, "Compression(9)": Compression(9),
	} {
		require.Equal(t, want, v.(interface{ String() string }).String())
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// networkOf returns what the properties make of the client's configuration.
func networkOf(t *testing.T, props map[string]string) network.Config {
	s, err := resolveProperties(props)
	require.NoError(t, err)
	return s.network(func(network.Event) {})
}

func TestSettingsReachTheNetwork(t *testing.T) {
	got := networkOf(t, map[string]string{
		"client.id": "me", "client.dns.lookup": "resolve_canonical_bootstrap_servers_only", "max.in.flight.requests.per.connection": "4",
		"request.timeout.ms": "1", "socket.connection.setup.timeout.ms": "2", "socket.connection.setup.timeout.max.ms": "3",
		"reconnect.backoff.ms": "4", "reconnect.backoff.max.ms": "5", "connections.max.idle.ms": "6", "send.buffer.bytes": "7", "receive.buffer.bytes": "8",
	})
	require.NotNil(t, got.Post)
	require.NotNil(t, got.Logger)
	require.NotEmpty(t, got.SoftwareVersion)
	got.Post, got.Logger, got.SoftwareVersion = nil, nil, ""
	require.Equal(t, network.Config{
		ClientID: "me", SoftwareName: "quill", CanonicalNames: true, MaxInFlight: 4, RequestTimeout: time.Millisecond,
		SetupTimeout: 2 * time.Millisecond, SetupTimeoutMax: 3 * time.Millisecond,
		ReconnectBackoff: 4 * time.Millisecond, ReconnectBackoffMax: 5 * time.Millisecond, MaxIdle: 6 * time.Millisecond,
		SendBuffer: 7, ReceiveBuffer: 8,
	}, got)

	refused := errors.New("refused")
	s, err := Config{BootstrapServers: []string{"a:1"}, DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}.resolve()
	require.NoError(t, err)
	_, err = s.network(nil).DialContext(t.Context(), "tcp", "a:1")
	require.ErrorIs(t, err, refused)
}

// A zero in network.Config is a default, so the zeros of properties must not arrive as such.
func TestZerosReachTheNetworkAsNone(t *testing.T) {
	got := networkOf(t, map[string]string{"request.timeout.ms": "0", "reconnect.backoff.ms": "0", "reconnect.backoff.max.ms": "0", "connections.max.idle.ms": "0"})
	require.Negative(t, got.RequestTimeout)
	require.Negative(t, got.ReconnectBackoff)
	require.Negative(t, got.ReconnectBackoffMax)
	require.Equal(t, time.Millisecond, got.MaxIdle)

	for f, v := range reflect.ValueOf(networkOf(t, nil)).Fields() { // and the defaults are given, not left to it
		switch f.Name {
		case "DialContext", "Lookup", "LookupAddr", "CanonicalNames", "MaxResponse", "TLS", "SASL", "dialIP", "Measures": // the engine sets these
			require.True(t, v.IsZero(), f.Name)
		default:
			require.False(t, v.IsZero(), f.Name)
		}
	}
}

// Never a downgrade: a protocol that is not set follows from TLS and SASL; one that is set counts as it is (S1, S8).
func TestSecurityProtocolIsNeverLessThanWhatIsSet(t *testing.T) {
	plain := sasl.Plain("u", "p")
	for _, c := range []struct {
		protocol  SecurityProtocol
		tls, sasl bool
		secured   bool // what comes of it
		fault     bool
	}{
		{plaintext, false, false, false, false}, {plaintext, true, false, true, false}, {plaintext, false, true, false, false}, {plaintext, true, true, true, false},
		{SSL, false, false, true, false}, {SSL, true, false, true, false}, {SSL, false, true, false, true}, {SSL, true, true, false, true},
		{SASLPlaintext, false, false, false, true}, {SASLPlaintext, true, false, false, true}, {SASLPlaintext, false, true, false, false}, {SASLPlaintext, true, true, false, true},
		{SASLSSL, false, false, false, true}, {SASLSSL, true, false, false, true}, {SASLSSL, false, true, true, false}, {SASLSSL, true, true, true, false},
	} {
		cfg := Config{BootstrapServers: []string{"a:1"}, SecurityProtocol: c.protocol}
		if c.tls {
			cfg.TLS = new(tls.Config)
		}
		if c.sasl {
			cfg.SASL = plain
		}
		s, err := cfg.resolve()
		require.Equal(t, c.fault, err != nil, "%+v: %v", c, err)
		if err == nil {
			got := s.network(nil)
			require.Equal(t, c.secured, got.TLS != nil, "%+v", c)
			require.Equal(t, c.sasl, got.SASL != nil, "%+v", c)
		}
	}
	_, err := mustParse(t, map[string]string{"bootstrap.servers": "a:1", "security.protocol": "PLAINTEXT"}).resolve()
	require.NoError(t, err)
}

func TestTheConfigOfTLSIsCloned(t *testing.T) {
	own := &tls.Config{ServerName: "first"}
	s, err := Config{BootstrapServers: []string{"a:1"}, TLS: own}.resolve()
	require.NoError(t, err)
	own.ServerName = "second"
	conf, err := s.network(nil).TLS(t.Context())
	require.NoError(t, err)
	require.Equal(t, "first", conf.ServerName)
	require.False(t, conf.InsecureSkipVerify)
}

// S1, S8: what is allowed but not safe is said once.
func TestUnsafeSettingsAreWarnedOf(t *testing.T) {
	for text, cfg := range map[string]Config{
		"any server is taken for a broker": {TLS: &tls.Config{InsecureSkipVerify: true}},
		"sends credentials in the clear":   {SASL: sasl.Plain("u", "p")},
		"":                                 {SASL: sasl.Plain("u", "p"), TLS: new(tls.Config)},
	} {
		cfg.BootstrapServers = []string{"a:1"}
		s, err := cfg.resolve()
		require.NoError(t, err)
		if text == "" {
			require.Empty(t, s.notes)
			continue
		}
		require.Len(t, s.notes, 1)
		require.Contains(t, s.notes[0].text, text)
	}
	s, err := Config{BootstrapServers: []string{"a:1"}, SASL: &sasl.Scram{}}.resolve()
	require.NoError(t, err)
	require.Empty(t, s.notes)
}

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
	"TLS":                            wrongTLS("ssl.truststore.location", "/none/keys"),
	"a password":                     wrongTLS("ssl.keystore.password", "s3cret"),
	"SASL":                           wrongProperty("sasl.login.refresh.window.factor", "2"),
	"indirect values":                wrongProvider,
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
	"field: an unknown word":     wrongConfig(func(c *Config) { c.MetricsRecordingLevel = "debug" }),
	"field: a time too short":    wrongConfig(func(c *Config) { c.MetadataMaxIdle = 4999*time.Millisecond + 999*time.Microsecond }),
	"field: a time too long":     wrongConfig(func(c *Config) { c.RequestTimeout, c.DeliveryTimeout = 0, math.MaxInt64 }),
	"field: a time without unit": wrongConfig(func(c *Config) { c.Linger, c.RequestTimeout = 5, 999 }),
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
	"SASL without a mechanism":         wrongSettings("security.protocol=sasl_plaintext"),
	"a protocol without TLS beside it": func() error {
		_, err := Config{BootstrapServers: []string{"a:1"}, SecurityProtocol: SASLPlaintext, SASL: sasl.Plain("u", "s3cret"), TLS: new(tls.Config)}.resolve()
		return err
	},
	"TLS, twice":                  wrongSettings("security.protocol=SSL ssl.truststore.location=/none/keys", func(c *Config) { c.TLS = new(tls.Config) }),
	"PLAINTEXT, and TLS":          wrongSettings("security.protocol=PLAINTEXT", func(c *Config) { c.TLS = new(tls.Config) }),
	"SSL, and SASL":               wrongSettings("security.protocol=SSL", func(c *Config) { c.SASL = sasl.Plain("u", "s3cret") }),
	"a secure protocol with SASL": wrongSettings("security.protocol=sasl_ssl"),
	"a partitioner of one's own":  wrongSettings("partitioner.class=com.example.Mine"),
	"Java's round robin":          wrongSettings("partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner"),
	"Java's sticky":               wrongSettings("partitioner.class=org.apache.kafka.clients.producer.UniformStickyPartitioner"),
	"Java's default":              wrongSettings("partitioner.class=" + builtinPartitioner),
	"no name that resolves":       wrongSettings("bootstrap.servers=a..b:9092"),
	"a serializer that is nil":    func() error { _, err := newView[string, string](&engine{}, nil, String, nil); return err },
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

func wrongSettings(pairs string, changes ...func(*Config)) func() error {
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
		for _, change := range changes {
			change(&c)
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
		require.ErrorAs(t, err, new(*ConfigError), name)
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

// wrongProvider names a provider of a class that there is not.
func wrongProvider() error {
	_, err := ParseProperties(map[string]string{"config.providers": "vault", "config.providers.vault.class": "com.example.Vault", "linger.ms": "${vault:a:b}"})
	return err
}

// wrongTLS returns what New says about a property of TLS.
func wrongTLS(name, value string) func() error {
	return func() error {
		c, err := ParseProperties(map[string]string{"bootstrap.servers": "a:1", "security.protocol": "SSL", name: value})
		if err == nil {
			_, err = c.resolve()
		}
		return err
	}
}
