package quill

import (
	"sync"
	"time"
	"unsafe"
)

// result is the outcome of the records of one batch, with all that is needed to report it for each record.
// It is allocated by itself (futures point to it), never in the pooled memory of the batch.
//
// Appenders write topic, partition, meta and runs under their queue's lock; the sender writes the
// outcome once; the dispatcher runs the callbacks and then releases the waiters. Each step happens
// after the one before it through a lock or channel.
type result struct {
	meta      []recordMeta  // one per record
	runs      []callbackRun // callbacks of the records, in order
	hasFuture bool          // a Future may read this at any later time: never used again for another batch
	flushed   bool          // a Flush may read this too; under the accumulator's lock

	topic     string
	partition int32
	acc       *accumulator // the accumulator of its batch; nil: none, it is finished already

	batchOutcome
	children []childResult // set instead of an outcome when the batch was split

	mu sync.Mutex
	// +checklocks:mu
	finished bool
	// +checklocks:mu
	waiters chan struct{} // made by the first waiter, closed by finish

	meta0 [4]recordMeta // the first of meta and runs: small batches need no more memory than this
	runs0 [2]callbackRun
}

func newResult(acc *accumulator) *result {
	r := &result{batchOutcome: noOutcome, acc: acc}
	r.meta, r.runs = r.meta0[:0], r.runs0[:0]
	return r
}

// batchOutcome is the outcome of a batch.
type batchOutcome struct {
	baseOffset    int64 // -1: unknown
	logAppendTime int64 // milliseconds; -1: the records keep their own timestamps
	err           error
	recordErr     func(i int32) error // KIP-467: set when the records failed for different reasons
	openedAt      int64               // of a failure: when the batch was opened, in milliseconds; 0: unknown
}

// noOutcome has no offset, time or error.
var noOutcome = batchOutcome{baseOffset: -1, logAppendTime: -1}

// failure returns the outcome of a batch that failed with err.
func failure(err error) batchOutcome {
	return batchOutcome{baseOffset: -1, logAppendTime: -1, err: err}
}

// recordMeta is the part of a RecordMetadata that each record has for itself.
type recordMeta struct {
	timestamp          int64
	keySize, valueSize int32
}

// callbackRun is a callback shared by the records from first on, up to the next run's first. Records before
// the first run, and those of a run whose fn is nil, have no callback.
type callbackRun struct {
	fn    Callback
	first int32
}

// childResult is the result of one part of a split batch, which has the records from first on.
type childResult struct {
	first int32
	res   *result
}

// hasCallbacks reports whether any record of a batch may have a callback.
func (b *batch) hasCallbacks() bool {
	runs := b.res.runs
	return len(runs) > 1 || len(runs) == 1 && runs[0].fn != nil
}

// runEnd returns the index after the last record of a run.
func (r *result) runEnd(run int) int32 {
	if run+1 < len(r.runs) {
		return r.runs[run+1].first
	}
	return int32(len(r.meta))
}

// sameFunc reports whether a and b are the very same func value (code and captured variables). Go
// forbids comparing funcs; a func value is one pointer to its closure, and an entry that we hold
// keeps that closure alive, so equal pointers mean the same closure. Only ever used to share an
// entry: a wrong "false" costs 16 bytes.
func sameFunc(a, b Callback) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

// sameString reports whether a and b are the same bytes in memory. A record's topic usually is the string that its first record
// had: == calls a function, and around it all registers have to be saved.
func sameString(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

// wait returns nil when the outcome is known and the callbacks have run, else a channel to wait on.
func (r *result) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finished {
		return nil
	}
	if r.waiters == nil {
		r.waiters = make(chan struct{})
	}
	return r.waiters
}

// finish wakes the waiters. The outcome must be written, and the callbacks must have run, before it.
func (r *result) finish() {
	r.mu.Lock()
	r.finished = true
	ch := r.waiters
	r.mu.Unlock()
	if ch != nil {
		close(ch)
	}
}

// recordResult returns the metadata of record i, and its error if it failed. It may be called only by the dispatcher
// or after finish.
func (r *result) recordResult(i int32) (RecordMetadata, error) {
	m := r.metadata(i)
	if r.err == nil {
		return m, nil
	}
	m.Offset = -1
	err := r.err
	if r.recordErr != nil {
		err = r.recordErr(i)
	}
	return m, r.own(err, i)
}

func (r *result) metadata(i int32) RecordMetadata {
	at := r.meta[i]
	m := RecordMetadata{Topic: r.topic, Partition: r.partition, Offset: r.offset(i), KeySize: at.keySize, ValueSize: at.valueSize}
	ms := at.timestamp
	if r.logAppendTime >= 0 {
		ms = r.logAppendTime
	}
	m.Timestamp = millis(ms)
	return m
}

// offset returns the offset of record i, -1 if unknown.
func (r *result) offset(i int32) int64 {
	if r.baseOffset < 0 {
		return -1
	}
	return max(r.baseOffset+int64(i), -1) // a broker may answer an offset near 2^63, and the sum then overflows: unknown
}

// child returns the result that record i of a split batch has moved to, and its index there.
func (r *result) child(i int32) (*result, int32) {
	at := 0
	for at+1 < len(r.children) && r.children[at+1].first <= i {
		at++
	}
	return r.children[at].res, i - r.children[at].first
}

// reset makes r ready for another batch. It may be called only when no other goroutine can hold r.
func (r *result) reset() {
	clear(r.runs)
	*r = result{meta: r.meta[:0], runs: r.runs[:0], batchOutcome: noOutcome, acc: r.acc}
}

// callback returns the callback of record i, nil if it has none.
func (r *result) callback(i int32) Callback {
	for run := len(r.runs) - 1; run >= 0 && i < int32(len(r.meta)); run-- {
		if r.runs[run].first <= i {
			return r.runs[run].fn
		}
	}
	return nil
}

// own returns err with the time since record i was sent as Elapsed, in place of the age of the batch. The
// record's timestamp counts as the time of its Send, unless the caller gave it another.
func (r *result) own(err error, i int32) error {
	e, ok := err.(*Error)
	after := time.Duration(r.meta[i].timestamp-r.openedAt) * time.Millisecond
	if !ok || r.openedAt == 0 || after <= 0 || after > e.Elapsed {
		return err
	}
	own := *e
	own.Elapsed -= after
	return &own
}
