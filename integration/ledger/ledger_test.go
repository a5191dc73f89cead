package ledger

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var plan = Plan{Run: 7, Streams: 2, PerStream: 4, Keys: 2, ValueSize: 50, Headers: 1}

// rowOf is the row a correct log holds for a record.
func rowOf(stream, counter int, partition int32, offset int64) Row {
	return NewRow(partition, offset, 1000+offset, plan.AppendKey(nil, stream, counter), plan.AppendValue(nil, stream, counter), plan.RecordHeaders(stream, counter))
}

// goodRun is a ledger in which every record was acknowledged, a stream to a partition, and the log that belongs to it.
func goodRun() (*Ledger, []Row) {
	l := New(plan)
	var rows []Row
	for stream := range plan.Streams {
		for counter := range plan.PerStream {
			l.Sent(stream, counter)
			l.Done(stream, counter, Result{Outcome: Acknowledged, Partition: int32(stream), Offset: int64(counter), Timestamp: 1000 + int64(counter)})
			rows = append(rows, rowOf(stream, counter, int32(stream), int64(counter)))
		}
	}
	return l, rows
}

func sequence2[T any](values []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	}
}

var rules = Rules{Idempotent: true, DeliveryTimeout: time.Minute}

// TestCorrectRunPasses audits a run in which everything is right.
func TestCorrectRunPasses(t *testing.T) {
	l, rows := goodRun()
	report, err := l.Audit(rules, sequence2(rows))
	require.NoError(t, err)
	require.NoError(t, report.Violations.Err())
	require.Equal(t, 8, report.Acknowledged)
	require.Equal(t, 8, report.Rows)
	require.Equal(t, 2, report.Partitions)
}

// TestEveryFaultIsFound breaks the log in each way that an invariant forbids.
func TestEveryFaultIsFound(t *testing.T) {
	at := func(stream, counter int) int { return stream*plan.PerStream + counter }
	for name, k := range map[string]struct {
		spoil     func(rows []Row) []Row
		invariant string
	}{
		"lost last":        {func(rows []Row) []Row { return rows[:len(rows)-1] }, "I1"},
		"lost middle":      {func(rows []Row) []Row { return slices.Delete(rows, 2, 3) }, "I1"},
		"other offset":     {func(rows []Row) []Row { rows[at(1, 3)].Offset++; return rows }, "I1"},
		"other partition":  {func(rows []Row) []Row { rows[at(1, 3)].Partition = 2; return rows }, "I1"},
		"other value":      {func(rows []Row) []Row { rows[0].ValueSum++; return rows }, "I1"},
		"shorter value":    {func(rows []Row) []Row { rows[0].ValueSize--; return rows }, "I1"},
		"other key":        {func(rows []Row) []Row { rows[0].KeySum++; return rows }, "I1"},
		"null key":         {func(rows []Row) []Row { rows[0].KeySize = -1; return rows }, "I1"},
		"other header":     {func(rows []Row) []Row { rows[0].HeaderSum++; return rows }, "I1"},
		"other timestamp":  {func(rows []Row) []Row { rows[0].Timestamp++; return rows }, "I1"},
		"unplanned record": {func(rows []Row) []Row { rows[3].Counter = 99; return rows }, "I1"},
		"twice":            {func(rows []Row) []Row { return append(rows, rowOf(1, 3, 1, 4)) }, "I2"},
		"out of order": {func(rows []Row) []Row {
			rows[1], rows[2] = rowOf(0, 2, 0, 1), rowOf(0, 1, 0, 2)
			return rows
		}, "I3"},
	} {
		t.Run(name, func(t *testing.T) {
			l, rows := goodRun()
			report, err := l.Audit(rules, sequence2(k.spoil(rows)))
			require.NoError(t, err)
			require.NotZero(t, report.Violations.Count(k.invariant), "%v", report.Violations.Err())
			require.ErrorContains(t, report.Violations.Err(), k.invariant)
		})
	}
}

// TestCompletionsAreJudged breaks the ledger's side: missing, double, late and disordered completions.
func TestCompletionsAreJudged(t *testing.T) {
	done := func(l *Ledger, counter int, r Result) { l.Done(0, counter, r) }
	ok := func(offset int64) Result {
		return Result{Outcome: Acknowledged, Partition: 0, Offset: offset, Timestamp: -1}
	}
	for name, k := range map[string]struct {
		play      func(l *Ledger)
		invariant string
	}{
		"never completed": {func(l *Ledger) {}, "I4"},
		"twice":           {func(l *Ledger) { done(l, 0, ok(0)); done(l, 0, ok(0)) }, "I4"},
		"never sent":      {func(l *Ledger) { done(l, 0, ok(0)); done(l, 3, ok(3)) }, "I4"},
		"not in order":    {func(l *Ledger) { l.Sent(0, 1); done(l, 1, ok(1)); done(l, 0, ok(0)) }, "I5"},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(plan)
			l.Sent(0, 0)
			k.play(l)
			report, err := l.Audit(rules, sequence2([]Row{rowOf(0, 0, 0, 0), rowOf(0, 1, 0, 1), rowOf(0, 2, 0, 2), rowOf(0, 3, 0, 3)}))
			require.NoError(t, err)
			require.NotZero(t, report.Violations.Count(k.invariant), "%v", report.Violations.Err())
		})
	}
}

// TestFailuresAreJudged: a record that was reported as not written must not be in the log, one that may have been
// written may be there or not.
func TestFailuresAreJudged(t *testing.T) {
	for outcome, violations := range map[Outcome]int{NotSent: 1, Rejected: 1, MaybeWritten: 0} {
		for _, written := range []bool{true, false} {
			l := New(plan)
			l.Sent(0, 0)
			l.Done(0, 0, Result{Outcome: outcome, Partition: 0, Offset: -1, Class: "test"})
			var rows []Row
			want := 0
			if written {
				rows, want = append(rows, rowOf(0, 0, 0, 0)), violations
			}
			report, err := l.Audit(rules, sequence2(rows))
			require.NoError(t, err)
			require.Equal(t, want, report.Violations.Count("I7"), "%v, written %t", outcome, written)
			require.Equal(t, map[string]int{outcome.String() + ": test": 1}, report.Failures)
		}
	}
}

// TestSlowCompletionIsFound holds completions against the delivery timeout.
func TestSlowCompletionIsFound(t *testing.T) {
	l, rows := goodRun()
	report, err := l.Audit(Rules{DeliveryTimeout: 1}, sequence2(rows))
	require.NoError(t, err)
	require.NotZero(t, report.Violations.Count("I4"))
}

// TestReaderErrorEndsAudit: half a log proves nothing.
func TestReaderErrorEndsAudit(t *testing.T) {
	l, _ := goodRun()
	fault := errors.New("reader broke")
	_, err := l.Audit(rules, func(yield func(Row, error) bool) { yield(Row{}, fault) })
	require.ErrorIs(t, err, fault)
}

// TestValuesCarryTheirIdentity makes values and reads them back; null, foreign and damaged ones have none.
func TestValuesCarryTheirIdentity(t *testing.T) {
	big := Plan{Run: 0xfedcba98, ValueSize: 1000}
	value := big.AppendValue([]byte("before"), 0x12345678, 0x00abcdef)[6:]
	require.Len(t, value, 1000)
	r := NewRow(1, 2, 3, nil, value, nil)
	require.Equal(t, [3]uint32{0xfedcba98, 0x12345678, 0x00abcdef}, [3]uint32{r.Run, r.Stream, r.Counter})
	require.False(t, bytes.ContainsAny(value, "\t\n"))
	require.Len(t, Plan{ValueSize: IdentitySize}.AppendValue(nil, 1, 1), IdentitySize)
	for _, foreign := range [][]byte{nil, {}, []byte("q1"), []byte("q1000000010000000100000zz1")} {
		r := NewRow(0, 0, 0, nil, foreign, nil)
		require.Equal(t, [3]uint32{none, none, none}, [3]uint32{r.Run, r.Stream, r.Counter})
	}
	require.EqualValues(t, -1, NewRow(0, 0, 0, nil, nil, nil).ValueSize)
	require.EqualValues(t, 0, NewRow(0, 0, 0, nil, []byte{}, nil).ValueSize)
}
