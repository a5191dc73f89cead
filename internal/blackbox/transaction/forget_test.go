package transaction_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// crowd has the producer send to this many topics, and lets them rest. It leaves a transaction open.
func crowd(x *testkit.TxnLab, topics int) {
	require.NoError(x, x.P.InitTransactions(x.Context()))
	x.Begin()
	for i := range topics {
		topic := fmt.Sprint("topic-", i)
		x.C.MustCreateTopic(topic, 1, quilltest.TopicConfig{})
		testkit.SendOK(x.T, x.P, topic)
	}
	x.Commit()
	x.Begin()
	for range 5 {
		time.Sleep(x.Cfg.MetadataMaxIdle)
		testkit.SendOK(x.T, x.P, "t")
	}
}

// inCrowds runs a test on clusters that raise the epoch for each one that asks, and know no other way (before KIP-360). The
// producer has topics to forget, and a transaction is open.
func inCrowds(t *testing.T, test func(x *testkit.TxnLab)) {
	t.Helper()
	for _, release := range []string{"0.11", "2.4"} {
		t.Run(release, func(t *testing.T) {
			change := func(cfg *quill.Config) {
				cfg.MetadataMaxIdle, cfg.MetadataMaxAge, cfg.BatchSize, cfg.Linger, cfg.TransactionTimeout = time.Minute, 30*time.Second, 1024, -1, 14*time.Minute
			}
			testkit.InRelease(t, quilltest.Options{Release: release, Nodes: 1, RetainRequests: -1}, change, func(x *testkit.TxnLab) {
				crowd(x, 150)
				test(x)
			})
		})
	}
}

// A producer that forgets topics on an old cluster goes on under another epoch, and its topics, come back, with
// sequences that fit.
func TestTopicsThatAreForgottenOnOldClustersComeBack(t *testing.T) {
	inCrowds(t, func(x *testkit.TxnLab) {
		before := x.Epoch()
		x.Commit()
		require.Equal(x, before+1, x.Epoch())
		for range 3 {
			x.Begin()
			for i := range 3 {
				testkit.SendOK(x.T, x.P, fmt.Sprint("topic-", i))
			}
			testkit.SendOK(x.T, x.P, "t")
			x.Commit()
		}
		for i := range 3 {
			require.EqualValues(x, 4, x.C.Appended(fmt.Sprint("topic-", i)), "records of topic-%d", i)
		}
	})
}

// The epoch that is raised for a producer that has topics to forget may be another producer's, which took the
// transactional id over meanwhile: then the older one writes nothing more. What it had committed stays so.
func TestATakeOverBesideAnEpochThatIsRaisedIsSeen(t *testing.T) {
	inCrowds(t, func(x *testkit.TxnLab) {
		late := quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, ClientID: x.Cfg.ClientID, Delay: 5 * time.Second}
		newer := x.Cfg
		newer.ClientID, newer.RequestTimeout = "newer", 0
		x.C.Inject(late)
		committed := make(chan error)
		go func() { committed <- x.P.CommitTransaction(x.Context()) }()
		time.Sleep(time.Second) // it has ended, and the epoch is asked for
		p := testkit.Open(x.T, newer)
		require.NoError(x, p.InitTransactions(x.Context()))
		require.NoError(x, p.BeginTransaction())
		testkit.SendOK(x.T, p, "t")
		require.NoError(x, p.CommitTransaction(x.Context()))
		require.NoError(x, <-committed)
		err := x.P.BeginTransaction()
		require.ErrorIs(x, err, quill.ErrProducerFenced)
		require.ErrorIs(x, err, quill.ErrFatal)
		require.ErrorContains(x, err, "another producer may have taken over")
		testkit.CloseProducer(x.T, p)
	})
}

// Nor is it known who raised the epoch if the answer got lost.
func TestALostAnswerAboutAnEpochOnOldClustersEndsTheProducer(t *testing.T) {
	inCrowds(t, func(x *testkit.TxnLab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, DisconnectAfter: true})
		x.Commit()
		require.ErrorIs(x, x.P.BeginTransaction(), quill.ErrProducerFenced)
	})
	inCrowds(t, func(x *testkit.TxnLab) { // lost on the way there it is only asked again
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, DisconnectBefore: true})
		x.Commit()
		x.Begin()
		testkit.SendOK(x.T, x.P, "t")
		x.Commit()
	})
}
