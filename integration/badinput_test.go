package integration

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
)

// TestBadInputOnRealKafka gives a producer what real brokers refuse. Each send must fail with the right error, in
// time, say that the record is not in the log, and leave the producer able to send the next one. That none but the unknown
// topic takes max.block.ms shows without a clock: it is longer than the context.
func TestBadInputOnRealKafka(t *testing.T) {
	c := oneNode(t)
	good := newTopic(t, c, "good", 2)
	readOnly := newTopic(t, c, "read-only", 1)
	require.NoError(t, c.RestrictTopic(t.Context(), readOnly, "ALLOW", "DESCRIBE"))
	hidden := newTopic(t, c, "hidden", 1)
	require.NoError(t, c.RestrictTopic(t.Context(), hidden, "ALLOW", "ALTER_CONFIGS"))
	small := newTopic(t, c, "small", 1, "max.message.bytes=2000")
	compacted := newTopic(t, c, "compacted", 1, "cleanup.policy=compact")
	recent := newTopic(t, c, "recent", 1, "message.timestamp.before.max.ms=3600000")
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), MaxBlock: time.Hour, MaxRequestSize: 100_000})
	impatient := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), MaxBlock: 3 * time.Second})

	type record = quill.Record[[]byte, []byte]
	text := func(size int) []byte { return []byte(strings.Repeat("x", size)) }
	cases := []struct {
		name    string
		record  record
		kind    error
		code    protocol.ErrorCode
		outcome quill.Outcome
	}{
		{"no topic", record{}, quill.ErrInvalidTopic, protocol.None, quill.NotSent},
		{"illegal topic", record{Topic: "no blanks, please"}, quill.ErrInvalidTopic, protocol.None, quill.NotSent},
		{"topic of 250 letters", record{Topic: strings.Repeat("t", 250)}, quill.ErrInvalidTopic, protocol.None, quill.NotSent},
		{"unknown topic", record{Topic: "nobody-made-this"}, quill.ErrTimeout, protocol.UnknownTopicOrPartition, quill.NotSent},
		{"hidden topic", record{Topic: hidden}, protocol.TopicAuthorizationFailed, protocol.TopicAuthorizationFailed, quill.NotSent},
		{"topic we may not write", record{Topic: readOnly, Value: text(1)}, protocol.TopicAuthorizationFailed, protocol.TopicAuthorizationFailed, quill.Rejected},
		{"no such partition", record{Topic: good, Partition: quill.Partition(2)}, quill.ErrInvalidPartition, protocol.None, quill.NotSent},
		{"negative partition", record{Topic: good, Partition: quill.Partition(-1)}, quill.ErrInvalidPartition, protocol.None, quill.NotSent},
		{"larger than max.request.size", record{Topic: good, Value: text(100_000)}, quill.ErrRecordTooLarge, protocol.None, quill.NotSent},
		{"larger than the topic allows", record{Topic: small, Value: text(5000)}, protocol.MessageTooLarge, protocol.MessageTooLarge, quill.Rejected},
		{"no key in a compacted topic", record{Topic: compacted, Value: text(1)}, quill.ErrInvalidRecord, protocol.InvalidRecord, quill.Rejected},
		{"timestamp too old", record{Topic: recent, Value: text(1), Timestamp: time.Now().Add(-48 * time.Hour)}, protocol.InvalidTimestamp, protocol.InvalidTimestamp, quill.Rejected},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			sender := p
			if k.kind == quill.ErrTimeout {
				sender = impatient
			}
			_, err := sender.SendSync(ctx, k.record)
			requireFailure(t, err, k.kind, k.outcome)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			if k.code != protocol.None {
				require.ErrorIs(t, err, k.code, "what the broker said")
			}
			_, err = p.SendSync(ctx, record{Topic: good, Key: []byte("k"), Value: []byte(k.name)})
			require.NoError(t, err, "the producer goes on")
		})
	}
	records, err := c.Records(within(t, time.Minute), good)
	require.NoError(t, err)
	require.Len(t, records, len(cases))
	for _, topic := range []string{small, compacted, recent} {
		records, err := c.Records(within(t, time.Minute), topic)
		require.NoError(t, err)
		require.Empty(t, records, topic)
	}
}

// TestBatchTooLargeIsSplit fills batches that are larger than the topic allows with records that are not: all must arrive (F23).
func TestBatchTooLargeIsSplit(t *testing.T) {
	c := oneNode(t)
	topic := newTopic(t, c, "narrow", 1, "max.message.bytes=5000")
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), BatchSize: 100_000, Linger: 100 * time.Millisecond})
	ctx := within(t, time.Minute)
	var futures []quill.Future
	for i := range 500 {
		value := strings.Repeat(string(rune('a'+i%26)), 400)
		futures = append(futures, p.Send(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte(value)}))
	}
	for i, f := range futures {
		m, err := f.Wait(ctx)
		require.NoError(t, err)
		require.EqualValues(t, i, m.Offset, "in order, none twice")
	}
	records, err := c.Records(ctx, topic)
	require.NoError(t, err)
	require.Len(t, records, len(futures))
	for i, r := range records {
		require.Equal(t, byte('a'+i%26), r.Value[0])
	}
}

// TestWrongPortFailsInTime connects to ports where no broker answers: a closed one, one that speaks HTTP, and a controller's.
func TestWrongPortFailsInTime(t *testing.T) {
	const maxBlock = 2 * time.Second
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go serveHTTP(web) // ends when web is closed
	t.Cleanup(func() { web.Close() })
	controller := oneNode(t).Node(1).ControllerAddr()
	for _, k := range []struct{ name, address, hint string }{
		{"closed", closed.Addr().String(), "refused"},
		{"HTTP", web.Addr().String(), "HTTP"},
	} {
		t.Run(k.name, func(t *testing.T) {
			p := newProducer(t, quill.Config{BootstrapServers: []string{k.address}, MaxBlock: maxBlock})
			begin := time.Now()
			_, err := p.SendSync(within(t, 20*time.Second), quill.Record[[]byte, []byte]{Topic: "any", Value: []byte("v")})
			requireFailure(t, err, quill.ErrTimeout, quill.NotSent)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, k.hint, "the error names the cause: not everybody reads logs")
			require.GreaterOrEqual(t, time.Since(begin), maxBlock)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.NoError(t, p.Close(ctx), "nothing was sent: there is nothing to wait for")
		})
	}
	// A controller will never be a broker, so a Send does not wait for max.block.ms.
	t.Run("controller", func(t *testing.T) {
		p := newProducer(t, quill.Config{BootstrapServers: []string{controller}, MaxBlock: time.Hour})
		_, err := p.SendSync(within(t, 20*time.Second), quill.Record[[]byte, []byte]{Topic: "any", Value: []byte("v")})
		requireFailure(t, err, quill.ErrUnsupportedVersion, quill.NotSent)
		require.ErrorContains(t, err, "KRaft controller")
		require.NoError(t, p.Close(within(t, time.Second)))
	})
}

// serveHTTP answers every connection as a web server answers what is no HTTP.
func serveHTTP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
		conn.Close()
	}
}
