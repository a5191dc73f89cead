package quill

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/stretchr/testify/require"
)

// sharedPool returns a pool of n chunks of 1 KiB in a cluster with nodes 1 and 2, both in use.
func sharedPool(n int64) (p *bufferPool, one, two *memoryShare) {
	p = newBufferPool(n*1024, 1024)
	p.setNodes(1, 2, 3)
	return p, p.share(1), p.share(2)
}

// firstNodes returns the nodes 1 to n.
func firstNodes(n int) (ids []int32) {
	for i := range n {
		ids = append(ids, int32(i+1))
	}
	return ids
}

// fillUp takes chunks until the share has no more.
func fillUp(t *testing.T, s *memoryShare) (chunks [][]byte) {
	t.Helper()
	for {
		chunk, err := s.tryAllocate(1024)
		if err != nil {
			require.ErrorIs(t, err, ErrWouldBlock)
			return chunks
		}
		chunks = append(chunks, chunk)
	}
}

func TestANodeHoldsAtMostFourTimesWhatIsFree(t *testing.T) {
	p, one, two := sharedPool(100)
	require.Len(t, fillUp(t, one), 80)
	requirePool(t, p, 20*1024, 0)
	require.Len(t, fillUp(t, two), 16, "the other one has its share of what is left")
	third := p.share(3)
	require.Len(t, fillUp(t, third), 3)
	chunk, err := p.tryAllocate(1024)
	require.NoError(t, err, "what belongs to no node has no share")
	p.release(chunk)
	require.Empty(t, fillUp(t, one))
}

func TestNodesThatFillTheirPartsUseAllOfTheBuffer(t *testing.T) {
	p, one, two := sharedPool(99)
	third := p.share(3)
	var ofThird [][]byte
	for range 33 {
		for _, s := range []*memoryShare{one, two} {
			_, err := s.tryAllocate(1024)
			require.NoError(t, err)
		}
		chunk, err := third.tryAllocate(1024)
		require.NoError(t, err)
		ofThird = append(ofThird, chunk)
	}
	requirePool(t, p, 0, 0)

	for _, chunk := range ofThird {
		third.release(chunk)
	}
	require.Len(t, fillUp(t, one), 19, "52 are at most four times the 14 that stay free")
	require.Len(t, fillUp(t, two), 4, "37 are at most four times 10")
	require.Len(t, fillUp(t, third), 10, "its part is 33, and the others hold 23 beyond theirs")
	requirePool(t, p, 0, 0)
}

func TestWhatBelongsToNoNodeIsTakenOffTheParts(t *testing.T) {
	p, one, two := sharedPool(99)
	for range 10 {
		_, err := p.tryAllocate(1024)
		require.NoError(t, err)
	}
	require.Len(t, fillUp(t, p.share(unknownNode)), 71, "it has no part")
	require.Len(t, fillUp(t, one), 14)
	require.Len(t, fillUp(t, two), 3)
}

func TestPartsFollowTheNumberOfNodes(t *testing.T) {
	p, one, two := sharedPool(100)
	require.Len(t, fillUp(t, one), 80)
	p.setNodes(1, 2)
	require.Len(t, fillUp(t, two), 20, "80 are 30 beyond one half")
	requirePool(t, p, 0, 0)
}

// Who waits for what a smaller cluster allows need not wait until memory comes back, which may be never.
func TestASmallerClusterServesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, _ := sharedPool(100)
		require.Len(t, fillUp(t, one), 80)
		served := make(chan error, 1)
		go func() {
			_, err := one.allocate(t.Context(), 1024, within(time.Minute))
			served <- err
		}()
		synctest.Wait()
		requirePool(t, p, 20*1024, 1)
		p.setNodes(1)
		synctest.Wait()
		require.NoError(t, <-served)
		requirePool(t, p, 19*1024, 0)
	})
}

// What is beyond the parts is counted again when they change.
func TestWhatIsBeyondThePartsFollowsTheNumberOfNodes(t *testing.T) {
	p, one, two := sharedPool(100)
	require.Len(t, fillUp(t, one), 80)
	beyond := func() int64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.beyond
	}
	for _, c := range []struct{ nodes, beyond int }{{4, 55}, {2, 30}, {1, 0}, {5, 60}} {
		p.setNodes(firstNodes(c.nodes)...)
		require.EqualValues(t, c.beyond*1024, beyond(), "%d nodes", c.nodes)
	}
	_, err := two.tryAllocate(1024)
	require.NoError(t, err)
	require.EqualValues(t, 60*1024, beyond(), "a part is not beyond itself")
}

func TestWhereThereIsNobodyToShareWithANodeMayHoldAll(t *testing.T) {
	p := newBufferPool(100*1024, 1024)
	p.setNodes(1)
	require.Len(t, fillUp(t, p.share(1)), 100)
}

func TestTheOnlyNodeInUseLeavesAReserve(t *testing.T) {
	p := newBufferPool(100*1024, 1024)
	p.setNodes(1, 2, 3)
	one := p.share(1)
	require.Len(t, fillUp(t, one), 93, "all but one sixteenth")
	require.Len(t, fillUp(t, p.share(2)), 5, "a node to which records go for the first time")
	require.Len(t, fillUp(t, p.share(unknownNode)), 1)
	require.Empty(t, fillUp(t, one))
}

// The partitions without a leader share as a node does, beside however many nodes.
func TestPartitionsWithoutALeaderDoNotTakeTheWholeBuffer(t *testing.T) {
	for nodes := 1; nodes <= 3; nodes++ {
		for _, first := range []bool{true, false} { // whether the node was in use before
			p := newBufferPool(100*1024, 1024)
			p.setNodes(firstNodes(nodes)...)
			if first {
				_, err := p.share(1).tryAllocate(1024)
				require.NoError(t, err)
			}
			unknown := len(fillUp(t, p.share(unknownNode)))
			require.InDelta(t, 80, unknown, 1, "%d nodes", nodes)
			live := len(fillUp(t, p.share(1)))
			require.GreaterOrEqual(t, live, 15, "%d nodes", nodes)
			if nodes == 1 {
				require.GreaterOrEqual(t, unknown+live, 99, "the only node uses what is left")
			}
		}
	}
}

// With buffers of one to four batches: however much a node or the partitions without a leader hold, another gets a batch,
// unless there is only one.
func TestSmallBuffersAreSharedToo(t *testing.T) {
	for _, c := range []struct {
		batches      int64
		nodes        int
		first        int32
		holds, other int
	}{
		{1, 1, 1, 1, 0}, {2, 1, 1, 2, 0}, {4, 1, 1, 4, 0}, // no other share but that of partitions without a leader
		{1, 3, 1, 1, 0}, {2, 3, 1, 1, 1}, {3, 3, 1, 2, 1}, {4, 3, 1, 3, 1},
		{1, 3, unknownNode, 1, 0}, {2, 3, unknownNode, 1, 1}, {3, 3, unknownNode, 2, 1}, {4, 3, unknownNode, 3, 1},
		{2, 1, unknownNode, 1, 1}, {3, 1, unknownNode, 2, 1}, {4, 1, unknownNode, 3, 1},
	} {
		p := newBufferPool(c.batches*1024, 1024)
		p.setNodes(firstNodes(c.nodes)...)
		require.Len(t, fillUp(t, p.share(c.first)), c.holds, c)
		other := p.share(2)
		if c.first == unknownNode {
			other = p.share(1)
		}
		require.Len(t, fillUp(t, other), c.other, c)
	}
}

// A live node finds memory for a batch, however much the shares hold that records can't leave, and whatever the metadata
// says of them meanwhile. Each leaves a fifth of what it finds, but one that holds nothing may take the last chunk: so
// n of them leave something if there are more than 5 to the power of n-1 batches in the buffer.
func TestALiveNodeFindsMemoryWhileOthersComeAndGo(t *testing.T) {
	const live = 1
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		dead := []int32{unknownNode, 2, 3}[:1+r.IntN(3)]
		batches := 1
		for range dead[1:] {
			batches *= 5
		}
		batches += 1 + r.IntN(16)
		p := newBufferPool(int64(batches)*1024, 1024)
		p.setNodes(live, 2, 3)
		p.share(live) // in use, or the others need leave less: a sixteenth
		held := map[int32][][]byte{}
		var story strings.Builder
		story.WriteString(fmt.Sprintf("seed %d: %d batches, dead %v:", seed, batches, dead))
		for range 60 {
			node := dead[r.IntN(len(dead))]
			switch s := p.share(node); {
			case r.IntN(8) == 0: // its records expire
				for _, chunk := range held[node] {
					s.release(chunk)
				}
				held[node] = nil
			case r.IntN(4) == 0:
				nodes := [][]int32{{live}, {live, 2}, {live, 3}, {live, 2, 3}}[r.IntN(4)]
				p.setNodes(nodes...)
				story.WriteString(fmt.Sprintf(" nodes %v", nodes))
			default:
				held[node] = append(held[node], fillUp(t, s)...)
				story.WriteString(fmt.Sprintf(" %d holds %d", node, len(held[node])))
			}
			chunk, err := p.share(live).tryAllocate(1024)
			require.NoError(t, err, story.String())
			p.share(live).release(chunk)
		}
	}
}

// Partitions without a leader and nodes that have left the metadata are the same thing: together they leave a batch,
// with a buffer of two already, however many they are.
func TestNodesThatLeftShareWithPartitionsWithoutALeader(t *testing.T) {
	for batches := 2; batches <= 16; batches++ {
		p := newBufferPool(int64(batches)*1024, 1024)
		p.setNodes(1, 2)
		fillUp(t, p.share(2))
		p.setNodes(1) // its part is not all of the buffer now
		for _, node := range []int32{2, unknownNode, 3} {
			fillUp(t, p.share(node))
		}
		require.NotEmpty(t, fillUp(t, p.share(1)), "%d batches", batches)
	}
}

// A node that comes back has its part, and who waits for it is served.
func TestANodeThatComesBackHasItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(2)
		p.setNodes(1)
		fillUp(t, p.share(unknownNode))
		done := make(chan error, 1)
		go func() {
			_, err := two.allocate(t.Context(), 1024, within(time.Hour))
			done <- err
		}()
		synctest.Wait()
		require.Empty(t, done, "it counts as the partitions without a leader")
		p.setNodes(1, 2)
		require.NoError(t, <-done)
		require.Empty(t, fillUp(t, one))
	})
}

func TestANodeThatHoldsNothingGetsTheLastChunk(t *testing.T) {
	p, one, two := sharedPool(2)
	require.Len(t, fillUp(t, one), 1)
	require.Len(t, fillUp(t, two), 1)
	requirePool(t, p, 0, 0)
}

func TestWhoWaitsForHisNodesShareIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(100)
		held := fillUp(t, one)
		done := make(chan error, 1)
		go func() {
			_, err := one.allocate(t.Context(), 1024, within(time.Hour))
			done <- err
		}()
		synctest.Wait()
		require.False(t, p.starved(), "there is memory, for others")
		require.EqualValues(t, 1, one.waiters.Load())
		_, err := one.tryAllocate(1024)
		require.ErrorIs(t, err, ErrWouldBlock, "nobody overtakes within a node")
		chunk, err := two.tryAllocate(1024)
		require.NoError(t, err)
		two.release(chunk)

		one.release(held[0])
		require.NoError(t, <-done)
		require.Zero(t, one.waiters.Load())
		requirePool(t, p, int64(100-len(held))*1024, 0)
	})
}

func TestLinesOfNodesAreServedInOrderOfArrivalAsSharesAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(10)
		var taken [][]byte
		for range 10 {
			taken = append(taken, take(t, p, 1024))
		}
		served := make(chan int, 5)
		for i, s := range []*memoryShare{two, one, two, p.memoryShare, one} {
			go func() {
				if _, err := s.allocate(t.Context(), 1024, within(time.Hour)); err != nil {
					t.Error(err)
				}
				served <- i
			}()
			synctest.Wait()
		}
		require.True(t, p.starved())
		var order []int
		for _, chunk := range taken {
			p.release(chunk)
			synctest.Wait()
			if len(served) > 0 {
				order = append(order, <-served)
			}
			require.Empty(t, served)
		}
		require.Equal(t, []int{0, 1, 3, 2, 4}, order, "a second chunk for a node takes one more that is free")
	})
}

func TestALargeRecordIsNotPassedByForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, one, two := sharedPool(100)
		stop := make(chan struct{})
		for range 64 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					chunk, err := two.allocate(t.Context(), 1024, within(time.Hour))
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
					two.release(chunk)
				}
			}()
		}
		time.Sleep(time.Second)
		chunk, err := one.allocate(t.Context(), 60*1024, within(10*time.Millisecond))
		require.NoError(t, err)
		one.release(chunk)
		close(stop)
		time.Sleep(time.Second)
		requirePool(t, p, 100*1024, 0)
	})
}

func TestARecordThatCanNeverFitItsShareDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := sharedPool(100)
		fillUp(t, one)
		done := make(chan error, 1)
		go func() {
			_, err := one.allocate(t.Context(), 60*1024, within(time.Minute))
			done <- err
		}()
		synctest.Wait()
		chunk, err := two.tryAllocate(1024)
		require.NoError(t, err)
		two.release(chunk)
		err = <-done
		require.ErrorIs(t, err, ErrBufferExhausted)
		require.ErrorContains(t, err, "61440 bytes are needed, 20480 of 102400 (buffer.memory) are free")
		require.ErrorContains(t, err, "node 1, which leads the partition, holds 81920 bytes")
	})
}

func TestOnlyTheLingersOfACrowdedNodeAreCut(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = time.Hour; s.bufferMemory = 20 * rigBatch; s.maxBlock = time.Minute }, func(t *testing.T, r *rig) {
		r.shares = true
		r.setLeaders(rigLeaders, 0)
		r.append(2, "", "of node 1")
		r.append(1, "", "of node 0")
		for range 2 * 20 {
			in := one("", string(make([]byte, 800)))
			if _, err := r.acc.append(t.Context(), r.topic.queue(0), in, nil, nil); err != nil {
				require.ErrorIs(t, err, ErrWouldBlock)
				break
			}
		}
		done := make(chan error, 1)
		go func() {
			_, err := r.acc.append(t.Context(), r.topic.queue(0), one("", string(make([]byte, 800))), nil, within(r.cfg.maxBlock))
			done <- err
		}()
		synctest.Wait()
		require.Equal(t, []int32{0}, r.ready())
		require.NotNil(t, r.topic.queue(1).out.readyFor, "its batch lingers no more")
		require.Nil(t, r.topic.queue(2).out.readyFor)
		require.Len(t, r.drain(0), 2)
		r.answer(0, accepted(0))
		r.dispatch()
		require.NoError(t, <-done)
	})
}

// Records to partitions that never had a leader leave room for those to the only node that has some, whichever
// came first.
func TestSendsToALiveNodePassThoseWithoutALeader(t *testing.T) {
	for _, first := range []int32{0, 2} {
		withRig(t, func(s *settings) { s.bufferMemory = 40 * rigBatch }, func(t *testing.T, r *rig) {
			r.shares = true
			r.setLeaders([]int32{0, 0, -1, -1}, 1)
			r.append(first, "", "x")
			for range 2 * 40 {
				if _, err := r.acc.append(t.Context(), r.topic.queue(2), one("", string(make([]byte, 800))), nil, nil); err != nil {
					require.ErrorIs(t, err, ErrWouldBlock)
					break
				}
			}
			for range 5 {
				r.append(0, "", string(make([]byte, 800)))
			}
		})
	}
}

// The memory knows which nodes there are before a Send can learn from a topic which of its partitions have lost their
// leaders, or got one that is new: in between these would count as one share more, which takes the last chunk.
func TestTheMemoryLearnsOfNodesBeforeTopicsDo(t *testing.T) {
	withRig(t, func(s *settings) { s.bufferMemory = 2 * rigBatch }, func(t *testing.T, r *rig) {
		r.shares = true
		r.setLeaders(rigLeaders, 0)
		r.topic.used.Store(true)
		r.s.refresh.want(r.topic, time.Now())
		r.s.refresh.board.post(r.s.snapshot, nil)
		var before []int32 // the leader of partition 0 when the memory was taken
		r.s.refresh.onNodes = func(next *metadata.Snapshot) {
			before = append(before, r.topic.info.Load().Partitions[0].Leader)
			r.acc.setNodes(next)
		}
		_, err := r.acc.share(r.topic.queue(0)).tryAllocate(rigBatch)
		require.NoError(t, err)

		req := r.s.refresh.request(1, time.Now()) // node 0 is gone from the answer
		answer := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
		answer.Reset()
		answer.Brokers = []message.MetadataResponseBroker{{NodeID: 1, Host: "b", Port: 2}}
		topic := message.MetadataResponseTopic{Name: &r.topic.name, TopicID: [16]byte{1}}
		for i, leader := range []int32{-1, -1, 1, 1} {
			topic.Partitions = append(topic.Partitions, message.MetadataResponsePartition{PartitionIndex: int32(i), LeaderID: leader, LeaderEpoch: 1})
		}
		answer.Topics = []message.MetadataResponseTopic{topic}
		r.s.finishMetadata(req, time.Now())
		require.Equal(t, []int32{0}, before)
		require.True(t, r.acc.share(r.topic.queue(0)).full(rigBatch), "what node 0 holds counts for the partitions that it left")
		require.False(t, r.acc.share(r.topic.queue(2)).full(rigBatch))

		r.s.changes = []metadata.LeaderChange{{Topic: "test", Partition: 0, Leader: 5, LeaderEpoch: 2}}
		r.s.moved, r.s.hints = []*topicState{r.topic}, []metadata.Node{{ID: 5, Host: "c", Port: 3}}
		r.s.applyHints(time.Now())
		require.Equal(t, []int32{0, -1}, before)
		require.False(t, r.acc.share(r.topic.queue(0)).full(rigBatch), "a new node has its part")
	})
}
