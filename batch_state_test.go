package quill

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/stretchr/testify/require"
)

// everyEvidence calls test for each of them.
func everyEvidence(test func(e evidence)) {
	for bits := range 1 << 5 {
		is := func(i int) bool { return bits>>i&1 == 1 }
		test(evidence{maybeWritten: is(0), inOldLog: is(1), unanswered: is(2), laterUnsettled: is(3), refused: is(4)})
	}
}

func TestEvidenceOfABatchThatIsAbsent(t *testing.T) {
	everyEvidence(func(e evidence) {
		absent := e.absent()
		require.False(t, absent.maybeWritten || absent.unanswered || absent.laterUnsettled, "%+v", e)
		require.Equal(t, e.inOldLog, absent.inOldLog, "this log says nothing of the one before: %+v", e)
		require.Equal(t, e.outcome(false) == NotSent, absent.outcome(false) == NotSent, "it did leave: %+v", e)
		require.Equal(t, absent, absent.absent(), "%+v", e)
		b := &batch{evidence: e}
		b.forgetIdentity()
		require.Equal(t, absent, b.evidence, "%+v", e)
	})
}

func TestEvidenceOfABatchForANewLog(t *testing.T) {
	everyEvidence(func(e evidence) {
		moved := e
		moved.movedToNewLog()
		require.Equal(t, e.maybeWritten || e.inOldLog, moved.inOldLog, "%+v", e)
		moved.inOldLog = e.inOldLog
		require.Equal(t, e, moved, "all else is as before")
	})
}

func TestOutcomeFollowsTheEvidence(t *testing.T) {
	everyEvidence(func(e evidence) {
		require.Equal(t, MaybeWritten, e.outcome(true), "%+v", e)
		switch got := e.outcome(false); {
		case e.maybeWritten || e.inOldLog:
			require.Equal(t, MaybeWritten, got, "%+v", e)
		case e.refused:
			require.Equal(t, Rejected, got, "%+v", e)
		default:
			require.Equal(t, NotSent, got, "%+v", e)
		}
	})
}

// A batch is sent by one request at a time, from no queue; and what is gone stays so.
func TestABatchMovesAsItsTableSays(t *testing.T) {
	places := []batchPlace{placeHand, placeQueue, placeWire, placeParked, placeGone}
	require.Len(t, moves, len(places))
	require.Len(t, placeNames, len(places))
	allowed := map[[2]batchPlace]string{
		{placeHand, placeQueue}:   "opened, put back for another attempt, or a part of a split batch",
		{placeHand, placeWire}:    "sent",
		{placeHand, placeParked}:  "out of order although it may be in the log",
		{placeHand, placeGone}:    "accepted, refused, expired, split",
		{placeQueue, placeHand}:   "taken for a request, or given up",
		{placeWire, placeHand}:    "its request came back",
		{placeParked, placeQueue}: "asked for again",
		{placeParked, placeGone}:  "a later batch proved it written, or it expired",
	}
	for _, from := range places {
		for _, to := range places {
			why, ok := allowed[[2]batchPlace{from, to}]
			require.Equal(t, ok, from.leadsTo(to), "from %v to %v: %s", from, to, why)
			b := &batch{place: from}
			if invariant.Enabled && !ok {
				require.PanicsWithValue(t, "invariant violated: a batch is moved from "+from.String()+" to "+to.String(), func() { b.move(to) })
				require.Equal(t, from, b.place)
				continue
			}
			b.move(to)
			require.Equal(t, to, b.place)
			require.Equal(t, to == placeWire, b.onWire())
			require.Equal(t, to == placeParked, b.parked())
		}
	}
}

// checkPlaces compares the places of batches with where they are. It is for between the sender's turns.
func checkPlaces(s *sender) error {
	wire := 0
	for _, b := range s.acc.unfinished() {
		q := b.queue
		q.mu.Lock()
		queued := 0
		for i := range q.batches.Len() {
			if q.batches.At(i) == b {
				queued++
			}
		}
		q.mu.Unlock()
		switch {
		case b.place == placeHand, b.place == placeGone && !b.decided(), b.place == placeParked && !slices.Contains(q.out.seq.parked(), b),
			queued > 1, (queued == 1) != (b.place == placeQueue):
			return fmt.Errorf("batch %d of %s-%d, decided: %v, is %d times in its queue, and its place is %v", b.number, q.topic.name, q.index, b.decided(), queued, b.place)
		case b.place == placeWire:
			wire++
		}
	}
	if wire > s.onWire { // those that have their outcome may be more
		return fmt.Errorf("%d batches without an outcome are on the wire, of %d in all", wire, s.onWire)
	}
	return nil
}

// A queue begins at a cache line, because its size is a multiple of one: what a Send reads of it is in as few as can be.
func TestAQueueTakesSevenCacheLines(t *testing.T) {
	require.EqualValues(t, 7*cacheLine, unsafe.Sizeof(partitionQueue{}))
}

// What the sender knows of a batch is packed at its end: a large buffer has thousands of batches, and each is fetched
// from memory that no processor has at hand.
func TestABatchTakesFiveCacheLines(t *testing.T) {
	require.LessOrEqual(t, int(unsafe.Sizeof(batch{})), 5*cacheLine)
}
