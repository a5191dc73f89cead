package quill

import (
	"testing"

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
