package quill

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAWaitThatEndsEarlyChangesNothing(t *testing.T) {
	withRig(t, func(s *settings) { s.linger = 0 }, func(t *testing.T, r *rig) {
		f := r.append(0, "key", "value")
		cause := errors.New("not now")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		m, err := f.Wait(ctx)
		require.ErrorIs(t, err, cause)
		require.Equal(t, RecordMetadata{Topic: "test", Partition: 0, Offset: -1, KeySize: -1, ValueSize: -1}, m)
		require.False(t, f.Done())

		r.drainOne(0)
		r.answer(0, accepted(3))
		r.dispatch()
		m, err = f.Wait(ctx)
		require.NoError(t, err, "what is known is told whatever ctx says")
		require.EqualValues(t, 3, m.Offset)
		require.Equal(t, time.UnixMilli(0), m.Timestamp)
		require.EqualValues(t, 3, m.KeySize)
		require.EqualValues(t, 5, m.ValueSize)
	})
}

func TestAFutureWakesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, resolve := NewFuture("topic", 2)
		var done atomic.Int32
		for range 3 {
			go func() {
				if m, err := f.Wait(t.Context()); err == nil && m.Offset == 9 && m.Topic == "topic" && m.Partition == 2 {
					done.Add(1)
				}
			}()
			synctest.Wait()
		}
		require.Zero(t, done.Load())
		resolve(RecordMetadata{Offset: 9}, nil)
		resolve(RecordMetadata{Offset: 10}, errors.New("too late"))
		synctest.Wait()
		require.EqualValues(t, 3, done.Load())
		require.True(t, f.Done())
	})
}

func TestAFailedFutureIsDone(t *testing.T) {
	want := errors.New("no")
	f := failedFuture(RecordMetadata{Topic: "t", Partition: -1, KeySize: -1, ValueSize: 4}, want)
	require.True(t, f.Done())
	m, err := f.Wait(t.Context())
	require.Same(t, want, err)
	require.Equal(t, RecordMetadata{Topic: "t", Partition: -1, Offset: -1, KeySize: -1, ValueSize: 4}, m)
}

func TestOffsetsNearTheEndAreUnknownNotNegative(t *testing.T) {
	r := &result{batchOutcome: batchOutcome{baseOffset: math.MaxInt64, logAppendTime: -1}, meta: make([]recordMeta, 2)}
	require.Equal(t, int64(math.MaxInt64), r.metadata(0).Offset)
	require.EqualValues(t, -1, r.metadata(1).Offset)
}

func TestAFutureFollowsItsRecordThroughSplits(t *testing.T) {
	leaf := func(offset int64, n int) *result {
		return &result{batchOutcome: batchOutcome{baseOffset: offset, logAppendTime: -1}, meta: make([]recordMeta, n), finished: true}
	}
	last := leaf(300, 1)
	last.mu.Lock()
	last.finished = false
	last.mu.Unlock()
	middle := &result{finished: true, children: []childResult{{0, leaf(200, 2)}, {2, last}}}
	root := &result{finished: true, children: []childResult{{0, leaf(100, 1)}, {1, middle}}}
	for i, want := range []int64{100, 200, 201} {
		f := Future{root, int32(i)}
		require.True(t, f.Done())
		m, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, m.Offset)
	}
	f := Future{root, 3}
	require.False(t, f.Done())
	last.finish()
	m, err := f.Wait(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 300, m.Offset)
}

func TestOneCallbackForAllRecordsIsOneEntry(t *testing.T) {
	o := newTestBatch(1024)
	r := o.res
	add := func(fn Callback) { o.add(0, new(bytesRecord), fn) }
	calls := 0
	fn := Callback(func(RecordMetadata, error) { calls++ })
	for range 5 {
		add(fn)
	}
	add(nil)
	add(nil)
	for i := range 3 { // each its own closure
		add(func(RecordMetadata, error) { calls += i })
	}
	o.close()
	require.Len(t, r.runs, 5)
	require.Nil(t, r.callback(5))
	require.Nil(t, r.callback(6))
	for i := range int32(10) {
		if fn := r.callback(i); fn != nil {
			fn(RecordMetadata{}, nil)
		}
	}
	require.Equal(t, 5+0+1+2, calls)
	require.Nil(t, r.callback(10))
}
