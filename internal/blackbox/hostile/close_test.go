package hostile_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Close and Flush where they have it hardest. The cases carry numbers, C1 to C18; most stand in
// internal/blackbox/close.

// C10: the name server does not answer, nor the node in the middle of TLS.
func TestCloseEndsWhateverConnectingWaitsFor(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context, network, addr string) (net.Conn, error){
		"looking up a name": func(ctx context.Context, _, addr string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.DNSError{Err: "i/o timeout", Name: addr, IsTimeout: true}
		},
		"TLS in the dialer": func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			go swallow(far)
			secure := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
			return secure, secure.HandshakeContext(ctx)
		},
		"TLS after it": func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go swallow(far)
			return tls.Client(near, &tls.Config{InsecureSkipVerify: true}), nil
		},
		"versions": func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go swallow(far)
			return near, nil
		},
	} {
		for _, after := range []time.Duration{0, time.Millisecond, 15 * time.Second} {
			t.Run(fmt.Sprint(name, " after ", after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := testkit.Open(t, quill.Config{BootstrapServers: []string{"a.test:9092", "b.test:9092"}, DialContext: dial})
					blocked := make(chan error, 1)
					go func() {
						_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
						blocked <- err
					}()
					synctest.Wait()
					time.Sleep(after)
					testkit.Within(t, 0, 0, func() { require.NoError(t, p.Close(t.Context())) })
					require.ErrorIs(t, <-blocked, quill.ErrClosed)
				})
			})
		}
	}
}

// swallow is a peer that says nothing. It ends with the connection.
func swallow(nc net.Conn) {
	b := make([]byte, 1024)
	for {
		if _, err := nc.Read(b); err != nil {
			return
		}
	}
}

// C11: Close while a new epoch is waited for, which a batch in flight holds up; with time enough, and
// without.
func TestCloseDuringAnEpochBump(t *testing.T) {
	for _, patient := range []bool{true, false} {
		testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
			x.Deliver(0, "a")
			x.Produce(quilltest.Fault{Err: protocol.InvalidRecord, Delay: 10 * time.Millisecond}) // a gap: b will never be written
			x.Produce(quilltest.Fault{Skip: 1, AnswerDelay: 2 * time.Second})
			b, c := x.Send(0, "b"), x.Send(0, "c")
			require.ErrorIs(x, x.Failure(b), protocol.InvalidRecord)
			d := x.Send(0, "d")
			limit := time.Minute
			if !patient {
				limit = time.Second
			}
			start := time.Now()
			err := x.P.Close(testkit.After(x.T, limit))
			if patient {
				require.NoError(x, err)
				x.Delivered(c)
				x.Delivered(d)
				require.Equal(x, []string{"a@0:0", "c@1:0", "d@1:1"}, x.Stored(0))
				require.Less(x, time.Since(start), 3*time.Second)
				return
			}
			require.ErrorIs(x, err, quill.ErrForceClosed)
			require.Less(x, time.Since(start), 1250*time.Millisecond)
			require.Equal(x, quill.MaybeWritten, x.Failure(c).Outcome)
			require.Equal(x, quill.NotSent, x.Failure(d).Outcome)
		})
	}
}

// C14: a million records arrive while Flush waits. It returns, and has waited for the earlier ones.
func TestFlushReturnsAmongAMillionSends(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Retain: -1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.Linger = 50 * time.Millisecond
		p := testkit.Open(t, cfg)
		testkit.Known(t, p, "t")
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: time.Millisecond, Times: -1})
		const senders, each = 64, 1_000_000 / 64
		var told atomic.Int64
		callback := func(_ quill.RecordMetadata, err error) {
			told.Add(1)
			if err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		for g := range int32(senders) {
			wg.Go(func() {
				for i := range each {
					p.SendFunc(t.Context(), testkit.OnPartition(g%6, testkit.Rec("t", "", "v")), callback)
					if i%200 == 199 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		flushes := 0
		for told.Load() < int64(senders*each) {
			f := p.Send(t.Context(), testkit.Rec("t", "k", "earlier"))
			testkit.Within(t, 0, 250*time.Millisecond, func() { require.NoError(t, p.Flush(t.Context())) })
			require.True(t, f.Done())
			flushes++
		}
		wg.Wait()
		require.Greater(t, flushes, 3)
		testkit.CloseProducer(t, p)
		require.EqualValues(t, 1+flushes+senders*each, c.Appended("t"))
	})
}

// C17: descriptors, against sockets.
func TestDescriptorsAreGivenBack(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{})
	c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
	before := descriptors(t)
	for range 10 {
		p, err := quill.New(testkit.Config(c), quill.String, quill.String)
		require.NoError(t, err)
		for i := range int32(3) {
			_, err := p.SendSync(t.Context(), testkit.OnPartition(i, testkit.Rec("t", "k", "v")))
			require.NoError(t, err)
		}
		testkit.CloseProducer(t, p)
	}
	deadline := time.Now().Add(10 * time.Second)
	for descriptors(t) > before { // the nodes see the end a little later
		require.True(t, time.Now().Before(deadline), "%d descriptors, %d before", descriptors(t), before)
		time.Sleep(time.Millisecond)
	}
}

// descriptors returns how many files and sockets this process has open; 0 where the system does not say.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return len(entries)
}
