package quill

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// What a buffer pool is, but for goroutines and memory: the reference for
// TestBufferPoolFollowsItsModel.

const (
	poolCallers = 8
	poolShares  = 4 // two nodes', that of partitions without a leader, and the last is no node's
	// cursedSize can't be made: the memory for it panics.
	cursedSize = 13
)

var poolSizes = []int{1, 5, 8, cursedSize, 24, 40, 64, 65}

// What comes of a call. The empty outcome is that of one that still waits.
const (
	gotChunk     = "a chunk"
	gotPanic     = "a panic"
	gotExhausted = "exhausted"
	gotCanceled  = "canceled"
	gotClosed    = "closed"
	gotTooLarge  = "too large"
	gotBlock     = "would block"
	gotNothing   = "nothing"
)

// poolModel is what a buffer pool is, but for goroutines and memory.
type poolModel struct {
	capacity, unallocated int64
	sizes                 []int
	kept                  []int // chunks kept, by size
	closed                bool
	nodes                 int64            // in the cluster
	gone                  [poolShares]bool // nodes that are not among them
	used                  [poolShares]bool // records went there
	held                  [poolShares]int64
	line                  []poolCall // those that wait, in order
	outcomes              map[int]string
	todo                  []poolStep // not yet done, in any order
}

// poolCall is a blocked allocate.
type poolCall struct {
	caller, size int
	until        time.Time
}

// poolStep is one thing that happens to the pool in one moment.
type poolStep struct {
	kind   poolStepKind
	caller int
	size   int
	until  time.Time
	leaves string // allocate: it will not wait, this is what it gets instead; leave: what it gets; release: by somebody else
}

type poolStepKind uint8

const (
	stepAllocate poolStepKind = iota
	stepTry
	stepOverdraw
	stepRelease
	stepLeave
	stepClose
	stepNodes // the cluster has others
	stepUse   // the first record goes to the caller's node
)

var poolStepNames = [...]string{"allocate", "try", "overdraw", "release", "leave", "close", "nodes", "use"}

// unknownShare is that of the partitions without a leader.
const unknownShare = poolShares - 2

// shareOf is whom a caller takes for.
func shareOf(caller int) int { return caller % poolShares }

func (s poolStep) String() string {
	return fmt.Sprintf("caller %d: %s %d %s", s.caller, poolStepNames[s.kind], s.size, s.leaves)
}

func (m *poolModel) clone() *poolModel {
	c := *m
	c.kept, c.line, c.todo, c.outcomes = slices.Clone(m.kept), slices.Clone(m.line), slices.Clone(m.todo), maps.Clone(m.outcomes)
	return &c
}

func (m *poolModel) available() int64 {
	n := m.unallocated
	for i, kept := range m.kept {
		n += int64(kept) * int64(m.sizes[i])
	}
	return n
}

// allows reports whether the caller's node may hold so much more: its part, less what others hold beyond
// theirs; or four times what is then free, of which a large piece counts as one of the largest that are
// kept, and four fifths of all. One that holds nothing may. The only one in use may hold all but a sixteenth,
// or one of the largest pieces. Partitions without a leader and nodes that are not in the cluster have no part, are
// never the only ones, and count as one.
func (m *poolModel) allows(caller, size int) bool {
	share := shareOf(caller)
	lost := func(share int) bool { return share == unknownShare || m.gone[share] }
	held, part := m.held[share], m.capacity/m.nodes
	beyond, stray := m.held[poolShares-1], int64(0)
	for i, n := range m.held[:poolShares-1] {
		if lost(i) {
			beyond, stray = beyond+n, stray+n
		} else {
			beyond += max(0, n-part)
		}
	}
	if lost(share) {
		held, part = stray, 0
	}
	if share == poolShares-1 || held == 0 {
		return true
	}
	if held+int64(size) <= part-beyond {
		return true
	}
	largest := int64(m.sizes[len(m.sizes)-1])
	alone := !lost(share)
	for i, used := range m.used[:poolShares-1] {
		alone = alone && (!used || i == share)
	}
	if alone && held+int64(size) <= m.capacity-max(m.capacity/16, largest) {
		return true
	}
	n := int64(min(size, m.sizes[len(m.sizes)-1]))
	return held+n <= 4*(m.available()-n) && held+int64(size) <= m.capacity/5*4
}

// next is who gets memory next, -1 for nobody: who came first, leaving out those behind others of their
// node, and those whose node must not hold more.
func (m *poolModel) next() int {
	var behind [poolShares]bool
	for i, call := range m.line {
		if share := shareOf(call.caller); !behind[share] {
			if m.allows(call.caller, call.size) {
				return i
			}
			behind[share] = true
		}
	}
	return -1
}

// take hands out memory that is there.
func (m *poolModel) take(caller, size int) {
	m.outcomes[caller] = gotChunk
	m.held[shareOf(caller)] += int64(size)
	class := slices.Index(m.sizes, size)
	if class >= 0 && m.kept[class] > 0 {
		m.kept[class]--
		return
	}
	for i := range m.kept { // chunks of other sizes go, as many as it takes
		for m.kept[i] > 0 && m.unallocated < int64(size) {
			m.kept[i]--
			m.unallocated += int64(m.sizes[i])
		}
	}
	m.unallocated -= int64(size)
	if size == cursedSize {
		m.outcomes[caller] = gotPanic
		m.todo = append(m.todo, poolStep{kind: stepRelease, caller: caller, size: size})
	}
}

// serve gives to those who wait, in order.
func (m *poolModel) serve() {
	for i := m.next(); i >= 0 && int64(m.line[i].size) <= m.available(); i = m.next() {
		call := m.line[i]
		m.line = slices.Delete(m.line, i, i+1)
		m.take(call.caller, call.size)
	}
}

// do takes one step.
func (m *poolModel) do(s poolStep) {
	switch s.kind {
	case stepAllocate:
		m.line = append(m.line, poolCall{s.caller, s.size, s.until})
		switch {
		case int64(s.size) > m.capacity:
			m.line = m.line[:len(m.line)-1]
			m.outcomes[s.caller] = gotTooLarge
		case m.closed:
			m.line = m.line[:len(m.line)-1]
			m.outcomes[s.caller] = gotClosed
		default:
			m.serve()
			if s.leaves != "" {
				m.todo = append(m.todo, poolStep{kind: stepLeave, caller: s.caller, leaves: s.leaves})
			}
		}
	case stepTry:
		switch {
		case int64(s.size) > m.capacity:
			m.outcomes[s.caller] = gotTooLarge
		case m.closed:
			m.outcomes[s.caller] = gotClosed
		case m.waits(s.caller) || m.next() >= 0 || !m.allows(s.caller, s.size) || int64(s.size) > m.available():
			m.outcomes[s.caller] = gotBlock
		default:
			m.take(s.caller, s.size)
		}
	case stepOverdraw:
		m.take(s.caller, s.size)
	case stepRelease:
		if m.outcomes[s.caller] == "" && s.leaves == "" {
			m.outcomes[s.caller] = gotNothing
		}
		m.held[shareOf(s.caller)] -= int64(s.size)
		if class := slices.Index(m.sizes, s.size); class >= 0 {
			m.kept[class]++
		} else {
			m.unallocated += int64(s.size)
		}
		m.serve()
	case stepLeave:
		for i, call := range m.line {
			if call.caller == s.caller {
				m.line = slices.Delete(m.line, i, i+1)
				m.outcomes[s.caller] = s.leaves
				m.serve()
				return
			}
		}
	case stepClose:
		m.outcomes[s.caller] = gotNothing
		m.closed = true
		for _, call := range m.line {
			m.outcomes[call.caller] = gotClosed
		}
		m.line = nil
	case stepUse:
		m.outcomes[s.caller] = gotNothing
		m.used[shareOf(s.caller)] = true
	case stepNodes:
		m.outcomes[s.caller] = gotNothing
		m.knows(s.size)
		m.serve()
	}
}

// clusters are the nodes there may be, the number of which a step says.
var clusters = [][]int32{{1}, {1, 2}, {1, 2, 3}, {2}, {2, 3}, {3}, {1, 3, 4}}

// knows takes in which nodes there are.
func (m *poolModel) knows(cluster int) {
	nodes := clusters[cluster]
	m.nodes = int64(len(nodes))
	for i, id := range poolNodes[:unknownShare] {
		m.gone[i] = !slices.Contains(nodes, id)
	}
}

// waits reports whether somebody of the caller's node is in line.
func (m *poolModel) waits(caller int) bool {
	return slices.ContainsFunc(m.line, func(call poolCall) bool { return shareOf(call.caller) == shareOf(caller) })
}

// explain finds all that can have come of the steps to do, in whatever order, among what fits. Two
// outcomes are the same if the same wait in the same order, in a cluster of the same nodes.
func (m *poolModel) explain(fits func(*poolModel) bool, found []*poolModel) []*poolModel {
	if len(m.todo) == 0 {
		same := func(other *poolModel) bool {
			return slices.Equal(m.line, other.line) && m.nodes == other.nodes && m.gone == other.gone
		}
		if fits(m) && !slices.ContainsFunc(found, same) {
			found = append(found, m)
		}
		return found
	}
	for i, s := range m.todo {
		next := m.clone()
		next.todo = slices.Delete(next.todo, i, i+1)
		next.do(s)
		found = next.explain(fits, found)
	}
	return found
}
