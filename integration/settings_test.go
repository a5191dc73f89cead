package integration

// Topics whose settings change while the producer does not know what became of its batches.

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
)

// deafDialer makes connections that can be told to drop what they receive: then answers get lost.
type deafDialer struct{ deaf atomic.Bool }

func (d *deafDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &deafConn{conn, d}, nil
}

type deafConn struct {
	net.Conn
	of *deafDialer
}

func (c *deafConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.of.deaf.Load() {
			return n, err
		}
	}
}

// TestARefusalProvesNothingAboutEarlierAttempts: two batches are written and their answers get lost. The node is
// restarted in good order, so that it remembers only the last batch of the producer, and refuses that one now,
// for the topic's settings have changed. What it calls out of order is in the log all the same.
func TestARefusalProvesNothingAboutEarlierAttempts(t *testing.T) {
	c := oneNode(t)
	ctx := within(t, 10*time.Minute)
	old := time.Now().Add(-2 * time.Hour)
	second := func(topic string, change func(*quill.Record[[]byte, []byte])) *quill.Record[[]byte, []byte] {
		r := &quill.Record[[]byte, []byte]{Topic: topic, Key: []byte("k"), Value: []byte("second")}
		change(r)
		return r
	}
	cases := []struct {
		setting, value string
		second         *quill.Record[[]byte, []byte]
	}{
		{"max.message.bytes", "1000", second(newTopic(t, c, "smaller", 1), func(r *quill.Record[[]byte, []byte]) { r.Value = make([]byte, 5000) })},
		{"message.timestamp.before.max.ms", "3600000", second(newTopic(t, c, "younger", 1), func(r *quill.Record[[]byte, []byte]) { r.Timestamp = old })},
		{"cleanup.policy", "compact", second(newTopic(t, c, "compacted", 1), func(r *quill.Record[[]byte, []byte]) { r.Key = nil })},
	}
	dialer := &deafDialer{}
	producers := make([]*quill.Producer[[]byte, []byte], len(cases)) // one each: five requests in flight are all that one has
	await := func(topic string, n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			records, err := c.Records(ctx, topic)
			return err == nil && len(records) == n
		}, 90*time.Second, 100*time.Millisecond)
	}
	plain := func(topic, value string) quill.Record[[]byte, []byte] {
		return quill.Record[[]byte, []byte]{Topic: topic, Key: []byte(value), Value: []byte(value)}
	}
	for i, x := range cases {
		producers[i] = newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), DialContext: dialer.dial, Linger: -1,
			RequestTimeout: 2 * time.Minute, DeliveryTimeout: 10 * time.Minute}) // busy machines are slow to show what is in the log
		_, err := producers[i].SendSync(ctx, plain(x.second.Topic, "warm"))
		require.NoError(t, err)
	}
	dialer.deaf.Store(true)
	futures := make([][2]quill.Future, len(cases))
	for i, x := range cases {
		futures[i][0] = producers[i].Send(ctx, plain(x.second.Topic, "first"))
		await(x.second.Topic, 2)
		futures[i][1] = producers[i].Send(ctx, *x.second)
		await(x.second.Topic, 3)
		require.NoError(t, c.SetTopic(ctx, x.second.Topic, x.setting, x.value))
	}
	require.NoError(t, c.Node(1).Stop())
	dialer.deaf.Store(false)
	require.NoError(t, c.Node(1).Restart(ctx))
	for i, x := range cases {
		for j, f := range futures[i] {
			_, err := f.Wait(ctx)
			t.Logf("%s: batch %d: %v", x.setting, j+1, err)
			if err != nil {
				assert.Equal(t, quill.MaybeWritten, err.(*quill.Error).Outcome)
			}
		}
		begin := time.Now()
		_, err := producers[i].SendSync(ctx, plain(x.second.Topic, "after"))
		require.NoError(t, err)
		t.Logf("%s: the next record is written after %v", x.setting, time.Since(begin).Round(time.Millisecond))
	}
	for _, x := range cases {
		records, err := c.Records(ctx, x.second.Topic)
		require.NoError(t, err)
		values := make([]string, len(records))
		for i, r := range records {
			values[i] = string(r.Value)
		}
		assert.Equal(t, []string{"warm", "first", string(x.second.Value), "after"}, values, x.setting)
	}
}
