package errors_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What passes by itself is worth no warning, what lasts is: a cluster that has just started, or whose nodes are
// being restarted one by one, or whose leaders move, is as it should be.

// warned has do done with a producer whose log is kept.
func warned(t *testing.T, opts quilltest.Options, change func(cfg *quill.Config), do func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText)) {
	testkit.Bubble(t, opts, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		var log testkit.LogText
		cfg := testkit.Config(c)
		cfg.Logger = log.Logger()
		if change != nil {
			change(&cfg)
		}
		p := testkit.Open(t, cfg)
		do(t, c, p, &log)
		testkit.CloseProducer(t, p)
	})
}

// passing are the answers with which a coordinator says that it will be able to answer in a moment.
var passing = []protocol.ErrorCode{protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable, protocol.NotCoordinator, protocol.ConcurrentTransactions}

func TestACoordinatorThatIsLoadingIsNoReasonToWarn(t *testing.T) {
	for _, txn := range []string{"", "x"} {
		for _, code := range passing {
			t.Run(code.Name()+" "+txn, func(t *testing.T) {
				warned(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.TransactionalID = txn }, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
					c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: 5, Err: code})
					if txn == "" {
						testkit.SendOK(t, p, "t")
					} else {
						require.NoError(t, p.InitTransactions(t.Context()))
						require.NoError(t, p.BeginTransaction())
						testkit.SendOK(t, p, "t")
						require.NoError(t, p.CommitTransaction(t.Context()))
					}
					require.Empty(t, log.Loud())
				})
			})
		}
	}
}

func TestACoordinatorThatLoadsForEverIsLogged(t *testing.T) {
	for txn, text := range map[string]string{"": "could not get a producer id yet", "x": "a coordinator has to be asked again"} {
		change := func(cfg *quill.Config) { cfg.TransactionalID, cfg.MaxBlock = txn, 110*time.Second }
		warned(t, quilltest.Options{}, change, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
			c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1, Err: protocol.CoordinatorLoadInProgress})
			start, done := time.Now(), make(chan struct{})
			go func() {
				defer close(done)
				if txn != "" {
					_ = p.InitTransactions(t.Context())
				} else {
					_, _ = p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
				}
			}()
			for len(log.Loud()) == 0 && time.Since(start) < time.Minute {
				time.Sleep(time.Second)
			}
			require.InDelta(t, 6, time.Since(start).Seconds(), 1, "%s", log)
			require.Contains(t, log.Loud()[0], text)
			require.Contains(t, log.Loud()[0], "COORDINATOR_LOAD_IN_PROGRESS")
			time.Sleep(50 * time.Second)
			require.Len(t, log.Loud(), 1)
			time.Sleep(20 * time.Second)
			require.Len(t, log.Loud(), 2, "once a minute")
			<-done
		})
	}
}

// A rolling restart under load: each node goes, is away for three seconds, and comes back.
func TestARollingRestartIsNoReasonToWarn(t *testing.T) {
	warned(t, quilltest.Options{Nodes: 3}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := int32(0); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					p.SendFunc(context.Background(), testkit.OnPartition(i%6, testkit.Rec("t", "k", "v")), nil)
				}
			}
		}()
		for _, id := range c.NodeIDs() {
			time.Sleep(20 * time.Second)
			require.NoError(t, c.StopNode(id))
			time.Sleep(3 * time.Second)
			require.NoError(t, c.StartNode(id))
		}
		close(stop)
		<-done
		require.NoError(t, p.Flush(t.Context()))
		require.Empty(t, log.Loud())
		require.NotEmpty(t, log.Lines("level=INFO"))
	})
}

// A node that does not come back is warned of, once a minute.
func TestANodeThatStaysAwayIsLogged(t *testing.T) {
	warned(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		testkit.SendOK(t, p, "t")
		require.NoError(t, c.StopNode(1))
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), nil)
		time.Sleep(4 * time.Second)
		require.Empty(t, log.Loud())
		time.Sleep(4 * time.Second)
		require.NotEmpty(t, log.Loud())
		require.Contains(t, log.Loud()[0], "could not connect to node")
		time.Sleep(80 * time.Second)
		require.Len(t, log.Loud(), 2, "%s", log)
		require.NotContains(t, log.Loud()[1], "failures=1 ")
		require.Regexp(t, `failures=\d\d `, log.Loud()[1], "those of a minute")
		require.Empty(t, log.Lines("back again"))
		require.NoError(t, c.StartNode(1))
		require.NoError(t, p.Flush(t.Context()))
		back := log.Lines("node is back again")
		require.Len(t, back, 1)
		require.Contains(t, back[0], "level=INFO")
		require.Regexp(t, `addr=node-1\S+ away=1m[23]\d`, back[0])
		testkit.SendOK(t, p, "t")
		require.Len(t, log.Lines("back again"), 1)
	})
}

// That a node is back is no news if it was not away for so long that there was a warning.
func TestANodeThatRestartsIsNotSaidToBeBack(t *testing.T) {
	warned(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		for range 3 {
			testkit.SendOK(t, p, "t")
			require.NoError(t, c.StopNode(1))
			time.Sleep(3 * time.Second)
			require.NoError(t, c.StartNode(1))
			testkit.SendOK(t, p, "t")
			time.Sleep(time.Minute)
		}
		require.Empty(t, log.Loud())
		require.Empty(t, log.Lines("back again"))
	})
}

// A node that can be connected to and hangs up on every request is not back.
func TestANodeThatOnlyShakesHandsIsNotBack(t *testing.T) {
	warned(t, quilltest.Options{Nodes: 1}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		testkit.SendOK(t, p, "t")
		deaf := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce, protocol.Metadata}, Times: -1, DisconnectBefore: true})
		p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), nil)
		time.Sleep(80 * time.Second)
		require.Len(t, log.Lines("connection to node lost"), 3, "the first, and two warnings")
		require.Empty(t, log.Lines("back again"))
		deaf.Remove()
		require.NoError(t, p.Flush(t.Context()))
		require.Len(t, log.Lines("back again"), 1)
	})
}

// Records for a partition without a leader wait for one until delivery.timeout.ms is over, and nothing is asked of a node that
// could fail. If that lasts, the log says so: once a minute for each topic.
func TestAPartitionWithoutALeaderIsLogged(t *testing.T) {
	warned(t, quilltest.Options{Nodes: 2}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		c.MustCreateTopic("lonely", 2, quilltest.TopicConfig{Replicas: 1})
		leader, _, err := c.Leader("lonely", 1)
		require.NoError(t, err)
		send := func() { p.SendFunc(t.Context(), testkit.OnPartition(1, testkit.Rec("lonely", "k", "v")), nil) }
		send()
		require.NoError(t, p.Flush(t.Context()))
		for range 3 { // short ones, one soon after the other
			require.NoError(t, c.StopNode(leader))
			send()
			time.Sleep(4 * time.Second)
			require.NoError(t, c.StartNode(leader))
			require.NoError(t, p.Flush(t.Context()))
		}
		require.Empty(t, log.Loud())
		require.NoError(t, c.StopNode(leader))
		send()
		for i := range 7 { // what is learned of other topics does not begin it again
			c.MustCreateTopic(fmt.Sprint("other-", i), 1, quilltest.TopicConfig{})
			_, err := p.PartitionsFor(t.Context(), fmt.Sprint("other-", i))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		require.Len(t, log.Loud(), 1)
		require.Regexp(t, `level=WARN msg="records wait for a partition to have a leader" \S+ topic=lonely partition=1 for=[56]\.?\d*s`, log.Loud()[0])
		time.Sleep(50 * time.Second)
		require.Len(t, log.Loud(), 1)
		time.Sleep(12 * time.Second)
		require.Len(t, log.Loud(), 2, "once a minute")
		time.Sleep(3 * time.Minute) // the record has expired, and nothing waits any more
		require.Len(t, log.Lines("to have a leader"), 2)
	})
}

// What a broker refuses for now is sent again until delivery.timeout.ms is over. If that lasts, the log says so long
// before: once a minute for each topic, with the broker's code.
func TestRefusalsThatLastAreLogged(t *testing.T) {
	warned(t, quilltest.Options{}, nil, func(t *testing.T, c *quilltest.Cluster, p *quill.Producer[string, string], log *testkit.LogText) {
		refused := c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: -1, Err: protocol.NotEnoughReplicas})
		for i := range int32(6) {
			p.SendFunc(t.Context(), testkit.OnPartition(i, testkit.Rec("t", "k", "v")), nil)
		}
		time.Sleep(4 * time.Second)
		require.Empty(t, log.Loud())
		time.Sleep(3 * time.Second)
		require.Len(t, log.Loud(), 1)
		require.Regexp(t, `level=WARN msg="a batch is sent again" \S+ topic=t partition=\d node=\d attempt=\d+ .* err="NOT_ENOUGH_REPLICAS`, log.Loud()[0])
		time.Sleep(50 * time.Second)
		require.Len(t, log.Loud(), 1)
		time.Sleep(10 * time.Second)
		require.Len(t, log.Loud(), 2, "once a minute")
		refused.Remove()
		require.NoError(t, p.Flush(t.Context()))

		// The next time counts from zero: what passes by itself is no reason to warn.
		time.Sleep(time.Hour)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 5, Err: protocol.NotEnoughReplicas})
		testkit.SendOK(t, p, "t")
		require.Len(t, log.Loud(), 2)
	})
}
