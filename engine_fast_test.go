package quill

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// fastRig is an engine on a rig whose partition 0 has an open batch with one record.
func fastRig(t *testing.T, change func(*settings), test func(t *testing.T, r *rig, e *engine)) {
	withRig(t, change, func(t *testing.T, r *rig) {
		e := &engine{cfg: *r.cfg, acc: r.acc, clock: r.acc.clock, largest: 900}
		r.append(0, "", "first")
		test(t, r, e)
	})
}

// The fast path is for records that need nothing but to be written down; all others are left as they
// are, for the long way.
func TestTheFastPathIsForOrdinaryRecords(t *testing.T) {
	at := func(r bytesRecord) bytesRecord { r.Partition = Partition(0); return r }
	for _, c := range []struct {
		name   string
		record bytesRecord
		change func(*settings)
		before func(r *rig, e *engine)
		ok     bool
	}{
		{name: "a value", record: at(bytesRecord{Topic: "test", Value: []byte("v")}), ok: true},
		{name: "nothing at all", record: at(bytesRecord{Topic: "test"}), ok: true},
		{name: "key, headers and time", ok: true,
			record: at(bytesRecord{Topic: "test", Key: []byte("k"), Headers: Headers{{Key: "h", Value: []byte("x")}}, Timestamp: time.UnixMilli(1)})},
		{name: "unknown topic", record: at(bytesRecord{Topic: "other"})},
		{name: "partition out of range", record: bytesRecord{Topic: "test", Partition: Partition(4)}},
		{name: "negative partition", record: bytesRecord{Topic: "test", Partition: Partition(-1)}},
		{name: "no batch is open", record: bytesRecord{Topic: "test", Partition: Partition(1)}},
		{name: "no sticky partition yet", record: bytesRecord{Topic: "test"}},
		{name: "before 1970", record: at(bytesRecord{Topic: "test", Timestamp: time.UnixMilli(-5)})},
		{name: "no room in the batch", record: at(bytesRecord{Topic: "test", Value: make([]byte, 880)}), before: func(r *rig, _ *engine) { r.append(0, "", strings.Repeat("x", 200)) }},
		{name: "larger than a limit", record: at(bytesRecord{Topic: "test", Value: make([]byte, 870)})},
		{name: "headers larger than a limit", record: at(bytesRecord{Topic: "test", Headers: Headers{{Key: "h", Value: make([]byte, 890)}}})},
		{name: "a partitioner of the user's", record: bytesRecord{Topic: "test", Value: []byte("v")},
			change: func(s *settings) {
				s.partitioner = PartitionerFunc(func(PartitionInput) (int32, error) { return 0, nil })
			}},
		{name: "a partitioner of the user's, and a key", record: bytesRecord{Topic: "test", Key: keyOf(0, 4), Value: []byte("v")},
			change: func(s *settings) {
				s.partitioner = PartitionerFunc(func(PartitionInput) (int32, error) { return 1, nil })
			}},
		{name: "a key", record: bytesRecord{Topic: "test", Key: keyOf(0, 4), Value: []byte("v")}, ok: true},
		{name: "nothing is taken any more", record: at(bytesRecord{Topic: "test"}), before: func(r *rig, _ *engine) { r.acc.closedBy.Store(errClosedSend) }},
		{name: "the topic was deleted", record: at(bytesRecord{Topic: "test"}), before: func(r *rig, _ *engine) { r.topic.setInfo(nil) }},
		{name: "the topic may not be written to", record: at(bytesRecord{Topic: "test"}), before: func(r *rig, _ *engine) {
			r.topic.setInfo(&metadata.Topic{Name: "test", Partitions: r.topic.info.Load().Partitions, Err: protocol.TopicAuthorizationFailed})
		}},
		{name: "the topic was made anew with fewer partitions", record: bytesRecord{Topic: "test", Partition: Partition(3)}, before: func(r *rig, _ *engine) {
			r.append(3, "", "first")
			r.topic.setInfo(&metadata.Topic{Name: "test", Partitions: r.topic.info.Load().Partitions[:3]})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fastRig(t, c.change, func(t *testing.T, r *rig, e *engine) {
				if c.before != nil {
					c.before(r, e)
				}
				before := r.open(0)
				at := e.sendFast(context.Background(), &c.record, nil, true)
				require.Equal(t, c.ok, at.appended())
				after := r.open(0) // and so the queue is not left locked
				require.Same(t, before.batch, after.batch)
				if !at.appended() {
					require.Equal(t, before, after)
					return
				}
				require.Len(t, after.meta, len(before.meta)+1)
				require.Equal(t, position{before.res, int32(len(before.meta))}, at)
				require.True(t, after.hasFuture)
			})
		})
	}
}

// keyOf returns a key that belongs to the partition, of this many.
func keyOf(partition int32, partitions int) []byte {
	for i := byte(0); ; i++ {
		if KeyPartition([]byte{i}, partitions) == partition {
			return []byte{i}
		}
	}
}

// A record writes the same bytes and gets the same outcome, whichever way it goes.
func TestBothWaysWriteTheSame(t *testing.T) {
	records := []bytesRecord{
		{}, {Key: []byte{}}, {Value: []byte{}}, {Key: []byte("key"), Value: []byte("value")}, {Value: []byte(strings.Repeat("v", 300))},
		{Key: []byte("k"), Headers: Headers{{Key: "h"}, {Key: "", Value: []byte("x")}}, Timestamp: time.UnixMilli(946684800123)},
	}
	var wrote [2][]byte
	var told [2][]recordMeta
	for way := range 2 {
		fastRig(t, nil, func(t *testing.T, r *rig, e *engine) {
			for _, rec := range records {
				rec.Topic, rec.Partition = "test", Partition(0)
				if way == 0 {
					at := e.sendFast(context.Background(), &rec, nil, false)
					require.True(t, at.appended())
					continue
				}
				in := one("", "", rec.Headers...)
				in.record.Key, in.record.Value, in.timestamp = rec.Key, rec.Value, timestampMillis(rec.Timestamp)
				r.appendInput(0, in)
			}
			o := r.open(0)
			wrote[way], told[way] = o.chunk[protocol.BatchOverhead:], o.meta
		})
	}
	require.Equal(t, wrote[1], wrote[0])
	require.Equal(t, told[1], told[0])
}

func TestPlainOverheadCoversEveryRecord(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 1 << 20, 1 << 27} {
		part := make([]byte, n)
		require.LessOrEqual(t, protocol.MaxRecordSize(part, part, nil), plainOverhead+2*n)
	}
}

// A record without a key that finds its partition's lock taken waits for it, on both ways, and is counted: that is how
// a crowd is noticed. One whose partition the caller chose is not.
func TestARecordThatFindsTheLockTakenIsCounted(t *testing.T) {
	for _, way := range []string{"fast", "slow"} {
		for _, sticky := range []bool{true, false} {
			fastRig(t, nil, func(t *testing.T, r *rig, e *engine) {
				in := one("", "v")
				p := r.appendSticky(in)
				q, before := r.topic.queue(p), len(r.open(p).meta)
				rec := bytesRecord{Topic: "test", Value: []byte("v")}
				var lane *stickyLane
				if sticky {
					lane = r.topic.sticky.lane()
				} else {
					rec.Partition = Partition(p)
				}
				done := make(chan bool, 1)
				q.mu.Lock()
				go func() {
					if way == "fast" {
						at := e.sendFast(context.Background(), &rec, nil, false)
						done <- at.appended()
						return
					}
					_, err := r.acc.append(t.Context(), q, in, lane, nil)
					done <- err == nil
				}()
				for len(done) == 0 && !strings.Contains(stacks(), "(*partitionQueue).lockCrowded(") && !strings.Contains(stacks(), "sync.(*Mutex).Lock(") {
					runtime.Gosched()
				}
				require.Empty(t, done, "it does not go past the lock")
				crowded := q.contended
				q.mu.Unlock()
				require.True(t, <-done)
				require.Zero(t, crowded)
				require.Len(t, r.open(p).meta, before+1)
				q.mu.Lock()
				require.Equal(t, sticky, q.contended == 1)
				q.closeLocked(100)
				require.Zero(t, q.contended, "the next batch is judged by its own records")
				q.mu.Unlock()
			})
		}
	}
}

// stacks returns what all goroutines are doing.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// Once records are refused none gets into a batch that is still open, whichever way it goes.
func TestNoRecordGetsIntoAnOpenBatchOnceRefused(t *testing.T) {
	fastRig(t, nil, func(t *testing.T, r *rig, e *engine) {
		before := r.open(0)
		r.acc.closeFor(closedByClose, errClosedSend)
		_, err := r.acc.append(t.Context(), r.topic.queue(0), one("", "v"), nil, nil)
		require.Same(t, errClosedSend, err)
		at := e.sendFast(t.Context(), &bytesRecord{Topic: "test", Partition: Partition(0), Value: []byte("v")}, nil, false)
		require.False(t, at.appended())
		require.Equal(t, before, r.open(0))
		r.acc.closeFor(closedByClose, nil)
		r.append(0, "", "v")
		require.Len(t, r.open(0).meta, len(before.meta)+1)
	})
}
