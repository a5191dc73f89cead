package errors_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A leader that takes no connection, or says nothing on it, is named in each error of what waits for it, before the
// connection's own time-out.
func TestWaitsForRecordsNameALeaderThatIsSilent(t *testing.T) {
	waits := map[string]func(ctx context.Context, p *quill.Producer[string, string]) error{
		"SendSync": func(ctx context.Context, p *quill.Producer[string, string]) error {
			_, err := p.SendSync(ctx, testkit.Rec("t", "k", "v"))
			return err
		},
		"Flush": func(ctx context.Context, p *quill.Producer[string, string]) error {
			p.SendFunc(ctx, testkit.Rec("t", "k", "v"), nil)
			return p.Flush(ctx)
		},
		"Close": func(ctx context.Context, p *quill.Producer[string, string]) error {
			p.SendFunc(ctx, testkit.Rec("t", "k", "v"), nil)
			return p.Close(ctx)
		},
		"a Send for memory": func(ctx context.Context, p *quill.Producer[string, string]) (err error) {
			for range 100 {
				f := p.Send(ctx, testkit.Rec("t", "k", strings.Repeat("v", 1<<10)))
				if f.Done() { // it failed
					_, err = f.Wait(ctx)
					return err
				}
			}
			return nil
		},
	}
	dials := map[string]func(ctx context.Context) (net.Conn, error){
		"negotiate: it accepts connections, but has not answered ApiVersions for ": func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			return ours, nil
		},
		"dial: no connection for ": func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
	for name, wait := range waits {
		for says, dial := range dials {
			t.Run(name+" "+says, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{Nodes: 2}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					require.NoError(t, c.MoveLeader("t", 0, 2))
					cfg := testkit.Config(c)
					cfg.BootstrapServers = []string{c.NodeAddr(1)}
					cfg.BufferMemory, cfg.BatchSize, cfg.MaxRequestSize = 64<<10, 4<<10, 32<<10
					var silent atomic.Bool
					cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if silent.Load() && addr == c.NodeAddr(2) {
							return dial(ctx)
						}
						return c.DialContext(ctx, network, addr)
					}
					silent.Store(true)
					p := testkit.Open(t, cfg)
					_, err := p.PartitionsFor(t.Context(), "t")
					require.NoError(t, err)
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					err = wait(ctx, p)
					require.ErrorContains(t, err, "node 2 ("+c.NodeAddr(2)+"): "+says)
					_ = p.Close(testkit.Ended(nil))
				})
			})
		}
	}
}

// The context of SendAll may end while it waits. The records whose outcomes it waits for then are not said to have been
// sent with a context that was over.
func TestSendAllSaysThatItsContextEndedMeanwhile(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		testkit.SendOK(t, p, "t")
		testkit.PauseAll(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for _, err := range p.SendAll(ctx, slices.Values([]quill.Record[string, string]{testkit.Rec("t", "k", "1"), testkit.Rec("t", "k", "2")})) {
			n++
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotContains(t, err.Error(), "before the call")
			require.Equal(t, quill.MaybeWritten, quill.OutcomeOf(err))
		}
		require.Equal(t, 2, n)
		testkit.ResumeAll(t, c)
		testkit.CloseProducer(t, p)
	})
}
