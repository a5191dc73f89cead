package quill_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// KAFKA-19012 (CVE-2026-35554): a batch that expires while its request is being written must keep its
// memory until the connection has let go of it, or the socket sends what others wrote there since:
// records of another topic, with success reported for both. Java did so for years.
//
// Here the connections to one node stop in the middle of Produce requests, for longer than
// delivery.timeout.ms, while records for another node use up all memory there is, over and over. Then
// the node goes on, or never does. Every byte that got on the wire must be that of the request as it
// was first encoded; the build with -tags invariant also poisons all memory that is let go of.

// reuse is a producer with little memory, whose records for topic "victim" go to node 1 and those for
// "other" to node 2.
type reuse struct {
	*testing.T
	c     *quilltest.Cluster
	p     *quill.Producer[string, string]
	tap   *wireTap
	start time.Time
	chunk int            // see wireAudit
	sent  map[string]int // records by topic and partition
}

const reuseMemory = 640 << 10

func newReuse(t *testing.T, pipes bool, change func(cfg *quill.Config)) *reuse {
	c, err := quilltest.NewCluster(quilltest.Options{Nodes: 2, Pipes: pipes})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	x := &reuse{T: t, c: c, tap: newWireTap(), start: time.Now().Truncate(time.Millisecond), sent: map[string]int{}}
	for topic, node := range map[string]int32{"victim": 1, "other": 2} {
		c.MustCreateTopic(topic, 2, quilltest.TopicConfig{Replicas: 2})
		for p := range int32(2) {
			require.NoError(t, c.MoveLeader(topic, p, node))
		}
	}
	cfg := quill.Config{
		BootstrapServers: c.BootstrapServers(), DialContext: x.tap.tcp, SendBufferBytes: 8 << 10,
		BufferMemory: reuseMemory, BatchSize: 128 << 10, Linger: 10 * time.Millisecond,
		RequestTimeout: 1500 * time.Millisecond, DeliveryTimeout: 1520 * time.Millisecond,
		RetryBackoff: 5 * time.Millisecond, ReconnectBackoff: 5 * time.Millisecond, ReconnectBackoffMax: 5 * time.Millisecond,
	}
	x.tap.squeeze(c.NodeAddr(1))
	if pipes {
		cfg.DialContext = x.tap.pipe(c.DialContext)
	}
	change(&cfg)
	x.chunk = min(cfg.BatchSize, 64<<10)
	x.p = testkit.Open(t, cfg)
	return x
}

// send sends the next record of a partition.
func (x *reuse) send(topic string, partition int32) quill.Future {
	where := fmt.Sprint(topic, partition)
	n := x.sent[where]
	x.sent[where]++
	key, value := reuseRecord(topic, partition, n)
	return x.p.Send(x.Context(), quill.Record[string, string]{Topic: topic, Partition: quill.Partition(partition), Key: key, Value: value,
		Timestamp: x.start.Add(time.Duration(n) * time.Millisecond)})
}

// deliver sends n records to each partition of a topic and waits for all.
func (x *reuse) deliver(topic string, n int) {
	x.Helper()
	for _, err := range x.outcomes(x.sendAll(topic, n)) {
		require.NoError(x, err)
	}
}

// churn fills about half of all memory with other records, again and again.
func (x *reuse) churn(times int) {
	x.Helper()
	for range times {
		for _, err := range x.outcomes(x.sendAll("other", 25)) {
			if err != nil { // on a busy machine
				require.ErrorIs(x, err, quill.ErrTimeout)
			}
		}
	}
}

func (x *reuse) sendAll(topic string, n int) (futures []quill.Future) {
	for range n {
		futures = append(futures, x.send(topic, 0), x.send(topic, 1))
	}
	return futures
}

func (x *reuse) outcomes(futures []quill.Future) (errs []error) {
	ctx, cancel := context.WithTimeout(x.Context(), time.Minute) // a fault may leave some without an end
	defer cancel()
	for _, f := range futures {
		_, err := f.Wait(ctx)
		errs = append(errs, err)
	}
	return errs
}

// end closes the producer and audits the wire and the logs. It returns how many requests were cut off.
func (x *reuse) end() (cut int) {
	x.Helper()
	for range 1000 { // what is on the wire comes back when its request times out
		if x.p.BufferAvailable() == reuseMemory {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.EqualValues(x, reuseMemory, x.p.BufferAvailable(), "all memory is back")
	testkit.CloseProducer(x.T, x.p)
	x.tap.finish()
	a := &wireAudit{t: x.T, start: x.start, chunk: x.chunk, topics: map[protocol.UUID]string{}}
	for _, topic := range []string{"victim", "other"} {
		a.topics[x.c.TopicID(topic)] = topic
		for p := range int32(2) {
			last := int64(-1)
			for _, r := range testkit.Logged(x.T, x.c, topic, p) {
				n := r.Timestamp.UnixMilli() - x.start.UnixMilli()
				key, value := reuseRecord(topic, p, int(n))
				require.True(x, string(r.Key) == key && string(r.Value) == value, "record %d of %s-%d is another", n, topic, p)
				require.Less(x, last, n, "order in %s-%d", topic, p)
				last = n
			}
		}
	}
	a.check(x.tap)
	return a.cut
}

// On real sockets, with writev from the batches' own memory.
func TestNoForeignByteReachesAStalledSocket(t *testing.T) {
	for _, c := range []struct {
		codec  quill.Compression
		after  int // bytes of the request: in the first batch's header or just behind it; among its records
		resume bool
	}{
		{quill.CompressionNone, 300, true},
		{quill.CompressionNone, 30_000, false},
		{quill.CompressionZstd, 30_000, true},
		{quill.CompressionLZ4, 300, false},
	} {
		t.Run(fmt.Sprintf("%v/after %d/resume %v", c.codec, c.after, c.resume), func(t *testing.T) {
			t.Parallel()
			x := newReuse(t, false, func(cfg *quill.Config) {
				cfg.Compression = c.codec
				cfg.Linger = 200 * time.Millisecond // a request of one record may be too short to be stopped
				cfg.DeliveryTimeout = cfg.RequestTimeout + cfg.Linger + 20*time.Millisecond
			})
			x.deliver("victim", 1)
			x.tap.stall(x.c.NodeAddr(1), c.after)
			victims := x.sendAll("victim", 20)
			time.Sleep(1300 * time.Millisecond)
			require.True(t, x.tap.stopped(), "a request hangs")
			require.NoError(t, x.c.Disconnect(1)) // so that the batches expire long before their second request
			expired := 0
			for _, err := range x.outcomes(victims) { // how many depends on how fast the machine filled requests
				if err != nil {
					require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
					expired++
				}
			}
			require.Positive(t, expired)
			t.Logf("%d of %d expired, %d bytes on the wire", expired, len(victims), reuseMemory-x.p.BufferAvailable())
			x.churn(4)
			if c.resume {
				x.tap.resume()
				time.Sleep(300 * time.Millisecond) // the socket goes on
			}
			t.Logf("%d requests were cut off", x.end())
		})
	}
}

// The same in virtual time, with everything at random: where a request stops, for how long, how often.
// QUILL_REUSE_SEEDS says how many seeds to run, if not 12.
func TestNoForeignByteReachesTheWire(t *testing.T) {
	seeds := 12
	if s := os.Getenv("QUILL_REUSE_SEEDS"); s != "" {
		seeds = testkit.Number(t, s)
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { randomReuse(t, seed) }) })
	}
}

func randomReuse(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 19012))
	timeout := pick(rnd, 200*time.Millisecond, 700*time.Millisecond)
	x := newReuse(t, true, func(cfg *quill.Config) {
		cfg.Compression = quill.Compression(seed % 5)
		cfg.BatchSize = pick(rnd, 128<<10, 40<<10, 16<<10)
		cfg.RequestTimeout, cfg.DeliveryTimeout = timeout, timeout+20*time.Millisecond
		cfg.MaxInFlightRequestsPerConnection = 1 + rnd.IntN(5)
	})
	x.deliver("victim", 1)
	for range 3 {
		x.tap.stall(x.c.NodeAddr(1), pick(rnd, rnd.IntN(400), rnd.IntN(150_000)))
		victims := x.sendAll("victim", 1+rnd.IntN(14))
		if rnd.IntN(4) > 0 {
			time.Sleep(timeout * time.Duration(rnd.IntN(95)) / 100)
			require.NoError(t, x.c.Disconnect(1)) // so that they expire before their second request
		}
		for _, err := range x.outcomes(victims) {
			require.True(t, err == nil || errors.Is(err, quill.ErrTimeout), "%v", err)
		}
		x.churn(1 + rnd.IntN(3))
		if rnd.IntN(3) > 0 {
			x.tap.resume()
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
	}
	x.end()
}
