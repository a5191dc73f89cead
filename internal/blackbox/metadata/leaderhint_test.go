package metadata_test

import (
	"math"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// An answer that refuses a batch may name the partition's new leader (KIP-951). What it says is either
// adopted, or the cluster is asked: a hint that was dropped must not pass for one that was taken.

func TestALeaderThatIsNotKnownYetIsAskedAbout(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{Nodes: 2}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *testkit.Siege) {
		require.NoError(x, x.C.StopNode(2))
		require.NoError(x, x.C.MoveLeader("t", 0, 1))
		x.Deliver(0, "a")
		x.WithoutEndpoints()
		require.NoError(x, x.C.StartNode(2))
		time.Sleep(time.Minute)
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		asked, start := x.C.RequestCount(protocol.Metadata), time.Now()
		x.Deliver(0, "b")
		require.Less(x, time.Since(start), 200*time.Millisecond)
		require.Greater(x, x.C.RequestCount(protocol.Metadata), asked)
	})
}

// With its address the new leader is adopted at once, be it a node that was not known before.
func TestALeaderThatComesWithItsAddressNeedsNoMetadata(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{Nodes: 2, Racks: []string{"a", "b"}}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *testkit.Siege) {
		require.NoError(x, x.C.StopNode(2))
		require.NoError(x, x.C.MoveLeader("t", 0, 1))
		x.Deliver(0, "a")
		require.NoError(x, x.C.StartNode(2))
		time.Sleep(time.Minute)
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		asked, start := x.C.RequestCount(protocol.Metadata), time.Now()
		x.Deliver(0, "b")
		require.Zero(x, time.Since(start))
		require.Equal(x, asked, x.C.RequestCount(protocol.Metadata))
	})
}

// The epoch of the hint is known already, from an answer that named no leader.
func TestALeaderOfAnEpochSeenElsewhereIsAskedAbout(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		x.WithoutEndpoints()
		lie := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics[0].Partitions[0].LeaderID = 1 // under the new epoch
		}})
		_, err := x.P.SendSync(x.Context(), testkit.OnPartition(7, testkit.Rec("t", "k", "v"))) // makes it ask
		require.ErrorIs(x, err, quill.ErrInvalidPartition)
		require.EqualValues(x, 1, lie.Hits())
		start := time.Now()
		x.Deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}

// A full answer that leaves a topic out is a mistake: an answer has something to say of each topic that was asked for.
func TestATopicThatAnAnswerLeavesOutIsAskedForAgain(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Minute }, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		left := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics = nil
		}})
		time.Sleep(time.Minute + 10*time.Millisecond)
		require.EqualValues(x, 1, left.Hits())
		asked := x.C.RequestCount(protocol.Metadata)
		time.Sleep(500 * time.Millisecond)
		require.Equal(x, asked+1, x.C.RequestCount(protocol.Metadata), "asked for again after a back-off, and once")
		x.WithoutEndpoints()
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		start := time.Now()
		x.Deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}

// The same, and the leader moves before it is asked for again.
func TestALeaderOfATopicThatWasLeftOutIsFollowed(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Minute }, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		x.WithoutEndpoints()
		left := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).Topics = nil
		}})
		for left.Hits() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(x, x.C.MoveLeader("t", 0, 2))
		start := time.Now()
		x.Deliver(0, "b")
		require.Less(x, time.Since(start), time.Second)
	})
}

// A hint with a leader epoch beyond all real ones is believed for some seconds: the node that it names says that it is no
// leader, and then what the cluster says counts again, however low its epoch. (Java follows such a hint until
// the records expire.) Not sooner, since a new leader may take a while to learn that it is one.
func TestAFalseHintOfALeaderStopsAPartitionForSecondsOnly(t *testing.T) {
	for name, c := range map[string]struct {
		next  func(leader int32) int32 // whom the hint names
		epoch func(real int32) int32
		moves bool // the hint is right, and it is only the next leader that is not believed
	}{
		"another node, one more":           {func(l int32) int32 { return l%3 + 1 }, func(e int32) int32 { return e + 1 }, false},
		"another node, far beyond":         {func(l int32) int32 { return l%3 + 1 }, func(int32) int32 { return math.MaxInt32 }, false},
		"the right node, then it moves on": {func(l int32) int32 { return l }, func(int32) int32 { return math.MaxInt32 }, true},
	} {
		testkit.InLab(t, quilltest.Options{Nodes: 3}, nil, func(x *testkit.Lab) {
			x.Deliver(0, "a")
			move := func() {
				leader, _, err := x.C.Leader("t", 0)
				require.NoError(x, err)
				require.NoError(x, x.C.MoveLeader("t", 0, leader%3+1))
			}
			move()
			leader, epoch, err := x.C.Leader("t", 0)
			require.NoError(x, err)
			x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 1, Edit: func(_ *quilltest.Request, response any) {
				p := &response.(*message.ProduceResponse).Responses[0].PartitionResponses[0]
				require.Equal(x, protocol.NotLeaderOrFollower, p.ErrorCode, name)
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = c.next(leader), c.epoch(epoch)
			}})
			if c.moves {
				x.Deliver(0, "b")
				move()
			}
			begin := time.Now()
			x.Deliver(0, "c")
			require.GreaterOrEqual(x, time.Since(begin), 5*time.Second, name)
			require.LessOrEqual(x, time.Since(begin), 9*time.Second, name)
			move()
			begin = time.Now()
			x.Deliver(0, "d")
			require.Zero(x, time.Since(begin), "%s: hints are believed as before", name)
		})
	}
}

// An answer that comes late names a leader of the topic that had the name before. Its epochs count for nothing.
func TestAHintAboutTheTopicBeforeMovesNothing(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Nodes: 2}, nil, func(x *testkit.Lab) {
		x.Deliver(0, "a")
		leader, _, err := x.C.Leader("t", 0)
		require.NoError(x, err)
		late := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 1, AnswerDelay: 3500 * time.Millisecond, Edit: func(_ *quilltest.Request, response any) {
			p := &response.(*message.ProduceResponse).Responses[0].PartitionResponses[0]
			p.ErrorCode, p.CurrentLeader = protocol.NotLeaderOrFollower, message.LeaderIDAndEpoch{LeaderID: leader%2 + 1, LeaderEpoch: 1000}
		}})
		old := x.Send(0, "b")
		time.Sleep(time.Second)
		require.NoError(x, x.C.DeleteTopic("t"))
		x.C.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		require.NoError(x, x.C.MoveLeader("t", 0, leader))
		_, err = x.P.SendSync(x.Context(), testkit.OnPartition(7, testkit.Rec("t", "k", "v"))) // makes it ask
		require.ErrorIs(x, err, quill.ErrInvalidPartition)
		time.Sleep(4 * time.Second)
		require.EqualValues(x, 1, late.Hits())
		begin := time.Now()
		x.Deliver(0, "c")
		require.Less(x, time.Since(begin), time.Second)
		_, _ = old.Wait(x.Context())
	})
}
