package errors_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
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

// While the producer tries to get out of trouble, its errors say what the trouble is.

func TestInAFullOutageEveryErrorSaysWhy(t *testing.T) {
	for _, no := range []bool{false, true} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
			c.MustCreateTopic("u", 3, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			cfg.NoRebootstrap = no
			cfg.MaxBlock, cfg.RequestTimeout, cfg.DeliveryTimeout = 5*time.Second, 5*time.Second, 20*time.Second
			p := testkit.Open(t, cfg)
			testkit.SendOK(t, p, "t")
			for _, id := range c.NodeIDs() {
				require.NoError(t, c.StopNode(id))
			}
			for at := range 10 {
				f := p.Send(t.Context(), testkit.OnPartition(int32(at%3), testkit.Rec("t", "k", "v")))
				_, err := p.SendSync(t.Context(), testkit.Rec("u", "k", "v"))
				require.ErrorIs(t, err, quill.ErrTimeout)
				require.ErrorIs(t, err, testkit.Refused)
				if at > 1 { // the first ones may have been sent to a node that went
					_, err = f.Wait(t.Context())
					require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
					require.ErrorIs(t, err, testkit.Refused)
				}
				time.Sleep(time.Duration(at) * 777 * time.Millisecond)
			}
			for _, id := range c.NodeIDs() {
				require.NoError(t, c.StartNode(id))
			}
			time.Sleep(2 * time.Second)
			testkit.SendOK(t, p, "u")
			testkit.CloseProducer(t, p)
		})
	}
}

// What a call about a transaction waited for is in its error, whether max.block.ms or the caller's context ends it.
func TestCallsAboutTransactionsSayWhatTheyWaitedFor(t *testing.T) {
	for _, ended := range []bool{false, true} {
		testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
			c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(c)
			cfg.TransactionalID, cfg.MaxBlock = "x", 5*time.Second
			p := testkit.Open(t, cfg)
			gives := func(call func(ctx context.Context) error) (e *quill.Error) {
				t.Helper()
				ctx := t.Context()
				if ended {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
					defer cancel()
				}
				err := call(ctx)
				require.ErrorAs(t, err, &e)
				if ended {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.ErrorIs(t, err, quill.ErrTimeout)
				}
				return e
			}
			busy := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Err: protocol.CoordinatorLoadInProgress, Times: -1})
			require.ErrorIs(t, gives(p.InitTransactions), protocol.CoordinatorLoadInProgress)
			busy.Remove()
			require.NoError(t, p.InitTransactions(t.Context()))

			require.NoError(t, p.BeginTransaction())
			unknown := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Err: protocol.UnknownTopicOrPartition, Times: -1})
			offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 5}}
			e := gives(func(ctx context.Context) error {
				return p.SendOffsetsToTransaction(ctx, offsets, quill.GroupMetadata{GroupID: "g"})
			})
			require.ErrorIs(t, e, protocol.UnknownTopicOrPartition)
			require.ErrorContains(t, e, "it goes on")
			unknown.Remove()
			require.NoError(t, p.SendOffsetsToTransaction(t.Context(), offsets, quill.GroupMetadata{GroupID: "g"}))
			for _, id := range c.NodeIDs() {
				require.NoError(t, c.StopNode(id))
			}
			require.ErrorIs(t, gives(p.CommitTransaction), testkit.Refused)
			for _, id := range c.NodeIDs() {
				require.NoError(t, c.StartNode(id))
			}
			require.NoError(t, p.CommitTransaction(t.Context()))
			testkit.CloseProducer(t, p)
		})
	}
}

// InTransaction aborts when its function gives up waiting: then nothing goes on.
func TestWhatWasAbortedIsNotSaidToGoOn(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.TransactionalID = "x"
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, Err: protocol.UnknownTopicOrPartition, Times: -1})
		err := p.InTransaction(t.Context(), func(tx *quill.Tx[string, string]) error {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			return tx.SendOffsets(ctx, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t"}: {Offset: 5}}, quill.GroupMetadata{GroupID: "g"})
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, protocol.UnknownTopicOrPartition)
		require.NotContains(t, err.Error(), "goes on")
		require.NotContains(t, err.Error(), "call it again")
		testkit.CloseProducer(t, p)
	})
}

// A node that hangs up is connected to again. The bootstrap servers are for when that does not work.
func TestALostConnectionIsNoReasonToRebootstrap(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		var bootstraps, dials atomic.Int32
		cfg := testkit.Config(c)
		cfg.BootstrapServers = []string{"kafka.test:9092"}
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			if strings.HasPrefix(addr, "kafka.test") {
				bootstraps.Add(1)
				addr = c.NodeAddr(1)
			}
			return c.DialContext(ctx, network, addr)
		}
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		require.EqualValues(t, 2, dials.Load())
		for i := range 5 {
			require.NoError(t, c.Disconnect(1))
			time.Sleep(10 * time.Second)
			testkit.SendOK(t, p, "t")
			time.Sleep(2 * time.Second) // the connection is one that lasts
			require.NoError(t, c.Disconnect(1))
			testkit.Within(t, 0, 200*time.Millisecond, func() { testkit.SendOK(t, p, "t") })
			require.EqualValues(t, 1, bootstraps.Load())
			require.EqualValues(t, 2+2*(i+1), dials.Load())
		}
		require.NoError(t, c.RelocateNode(1))
		testkit.Within(t, 0, 2*time.Second, func() { testkit.SendOK(t, p, "t") })
		require.EqualValues(t, 2, bootstraps.Load(), "where it was nobody answers")
		testkit.CloseProducer(t, p)
	})
}

// An error about memory says what is true of it, and why the node takes nothing.
func TestInAFullOutageAnErrorAboutMemorySaysWhy(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.MaxBlock = 1<<20, 500*time.Millisecond
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StopNode(id))
		}
		fill := func(ctx context.Context, partition int32) (failed *quill.Error) {
			for failed == nil {
				f := p.Send(ctx, testkit.OnPartition(partition, testkit.Rec("t", "k", strings.Repeat("v", 10_000))))
				if !f.Done() {
					continue
				}
				_, err := f.Wait(t.Context())
				require.ErrorAs(t, err, &failed)
			}
			return failed
		}
		one := fill(t.Context(), 0)
		require.ErrorIs(t, one, quill.ErrMemoryShare)
		require.ErrorIs(t, one, quill.ErrBufferExhausted)
		require.ErrorIs(t, one, testkit.Refused)
		require.Regexp(t, `\d+ bytes are needed, \d+ of 1048576 \(buffer.memory\) are free, 0 other sends wait: `+
			`what is free is kept for other nodes; node \d, which leads the partition, holds \d+ bytes already`, one.Error())
		require.NotContains(t, one.Error(), "exhausted")

		fill(t.Context(), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		late := fill(ctx, 2)
		require.ErrorIs(t, late, context.DeadlineExceeded)
		require.ErrorIs(t, late, testkit.Refused, "also if the caller's context ends the wait")
		require.ErrorContains(t, late, "bytes are needed")
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StartNode(id))
		}
		testkit.CloseProducer(t, p)
	})
}

// One node of three is down: metadata come from the others, and the error names the one.
func TestAnErrorAboutMemoryNamesTheNodeThatTakesNothing(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BufferMemory, cfg.MaxBlock, cfg.RequestTimeout = 1<<20, 5*time.Second, 2*time.Second
		p := testkit.Open(t, cfg)
		testkit.SendOK(t, p, "t")
		x := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, DropRequest: true, Times: -1})
		defer x.Remove()
		var failed *quill.Error
		for failed == nil {
			f := p.Send(t.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", strings.Repeat("v", 10_000))))
			if f.Done() {
				_, err := f.Wait(t.Context())
				require.ErrorAs(t, err, &failed)
			}
		}
		require.ErrorIs(t, failed, quill.ErrMemoryShare)
		require.ErrorContains(t, failed, "request timed out")
		x.Remove()
		testkit.CloseProducer(t, p)
	})
}

// A dial that takes too long is no end of the caller's context, which would concern that caller only: the transaction fails with
// the record that was not taken.
func TestASlowDialIsNotTheEndOfACallersContext(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.TransactionalID, cfg.MaxBlock, cfg.SocketConnectionSetupTimeout, cfg.RequestTimeout = "x", 30*time.Second, time.Second, time.Second
		var silent atomic.Bool
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if silent.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return c.DialContext(ctx, network, addr)
		}
		p := testkit.Open(t, cfg)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		silent.Store(true)
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.Disconnect(id))
		}
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "", "v"))
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.ErrorContains(t, err, "connection setup timed out")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, quill.ErrAbortable)
		silent.Store(false)
		time.Sleep(5 * time.Second)
		require.ErrorContains(t, p.CommitTransaction(t.Context()), "AbortTransaction")
		require.NoError(t, p.AbortTransaction(t.Context()))
		testkit.CloseProducer(t, p)
	})
}

// A port that accepts connections and says nothing, an address that accepts none, and a node that stops answering: who gives
// up waiting for metadata reads which, before any time-out of the connection has passed.
func TestWaitsForMetadataNameTheNodeThatIsSilent(t *testing.T) {
	calls := map[string]func(ctx context.Context, p *quill.Producer[string, string]) error{
		"send": func(ctx context.Context, p *quill.Producer[string, string]) error {
			_, err := p.SendSync(ctx, testkit.Rec("t", "k", "v"))
			return err
		},
		"partitions": func(ctx context.Context, p *quill.Producer[string, string]) error {
			_, err := p.PartitionsFor(ctx, "t")
			return err
		},
		"init": func(ctx context.Context, p *quill.Producer[string, string]) error { return p.InitTransactions(ctx) },
	}
	dials := map[string]func(ctx context.Context) (net.Conn, error){
		"bootstrap server silent:9092: negotiate: it accepts connections, but has not answered ApiVersions for 3s; does it hang, or does the listener want TLS or SASL": func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			return ours, nil
		},
		"bootstrap server silent:9092: dial: no connection for 3s; is the address right": func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
	for name, call := range calls {
		for says, dial := range dials {
			for _, byContext := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					cfg := quill.Config{BootstrapServers: []string{"silent:9092"}, MaxBlock: 3 * time.Second, Logger: slog.New(slog.DiscardHandler),
						DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
					if name == "init" {
						cfg.TransactionalID = "x"
					}
					ctx := t.Context()
					if byContext {
						cfg.MaxBlock = time.Minute
						limited, cancel := context.WithTimeout(ctx, 3*time.Second)
						defer cancel()
						ctx = limited
					}
					p, err := quill.New(cfg, quill.String, quill.String)
					require.NoError(t, err)
					err = call(ctx, p)
					require.ErrorContains(t, err, says, name)
					testkit.CloseProducer(t, p)
				})
			}
		}
	}
}

func TestAWaitForMetadataNamesTheRequestWithoutAnAnswer(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.MaxBlock = 3 * time.Second
		p := testkit.Open(t, cfg)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, AnswerDelay: time.Minute, Times: -1})
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorIs(t, err, quill.ErrTimeout)
		require.ErrorContains(t, err, "no answer to Metadata for 3s")
		start := time.Now()
		require.NoError(t, p.Close(t.Context()))
		require.Zero(t, time.Since(start), "a request for metadata is not waited for")
	})
}
