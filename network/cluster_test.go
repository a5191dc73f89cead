package network

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/metadata"
)

var (
	node1 = metadata.Node{ID: 1, Host: "one", Port: 9092}
	node2 = metadata.Node{ID: 2, Host: "two", Port: 9092}
	node3 = metadata.Node{ID: 3, Host: "::3", Port: 9093}
)

// NetworkClientTest.testLeastLoadedNode.
func TestLeastLoadedPrefersReadyNodesWithLeastInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, addr := range []string{"one:9092", "two:9092", "[::3]:9093"} {
			r.listen(addr, mute)
		}
		r.SetNodes(nodes(node1, node2, node3))
		least := func() int32 {
			id, ok, _ := r.LeastLoaded(time.Now())
			require.True(t, ok)
			return id
		}
		r.connect(2)
		for range 3 {
			require.Equal(t, int32(2), least(), "the only one that is ready")
		}
		r.connect(1)
		r.send(2, "x")
		require.Equal(t, int32(1), least())
		r.send(1, "x")
		r.send(1, "x")
		require.Equal(t, int32(2), least())
		r.connect(3)
		require.Equal(t, int32(3), least())
		// NetworkClientTest.testLeastLoadedNodeConsidersThrottledConnections.
		r.Throttle(3, time.Minute, time.Now())
		require.Equal(t, int32(2), least())
	})
}

// NetworkClientTest.testLeastLoadedNodePrioritizedByLastConnectionTimestamp: nodes that are down take
// turns; one that is being connected to is preferred to a further connection.
func TestLeastLoadedRotatesAmongDisconnected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.SetNodes(nodes(node1, node2, node3))
		seen := map[int32]int{}
		for range 9 {
			id, ok, _ := r.LeastLoaded(time.Now())
			require.True(t, ok)
			seen[id]++
			require.False(t, r.Ready(id, time.Now()))
			again, ok, _ := r.LeastLoaded(time.Now())
			require.True(t, ok)
			require.Equal(t, id, again, "it is connecting")
			r.pass(2 * time.Second)
		}
		require.Equal(t, map[int32]int{1: 3, 2: 3, 3: 3}, seen)
	})
}

func TestLeastLoadedSpreadsOverNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.SetNodes(nodes(node1, node2, node3))
		seen := map[int32]bool{}
		for _, x := range []float64{0, 0.4, 0.9999999999999999} {
			r.random = func() float64 { return x }
			id, _, _ := r.LeastLoaded(time.Now())
			seen[id] = true
		}
		require.Len(t, seen, 3)
	})
}

// NetworkClientTest.testHasNodeAvailableOrConnectionReady: nothing is available during back-offs.
func TestLeastLoadedHonoursBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.SetNodes(nodes(node1, node2))
		require.False(t, r.Ready(1, time.Now()))
		require.False(t, r.Ready(2, time.Now()))
		r.settle()
		_, ok, at := r.LeastLoaded(time.Now())
		require.False(t, ok)
		require.Equal(t, time.Now().Add(50*time.Millisecond), at)
		r.pass(50 * time.Millisecond)
		_, ok, _ = r.LeastLoaded(at)
		require.True(t, ok)
	})
}

// A list of nodes may be long and wrong from end to end (H33): each is a node of its own, with no
// back-off yet, so the pauses are the client's.
func TestManyWrongNodesAreTriedWithPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		var list []metadata.Node
		for id := range int32(1000) {
			list = append(list, metadata.Node{ID: id, Host: fmt.Sprint("wrong-", id), Port: 1})
		}
		r.SetNodes(nodes(list...))
		for start := time.Now(); time.Since(start) < 10*time.Second; {
			id, ok, at := r.LeastLoaded(time.Now())
			if ok {
				r.Ready(id, time.Now())
				r.settle()
				continue
			}
			require.True(t, at.After(time.Now()))
			r.pass(time.Until(at))
		}
		r.requireDials(freeMisses+8, freeMisses+20)
		r.listen("wrong-7:1", echoes)
		r.connect(7)
		_, ok, _ := r.LeastLoaded(time.Now())
		require.True(t, ok)
		require.Zero(t, r.failedInARow)
	})
}

// B64: two of three bootstrap nodes are black holes.
func TestHangingNodesDoNotHoldUpTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, silent)
		r.listen("hole:1", silent)
		r.listen("good:1", echoes)
		r.SetBootstrap([]string{bootAddr, "hole:1", "good:1"})
		start := time.Now()
		r.random = func() float64 { return 0 } // always begins with the first
		for {
			id, ok, _ := r.LeastLoaded(time.Now())
			require.True(t, ok)
			if r.Ready(id, time.Now()) {
				require.Equal(t, int32(-3), id)
				break
			}
			at := r.CanRetryAt(id, time.Now())
			require.False(t, at.IsZero())
			r.pass(time.Until(at))
		}
		require.Less(t, time.Since(start), 4*time.Second)
	})
}

func TestSetNodesReplacesBootstrap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.handshake()
			q := p.request()
			time.Sleep(time.Second)
			p.answer(q.id, "late")
			silent(p)
		})
		r.listen("one:9092", echoes)
		r.connect(-1)
		req := r.send(-1, "x")
		r.SetNodes(nodes(node1))
		require.False(t, r.Ready(-1, time.Now()), "takes nothing new")
		require.False(t, r.Connected(-1))
		id, ok, _ := r.LeastLoaded(time.Now())
		require.Equal(t, []any{int32(1), true}, []any{id, ok})
		r.back(req)
		require.NoError(t, req.Err, "but what is in flight is answered")
		r.settle()
		require.NotContains(t, r.nodes, int32(-1))
		r.connect(1)
		r.SetNodes(nodes())
		require.True(t, r.Ready(1, time.Now()), "an empty set changes nothing")
		r.SetNodes(nodes(node2, node2))
		r.settle()
		require.Len(t, r.nodes, 1)
		require.Len(t, r.nodeList, 1)
	})
}

func TestNodeThatComesBackIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.listen("one:9092", mute)
		r.SetNodes(nodes(node1, node2))
		r.connect(1)
		r.send(1, "x")
		r.SetNodes(nodes(node2))
		require.False(t, r.Ready(1, time.Now()))
		r.SetNodes(nodes(node1, node2))
		require.True(t, r.Ready(1, time.Now()))
		require.Equal(t, 1, r.dialled())
	})
}

// ClusterConnectionStatesTest.testNodeWithNewHostname, testHostResolveChange (B57, KAFKA-7755).
func TestNodeWithNewAddressIsConnectedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.listen("one:9092", func(p *peer) {
			p.handshake()
			q := p.request()
			time.Sleep(time.Second)
			p.answer(q.id, "old")
			silent(p)
		})
		r.listen("uno:9092", echoes)
		r.SetNodes(nodes(node1))
		r.connect(1)
		req := r.send(1, "x")
		moved := metadata.Node{ID: 1, Host: "uno", Port: 9092}
		r.SetNodes(nodes(moved))
		require.False(t, r.Ready(1, time.Now()))
		require.Equal(t, 1, r.dialled())
		r.back(req)
		require.NoError(t, req.Err)
		r.settle()
		require.False(t, r.Ready(1, time.Now()))
		r.settle()
		require.True(t, r.Ready(1, time.Now()), "without a back-off")
		require.Equal(t, []string{"one:9092", "uno:9092"}, r.dials)

		// Idle, connecting and down nodes move as well.
		r.SetNodes(nodes(node1))
		r.settle()
		require.Equal(t, idle, r.nodes[1].state)
		require.False(t, r.Ready(1, time.Now()))
		r.SetNodes(nodes(moved))
		require.Equal(t, closing, r.nodes[1].state)
		r.settle()
		r.listen("uno:9092", nil)
		require.False(t, r.Ready(1, time.Now()))
		r.settle()
		require.Equal(t, down, r.nodes[1].state)
		r.SetNodes(nodes(node1))
		r.connect(1)
		require.Equal(t, "one:9092", r.nodes[1].addr)
	})
}

func TestMoveWhileClosingNeedsNoBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.listen("one:9092", mute)
		r.SetNodes(nodes(node1))
		r.connect(1)
		r.Disconnect(1, time.Now())
		r.SetNodes(nodes(metadata.Node{ID: 1, Host: "uno", Port: 9092}))
		r.settle()
		require.Equal(t, idle, r.nodes[1].state)
	})
}

// What happened at the old address says nothing about the new one: neither its error nor its back-off stays.
func TestAMovedNodeLeavesTheTroubleOfItsOldAddress(t *testing.T) {
	moved := metadata.Node{ID: 1, Host: "uno", Port: 9092}
	free := func(t *testing.T, r *rig) {
		require.NoError(t, r.LastError(1))
		require.Equal(t, idle, r.nodes[1].state)
		require.Zero(t, r.nodes[1].failures)
		r.connect(1)
	}
	for name, ends := range map[string]func(r *rig){
		"lost":              func(r *rig) { r.pass(time.Second) },
		"timed out":         func(r *rig) { r.pass(2 * r.cfg.RequestTimeout) },
		"closed on request": func(r *rig) { r.Disconnect(1, time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.listen("one:9092", func(p *peer) {
					p.handshake()
					p.request()
					if name == "lost" {
						return
					}
					silent(p)
				})
				r.listen("uno:9092", echoes)
				r.SetNodes(nodes(node1))
				r.connect(1)
				req := r.send(1, "x")
				r.SetNodes(nodes(moved)) // the request is still out
				ends(r)
				r.back(req)
				require.Error(t, req.Err)
				require.ErrorContains(t, req.Err, "one:9092")
				r.settle()
				free(t, r)
			})
		})
	}
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.listen("uno:9092", echoes)
			r.SetNodes(nodes(node1))
			require.False(t, r.Ready(1, time.Now()))
			r.settle()
			require.ErrorIs(t, r.LastError(1), errRefused)
			r.SetNodes(nodes(moved))
			require.ErrorIs(t, r.Trouble(), errRefused, "it still is the last trouble")
			free(t, r)
		})
	})
}

// NetworkClientTest.testRebootstrap, testInflightRequestsDuringRebootstrap (KIP-899, KIP-1102).
func TestRebootstrap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.listen("one:9092", mute)
		r.listen("two:9092", silent)
		r.connect(-1)
		r.Rebootstrap(time.Now()) // already there: nothing to do
		require.True(t, r.Ready(-1, time.Now()))
		r.SetNodes(nodes(node1, node2, node3))
		r.settle()
		r.connect(1)
		req := r.send(1, "x")
		require.False(t, r.Ready(2, time.Now()))
		r.Rebootstrap(time.Now())
		require.False(t, r.Ready(1, time.Now()))
		id, ok, _ := r.LeastLoaded(time.Now())
		require.Equal(t, []any{int32(-1), true}, []any{id, ok})
		r.settle()
		require.ErrorIs(t, req.Err, ErrDisconnected)
		require.Len(t, r.nodes, 1)
		r.connect(-1)

		// While the bootstrap servers are down, going back to them does not skip back-offs.
		r.listen(bootAddr, nil)
		r.Disconnect(-1, time.Now())
		for range 10 {
			r.Rebootstrap(time.Now())
			r.Ready(-1, time.Now())
			r.settle()
		}
		r.requireDials(4, 5)
	})
}

func TestNodeForgottenWhileItCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.listen("one:9092", mute)
		r.SetNodes(nodes(node1, node2))
		r.connect(1)
		req := r.send(1, "x")
		r.Disconnect(1, time.Now())
		r.SetNodes(nodes(node2))
		r.settle()
		require.Contains(t, r.done, req)
		require.NotContains(t, r.nodes, int32(1))
		require.NoError(t, r.LastError(1))
		require.Zero(t, r.CanRetryAt(1, time.Now()))
		r.Throttle(1, time.Second, time.Now())
		r.Disconnect(1, time.Now())
	})
}
