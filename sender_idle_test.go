package quill_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// An idle producer sleeps: bench/idle counts the wake-ups of the process, here are the sender's turns
// of ten minutes, in which metadata are asked for again and idle connections are closed by both sides.
func TestAnIdleProducerSleeps(t *testing.T) {
	const minutes, most = 10, 120 // two a second would be 1,200
	for name, change := range map[string]func(*quill.Config){
		"defaults":    func(*quill.Config) {},
		"lz4":         func(cfg *quill.Config) { cfg.Compression = quill.CompressionLZ4 },
		"acks 1":      func(cfg *quill.Config) { cfg.Acks, cfg.Idempotence = quill.AcksLeader, new(false) },
		"short times": func(cfg *quill.Config) { cfg.MetadataMaxAge, cfg.RequestTimeout = 20*time.Second, time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 12, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				change(&cfg)
				p := testkit.Open(t, cfg)
				turns := p.CountTurns()
				for i := range 1000 {
					p.SendFunc(t.Context(), testkit.Rec("t", fmt.Sprint(i), "value"), nil)
				}
				require.NoError(t, p.Flush(t.Context()))
				time.Sleep(time.Second)
				before := turns()
				time.Sleep(minutes * time.Minute)
				slept := turns() - before
				t.Logf("%d turns in %d minutes", slept, minutes)
				require.LessOrEqual(t, slept, int64(most))
				testkit.Known(t, p, "t") // it is still there
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// A producer that nothing was ever sent with has nothing to do at all.
func TestAProducerWithoutWorkDoesNotEvenConnect(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		turns := p.CountTurns()
		before := turns()
		time.Sleep(10 * time.Minute)
		require.LessOrEqual(t, turns()-before, int64(1))
		testkit.CloseProducer(t, p)
	})
}

// Topics that got no records for metadata.max.idle.ms leave nothing behind: those that
// are there, those that are not, those that may not be written to. A transactional producer that is never without a
// transaction forgets them, too, and one of version 1, whose epochs stay, keeps a hundred at most.
func TestTopicsOfAMomentLeaveNothing(t *testing.T) {
	const topics = 1000
	for _, c := range []struct{ kind, txn, release string }{{kind: "there"}, {kind: "missing"}, {kind: "denied"}, {kind: "there", txn: "x"}, {kind: "there", txn: "x", release: "3.9"},
		{kind: "there", txn: "x", release: "2.4"}, {kind: "there", txn: "x", release: "0.11"}} {
		t.Run(c.kind+c.txn+c.release, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{RetainRequests: -1, Nodes: 1, Release: c.release}, func(t *testing.T, cluster *quilltest.Cluster) {
				cluster.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				if c.kind == "denied" {
					cluster.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: -1, Edit: denyAllBut("t")})
				}
				cfg := testkit.Config(cluster)
				cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.MaxBlock, cfg.TransactionalID = time.Minute, 30*time.Second, 2*time.Second, c.txn
				cfg.BatchSize = 1024
				p := testkit.Open(t, cfg)
				next := func() {}
				if c.txn != "" {
					require.NoError(t, p.InitTransactions(t.Context()))
					require.NoError(t, p.BeginTransaction())
					next = func() {
						require.NoError(t, p.CommitTransaction(t.Context()))
						require.NoError(t, p.BeginTransaction())
					}
				}
				var wg sync.WaitGroup
				for g := range 50 {
					wg.Go(func() {
						for i := g; i < topics; i += 50 {
							topic := fmt.Sprint("topic-", i)
							if c.kind == "there" {
								cluster.MustCreateTopic(topic, 1, quilltest.TopicConfig{})
							}
							_, _ = p.SendSync(t.Context(), testkit.Rec(topic, "k", "v"))
						}
					})
				}
				wg.Wait()
				for range 5 {
					next()
					time.Sleep(time.Minute)
					testkit.SendOK(t, p, "t")
				}
				synctest.Wait()
				if c.release == "" {
					require.LessOrEqual(t, p.TopicsKept(), 1)
				} else {
					require.LessOrEqual(t, p.TopicsKept(), 100)
				}
				if c.kind == "there" { // and they come back
					testkit.SendOK(t, p, "topic-0")
					require.EqualValues(t, 2, cluster.Appended("topic-0"))
				}
				next()
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// denyAllBut answers that topics may not be seen, but for one.
func denyAllBut(name string) func(_ *quilltest.Request, response any) {
	return func(_ *quilltest.Request, response any) {
		topics := response.(*message.MetadataResponse).Topics
		for i := range topics {
			if *topics[i].Name != name {
				topics[i].ErrorCode, topics[i].Partitions = protocol.TopicAuthorizationFailed, nil
			}
		}
	}
}
