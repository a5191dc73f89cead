package quill

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// What an accumulator is, without memory, goroutines, rings and timers: the reference for
// TestAccumulatorFollowsItsModel. It knows lists of records, what they take, and when a batch may go.

type accModel struct {
	batchSize, maxRequest int
	capacity              int64
	linger, delivery      time.Duration
	oneInFlight           bool

	queues   [4]accQueue
	live     []*accBatch // those that hold memory
	wire     [2][][]*accBatch
	waiter   *accRecord // blocked in append
	ended    bool       // aborted
	leader   [4]int32
	epoch    int32
	sticky   int32 // where the sticky partitioner is; -1: not known
	stuck    int   // bytes it counted there
	outcomes []accOutcome
}

type accQueue struct {
	batches []*accBatch
	line    []*accBatch // left once, not completed
	muted   bool
}

type accRecord struct {
	number    int // over all partitions, in the order of the appends
	partition int32
	in        *appendInput
	until     time.Time // a blocked one gives up
}

// accBatch is a batch.
type accBatch struct {
	partition int32
	records   []accRecord
	raw       int   // bytes of its records
	chunks    []int // their capacities
	left      int   // in the last one
	base      int64
	created   time.Time

	closed, sticky, urgent, wanted, part bool

	attempts        int
	retryAt         time.Time
	epochAtSend     int32
	maybe, refused  bool
	onWire, decided bool
	inLine, told    bool // completed: its callbacks are due
	heard           bool // they ran
	outcome         accOutcome
}

// accOutcome is what becomes of a record.
type accOutcome struct {
	number    int
	partition int32
	offset    int64
	kind      error // nil: delivered
	outcome   Outcome
}

func (b *accBatch) size() int { return protocol.BatchOverhead + b.raw }

func (b *accBatch) held() (n int64) {
	for _, c := range b.chunks {
		n += int64(c)
	}
	return n
}

func (m *accModel) free() int64 {
	n := m.capacity
	for _, b := range m.live {
		n -= b.held()
	}
	return n
}

// chunk sizes: of up to 64 KiB one, of more that and the rest.
func (m *accModel) chunks() (small, large int) {
	small = max(m.batchSize, 512)
	if small > 64<<10 {
		return 64 << 10, m.batchSize - 64<<10
	}
	return small, 0
}

// firstChunk returns what a batch begins with, if its first record takes that at most.
func (m *accModel) firstChunk(most int) int {
	small, large := m.chunks()
	need := most + protocol.BatchOverhead
	switch {
	case need <= small:
		return small
	case need <= large:
		return large
	}
	return need
}

// nextChunk returns what it grows by; 0: it does not.
func (m *accModel) nextChunk(b *accBatch, most int) int {
	small, large := m.chunks()
	for _, n := range []int{large, small} {
		if n >= most && b.held()+int64(n) <= int64(m.batchSize) {
			return n
		}
	}
	return 0
}

// open returns the batch that takes records, nil if none does.
func (q *accQueue) open() *accBatch {
	if n := len(q.batches); n > 0 && !q.batches[n-1].closed {
		return q.batches[n-1]
	}
	return nil
}

// appendTo does what append does. moved is called when the sticky partitioner may have moved; it reports
// where it is.
func (m *accModel) appendTo(r accRecord, sticky bool, now time.Time, moved func() int32) error {
	if m.ended {
		return ErrClosed
	}
	q := &m.queues[r.partition]
	if b := q.open(); b != nil {
		size := protocol.RecordSize(int32(len(b.records)), r.in.timestamp-b.base, r.in.record.Key, r.in.record.Value, r.in.record.Headers)
		fits := b.size()+size <= m.batchSize
		if grow := m.nextChunk(b, r.in.maxSize); fits && b.left < size && grow == 0 {
			fits = false
		} else if fits && b.left < size {
			if !m.has(grow) {
				return ErrWouldBlock
			}
			b.chunks, b.left = append(b.chunks, grow), grow
		}
		if fits {
			m.add(b, r, sticky)
			return nil
		}
		m.close(b, m.batchSize, moved)
		if sticky && m.sticky != r.partition {
			return errMoved
		}
	}
	need := m.firstChunk(r.in.maxSize)
	if int64(need) > m.capacity {
		return ErrRecordTooLarge
	}
	if !m.has(need) {
		return ErrWouldBlock
	}
	m.begin(r, sticky, need, now)
	return nil
}

// has reports whether memory can be had at once.
func (m *accModel) has(n int) bool { return m.waiter == nil && int64(n) <= m.free() }

// begin opens a batch with its first record.
func (m *accModel) begin(r accRecord, sticky bool, chunk int, now time.Time) {
	b := &accBatch{partition: r.partition, chunks: []int{chunk}, left: chunk - protocol.BatchOverhead, base: r.in.timestamp, created: now, epochAtSend: -1}
	q := &m.queues[r.partition]
	q.batches = append(q.batches, b)
	m.live = append(m.live, b)
	m.add(b, r, sticky)
}

func (m *accModel) add(b *accBatch, r accRecord, sticky bool) {
	size := protocol.RecordSize(int32(len(b.records)), r.in.timestamp-b.base, r.in.record.Key, r.in.record.Value, r.in.record.Headers)
	b.records = append(b.records, r)
	b.raw += size
	b.left -= size
	b.sticky = b.sticky || sticky
	b.urgent = b.urgent || r.in.urgent
}

// fill closes the open batch of a partition if not a byte more fits.
func (m *accModel) fill(partition int32, moved func() int32) {
	if b := m.queues[partition].open(); b != nil && b.size()+1 > m.batchSize {
		m.close(b, m.batchSize, moved)
	}
}

// close ends a batch. That may move the sticky partitioner on.
func (m *accModel) close(b *accBatch, worth int, moved func() int32) {
	if b.closed {
		return
	}
	b.closed = true
	if !b.sticky || b.partition != m.sticky {
		return
	}
	if m.stuck += worth; m.stuck >= m.batchSize {
		m.sticky, m.stuck = moved(), 0
	}
}

// due returns when the partition's oldest batch may go; ok is false while none may.
func (m *accModel) due(p int32, now time.Time) (at time.Time, ok bool) {
	q := &m.queues[p]
	if len(q.batches) == 0 || q.muted || m.leader[p] < 0 {
		return time.Time{}, false
	}
	b := q.batches[0]
	switch {
	case b.attempts > 0 && !m.leaderMoved(b):
		return b.retryAt, true
	case b.closed || b.wanted || b.urgent || m.waiter != nil:
		return now, true
	}
	return b.created.Add(m.linger), true
}

// leaderMoved: a batch that is sent again need not wait then.
func (m *accModel) leaderMoved(b *accBatch) bool {
	return b.epochAtSend >= 0 && m.epoch > b.epochAtSend
}

// leave takes the partition's oldest batch out, for a request.
func (m *accModel) leave(p int32, moved func() int32) *accBatch {
	q := &m.queues[p]
	b := q.batches[0]
	m.close(b, b.size(), moved)
	q.batches = q.batches[1:]
	q.muted = m.oneInFlight
	b.attempts++
	b.onWire, b.epochAtSend = true, m.epoch
	if !b.inLine {
		b.inLine = true
		q.line = append(q.line, b)
	}
	return b
}

// insert puts a batch back to its place: batches are ordered by their records.
func (q *accQueue) insert(b *accBatch) {
	at, _ := slices.BinarySearchFunc(q.batches, b, func(x, b *accBatch) int { return cmp.Compare(x.records[0].number, b.records[0].number) })
	q.batches = slices.Insert(q.batches, at, b)
}

// accAnswer is what a node says about a batch.
type accAnswer uint8

const (
	accAccept  accAnswer = iota
	accRefuse            // and always will
	accRetry             // for now
	accTooBig            // split it
	accNothing           // the answer is lost
)

// back takes a batch whose request came back, and reports whether it is to be sent again.
func (m *accModel) back(b *accBatch, a accAnswer, offset int64, now time.Time) (requeued bool) {
	q := &m.queues[b.partition]
	b.onWire, q.muted = false, false
	mayRetry := now.Before(b.created.Add(m.delivery)) && !m.ended
	b.refused = b.refused || a == accRefuse || a == accRetry || a == accTooBig
	b.maybe = b.maybe || a == accNothing
	switch {
	case b.decided:
	case a == accAccept:
		m.decide(b, accOutcome{offset: offset})
	case a == accTooBig && len(b.records) > 1:
		m.split(b)
	case mayRetry && (a == accRetry || a == accNothing):
		q.insert(b)
		return true
	case a == accNothing:
		m.fail(b, ErrTimeout)
	case a == accRetry:
		m.fail(b, protocol.NotEnoughReplicas)
	case a == accTooBig:
		m.fail(b, protocol.MessageTooLarge)
	default:
		m.fail(b, protocol.InvalidRecord)
	}
	m.sweep()
	return false
}

func (m *accModel) fail(b *accBatch, kind error) {
	f := accOutcome{offset: -1, kind: kind, outcome: NotSent}
	switch {
	case b.maybe || b.onWire:
		f.outcome = MaybeWritten
	case b.refused:
		f.outcome = Rejected
	}
	m.decide(b, f)
}

// decide settles a batch. Its callbacks are due when those of its partition that left before it are.
func (m *accModel) decide(b *accBatch, f accOutcome) {
	b.decided, b.outcome = true, f
	if !b.inLine {
		m.tell(b)
	}
	q := &m.queues[b.partition]
	for len(q.line) > 0 && q.line[0].decided {
		m.tell(q.line[0])
		q.line = q.line[1:]
	}
}

func (m *accModel) tell(b *accBatch) {
	b.told = true
	for i, r := range b.records {
		f := b.outcome
		f.number, f.partition = r.number, b.partition
		if f.offset >= 0 {
			f.offset += int64(i)
		}
		m.outcomes = append(m.outcomes, f)
	}
}

// split cuts a batch: to batch.size, or if that is no less, in halves.
func (m *accModel) split(b *accBatch) {
	limit := m.batchSize
	if b.part || b.size() <= limit {
		limit = b.size() / 2
	}
	q := &m.queues[b.partition]
	at := slices.Index(q.line, b)
	q.line = slices.Delete(q.line, at, at+1)
	for records := b.records; len(records) > 0; {
		part := &accBatch{partition: b.partition, base: records[0].in.timestamp, created: b.created, closed: true, wanted: b.wanted, part: true,
			attempts: b.attempts, epochAtSend: b.epochAtSend, maybe: b.maybe, refused: b.refused, inLine: true}
		size := protocol.BatchOverhead
		for len(records) > 0 && (len(part.records) == 0 || size+records[0].in.maxSize <= limit) {
			size += records[0].in.maxSize
			m.add(part, records[0], false)
			records = records[1:]
		}
		part.urgent = false
		part.chunks = []int{size}
		m.live = append(m.live, part)
		q.insert(part)
		q.line = slices.Insert(q.line, at, part)
		at++
	}
	b.decided, b.heard = true, true // its parts are completed in its place
}

// giveUp fails what is due to.
func (m *accModel) giveUp(kind error, due func(*accBatch) bool, moved func() int32) {
	all := slices.Clone(m.live)
	slices.SortStableFunc(all, func(a, b *accBatch) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.records[0].number, b.records[0].number))
	})
	for _, b := range all {
		if b.decided || !due(b) {
			continue
		}
		q := &m.queues[b.partition]
		if at := slices.Index(q.batches, b); at >= 0 {
			m.close(b, b.size(), moved)
			q.batches = slices.Delete(q.batches, at, at+1)
		}
		m.fail(b, kind)
	}
}

// dispatched is when all callbacks that were due have run.
func (m *accModel) dispatched() {
	for _, b := range m.live {
		b.heard = b.heard || b.told
	}
	m.outcomes = nil
	m.sweep()
}

// sweep lets go of batches that are both off the wire and heard.
func (m *accModel) sweep() {
	m.live = slices.DeleteFunc(m.live, func(b *accBatch) bool { return b.heard && !b.onWire })
}

// The accumulator, with the sender's side of it, against accModel: appends with a partition, sticky,
// urgent and blocked; drains; answers that accept, refuse, split and never come; leaders that move;
// flushes, expiry, an abort. After each operation the queues hold the same batches of the same sizes in
// the same order, the same partitions are ready, the next look is no later than the first of the others
// is due, the same memory is taken, and callbacks get the same.

func TestAccumulatorFollowsItsModel(t *testing.T) { accumulatorTest.run(t) }

func FuzzAccumulator(f *testing.F) { accumulatorTest.fuzz(f) }

var accumulatorTest = modelTest{runs: 350, ops: 120, play: func(x *schedule) { newAccSchedule(x).run() }}

type accSchedule struct {
	*schedule
	r       *rig
	m       *accModel
	unit    int // bytes of values come in these
	records int
	blocked *blockedAppend
	flushes []accFlush
	told    []accOutcome
	heard   map[int]bool // records whose callbacks ran, in all
	ready   [4]bool      // in a ring, or would be if there were a leader
	passed  [4]int       // how many requests left without it although it was ready
	hurried bool         // a Send waited for memory at the last look: what is reported now need not linger
}

// blockedAppend is an append that waits for memory.
type blockedAppend struct {
	ended chan error // what came of it, once
	done  bool
	err   error
}

// look sees whether it has ended.
func (b *blockedAppend) look() {
	synctest.Wait()
	if len(b.ended) > 0 {
		b.done, b.err = true, <-b.ended
	}
}

// accFlush is a flush under way: what the accumulator waits for, and the batches that it is for. An open
// one may still get more records.
type accFlush struct {
	results []*result
	batches []*accBatch
}

func newAccSchedule(x *schedule) *accSchedule {
	setup, _ := x.next()
	s := &accSchedule{schedule: x, unit: 6}
	rnd := rand.New(rand.NewPCG(uint64(setup.b), 1))
	s.r = newRig(x.T, func(c *settings) {
		c.batchSize = choose(setup.a, rigBatch, 200, 1)
		c.linger = choose(setup.b, 10*time.Millisecond, 0, 300*time.Millisecond)
		c.maxInFlight = choose(setup.c, 5, 5, 1)
		c.maxRequestSize = choose(setup.c/4, 1<<20, 1<<20, 1500)
		if setup.a >= 224 { // batches of two chunks
			c.batchSize, c.bufferMemory, s.unit = 100<<10, 400<<10, 300
		}
	})
	s.r.s.random = rnd.Float64
	s.r.topic.sticky = newStickyPartitioner(s.r.cfg.batchSize, false, false, "", rnd.Uint32)
	s.m = &accModel{batchSize: s.r.cfg.batchSize, maxRequest: s.r.cfg.maxRequestSize, capacity: s.r.cfg.bufferMemory, linger: s.r.cfg.linger,
		delivery: s.r.cfg.deliveryTimeout, oneInFlight: s.r.cfg.maxInFlight == 1, sticky: -1}
	copy(s.m.leader[:], rigLeaders)
	s.heard = map[int]bool{}
	x.note("batch %d, memory %d, linger %v, in flight %d, request %d", s.r.cfg.batchSize, s.r.cfg.bufferMemory, s.r.cfg.linger, s.r.cfg.maxInFlight, s.r.cfg.maxRequestSize)
	return s
}

func (s *accSchedule) run() {
	defer func() {
		s.r.acc.pool.close() // no goroutine may be left in the bubble
		synctest.Wait()
	}()
	for o, ok := s.next(); ok; o, ok = s.next() {
		s.step(o)
		s.compare()
	}
	s.end()
}

func (s *accSchedule) step(o op) {
	node, part := int32(o.a%2), int32(o.a%4)
	switch o.kind % 20 {
	case 0, 1, 2, 3, 4:
		s.append(s.record(part, o))
	case 5, 6, 7:
		s.appendSticky(o)
	case 8:
		s.block(s.record(part, o))
	case 9, 10, 11:
		s.drain(node)
	case 12, 13, 14:
		s.answer(node, o)
	case 15:
		s.dispatch()
	case 16, 17:
		s.sleep(choose(o.a, time.Millisecond, s.r.cfg.linger, 100*time.Millisecond, 900*time.Millisecond))
	case 18:
		if o.b%2 == 0 {
			s.flush()
		} else {
			s.lead(part, int32(o.b/2%3)-1)
		}
	case 19:
		if o.b == 0 {
			s.abort()
		}
	}
}

// record makes a record of the size that the operation says.
func (s *accSchedule) record(part int32, o op) accRecord {
	s.records++
	in := one("", fmt.Sprintf("%06d", s.records)+strings.Repeat("v", int(o.b)*s.unit))
	in.timestamp = int64(o.c) * 1000
	in.urgent = o.c%16 == 1
	number := s.records
	in.callback = func(at RecordMetadata, err error) {
		f := accOutcome{number: number, partition: at.Partition, offset: at.Offset, kind: err}
		if failed, ok := errors.AsType[*Error](err); ok {
			f.outcome = failed.Outcome
		}
		s.told = append(s.told, f)
	}
	return accRecord{number: number, partition: part, in: in}
}

// moved returns where the sticky partitioner is.
func (s *accSchedule) moved() int32 { return s.r.topic.sticky.lane().present() }

func (s *accSchedule) append(r accRecord) {
	_, err := s.r.acc.append(s.Context(), s.r.topic.queue(r.partition), r.in, nil, nil)
	want := s.m.appendTo(r, false, time.Now(), s.moved)
	s.m.fill(r.partition, s.moved)
	s.note("append %d of %d bytes to %d: %v", r.number, len(r.in.record.Value), r.partition, err)
	s.holds(errors.Is(err, want), "append: %v, the model says %v", err, want)
}

func (s *accSchedule) appendSticky(o op) {
	r := s.record(0, o)
	for {
		lane := s.r.topic.sticky.lane()
		r.partition = s.r.topic.sticky.peek(lane, s.r.topic.info.Load())
		if s.m.sticky < 0 {
			s.m.sticky = r.partition
		}
		s.holds(r.partition == s.m.sticky, "the sticky partition is %d, the model stays at %d", r.partition, s.m.sticky)
		_, err := s.r.acc.append(s.Context(), s.r.topic.queue(r.partition), r.in, lane, nil)
		want := s.m.appendTo(r, true, time.Now(), func() int32 { // what happened in between can't be seen
			if err == errMoved {
				return s.moved()
			}
			return r.partition
		})
		s.m.fill(r.partition, s.moved)
		s.note("append %d of %d bytes, sticky, to %d: %v", r.number, len(r.in.record.Value), r.partition, err)
		s.holds(errors.Is(err, want), "append: %v, the model says %v", err, want)
		if err != errMoved {
			return
		}
	}
}

// block appends a record that may wait for memory, if no other does and this one would.
func (s *accSchedule) block(r accRecord) {
	if s.blocked != nil || s.r.cfg.batchSize > 64<<10 {
		return
	}
	limit := 150 * time.Millisecond
	r.until = time.Now().Add(limit)
	b := &blockedAppend{ended: make(chan error, 1)}
	go func() {
		_, err := s.r.acc.append(s.Context(), s.r.topic.queue(r.partition), r.in, nil, within(limit))
		b.ended <- err
	}()
	b.look()
	want := s.m.appendTo(r, false, time.Now(), s.moved)
	s.m.fill(r.partition, s.moved)
	s.note("append %d of %d bytes to %d, waits: %v", r.number, len(r.in.record.Value), r.partition, !b.done)
	if want == ErrWouldBlock {
		s.m.waiter, s.blocked = &r, b
		s.holds(!b.done, "append did not wait: %v", b.err)
		return
	}
	s.holds(b.done && errors.Is(b.err, want), "append: done %v, %v, the model says %v", b.done, b.err, want)
}

// unblock sees whether the blocked append went on, as it must when there is memory.
func (s *accSchedule) unblock() {
	w := s.m.waiter
	if w == nil {
		return
	}
	s.blocked.look()
	var want error
	need := s.m.firstChunk(w.in.maxSize)
	switch late := !time.Now().Before(w.until); {
	case s.m.ended:
		want = ErrClosed
	case int64(need) <= s.m.free():
		s.m.waiter = nil
		s.m.begin(*w, false, need, time.Now())
		s.m.fill(w.partition, s.moved)
	case late:
		want = ErrBufferExhausted
	default:
		s.holds(!s.blocked.done, "append of %d did not wait on: %v", w.number, s.blocked.err)
		return
	}
	s.note("  append of %d goes on: %v", w.number, s.blocked.err)
	s.holds(s.blocked.done && errors.Is(s.blocked.err, want), "blocked append: done %v, %v, the model says %v", s.blocked.done, s.blocked.err, want)
	s.m.waiter, s.blocked = nil, nil
}

// drain makes a request for the node.
func (s *accSchedule) drain(node int32) {
	now := time.Now()
	s.r.ready()
	var ring []int32
	for p := range s.m.queues {
		if q := s.r.topic.queue(int32(p)); q.out.readyFor != nil && q.out.readyFor.id == node {
			ring = append(ring, int32(p))
		}
	}
	sent := s.r.drain(node)
	var left []*accBatch
	total := 0
	for _, b := range sent {
		p := b.queue.index
		s.holds(slices.Contains(ring, p), "partition %d left and was not ready", p)
		s.holds(len(s.m.queues[p].batches) > 0, "partition %d left and has nothing", p)
		head := s.m.queues[p].batches[0]
		s.holds(s.mayLeave(head, now), "a batch of partition %d left before its back-off was over", p)
		left = append(left, s.m.leave(p, s.moved))
		total += head.size()
		s.contents(b, head)
	}
	s.holds(len(sent) <= 1 || total <= s.m.maxRequest, "%d bytes in a request", total)
	full, behind := false, 0
	for _, p := range ring {
		q := s.m.queues[p]
		if len(q.batches) == 0 || slices.Contains(partitionsOf(sent), p) || !s.mayLeave(q.batches[0], now) {
			s.passed[p] = 0
			continue
		}
		full = full || total+q.batches[0].size() > s.m.maxRequest
		behind++
		s.passed[p]++
		s.holds(s.passed[p] < len(s.passed), "partition %d was passed by %d times", p, s.passed[p])
	}
	s.holds(full || behind == 0, "%d of the partitions %v were ready and did not leave", behind, ring)
	if len(sent) > 0 {
		s.m.wire[node] = append(s.m.wire[node], left)
		s.note("drain node %d: partitions %v", node, partitionsOf(sent))
	}
}

func (s *accSchedule) mayLeave(b *accBatch, now time.Time) bool {
	return b.attempts == 0 || !b.retryAt.After(now) || s.m.leaderMoved(b)
}

// contents compares what goes over the wire.
func (s *accSchedule) contents(b *batch, want *accBatch) {
	h, records := s.r.sealed(b)
	s.holds(h.Size() == want.size() && len(records) == len(want.records) && b.attempts == want.attempts, "%d records in %d bytes, attempt %d; the model: %d in %d, %d",
		len(records), h.Size(), b.attempts, len(want.records), want.size(), want.attempts)
	for i, record := range records {
		in := want.records[i].in
		s.holds(string(record.Value) == string(in.record.Value) && h.BaseTimestamp+record.TimestampDelta == in.timestamp, "record %d of a batch is not %d", i, want.records[i].number)
	}
}

// answer lets the node answer its oldest request.
func (s *accSchedule) answer(node int32, o op) {
	if len(s.m.wire[node]) == 0 {
		return
	}
	left := s.m.wire[node][0]
	s.m.wire[node] = s.m.wire[node][1:]
	now := time.Now()
	if o.b%8 == 7 {
		s.note("node %d: the answer is lost", node)
		s.r.lose(node)
		for _, b := range left {
			s.back(b, accNothing, 0, now)
		}
		return
	}
	says := func(p int32) accAnswer {
		return choose((o.b+byte(p)*o.c)%8, accAccept, accRetry, accAccept, accTooBig, accRefuse, accAccept, accRetry, accAccept)
	}
	codes := [...]protocol.ErrorCode{accAccept: protocol.None, accRefuse: protocol.InvalidRecord, accRetry: protocol.NotEnoughReplicas, accTooBig: protocol.MessageTooLarge}
	offset := int64(o.c)
	s.r.answer(node, func(b *batch) message.PartitionProduceResponse { return answered(codes[says(b.queue.index)], offset) })
	for _, b := range left {
		s.note("node %d: partition %d: %v", node, b.partition, codes[says(b.partition)])
		s.back(b, says(b.partition), offset, now)
	}
}

// back takes a batch back in the model, with the back-off that was drawn for it.
func (s *accSchedule) back(b *accBatch, a accAnswer, offset int64, now time.Time) {
	if !s.m.back(b, a, offset, now) {
		return
	}
	at := slices.Index(s.m.queues[b.partition].batches, b)
	queued := s.r.queued(b.partition)
	s.holds(at < len(queued), "partition %d has %d batches, the model one at %d", b.partition, len(queued), at)
	b.retryAt = queued[at].retryAt
	base := min(s.r.cfg.retryBackoff<<(b.attempts-1), s.r.cfg.retryBackoffMax)
	wait := b.retryAt.Sub(now)
	s.holds(wait >= base*8/10 && wait <= min(base*12/10, s.r.cfg.retryBackoffMax), "after attempt %d it waits %v", b.attempts, wait)
}

func (s *accSchedule) dispatch() {
	s.r.dispatch()
	s.note("dispatch %d", len(s.m.outcomes))
	s.holds(len(s.told) == len(s.m.outcomes), "%d records were told, the model says %d", len(s.told), len(s.m.outcomes))
	byPartition := func(a, b accOutcome) int { return int(a.partition - b.partition) } // between partitions there is no order
	slices.SortStableFunc(s.told, byPartition)
	slices.SortStableFunc(s.m.outcomes, byPartition)
	for i, want := range s.m.outcomes {
		got := s.told[i]
		s.holds(got.number == want.number && got.offset == want.offset && got.outcome == want.outcome && errors.Is(got.kind, want.kind),
			"told: %+v, the model says %+v", got, want)
		s.heard[got.number] = true
	}
	s.told = nil
	s.m.dispatched()
	for i, f := range s.flushes {
		done := !slices.ContainsFunc(f.results, func(r *result) bool { return !flushed(r) })
		s.holds(done == s.over(f), "flush %d is done: %v, the model says %v", i, done, s.over(f))
	}
	s.flushes = slices.DeleteFunc(s.flushes, s.over)
}

// over reports whether the callbacks of all that a flush waits for have run.
func (s *accSchedule) over(f accFlush) bool {
	return !slices.ContainsFunc(f.batches, func(b *accBatch) bool {
		return slices.ContainsFunc(b.records, func(r accRecord) bool { return !s.heard[r.number] })
	})
}

// flushed reports whether a flush need not wait for r any more.
func flushed(r *result) bool {
	return r.wait() == nil && !slices.ContainsFunc(r.children, func(c childResult) bool { return !flushed(c.res) })
}

func (s *accSchedule) sleep(d time.Duration) {
	s.note("sleep %v", d)
	time.Sleep(d)
	s.unblock()
	now := time.Now()
	s.r.s.expire(now)
	s.m.giveUp(ErrDeliveryTimeout, func(b *accBatch) bool { return !b.created.Add(s.m.delivery).After(now) }, s.moved)
}

func (s *accSchedule) flush() {
	f := accFlush{results: s.r.acc.beginFlush()}
	for _, b := range s.m.live {
		b.wanted = true
		if !b.heard {
			f.batches = append(f.batches, b)
		}
	}
	s.note("flush %d batches", len(f.batches))
	s.flushes = append(s.flushes, f)
}

// lead moves a partition to another leader, or to none.
func (s *accSchedule) lead(p, node int32) {
	s.m.leader[p] = node
	s.m.epoch++
	s.passed = [4]int{} // its place is another now
	s.note("partition %d is led by %d", p, node)
	s.r.setLeaders(s.m.leader[:], s.m.epoch)
}

// abort gives everything up, as a forced Close does.
func (s *accSchedule) abort() {
	s.note("abort")
	s.m.ended = true
	s.r.acc.closedBy.Store(errClosedSend)
	s.r.acc.pool.close()
	s.r.s.aborting = &Error{Op: "close", Kind: ErrClosed}
	s.r.s.abortAll(time.Now())
	s.m.giveUp(ErrClosed, func(*accBatch) bool { return true }, s.moved)
}

// compare holds the accumulator against the model.
func (s *accSchedule) compare() {
	s.unblock()
	free := s.r.free()
	s.holds(free == s.m.free(), "%d bytes are free, the model says %d", free, s.m.free())
	for p := range s.m.queues {
		want, got := s.m.queues[p].batches, s.r.queued(int32(p))
		s.holds(len(got) == len(want), "partition %d has %d batches, the model %d", p, len(got), len(want))
		for i, b := range got {
			w := want[i]
			records, size := s.r.filled(b)
			s.holds(records == len(w.records) && size == w.size() && b.heldBytes == w.held() && b.closed == w.closed && b.attempts == w.attempts && b.createdAt.Equal(w.created),
				"batch %d of partition %d: %d records, %d bytes in %d, closed %v, attempts %d; the model: %d, %d in %d, %v, %d",
				i, p, records, size, b.heldBytes, b.closed, b.attempts, len(w.records), w.size(), w.held(), w.closed, w.attempts)
		}
	}
	s.r.ready()
	s.compareReady()
}

// compareReady: what is due is in its leader's ring, what is not did not just get there, and the sender
// wakes up in time for the rest.
func (s *accSchedule) compareReady() {
	now := time.Now()
	wake := s.r.s.timers.next()
	for p := range s.m.queues {
		out := &s.r.topic.queue(int32(p)).out
		at, ok := s.m.due(int32(p), now)
		due := ok && !at.After(now)
		s.holds(!due || out.readyFor != nil && out.readyFor.id == s.m.leader[p], "partition %d is due and not ready", p)
		s.holds(due || out.readyFor == nil || s.ready[p] || s.hurried || len(s.m.queues[p].batches) == 0, "partition %d is ready before it is due at %v", p, at.Sub(now))
		s.holds(due || !ok || out.readyFor != nil || !wake.IsZero() && !wake.After(at), "partition %d is due in %v, and nobody looks", p, at.Sub(now))
		s.ready[p] = out.readyFor != nil || out.leaderless
	}
	s.hurried = s.m.waiter != nil
}

// end makes all well. Everything gets its outcome, and all memory comes back.
func (s *accSchedule) end() {
	s.note("all is well")
	for p, node := range rigLeaders {
		s.lead(int32(p), node)
	}
	for turns := 0; len(s.m.live) > 0 || s.m.waiter != nil; turns++ {
		s.holds(turns < 500, "it never ends")
		for node := range int32(2) {
			s.drain(node)
			s.compare()
			s.answer(node, op{})
			s.compare()
		}
		s.dispatch()
		s.compare()
		s.sleep(20 * time.Millisecond)
		s.compare()
	}
	s.dispatch()
	s.holds(s.r.free() == s.m.capacity && s.r.acc.count() == 0, "%d bytes are back, %d batches incomplete", s.r.free(), s.r.acc.count())
}
