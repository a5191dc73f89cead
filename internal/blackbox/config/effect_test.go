package config_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A setting that is checked, stored and printed may still do nothing. Here each of Kafka's producer
// properties is given, as a property, some value, its least and its greatest, and what it does to
// a producer is looked at: on the wire, in the log of a partition, in the time that passes.

// effect is one value of a property and what must come of it.
type effect struct {
	name, value string
	also        string // more properties, "a=1 b=2"
	check       func(l *effectLab)
}

// effectLab is a cluster with topic "t" of three partitions, led by nodes 1, 2 and 3, in a bubble.
type effectLab struct {
	*testing.T
	c     *quilltest.Cluster
	props map[string]string
	log   bytes.Buffer

	mu    sync.Mutex
	dials []effectDial
	wire  []effectRequest

	dial      func(ctx context.Context, addr string) (net.Conn, error) // nil: the cluster's
	unaided   bool                                                     // no DialContext
	intercept func(r *quilltest.Request) *quilltest.Fault
}

type effectDial struct {
	addr  string
	at    time.Time
	limit time.Duration // of the context
}

type effectRequest struct {
	api      protocol.APIKey
	node     int32
	client   string
	at       time.Time
	acks     int16
	timeout  int32 // of Produce; of a transaction for InitProducerId
	topics   int   // of Metadata
	parallel int64 // connections until now
}

const (
	greatestInt  = "2147483647"
	greatestLong = "9223372036854775807"
)

func (l *effectLab) note(r *quilltest.Request) *quilltest.Fault {
	seen := effectRequest{api: r.API, node: r.Node, client: r.ClientID, at: r.Time, parallel: r.Conn}
	switch m := r.Message.(type) {
	case *message.ProduceRequest:
		seen.acks, seen.timeout = m.Acks, m.TimeoutMs
	case *message.InitProducerIDRequest:
		seen.timeout = m.TransactionTimeoutMs
	case *message.MetadataRequest:
		seen.topics = len(m.Topics)
	}
	l.mu.Lock()
	l.wire = append(l.wire, seen)
	l.mu.Unlock()
	if l.intercept != nil {
		return l.intercept(r)
	}
	return nil
}

// requests returns those of an API until now.
func (l *effectLab) requests(api protocol.APIKey) []effectRequest {
	synctest.Wait() // with acks=0 a record is done before its node has the request
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.wire), func(r effectRequest) bool { return r.api != api })
}

// gaps returns the times between the requests of an API.
func (l *effectLab) gaps(api protocol.APIKey) []time.Duration {
	var gaps []time.Duration
	for i, r := range l.requests(api) {
		if i > 0 {
			gaps = append(gaps, r.at.Sub(l.requests(api)[i-1].at))
		}
	}
	return gaps
}

func (l *effectLab) dialled() []effectDial {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.dials)
}

func (l *effectLab) config(also ...string) (quill.Config, error) {
	props := maps.Clone(l.props)
	for _, pair := range also {
		name, value, _ := strings.Cut(pair, "=")
		props[name] = value
	}
	cfg, err := quill.ParseProperties(props)
	cfg.Logger = slog.New(slog.NewTextHandler(&l.log, nil))
	if !l.unaided {
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			limit, _ := ctx.Deadline()
			l.mu.Lock()
			l.dials = append(l.dials, effectDial{addr, time.Now(), time.Until(limit)})
			l.mu.Unlock()
			if l.dial != nil {
				return l.dial(ctx, addr)
			}
			return l.c.DialContext(ctx, network, addr)
		}
	}
	return cfg, err
}

// open returns a producer with the property, and more of them.
func (l *effectLab) open(also ...string) *quill.Producer[string, string] {
	cfg, err := l.config(also...)
	require.NoError(l, err)
	return testkit.Open(l.T, cfg)
}

// started does what open does, and topic "t" is known.
func (l *effectLab) started(also ...string) *quill.Producer[string, string] {
	p := l.open(also...)
	_, err := p.PartitionsFor(l.Context(), "t")
	require.NoError(l, err)
	return p
}

// refused requires that New says what is wrong, unsupported things as such.
func (l *effectLab) refused(text string, unsupported bool) {
	cfg, err := l.config()
	if err == nil {
		_, err = quill.New(cfg, quill.String, quill.String)
	}
	require.ErrorAs(l, err, new(*quill.ConfigError))
	require.ErrorContains(l, err, text)
	require.Equal(l, unsupported, errors.Is(err, errors.ErrUnsupported), "%v", err)
}

// saysSo requires that the log says that the property has no effect.
func (l *effectLab) saysSo(name string) {
	p := l.started()
	testkit.SendOK(l.T, p, "t")
	testkit.CloseProducer(l.T, p)
	require.Contains(l, l.log.String(), "has no effect")
	require.Contains(l, l.log.String(), name)
}

// inject puts a fault to work on every request of an API.
func (l *effectLab) inject(api protocol.APIKey, f quilltest.Fault) {
	f.APIs, f.Times = []protocol.APIKey{api}, -1
	l.c.Inject(f)
}

func (l *effectLab) abandon(p *quill.Producer[string, string]) {
	_ = p.Close(testkit.Ended(context.Canceled))
}

// keyless sends n records without a key, each a batch of its own, and returns where they went.
func (l *effectLab) keyless(p *quill.Producer[string, string], n int) [3]int {
	var mu sync.Mutex
	var counts [3]int
	for range n {
		p.SendFunc(l.Context(), testkit.Rec("t", "", strings.Repeat("v", 200)), func(m quill.RecordMetadata, err error) {
			mu.Lock()
			defer mu.Unlock()
			if m.Partition >= 0 {
				counts[m.Partition]++
			}
		})
		time.Sleep(time.Millisecond)
	}
	mu.Lock() // records to a slow node have their outcome later
	defer mu.Unlock()
	return counts
}

// about requires that d is want, give or take the 20 % that pauses are shaken by.
func (l *effectLab) about(d, want time.Duration) {
	l.Helper()
	require.GreaterOrEqual(l, d, want*8/10)
	require.LessOrEqual(l, d, want*12/10)
}

func TestEveryPropertyHasItsEffect(t *testing.T) {
	_, err := net.DefaultResolver.LookupHost(t.Context(), "a..b") // what package net keeps must not be made in a bubble
	require.Error(t, err)
	for _, e := range slices.Concat(connectionEffects, sendingEffects, otherEffects) {
		t.Run(e.name+"="+e.value, func(t *testing.T) {
			l := &effectLab{}
			testkit.Bubble(t, quilltest.Options{Racks: []string{"a", "b", "c"}, Intercept: l.note}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 3, quilltest.TopicConfig{MaxMessageBytes: 10 << 20})
				l.T, l.c = t, c
				l.props = map[string]string{"bootstrap.servers": strings.Join(c.BootstrapServers(), ","), e.name: e.value}
				for pair := range strings.FieldsSeq(e.also) {
					name, value, _ := strings.Cut(pair, "=")
					l.props[name] = value
				}
				e.check(l)
			})
		})
	}
}

// Each property is in the table; a number with its least and its greatest value.
func TestNoPropertyIsWithoutAnEffect(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/kafka-producer-configs.tsv")
	require.NoError(t, err)
	have := map[string][]string{}
	for _, e := range slices.Concat(connectionEffects, sendingEffects, otherEffects) {
		have[e.name] = append(have[e.name], e.value)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		f := strings.Split(line, "\t")
		name, typ, valid := f[0], f[1], f[3]
		if strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") {
			continue // TestTLSPropertiesAreRefusedAndSecretsHidden, TestPropertiesOfSASLHaveJavasRanges
		}
		require.NotEmpty(t, have[name], name)
		if typ != "INT" && typ != "LONG" {
			continue
		}
		require.GreaterOrEqual(t, len(have[name]), 3, name)
		least, greatest := "1", map[string]string{"INT": greatestInt, "LONG": greatestLong}[typ]
		if bounds := strings.FieldsFunc(valid, func(r rune) bool { return strings.ContainsRune("[],. ", r) }); len(bounds) > 0 {
			least = bounds[0]
			if len(bounds) > 1 {
				greatest = bounds[1]
			}
		}
		require.Contains(t, have[name], least, name)
		require.Contains(t, have[name], greatest, name)
	}
}

// idleFor requires that a connection that idles so long is used again, or not.
func idleFor(d time.Duration, kept bool) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started("metadata.max.age.ms=" + greatestLong)
		testkit.SendOK(l.T, p, "t")
		before := len(l.dialled())
		time.Sleep(d)
		testkit.SendOK(l.T, p, "t")
		require.Equal(l, kept, len(l.dialled()) == before)
		testkit.CloseProducer(l.T, p)
	}
}

// refreshes requires this number of Metadata requests in that time.
func refreshes(d time.Duration, least, most int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		before := len(l.requests(protocol.Metadata))
		time.Sleep(d)
		got := len(l.requests(protocol.Metadata)) - before
		require.GreaterOrEqual(l, got, least)
		require.LessOrEqual(l, got, most)
		testkit.CloseProducer(l.T, p)
	}
}

// rebootstraps requires that the bootstrap server is dialled again so long after metadata began to fail,
// with all nodes connected; never if most is 0.
func rebootstraps(least, most time.Duration) func(l *effectLab) {
	return func(l *effectLab) {
		l.dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				addr = l.c.NodeAddr(1)
			}
			return l.c.DialContext(ctx, "tcp", addr)
		}
		p := l.started("bootstrap.servers=kafka.test:9092", "metadata.max.age.ms=1000", "connections.max.idle.ms=-1")
		testkit.SendOK(l.T, p, "t")
		var broken time.Time
		l.inject(protocol.Metadata, quilltest.Fault{Edit: func(_ *quilltest.Request, response any) {
			if broken.IsZero() {
				broken = time.Now()
			}
			response.(*message.MetadataResponse).ErrorCode = protocol.UnknownServerError
		}})
		dials := len(l.dialled())
		time.Sleep(5 * time.Minute)
		again := slices.DeleteFunc(l.dialled()[dials:], func(d effectDial) bool { return d.addr != "kafka.test:9092" })
		if most == 0 {
			require.Empty(l, again)
		} else {
			require.NotEmpty(l, again)
			require.GreaterOrEqual(l, again[0].at.Sub(broken), least)
			require.LessOrEqual(l, again[0].at.Sub(broken), most)
		}
		l.abandon(p)
	}
}

// redials requires what the pauses between attempts to connect are, of which each takes a second.
func redials(d time.Duration, check func(l *effectLab, pauses []time.Duration)) func(l *effectLab) {
	return func(l *effectLab) {
		l.dial = func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return nil, errors.New("refused")
		}
		p := l.open("bootstrap.servers=kafka.test:9092")
		p.TrySend(testkit.Rec("t", "k", "v"))
		time.Sleep(d)
		var pauses []time.Duration
		for i, dial := range l.dialled() {
			if i > 0 {
				pauses = append(pauses, dial.at.Sub(l.dialled()[i-1].at)-time.Second)
			}
		}
		check(l, pauses)
		l.abandon(p)
	}
}

// setups requires how long attempts to connect may take.
func setups(want ...time.Duration) func(l *effectLab) {
	return func(l *effectLab) {
		l.dial = func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := l.open("bootstrap.servers=kafka.test:9092")
		p.TrySend(testkit.Rec("t", "k", "v"))
		time.Sleep(time.Hour)
		for i, d := range want {
			l.about(l.dialled()[i].limit, d)
		}
		l.abandon(p)
	}
}

// unresolvable is a name that is refused before anybody is asked about it.
const unresolvable = "a..b:9092"

// resolves requires that sends fail at that time, without a retry, since no name can be resolved; for max.block.ms only if fatal is false.
func resolves(at time.Duration, fatal bool) func(l *effectLab) {
	return func(l *effectLab) {
		l.unaided = true
		p := l.open("bootstrap.servers=" + unresolvable)
		testkit.Within(l.T, at, at, func() {
			_, err := p.SendSync(l.Context(), testkit.Rec("t", "k", "v"))
			require.ErrorIs(l, err, quill.ErrTimeout)
			require.ErrorContains(l, err, "a..b")
			require.Equal(l, fatal, errors.Is(err, quill.ErrFatal), "%v", err)
			require.Equal(l, fatal, strings.Contains(err.Error(), "bootstrap.resolve.timeout.ms"), "%v", err)
		})
		if fatal {
			testkit.Within(l.T, 0, 0, func() {
				_, err := p.PartitionsFor(l.Context(), "t")
				require.ErrorIs(l, err, quill.ErrFatal)
			})
		}
		l.abandon(p)
	}
}

var connectionEffects = []effect{
	{"bootstrap.servers", "kafka.test:9092", "", func(l *effectLab) {
		l.dial = func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				addr = l.c.NodeAddr(1)
			}
			return l.c.DialContext(ctx, "tcp", addr)
		}
		p := l.started()
		require.Equal(l, "kafka.test:9092", l.dialled()[0].addr)
		testkit.CloseProducer(l.T, p)
	}},
	{"bootstrap.resolve.timeout.ms", "5000", "", resolves(5*time.Second, true)},
	{"bootstrap.resolve.timeout.ms", "0", "", func(l *effectLab) {
		l.unaided = true
		l.props["bootstrap.servers"] = unresolvable
		l.refused("bootstrap.resolve.timeout.ms", false)
	}},
	{"bootstrap.resolve.timeout.ms", greatestLong, "", resolves(time.Minute, false)},
	{"client.dns.lookup", "use_all_dns_ips", "", func(l *effectLab) { // the other: TestSettingsReachTheNetwork, and network's own tests
		p := l.started()
		testkit.CloseProducer(l.T, p)
	}},
	{"client.id", "me", "", func(l *effectLab) {
		p := l.started()
		testkit.SendOK(l.T, p, "t")
		testkit.CloseProducer(l.T, p)
		for _, r := range l.wire {
			require.Equal(l, "me", r.client)
		}
	}},
	{"client.rack", "b", "partitioner.rack.aware=true linger.ms=0", inRackB},
	{"config.providers", "env", "config.providers.env.class=com.example.None", func(l *effectLab) { l.refused("names a class that is not known", false) }},
	{"config.providers", "env", "config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider client.id=<${env:QUILL_TEST_NONE}>", func(l *effectLab) {
		p := l.started()
		testkit.SendOK(l.T, p, "t")
		testkit.CloseProducer(l.T, p)
		require.Equal(l, "<${env:QUILL_TEST_NONE}>", l.wire[0].client)
	}},
	{"connections.max.idle.ms", "1000", "", func(l *effectLab) { idleFor(900*time.Millisecond, true)(l) }},
	{"connections.max.idle.ms", "1001", "", func(l *effectLab) { idleFor(1100*time.Millisecond, false)(l) }},
	{"connections.max.idle.ms", "1", "", idleFor(10*time.Millisecond, false)},
	{"connections.max.idle.ms", "0", "", idleFor(10*time.Millisecond, false)},
	{"connections.max.idle.ms", "-1", "", idleFor(10000*time.Hour, true)},
	{"connections.max.idle.ms", greatestLong, "", idleFor(10000*time.Hour, true)},
	{"metadata.cluster.check.enable", "false", "", func(l *effectLab) { l.saysSo("metadata.cluster.check.enable") }},
	{"metadata.max.age.ms", "1000", "", refreshes(10500*time.Millisecond, 9, 10)},
	{"metadata.max.age.ms", "0", "", refreshes(10*time.Second, 9, 16)}, // every retry.backoff.max.ms while nothing changes, as in Java
	{"metadata.max.age.ms", greatestLong, "", refreshes(10000*time.Hour, 0, 0)},
	{"metadata.max.idle.ms", "5000", "metadata.max.age.ms=1000", refreshes(30*time.Second, 4, 6)},
	{"metadata.max.idle.ms", "20000", "metadata.max.age.ms=1000", refreshes(60*time.Second, 18, 21)},
	{"metadata.max.idle.ms", greatestLong, "metadata.max.age.ms=3600000", refreshes(10000*time.Hour+time.Minute, 10000, 10000)},
	{"metadata.recovery.rebootstrap.trigger.ms", "10000", "", rebootstraps(10*time.Second, 12*time.Second)},
	{"metadata.recovery.rebootstrap.trigger.ms", "0", "", rebootstraps(0, 150*time.Millisecond)},
	{"metadata.recovery.rebootstrap.trigger.ms", greatestLong, "", rebootstraps(0, 0)},
	{"metadata.recovery.strategy", "NONE", "metadata.recovery.rebootstrap.trigger.ms=0", rebootstraps(0, 0)},
	{"metadata.recovery.strategy", "rebootstrap", "metadata.recovery.rebootstrap.trigger.ms=1000", rebootstraps(time.Second, 2*time.Second)},
	{"receive.buffer.bytes", "40000", "", delivers}, // what the socket gets: TestSocketBuffersReachTheSocket
	{"receive.buffer.bytes", "-1", "", delivers},
	{"receive.buffer.bytes", greatestInt, "", delivers},
	{"send.buffer.bytes", "40000", "", delivers},
	{"send.buffer.bytes", "-1", "", delivers},
	{"send.buffer.bytes", greatestInt, "", delivers},
	{"reconnect.backoff.ms", "300", "reconnect.backoff.max.ms=600", redials(10*time.Second, func(l *effectLab, pauses []time.Duration) {
		l.about(pauses[0], 300*time.Millisecond)
		l.about(pauses[3], 600*time.Millisecond)
	})},
	{"reconnect.backoff.ms", "0", "", redials(10*time.Second, func(l *effectLab, pauses []time.Duration) {
		require.Zero(l, slices.Max(pauses))
		require.GreaterOrEqual(l, len(pauses), 8)
	})},
	{"reconnect.backoff.ms", greatestLong, "", redials(10000*time.Hour, func(l *effectLab, pauses []time.Duration) { require.Empty(l, pauses) })},
	{"reconnect.backoff.max.ms", "200", "", redials(20*time.Second, func(l *effectLab, pauses []time.Duration) {
		l.about(slices.Max(pauses), 200*time.Millisecond)
		l.about(pauses[0], 50*time.Millisecond)
	})},
	{"reconnect.backoff.max.ms", "0", "", redials(10*time.Second, func(l *effectLab, pauses []time.Duration) { require.Zero(l, slices.Max(pauses)) })},
	{"reconnect.backoff.max.ms", greatestLong, "", redials(time.Hour, func(l *effectLab, pauses []time.Duration) {
		require.Greater(l, slices.Max(pauses), 5*time.Minute)
	})},
	{"security.protocol", "PLAINTEXT", "", delivers},
	{"security.protocol", "SSL", "max.block.ms=1000", func(l *effectLab) { // the nodes speak plaintext
		p := l.open()
		_, err := p.SendSync(l.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(l, err, network.ErrTLS)
		require.ErrorContains(l, err, "the listener speaks plaintext")
		testkit.CloseProducer(l.T, p)
	}},
	{"security.protocol", "SASL_SSL", "", func(l *effectLab) { l.refused("needs a SASL mechanism", false) }},
	{"security.providers", "com.example.P", "", func(l *effectLab) { l.saysSo("security.providers") }},
	{"socket.connection.setup.timeout.ms", "1000", "", setups(time.Second, 2*time.Second, 4*time.Second)},
	{"socket.connection.setup.timeout.ms", "1", "", setups(time.Millisecond, 2*time.Millisecond)},
	{"socket.connection.setup.timeout.ms", greatestLong, "", setups(30*time.Second, 30*time.Second)},
	{"socket.connection.setup.timeout.max.ms", "15000", "", setups(10*time.Second, 15*time.Second, 15*time.Second)},
	{"socket.connection.setup.timeout.max.ms", "1", "", setups(time.Millisecond, time.Millisecond)},
	{"socket.connection.setup.timeout.max.ms", greatestLong, "", setups(10*time.Second, 20*time.Second, 40*time.Second, 80*time.Second, 160*time.Second)},
}

func delivers(l *effectLab) {
	p := l.started()
	testkit.SendOK(l.T, p, "t")
	testkit.CloseProducer(l.T, p)
}

func inRackB(l *effectLab) {
	p := l.started()
	l.keyless(p, 50)
	testkit.CloseProducer(l.T, p)
	for partition := range int32(3) {
		leader, _, err := l.c.Leader("t", partition)
		require.NoError(l, err)
		require.Equal(l, leader == 2, len(testkit.Logged(l.T, l.c, "t", partition)) > 0, "partition %d, led by %d", partition, leader)
	}
}
