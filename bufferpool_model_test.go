package quill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
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
	leaves string // allocate: it will not wait, this is what it gets instead; leave: what it gets; release: by another
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

// shareOf returns whom a caller takes for.
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

// next returns who gets memory next, -1 for none: who came first, leaving out those behind others of their
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

// waits reports whether a caller for the same node is in line.
func (m *poolModel) waits(caller int) bool {
	return slices.ContainsFunc(m.line, func(call poolCall) bool { return shareOf(call.caller) == shareOf(caller) })
}

// explain finds all that can have come of the steps to do, in any order that fits. Two
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

// The buffer pool against a model: six callers allocate, try, release, overdraw, leave and close, one
// after the other or several at the same instant. Two of them take for node 1, two for node 2, and two
// for no node. Of what happens at the same instant it is not known what came first; what the pool did
// must be what the model does in one of the orders.

func TestBufferPoolFollowsItsModel(t *testing.T) { poolTest.run(t) }

func FuzzBufferPool(f *testing.F) { poolTest.fuzz(f) }

var poolTest = modelTest{runs: 700, ops: 60, play: func(x *schedule) { newPoolRun(x).run() }}

// poolRun plays a schedule on a pool and its model.
type poolRun struct {
	*schedule
	p      *bufferPool
	shares [poolShares]*memoryShare
	m      *poolModel   // one of those that it may be like
	all    []*poolModel // these
	told   int
	blocks int // allocate calls that stood in line
	held   [poolCallers][][]byte
	calls  [poolCallers]*poolOutcome // running
}

// poolOutcome is how a call goes.
type poolOutcome struct {
	cancel context.CancelCauseFunc
	chunk  []byte
	ended  chan string // what it got, once
	got    string      // the same, when settle has seen it
}

var errNotWanted = errors.New("no longer wanted")

func newPoolRun(x *schedule) *poolRun {
	setup, _ := x.next()
	capacity := choose[int64](setup.kind, 64, 40, 13, 100)
	sizes := choose(setup.a, []int{8}, []int{8, 24}, []int{1}, []int{5, 8, 40})
	cluster := int(setup.b) % len(clusters)
	x.note("%d bytes, keeps %v, nodes %v", capacity, sizes, clusters[cluster])
	r := &poolRun{schedule: x, p: newBufferPool(capacity, sizes...),
		m: &poolModel{capacity: capacity, unallocated: capacity, sizes: sizes, kept: make([]int, len(sizes))}}
	r.all = []*poolModel{r.m}
	r.m.used[poolShares-1], r.shares[poolShares-1] = true, r.p.memoryShare
	for i, used := range choose(setup.c, []bool{true, true, true}, []bool{true}, []bool{false, false, true}, []bool{}) {
		if r.m.used[i] = used; used {
			r.shares[i] = r.p.share(poolNodes[i])
		}
	}
	r.m.knows(cluster)
	r.p.setNodes(clusters[cluster]...)
	r.p.onWait = func() {
		r.p.mu.Lock() // called without it
		r.told++
		r.p.mu.Unlock()
	}
	r.p.raw = func(n int) []byte {
		if n == cursedSize {
			panic("no memory")
		}
		return make([]byte, n)
	}
	return r
}

func (r *poolRun) run() {
	defer func() {
		r.p.close() // nobody may be left in the bubble
		synctest.Wait()
	}()
	for o, ok := r.next(); ok; o, ok = r.next() {
		if o.kind%8 == 7 {
			r.sleep(choose(o.a, time.Millisecond, 3*time.Millisecond, 20*time.Millisecond))
			continue
		}
		r.m.outcomes = map[int]string{}
		r.start(o)
		for more := o.c % 4; more > 1; more-- { // at the same instant
			if o, ok = r.next(); ok && o.kind%8 != 7 {
				r.start(o)
			}
		}
		r.settle()
	}
	r.end()
}

// poolNodes are the nodes of the shares.
var poolNodes = [poolShares]int32{1, 2, unknownNode}

// start begins what an operation says, if the caller can.
func (r *poolRun) start(o op) {
	caller, size := int(o.a)%poolCallers, choose(o.b, poolSizes...)
	if _, busy := r.m.outcomes[caller]; busy || slices.ContainsFunc(r.m.todo, func(s poolStep) bool { return s.caller == caller }) {
		return // it does something in this very instant
	}
	s := poolStep{caller: caller, size: size}
	switch call := r.calls[caller]; {
	case r.shares[shareOf(caller)] == nil:
		s.kind = stepUse
		r.shares[shareOf(caller)] = r.p.share(poolNodes[shareOf(caller)])
		r.call(caller, func() ([]byte, error) { return nil, nil })
	case call != nil:
		s.kind, s.leaves = stepLeave, gotCanceled
		call.cancel(errNotWanted)
	case o.kind%8 < 3:
		s.kind = stepAllocate
		r.allocate(&s, choose[time.Duration](o.kind/8, time.Hour, 20, 5, 2, 0, -1)*time.Millisecond)
	case o.kind%8 == 3:
		s.kind = stepTry
		r.call(caller, func() ([]byte, error) { return r.shares[shareOf(caller)].tryAllocate(size) })
	case o.kind%8 == 4 && o.kind/8 == 0 && size != cursedSize:
		s.kind = stepOverdraw
		r.call(caller, func() ([]byte, error) { return r.shares[shareOf(caller)].overdraw(size), nil })
	case o.kind == 6+8*31:
		s.kind = stepClose
		r.call(caller, func() ([]byte, error) { r.p.close(); return nil, nil })
	case o.kind/8 >= 28 && o.kind%8 == 6:
		s.kind, s.size = stepNodes, int(o.b)%len(clusters)
		r.call(caller, func() ([]byte, error) { r.p.setNodes(clusters[s.size]...); return nil, nil })
	case len(r.held[caller]) > 0:
		s.kind = stepRelease
		chunk := r.held[caller][0]
		r.held[caller] = r.held[caller][1:]
		s.size = cap(chunk)
		r.call(caller, func() ([]byte, error) { r.give(caller, chunk); return nil, nil })
	default:
		return
	}
	r.note("%v", s)
	r.m.todo = append(r.m.todo, s)
}

// allocate begins a call that may wait; with a negative limit its context has ended before.
func (r *poolRun) allocate(s *poolStep, limit time.Duration) {
	ctx, cancel := context.WithCancelCause(r.Context())
	switch {
	case limit < 0:
		cancel(errNotWanted)
		s.leaves, limit = gotCanceled, time.Hour
	case limit == 0:
		s.leaves = gotExhausted
	}
	s.until = time.Now().Add(limit)
	if int64(s.size) <= r.m.capacity {
		r.blocks++
	}
	r.call(s.caller, func() ([]byte, error) { return r.shares[shareOf(s.caller)].allocate(ctx, s.size, within(limit)) })
	r.calls[s.caller].cancel = cancel
}

// call runs f as the caller.
func (r *poolRun) call(caller int, f func() ([]byte, error)) {
	c := &poolOutcome{ended: make(chan string, 1)}
	r.calls[caller] = c
	go func() {
		got := gotPanic
		defer func() {
			_ = recover()
			c.ended <- got
		}()
		chunk, err := f()
		switch c.chunk = chunk; {
		case err == nil && chunk != nil:
			got = gotChunk
		case err == nil:
			got = gotNothing
		case errors.Is(err, ErrBufferExhausted):
			got = gotExhausted
		case errors.Is(err, errNotWanted):
			got = gotCanceled
		case errors.Is(err, ErrClosed):
			got = gotClosed
		case errors.Is(err, ErrRecordTooLarge):
			got = gotTooLarge
		case errors.Is(err, ErrWouldBlock):
			got = gotBlock
		default:
			got = err.Error()
		}
	}()
}

// give releases a chunk that must still hold what its owner put there.
func (r *poolRun) give(caller int, chunk []byte) {
	full := chunk[:cap(chunk)]
	for _, b := range full {
		if b != byte(caller+1) {
			panic("somebody else wrote to the chunk")
		}
	}
	r.shares[shareOf(caller)].release(chunk)
}

// sleep lets time pass. On the way calls reach their limits.
func (r *poolRun) sleep(d time.Duration) {
	r.note("sleep %v", d)
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.m.outcomes = map[int]string{}
		next := end
		for _, call := range r.m.line {
			if call.until.Before(next) {
				next = call.until
			}
		}
		time.Sleep(time.Until(next))
		r.settle()
	}
}

// standing is a waiter in line.
type standing struct {
	ticket int64
	size   int
	share  *memoryShare
}

// settle waits until all calls have ended or wait, and compares.
func (r *poolRun) settle() {
	for _, call := range r.m.line {
		if time.Until(call.until) <= time.Nanosecond {
			r.m.todo = append(r.m.todo, poolStep{kind: stepLeave, caller: call.caller, leaves: gotExhausted})
		}
	}
	time.Sleep(time.Nanosecond) // limits of zero are up
	synctest.Wait()
	seen := map[int]string{}
	for caller, call := range r.calls {
		if call != nil && len(call.ended) > 0 {
			call.got = <-call.ended
			seen[caller] = call.got
		}
	}
	r.p.mu.Lock()
	unallocated, told := r.p.unallocated, r.told
	var line []standing
	var held [poolShares]int64
	kept := make([]int, len(r.p.free))
	for i, chunks := range r.p.free {
		kept[i] = len(chunks)
	}
	for i, s := range r.shares {
		if s == nil {
			continue
		}
		held[i] = s.heldBytes
		for i := range s.queue.Len() {
			w := s.queue.At(i)
			line = append(line, standing{w.ticket, w.size, w.share})
		}
	}
	slices.SortFunc(line, func(a, b standing) int { return cmp.Compare(a.ticket, b.ticket) })
	r.p.mu.Unlock()
	var last *poolModel
	fits := func(m *poolModel) bool {
		last = m
		return maps.Equal(seen, m.outcomes) && unallocated == m.unallocated && slices.Equal(kept, m.kept) && held == m.held &&
			slices.EqualFunc(line, m.line, func(w standing, call poolCall) bool {
				return w.size == call.size && w.share == r.shares[shareOf(call.caller)]
			})
	}
	var all []*poolModel
	for _, m := range r.all {
		m.outcomes, m.todo = r.m.outcomes, r.m.todo
		all = m.clone().explain(fits, all)
	}
	if len(all) == 0 {
		r.fault("the pool: outcomes %v, %d unallocated, keeps %v, nodes hold %v, %d in line\none way of the model: outcomes %v, %d, %v, %v, %v",
			seen, unallocated, kept, held, len(line), last.outcomes, last.unallocated, last.kept, last.held, last.line)
	}
	r.m, r.all = all[0], all
	r.holds(told == r.blocks, "told %d times of %d that stood in line", told, r.blocks)
	r.collect()
}

// collect takes over what ended calls brought.
func (r *poolRun) collect() {
	for caller, call := range r.calls {
		if call == nil || call.got == "" {
			continue
		}
		r.note("  caller %d got %s", caller, call.got)
		r.calls[caller] = nil
		if call.got == gotChunk {
			r.holds(len(call.chunk) == 0, "a chunk of length %d", len(call.chunk))
			full := call.chunk[:cap(call.chunk)]
			for i := range full {
				full[i] = byte(caller + 1)
			}
			r.held[caller] = append(r.held[caller], call.chunk)
		}
	}
}

// end gives all back, also what those get that still wait. Then none waits, and all memory is there.
func (r *poolRun) end() {
	r.note("end")
	for rounds := 0; slices.ContainsFunc(r.held[:], func(chunks [][]byte) bool { return len(chunks) > 0 }); rounds++ {
		r.holds(rounds < 1000, "it never ends")
		for caller := range r.held {
			chunks := r.held[caller]
			r.held[caller] = nil
			for _, chunk := range chunks {
				r.m.outcomes = map[int]string{}
				r.m.todo = append(r.m.todo, poolStep{kind: stepRelease, caller: caller, size: cap(chunk), leaves: "at the end"})
				r.give(caller, chunk)
				r.settle()
			}
		}
	}
	free, waiting := r.p.available()
	r.holds(free == r.m.capacity && waiting == 0, "%d of %d bytes came back, %d wait", free, r.m.capacity, waiting)
}
