package quill

import (
	"cmp"
	"slices"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// What an accumulator is, without memory, goroutines, rings and timers: the reference for
// TestAccumulatorFollowsItsModel. It knows lists of records, what they take, and when a batch may go.

type accModel struct {
	batchSize, maxRequest int
	capacity              int64
	linger, delivery      time.Duration
	oneInFlight           bool

	queues [4]accQueue
	live   []*accBatch // those that hold memory
	wire   [2][][]*accBatch
	waiter *accRecord // blocked in append
	ended  bool       // aborted
	leader [4]int32
	epoch  int32
	sticky int32 // where the sticky partitioner is; -1: not known
	stuck  int   // bytes it counted there
	fates  []accFate
}

type accQueue struct {
	batches []*accBatch
	line    []*accBatch // left once, not told
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
	inLine, told    bool // told: its callbacks are due
	heard           bool // they ran
	fate            accFate
}

// accFate is what becomes of a record.
type accFate struct {
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

// firstChunk is what a batch begins with, if its first record takes that at most.
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

// nextChunk is what it grows by; 0: it does not.
func (m *accModel) nextChunk(b *accBatch, most int) int {
	small, large := m.chunks()
	for _, n := range []int{large, small} {
		if n >= most && b.held()+int64(n) <= int64(m.batchSize) {
			return n
		}
	}
	return 0
}

// open is the batch that takes records, nil if none does.
func (q *accQueue) open() *accBatch {
	if n := len(q.batches); n > 0 && !q.batches[n-1].closed {
		return q.batches[n-1]
	}
	return nil
}

// appendTo does what append does. moved is called when the sticky partitioner may have moved; it tells
// where it is.
func (m *accModel) appendTo(r accRecord, sticky bool, now time.Time, moved func() int32) error {
	if m.ended {
		return ErrClosed
	}
	q := &m.queues[r.partition]
	if b := q.open(); b != nil {
		size := protocol.RecordSize(int32(len(b.records)), r.in.timestamp-b.base, r.in.Key, r.in.Value, r.in.Headers)
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
	size := protocol.RecordSize(int32(len(b.records)), r.in.timestamp-b.base, r.in.Key, r.in.Value, r.in.Headers)
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

// due is when the partition's oldest batch may go; ok is false while none may.
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
		m.decide(b, accFate{offset: offset})
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
	f := accFate{offset: -1, kind: kind, outcome: NotSent}
	switch {
	case b.maybe || b.onWire:
		f.outcome = MaybeWritten
	case b.refused:
		f.outcome = Rejected
	}
	m.decide(b, f)
}

// decide settles a batch. It is told when those of its partition that left before it are.
func (m *accModel) decide(b *accBatch, f accFate) {
	b.decided, b.fate = true, f
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
		f := b.fate
		f.number, f.partition = r.number, b.partition
		if f.offset >= 0 {
			f.offset += int64(i)
		}
		m.fates = append(m.fates, f)
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
	b.decided, b.heard = true, true // its parts are told in its place
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
	m.fates = nil
	m.sweep()
}

// sweep lets go of batches that are both off the wire and heard.
func (m *accModel) sweep() {
	m.live = slices.DeleteFunc(m.live, func(b *accBatch) bool { return b.heard && !b.onWire })
}
