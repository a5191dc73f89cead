package config_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// failsAt requires that a record whose batch is refused for now each time fails at that time.
func failsAt(at time.Duration, kind error) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		l.inject(protocol.Produce, quilltest.Fault{Err: protocol.NotEnoughReplicas})
		testkit.Within(l.T, at, at, func() {
			_, err := p.Send(l.Context(), testkit.Rec("t", "k", "v")).Wait(l.Context())
			require.ErrorIs(l, err, kind)
		})
		testkit.CloseProducer(l.T, p)
	}
}

// attempts requires that a batch is sent so often.
func attempts(least, most int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		l.inject(protocol.Produce, quilltest.Fault{Err: protocol.NotEnoughReplicas})
		_, err := p.SendSync(l.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(l, err, protocol.NotEnoughReplicas)
		n := len(l.requests(protocol.Produce))
		require.GreaterOrEqual(l, n, least)
		require.LessOrEqual(l, n, most)
		testkit.CloseProducer(l.T, p)
	}
}

// retriesAfter requires what the pauses between the attempts of a batch are, each of which takes 10 ms.
func retriesAfter(d time.Duration, check func(l *effectLab, pauses []time.Duration)) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		l.inject(protocol.Produce, quilltest.Fault{Err: protocol.NotEnoughReplicas, Delay: 10 * time.Millisecond})
		p.SendFunc(l.Context(), testkit.Rec("t", "k", "v"), nil)
		time.Sleep(d)
		pauses := l.gaps(protocol.Produce)
		for i := range pauses {
			pauses[i] -= 10 * time.Millisecond
		}
		check(l, pauses)
		l.abandon(p)
	}
}

// acknowledged requires what is asked for on the wire.
func acknowledgedBy(acks int16, idempotent bool) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		m, err := p.SendSync(l.Context(), testkit.Rec("t", "k", "v"))
		require.NoError(l, err)
		require.Equal(l, acks != 0, m.HasOffset())
		testkit.CloseProducer(l.T, p)
		require.Equal(l, acks, l.requests(protocol.Produce)[0].acks)
		require.Equal(l, idempotent, testkit.Logged(l.T, l.c, "t", 2)[0].ProducerID >= 0)
	}
}

// batches requires how many batches 100 records of 100 bytes become.
func batches(least, most int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started("linger.ms=1000")
		for range 100 {
			p.SendFunc(l.Context(), testkit.Rec("t", "k", strings.Repeat("v", 100)), nil)
		}
		testkit.CloseProducer(l.T, p)
		got, err := l.c.Batches("t", 2)
		require.NoError(l, err)
		require.GreaterOrEqual(l, len(got), least)
		require.LessOrEqual(l, len(got), most)
	}
}

// compressedTo sends 100 records of some text in one batch and returns its bytes on the wire.
func (l *effectLab) compressedTo(also ...string) int32 {
	p := l.started(append(also, "linger.ms=1000", "batch.size=100000")...)
	before := l.c.AppendedBatches("t")
	for i := range 100 {
		p.SendFunc(l.Context(), testkit.Rec("t", "k", fmt.Sprintf("%x-%d-%s", i*i*7919, i%17, strings.Repeat("abcdefgh", i%13))), nil)
	}
	testkit.CloseProducer(l.T, p)
	require.EqualValues(l, before+1, l.c.AppendedBatches("t"))
	got, err := l.c.Batches("t", 2)
	require.NoError(l, err)
	records, err := got[len(got)-1].Records()
	require.NoError(l, err)
	require.Len(l, records, 100)
	return int32(len(got[len(got)-1].Bytes))
}

// packs requires that the level of a codec is taken, and packs no worse than another of it.
func packs(codec, worse string) func(l *effectLab) {
	return func(l *effectLab) {
		level := "compression." + codec + ".level="
		require.LessOrEqual(l, l.compressedTo("compression.type="+codec), l.compressedTo("compression.type="+codec, level+worse))
	}
}

func codec(want int16) func(l *effectLab) {
	return func(l *effectLab) {
		l.compressedTo()
		got, err := l.c.Batches("t", 2)
		require.NoError(l, err)
		require.Equal(l, want, got[0].Header.Attributes&7)
	}
}

// inFlightAtMost requires how many requests a node is sent while it answers none.
func inFlightAtMost(least, most int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started("linger.ms=0", "batch.size=0", "enable.idempotence=false", "acks=all")
		l.inject(protocol.Produce, quilltest.Fault{DropAnswer: true})
		for range 200 {
			p.SendFunc(l.Context(), testkit.Rec("t", "k", "v"), nil)
			time.Sleep(time.Millisecond)
		}
		got := len(l.requests(protocol.Produce))
		require.GreaterOrEqual(l, got, least)
		require.LessOrEqual(l, got, most)
		l.abandon(p)
	}
}

// blocks requires how long a Send waits for a topic that is not there.
func blocks(d time.Duration, want error) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.open()
		testkit.Within(l.T, d, d, func() {
			ctx, cancel := context.WithTimeout(l.Context(), 1000*time.Hour)
			defer cancel()
			_, err := p.SendSync(ctx, testkit.Rec("missing", "k", "v"))
			require.ErrorIs(l, err, want)
		})
		l.abandon(p)
	}
}

// fits requires which sizes of values are taken.
func fits(small, large int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		if small >= 0 {
			_, err := p.SendSync(l.Context(), testkit.Rec("t", "", strings.Repeat("v", small)))
			require.NoError(l, err)
		}
		if large >= 0 {
			_, err := p.SendSync(l.Context(), testkit.Rec("t", "", strings.Repeat("v", large)))
			require.ErrorIs(l, err, quill.ErrRecordTooLarge)
		}
		testkit.CloseProducer(l.T, p)
	}
}

var sendingEffects = []effect{
	{"acks", "all", "", acknowledgedBy(-1, true)},
	{"acks", "-1", "", acknowledgedBy(-1, true)},
	{"acks", "1", "", acknowledgedBy(1, false)},
	{"acks", "0", "", acknowledgedBy(0, false)},
	{"batch.size", "1000", "", batches(11, 15)},
	{"batch.size", "0", "", batches(100, 100)},
	{"batch.size", greatestInt, "", batches(1, 1)},
	{"buffer.memory", "40000", "batch.size=4000 linger.ms=0", func(l *effectLab) {
		p := l.started()
		testkit.PauseAll(l.T, l.c)
		taken := 0
		for p.TrySend(testkit.Rec("t", "", strings.Repeat("v", 1000))) {
			taken++
		}
		require.Greater(l, taken, 5)
		require.Less(l, taken, 40)
		testkit.ResumeAll(l.T, l.c)
		testkit.CloseProducer(l.T, p)
	}},
	{"buffer.memory", "0", "", fits(-1, 1)},
	{"buffer.memory", greatestLong, "", fits(100000, -1)},
	{"buffer.memory.allocation.strategy", "INCREMENTAL", "", func(l *effectLab) { l.saysSo("buffer.memory.allocation.strategy") }},
	{"compression.type", "none", "", codec(0)},
	{"compression.type", "gzip", "", codec(1)},
	{"compression.type", "snappy", "", codec(2)},
	{"compression.type", "lz4", "", codec(3)},
	{"compression.type", "zstd", "", codec(4)},
	{"compression.gzip.level", "-1", "", packs("gzip", "1")},
	{"compression.gzip.level", "1", "", packs("gzip", "1")},
	{"compression.gzip.level", "9", "", packs("gzip", "1")},
	{"compression.gzip.level", "10", "", func(l *effectLab) { l.refused("compression.gzip.level", false) }},
	{"compression.lz4.level", "5", "", packs("lz4", "1")},
	{"compression.lz4.level", "1", "", packs("lz4", "1")},
	{"compression.lz4.level", "17", "", packs("lz4", "1")},
	{"compression.zstd.level", "5", "", packs("zstd", "1")},
	{"compression.zstd.level", "-131072", "", packs("zstd", "-131072")},
	{"compression.zstd.level", "22", "", packs("zstd", "1")},
	{"delivery.timeout.ms", "5000", "request.timeout.ms=1000", failsAt(5*time.Second, quill.ErrDeliveryTimeout)},
	{"delivery.timeout.ms", "0", "request.timeout.ms=0 linger.ms=0", failsAt(0, quill.ErrDeliveryTimeout)},
	{"delivery.timeout.ms", greatestInt, "retry.backoff.ms=3600000 retry.backoff.max.ms=3600000", failsAt(2147483647*time.Millisecond, quill.ErrDeliveryTimeout)},
	{"linger.ms", "1000", "", lingersFor(time.Second)},
	{"linger.ms", "0", "", lingersFor(0)},
	{"linger.ms", greatestLong, "metadata.max.age.ms=" + greatestLong, lingersFor(2147483647 * time.Millisecond)},
	{"max.block.ms", "2000", "", blocks(2*time.Second, quill.ErrTimeout)},
	{"max.block.ms", "0", "", blocks(0, quill.ErrTimeout)},
	{"max.block.ms", greatestLong, "retry.backoff.ms=3600000 retry.backoff.max.ms=3600000", blocks(1000*time.Hour, context.DeadlineExceeded)},
	{"max.in.flight.requests.per.connection", "3", "", inFlightAtMost(3, 3)},
	{"max.in.flight.requests.per.connection", "1", "", inFlightAtMost(1, 1)},
	{"max.in.flight.requests.per.connection", greatestInt, "", inFlightAtMost(100, 200)},
	{"max.request.size", "1000", "", fits(900, 1000)},
	{"max.request.size", "0", "", fits(-1, 0)},
	{"max.request.size", greatestInt, "", fits(5<<20, -1)},
	{"request.timeout.ms", "1000", "", func(l *effectLab) {
		p := l.started()
		l.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DropRequest: true})
		testkit.Within(l.T, time.Second, 1200*time.Millisecond, func() { testkit.SendOK(l.T, p, "t") })
		testkit.CloseProducer(l.T, p)
		require.EqualValues(l, 1000, l.requests(protocol.Produce)[0].timeout)
	}},
	{"request.timeout.ms", "0", "retry.backoff.ms=0 reconnect.backoff.ms=0", func(l *effectLab) {
		p := l.started() // in no time, so this works
		require.Zero(l, testkit.SendOK(l.T, p, "t").Offset)
		require.Zero(l, l.requests(protocol.Produce)[0].timeout)
		l.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 2 * time.Millisecond})
		testkit.Within(l.T, time.Millisecond, 10*time.Millisecond, func() { require.EqualValues(l, 1, testkit.SendOK(l.T, p, "t").Offset) })
		require.Len(l, l.requests(protocol.Produce), 3, "the answer came after a millisecond")
		testkit.CloseProducer(l.T, p)
		require.Contains(l, l.log.String(), "request.timeout.ms is 0")
	}},
	{"request.timeout.ms", greatestInt, "", func(l *effectLab) {
		p := l.started()
		l.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 20 * 24 * time.Hour})
		testkit.Within(l.T, 20*24*time.Hour, 20*24*time.Hour, func() { testkit.SendOK(l.T, p, "t") })
		testkit.CloseProducer(l.T, p)
		require.EqualValues(l, 2147483647, l.requests(protocol.Produce)[0].timeout)
	}},
	{"retries", "2", "", attempts(3, 3)},
	{"retries", "0", "", attempts(1, 1)},
	{"retries", greatestInt, "delivery.timeout.ms=40000 retry.backoff.ms=1000", attempts(40, 51)},
	{"retry.backoff.ms", "300", "retry.backoff.max.ms=600", retriesAfter(10*time.Second, func(l *effectLab, pauses []time.Duration) {
		l.about(pauses[0], 300*time.Millisecond)
		l.about(pauses[3], 600*time.Millisecond)
	})},
	{"retry.backoff.ms", "0", "", retriesAfter(time.Second, func(l *effectLab, pauses []time.Duration) {
		require.GreaterOrEqual(l, len(pauses), 90)
		require.Zero(l, slices.Max(pauses))
	})},
	{"retry.backoff.ms", greatestLong, "", retriesAfter(10*time.Second, func(l *effectLab, pauses []time.Duration) { l.about(pauses[0], time.Second) })},
	{"retry.backoff.max.ms", "200", "", retriesAfter(10*time.Second, func(l *effectLab, pauses []time.Duration) { l.about(slices.Max(pauses), 200*time.Millisecond) })},
	{"retry.backoff.max.ms", "0", "", retriesAfter(time.Second, func(l *effectLab, pauses []time.Duration) { require.Zero(l, slices.Max(pauses)) })},
	{"retry.backoff.max.ms", greatestLong, "", retriesAfter(2*time.Minute, func(l *effectLab, pauses []time.Duration) { require.Greater(l, slices.Max(pauses), 20*time.Second) })},
}

// lingersFor requires how long a record waits for others.
func lingersFor(d time.Duration) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		testkit.Within(l.T, d, d, func() {
			_, err := p.Send(l.Context(), testkit.Rec("t", "k", "v")).Wait(l.Context())
			require.True(l, err == nil || errors.Is(err, quill.ErrDeliveryTimeout), "%v", err) // the longest linger leaves no time to deliver
		})
		testkit.Within(l.T, 0, 0, func() {
			f := p.Send(l.Context(), testkit.Rec("t", "k", "v"))
			require.NoError(l, p.Flush(l.Context()))
			_, err := f.Wait(l.Context())
			require.NoError(l, err)
		})
		testkit.CloseProducer(l.T, p)
	}
}

// sendsAtRate requires that a record that has just been sent counts as that many a second, in the first windows.
func sendsAtRate(rate float64) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		_, err := p.SendSync(l.Context(), testkit.Rec("t", "k", "v"))
		require.NoError(l, err)
		require.InDelta(l, rate, p.Metrics().Producer.RecordSend.Rate, rate/100+1e-9)
		testkit.CloseProducer(l.T, p)
	}
}

var otherEffects = []effect{
	{"enable.metrics.push", "false", "", func(l *effectLab) { l.saysSo("enable.metrics.push") }},
	{"interceptor.classes", "com.example.I", "", func(l *effectLab) { l.saysSo("interceptor.classes") }},
	{"key.serializer", "com.example.S", "", func(l *effectLab) { l.saysSo("key.serializer") }},
	{"value.serializer", "com.example.S", "", func(l *effectLab) { l.saysSo("value.serializer") }},
	{"metric.reporters", "com.example.R", "", func(l *effectLab) { l.refused("Config.MetricsReporters", false) }},
	{"metric.reporters", "org.apache.kafka.common.metrics.JmxReporter", "", func(l *effectLab) { l.saysSo("metric.reporters") }},
	{"metrics.num.samples", "3", "", sendsAtRate(1.0 / 60)},
	{"metrics.num.samples", "1", "", sendsAtRate(1000)},
	{"metrics.num.samples", greatestInt, "", sendsAtRate(0)},
	{"metrics.recording.level", "DEBUG", "", func(l *effectLab) { l.saysSo("metrics.recording.level") }},
	{"metrics.sample.window.ms", "1000", "", sendsAtRate(1)},
	{"metrics.sample.window.ms", "0", "", sendsAtRate(1000)},
	{"metrics.sample.window.ms", greatestLong, "", sendsAtRate(0)},
	{"partitioner.adaptive.partitioning.enable", "true", "linger.ms=0 batch.size=1000", avoidsASlowNode(true)},
	{"partitioner.adaptive.partitioning.enable", "false", "linger.ms=0 batch.size=1000", avoidsASlowNode(false)},
	{"partitioner.availability.timeout.ms", "100", "linger.ms=0 batch.size=1000", leavesOutADeadNode(true)},
	{"partitioner.availability.timeout.ms", "0", "linger.ms=0 batch.size=1000", leavesOutADeadNode(false)},
	{"partitioner.availability.timeout.ms", greatestLong, "linger.ms=0 batch.size=1000", leavesOutADeadNode(false)},
	{"partitioner.class", "com.example.P", "", func(l *effectLab) { l.refused("Config.Partitioner", false) }},
	{"partitioner.ignore.keys", "true", "linger.ms=0 batch.size=100", partitionsOfOneKey(3)},
	{"partitioner.ignore.keys", "false", "linger.ms=0 batch.size=100", partitionsOfOneKey(1)},
	{"partitioner.rack.aware", "true", "client.rack=b linger.ms=0", inRackB},
	{"partitioner.rack.aware", "false", "client.rack=b linger.ms=0 batch.size=100", func(l *effectLab) {
		p := l.started()
		l.keyless(p, 50)
		testkit.CloseProducer(l.T, p)
		for partition := range int32(3) {
			require.NotEmpty(l, testkit.Logged(l.T, l.c, "t", partition))
		}
	}},
	{"enable.idempotence", "true", "", acknowledgedBy(-1, true)},
	{"enable.idempotence", "false", "", acknowledgedBy(-1, false)},
	{"transaction.timeout.ms", "7000", "transactional.id=x", transactionTimeout(7000)},
	{"transaction.timeout.ms", "1", "transactional.id=x", transactionTimeout(1)},
	{"transaction.timeout.ms", greatestInt, "transactional.id=x", func(l *effectLab) {
		p := l.open()
		require.ErrorIs(l, p.InitTransactions(l.Context()), protocol.InvalidTransactionTimeout)
		l.abandon(p)
		require.EqualValues(l, 2147483647, l.requests(protocol.InitProducerID)[0].timeout)
	}},
	{"transaction.two.phase.commit.enable", "true", "transactional.id=x", func(l *effectLab) { l.refused("not supported yet", true) }},
	{"transactional.id", "x", "", func(l *effectLab) {
		p := l.open()
		require.NoError(l, p.InitTransactions(l.Context()))
		testkit.CloseProducer(l.T, p)
		_, ok := l.c.Transaction("x")
		require.True(l, ok)
		require.Equal(l, "producer-x", l.requests(protocol.InitProducerID)[0].client)
	}},
}

func transactionTimeout(want int32) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.open()
		require.NoError(l, p.InitTransactions(l.Context()))
		testkit.CloseProducer(l.T, p)
		require.Equal(l, want, l.requests(protocol.InitProducerID)[0].timeout)
	}
}

func partitionsOfOneKey(n int) func(l *effectLab) {
	return func(l *effectLab) {
		p := l.started()
		for range 60 {
			p.SendFunc(l.Context(), testkit.Rec("t", "k", strings.Repeat("v", 100)), nil)
			time.Sleep(time.Millisecond)
		}
		testkit.CloseProducer(l.T, p)
		used := 0
		for partition := range int32(3) {
			if len(testkit.Logged(l.T, l.c, "t", partition)) > 0 {
				used++
			}
		}
		require.Equal(l, n, used)
	}
}

// ofDead sends n keyless records while node 1 takes none, in batches of four, and returns how many went
// there. It has taken none for a second before.
func (l *effectLab) ofDead(n int) int {
	p := l.started()
	for partition := range int32(3) { // all are connected, and the producer has its id
		_, err := p.SendSync(l.Context(), quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition)})
		require.NoError(l, err)
		leader, _, err := l.c.Leader("t", partition)
		require.NoError(l, err)
		if leader == 1 {
			require.NoError(l, l.c.PauseNode(1))
			full := strings.Repeat("v", 900) // a batch each: of those that are not full it would get two, then none until it answers
			for range 7 {                    // until it has all the requests that it may have
				p.TrySend(quill.Record[string, string]{Topic: "t", Partition: quill.Partition(partition), Value: full})
				time.Sleep(time.Millisecond)
			}
		}
	}
	time.Sleep(time.Second)
	before := l.appended()
	l.keyless(p, n)
	alive := l.appended() - before
	require.NoError(l, l.c.ResumeNode(1))
	testkit.CloseProducer(l.T, p)
	return n - int(alive)
}

// appended returns how many records the partitions of topic "t" have.
func (l *effectLab) appended() int64 {
	time.Sleep(10 * time.Millisecond)
	return l.c.Appended("t")
}

func avoidsASlowNode(avoids bool) func(l *effectLab) {
	return func(l *effectLab) {
		dead := l.ofDead(2000)
		if avoids {
			require.Less(l, dead, 300)
		} else {
			require.Greater(l, dead, 450)
		}
	}
}

func leavesOutADeadNode(out bool) func(l *effectLab) {
	return func(l *effectLab) {
		dead := l.ofDead(2000)
		if out {
			require.LessOrEqual(l, dead, 20, "but for batches begun before anybody looked")
		} else {
			require.Greater(l, dead, 40)
		}
	}
}
