package quill

import (
	"context"
	"math"
	"sync"
	"time"
)

// Future is the pending outcome of one Send: a small value, which may be copied or ignored. Its zero
// value is not useful. All methods may be called concurrently and more than once.
type Future struct {
	res   *result
	index int32
}

// Wait blocks until the record's outcome is known, or ctx ends. If ctx ends first the record is
// still sent, and a later Wait returns its outcome. The error then Is ctx's, and its Outcome
// MaybeWritten. An error is always an *Error. The callback of the record, if any, has run when Wait
// returns its outcome.
//
// Without a deadline on ctx, Wait ends at most delivery.timeout.ms after the Send, unless a
// callback blocks. In a callback of the same producer, where a record that is not done yet can't be
// waited for, the error is ErrInCallback.
func (f Future) Wait(ctx context.Context) (RecordMetadata, error) {
	return f.wait(ctx, begun(ctx))
}

// wait does the work of Wait for a call before which ctx was over if late is set.
func (f Future) wait(ctx context.Context, late lateCall) (RecordMetadata, error) {
	r, i := f.res, f.index
	for {
		if ch := r.wait(); ch != nil {
			if err := r.awaitFinish(ctx, ch, late); err != nil {
				return unknownMetadata(r.topic, r.partition), err
			}
		}
		if r.children == nil {
			return r.recordResult(i)
		}
		r, i = r.child(i)
	}
}

// awaitFinish waits for ch, which finish closes. The error says why it does not wait any longer; late says that ctx was
// over before the call.
func (r *result) awaitFinish(ctx context.Context, ch <-chan struct{}, late lateCall) error {
	if ctx == nil {
		return pendingError(r.topic, r.partition, errNilContext)
	}
	if r.acc != nil && r.acc.inCallback() {
		return pendingError(r.topic, r.partition, ErrInCallback)
	}
	if r.acc.waitFor(ctx, ch) {
		return nil
	}
	err := pendingError(r.topic, r.partition, endOf(ctx))
	err.Reason = late.reason(err.Reason, err.Reason)
	if r.acc != nil && r.acc.holdUp != nil {
		err.Cause = r.acc.holdUp(r.topic, r.partition)
	}
	return err
}

// pendingError is the error of a wait that ended before the record's outcome was known.
func pendingError(topic string, partition int32, why error) *Error {
	return &Error{Op: opWaitForRecord, Kind: why, Topic: topic, Partition: partition, Node: -1, Outcome: MaybeWritten,
		Reason: "the record is on its way, its outcome is not known yet"}
}

// Done reports whether the outcome is known; Wait then returns at once.
func (f Future) Done() bool {
	r, i := f.res, f.index
	for r.wait() == nil {
		if r.children == nil {
			return true
		}
		r, i = r.child(i)
	}
	return false
}

// failedFuture is the future of a record that failed in Send.
func failedFuture(m RecordMetadata, err error) Future {
	return Future{res: &result{topic: m.Topic, partition: m.Partition, batchOutcome: failure(err), finished: true,
		meta: []recordMeta{{timestamp: timestampMillis(m.Timestamp), keySize: m.KeySize, valueSize: m.ValueSize}}}}
}

// timestampMillis is t as Kafka has it, -1 if it is none that Kafka can have: the zero time, one before
// 1970, or one beyond what 64 bits of milliseconds can hold.
func timestampMillis(t time.Time) int64 {
	if sec := t.Unix(); sec < 0 || sec >= maxSeconds {
		return -1
	}
	return t.UnixMilli()
}

// maxSeconds is where milliseconds end, in the year 292278994.
const maxSeconds = math.MaxInt64 / 1000

// NewFuture returns a future that is not a Producer's, for fakes of one in tests, and the function
// that gives it its outcome. Only the first call of that function counts; it may be called from any
// goroutine. topic and partition (-1 if none was chosen) are named in the error of a wait that ends early.
func NewFuture(topic string, partition int32) (f Future, resolve func(m RecordMetadata, err error)) {
	res := &result{topic: topic, partition: partition, batchOutcome: noOutcome, meta: make([]recordMeta, 1), hasFuture: true}
	var once sync.Once
	return Future{res: res}, func(m RecordMetadata, err error) {
		once.Do(func() {
			res.baseOffset, res.err = m.Offset, err
			res.meta[0] = recordMeta{timestamp: timestampMillis(m.Timestamp), keySize: m.KeySize, valueSize: m.ValueSize}
			res.finish()
		})
	}
}
