package quill_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// An answer that refuses a batch may name the partition's new leader (KIP-951). What it says is either
// adopted, or the cluster is asked: a hint that was dropped must not pass for one that was taken.

// withoutEndpoints takes the nodes' addresses out of all answers to Produce, as a broker does that does not
// have the new leader as alive in its own cache.
func (x *siege) withoutEndpoints() *quilltest.Injection {
	return x.produce(quilltest.Fault{Topic: "t", Times: -1, Edit: func(_ *quilltest.Request, response any) {
		response.(*message.ProduceResponse).NodeEndpoints = nil
	}})
}

func TestALeaderThatIsNotKnownYetIsAskedAbout(t *testing.T) {
	besiege(t, quilltest.Options{Nodes: 2}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *siege) {
		require.NoError(x, x.c.StopNode(2))
		require.NoError(x, x.c.MoveLeader("t", 0, 1))
		x.deliver(0, "a")
		x.withoutEndpoints()
		require.NoError(x, x.c.StartNode(2))
		time.Sleep(time.Minute)
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		asked, start := x.c.RequestCount(protocol.Metadata), time.Now()
		x.deliver(0, "b")
		require.Less(x, time.Since(start), 200*time.Millisecond)
		require.Greater(x, x.c.RequestCount(protocol.Metadata), asked)
	})
}

// With its address the new leader is adopted at once, be it a node that nobody knew of.
func TestALeaderThatComesWithItsAddressNeedsNoMetadata(t *testing.T) {
	besiege(t, quilltest.Options{Nodes: 2, Racks: []string{"a", "b"}}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *siege) {
		require.NoError(x, x.c.StopNode(2))
		require.NoError(x, x.c.MoveLeader("t", 0, 1))
		x.deliver(0, "a")
		require.NoError(x, x.c.StartNode(2))
		time.Sleep(time.Minute)
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		asked, start := x.c.RequestCount(protocol.Metadata), time.Now()
		x.deliver(0, "b")
		require.Zero(x, time.Since(start))
		require.Equal(x, asked, x.c.RequestCount(protocol.Metadata))
	})
}

// The epoch of the hint is known already, from an answer that named no leader.
func TestALeaderOfAnEpochSeenElsewhereIsAskedAbout(t *testing.T) {
	besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *siege) {
		x.deliver(0, "a")
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		x.withoutEndpoints()
		lie := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics[0].Partitions[0].LeaderID = 1 // under the new epoch
		}})
		_, err := x.p.SendSync(x.Context(), onPartition(7, rec("t", "k", "v"))) // makes it ask
		require.ErrorIs(x, err, quill.ErrInvalidPartition)
		require.EqualValues(x, 1, lie.Hits())
		start := time.Now()
		x.deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}

// A full answer that leaves a topic out is a mistake: whoever is asked about a topic says something about it.
func TestATopicThatAnAnswerLeavesOutIsAskedForAgain(t *testing.T) {
	besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Minute }, func(x *siege) {
		x.deliver(0, "a")
		left := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics = nil
		}})
		time.Sleep(time.Minute + 10*time.Millisecond)
		require.EqualValues(x, 1, left.Hits())
		asked := x.c.RequestCount(protocol.Metadata)
		time.Sleep(500 * time.Millisecond)
		require.Equal(x, asked+1, x.c.RequestCount(protocol.Metadata), "asked for again after a back-off, and once")
		x.withoutEndpoints()
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		start := time.Now()
		x.deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}

// The same, and the leader moves before it is asked for again.
func TestALeaderOfATopicThatWasLeftOutIsFollowed(t *testing.T) {
	besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Minute }, func(x *siege) {
		x.deliver(0, "a")
		x.withoutEndpoints()
		left := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics = nil
		}})
		for left.Hits() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(x, x.c.MoveLeader("t", 0, 2))
		start := time.Now()
		x.deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}
