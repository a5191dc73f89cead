package network

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/metadata"
)

// asideRig returns a rig with two nodes that are connected to and never answer on their first connections.
func asideRig(t *testing.T, options ...func(*Config)) *rig {
	r := newRig(t, nil, options...)
	r.aside = true
	r.listen("one:9092", mute)
	r.listen("two:9092", mute)
	r.SetNodes(nodes(node1, node2))
	r.connect(1)
	r.connect(2)
	r.listen("one:9092", echoes)
	r.listen("two:9092", echoes)
	return r
}

// soonest calls Soonest, which has to find a node.
func (r *rig) soonest() int32 {
	r.t.Helper()
	id, ok, _ := r.Soonest(time.Now())
	require.True(r.t, ok)
	require.True(r.t, r.Ready(id, time.Now()))
	return id
}

// busy gives both nodes a request.
func (r *rig) busy() {
	r.send(1, "busy")
	r.send(2, "busy")
}

// begins sees the aside being made.
func (r *rig) begins() {
	r.t.Helper()
	_, ok, until := r.Soonest(time.Now())
	require.Equal(r.t, []any{false, time.Now().Add(asideHead)}, []any{ok, until})
	require.Equal(r.t, connecting, r.nodes[asideKey].state)
}

// makeAside makes both nodes busy and the aside ready, and returns the node that it leads to.
func (r *rig) makeAside() (home int32) {
	r.t.Helper()
	r.busy()
	r.begins()
	r.settle()
	require.EqualValues(r.t, asideKey, r.soonest())
	return r.nodes[asideKey].id
}

func TestTheSecondConnectionIsMadeOnlyWhenNeeded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t)
		for range 10 {
			require.Positive(t, r.soonest())
		}
		r.send(1, "busy")
		for range 10 {
			require.EqualValues(t, 2, r.soonest(), "it is idle")
		}
		r.settle()
		require.Equal(t, 2, r.dialled())
		r.makeAside()
		require.Equal(t, 3, r.dialled())

		req := r.send(r.soonest(), "hello")
		r.settle()
		require.Contains(t, r.done, req, "although nothing else is answered")
		require.NoError(t, req.Err)
		require.Equal(t, "hello", string(req.Exchange.(*echo).in))
		require.Contains(t, []int32{1, 2}, req.Node)
		for range 10 {
			require.EqualValues(t, asideKey, r.soonest())
		}
		r.settle()
		require.Equal(t, 3, r.dialled())
		require.Equal(t, 3, r.InFlightTotal(), "one that came before")
	})
}

func TestTheSecondConnectionIsNotWaitedForLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t)
		r.listen("one:9092", mute)
		r.listen("two:9092", mute)
		r.makeAside()
		r.send(asideKey, "x")
		id, ok, until := r.Soonest(time.Now())
		require.Equal(t, []any{int32(asideKey), true, time.Now().Add(asidePatience)}, []any{id, ok, until})
		r.pass(asidePatience)
		require.NotEqual(t, int32(asideKey), r.soonest())
	})
}

func TestASecondConnectionThatHangsHoldsUpLittle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t, func(c *Config) { c.RequestTimeout = time.Hour })
		r.listen("one:9092", silent)
		r.listen("two:9092", silent)
		r.busy()
		r.begins()
		r.pass(asideHead)
		for range 50 {
			require.Positive(t, r.soonest())
			r.pass(time.Second)
		}
		require.Greater(t, r.dialled(), 3)
	})
}

// It costs nothing but an attempt after each back-off, and is no trouble.
func TestAFailingSecondConnectionHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := &lockedBuffer{}
		r := asideRig(t, func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		})
		r.listen("one:9092", nil)
		r.listen("two:9092", nil)
		r.busy()
		r.begins()
		r.settle()
		for range 100 {
			require.Positive(t, r.soonest())
			r.pass(100 * time.Millisecond)
		}
		require.Greater(t, r.dialled(), 2+8, "about one a second")
		require.Less(t, r.dialled(), 2+20)
		require.NoError(t, r.Trouble())
		require.NoError(t, r.LastError(1))
		require.False(t, r.Unreachable())
		require.Zero(t, r.failedInARow)
		require.Empty(t, log.String())
		r.listen("one:9092", echoes)
		r.listen("two:9092", echoes)
		for range 20 {
			r.soonest()
			r.pass(100 * time.Millisecond)
		}
		require.EqualValues(t, asideKey, r.soonest())
	})
}

func TestTheSecondConnectionLeavesWithItsNode(t *testing.T) {
	for name, change := range map[string]func(home metadata.Node) metadata.Node{
		"gone":  func(metadata.Node) metadata.Node { return node3 },
		"moved": func(home metadata.Node) metadata.Node { home.Host = "elsewhere"; return home },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := asideRig(t)
				home, stays := node1, node2
				if r.makeAside() == 2 {
					home, stays = node2, node1
				}
				r.SetNodes(nodes(node1, node2))
				r.settle()
				require.EqualValues(t, asideKey, r.soonest(), "nothing has changed")
				req := r.send(asideKey, "on its way")
				r.SetNodes(nodes(change(home), stays))
				require.Equal(t, false, r.Ready(asideKey, time.Now()))
				r.settle()
				require.NoError(t, req.Err)
				require.NotContains(t, r.nodes, int32(asideKey))
				require.Equal(t, 3, r.dialled())
			})
		})
	}
}

func TestTheSecondConnectionIsThrottledWithItsNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t)
		home := r.makeAside()
		r.Throttle(home, time.Second, time.Now())
		require.EqualValues(t, 3-home, r.soonest())
		r.pass(time.Second)
		require.EqualValues(t, asideKey, r.soonest())
		r.Throttle(asideKey, time.Second, time.Now())
		require.False(t, r.Usable(home, time.Now()))
	})
}

// What may be in flight to the nodes is no limit to what is urgent.
func TestTheSecondConnectionIsThereWhenAllNodesAreFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t, func(c *Config) { c.MaxInFlight = 1 })
		r.busy()
		r.begins()
		r.settle()
		req := r.send(r.soonest(), "x")
		_, ok, _ := r.Soonest(time.Now())
		require.False(t, ok, "it is full too")
		r.settle()
		require.NoError(t, req.Err)
	})
}

func TestTheSecondConnectionMovesFromANodeThatDoesNotAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t)
		home := r.makeAside()
		other := 3 - home
		r.send(home, "one more")
		r.pass(stuckAfter)
		require.EqualValues(t, asideKey, r.soonest(), "the other is no better")
		r.listen("one:9092", mute)
		r.listen("two:9092", mute)
		r.Disconnect(other, time.Now())
		r.settle()
		r.connect(other)
		r.send(other, "busy, but not for long")
		require.Equal(t, other, r.soonest())
		r.settle()
		require.NotContains(t, r.nodes, int32(asideKey))
		r.begins()
		r.settle()
		require.Equal(t, other, r.nodes[asideKey].id)
	})
}

func TestTheSecondConnectionIsClosedWhenIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t, func(c *Config) { c.RequestTimeout, c.MaxIdle = time.Hour, time.Minute })
		r.makeAside()
		r.pass(59 * time.Second)
		require.True(t, r.Connected(asideKey))
		r.pass(time.Second)
		require.NotContains(t, r.nodes, int32(asideKey))
		require.Equal(t, map[string]int{"one:9092": 1, "two:9092": 1}, r.opened())
	})
}

// It is a node as any other for what ends a connection.
func TestRequestsOnTheSecondConnectionComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *rig)
		want error
	}{
		"time-out":    {func(r *rig) { r.pass(30 * time.Second) }, ErrRequestTimeout},
		"rebootstrap": {func(r *rig) { r.Rebootstrap(time.Now()) }, ErrDisconnected},
		"close":       {func(r *rig) { r.Close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := asideRig(t)
				r.listen("one:9092", mute)
				r.listen("two:9092", mute)
				r.makeAside()
				req := r.send(asideKey, "x")
				require.False(t, r.Overdue(time.Now()))
				require.True(t, r.Overdue(req.deadline))
				c.end(r)
				r.settle()
				require.ErrorIs(t, req.Err, c.want)
			})
		})
	}
}

func TestTheSecondConnectionCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := asideRig(t)
		r.makeAside()
		req := r.send(asideKey, "x")
		r.CatchUp(time.Minute, time.Now())
		require.Equal(t, 3, r.behind)
		r.pass(lookTries * lookTime)
		require.False(t, r.Behind())
		require.NoError(t, req.Err)
	})
}
