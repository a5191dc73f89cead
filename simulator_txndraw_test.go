package quill

import (
	"math/rand/v2"
	"slices"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// Schedules with transactions. They are drawn apart from the others, by seeds of their own.

const simTransactionalID = "sim"

// simTxnConfig is what transactional runs have besides.
type simTxnConfig struct {
	Release int   `json:"release"` // in simReleases
	Level   int16 `json:"level"`   // transaction.version, to begin with
	Timeout int   `json:"timeout"` // transaction.timeout.ms
	Markers int   `json:"markers"` // until one is written at most, in microseconds
}

// mayEnd reports whether a lost answer may end the producer: without KIP-360 nothing protects the next
// transaction from what comes late.
func (c *simTxnConfig) mayEnd() bool { return simReleases[c.Release].number < 205 }

// simRelease is a release of Kafka: the highest versions of what nodes serve.
type simRelease struct {
	number                                                                                 int // major*100+minor
	produce, metadata, initID, find, addPartitions, addOffsets, end, offsetCommit, feature int16
}

var simReleases = []simRelease{
	{201, 7, 7, 1, 2, 1, 1, 1, 2, 0},
	{205, 8, 9, 3, 3, 1, 1, 1, 3, 0},
	{208, 9, 11, 4, 3, 3, 3, 3, 3, 0},
	{306, 9, 12, 4, 4, 4, 3, 3, 3, 0},
	{309, 11, 12, 5, 6, 5, 4, 4, 4, 0},
	{400, 12, 13, 5, 6, 5, 4, 5, 5, 2},
	{404, 13, 13, 5, 6, 5, 4, 5, 6, 2},
}

func (r *simRelease) highest(key protocol.APIKey) int16 {
	switch key {
	case protocol.Produce:
		return r.produce
	case protocol.Metadata:
		return r.metadata
	case protocol.InitProducerID:
		return r.initID
	case protocol.FindCoordinator:
		return r.find
	case protocol.AddPartitionsToTxn:
		return r.addPartitions
	case protocol.AddOffsetsToTxn:
		return r.addOffsets
	case protocol.EndTxn:
		return r.end
	}
	return r.offsetCommit
}

// Errors with which coordinators refuse, whatever is asked for.
var simTxnErrors = []protocol.ErrorCode{protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable,
	protocol.ConcurrentTransactions}

// Those with which an end is refused that was carried out before; None: as usual. And those in the place
// of a coordinator, which fail a transaction whose end is not in doubt.
var (
	simTxnRepeatedEndErrors = []protocol.ErrorCode{protocol.None, protocol.TransactionAbortable, protocol.None, protocol.UnknownProducerID}
	simTxnFindErrors        = []protocol.ErrorCode{protocol.CoordinatorNotAvailable, protocol.CoordinatorNotAvailable, protocol.GroupAuthorizationFailed, protocol.TransactionAbortable}
)

// Errors that they answer although they did it: their log was not replicated in time, or they lost it.
var simTxnErrorsAfter = []protocol.ErrorCode{protocol.CoordinatorNotAvailable, protocol.NotCoordinator}

var simTxnThemes = [][]simKind{
	{simTxnFault},
	{simTxnFault, simTxnFault, simTxnMove, simHangUp},
	{simTxnFault, simTxnMove, simStop},
	{simTxnFault, simFault, simMove},
	{simFault, simFault, simFault, simMove, simHangUp},
	{simStop, simFreeze, simCut, simHangUp, simTxnFault},
	{simRecreate, simTxnFault, simMove, simGrow},
	{simTxnFence, simTxnFault, simFault},
	{simChange, simTxnFault, simFault, simStop, simHangUp},
	{simTxnUpgrade, simTxnFault, simHangUp},
	{simFlush, simDoze, simHalt, simTxnFault, simHog},
	{simFault, simTxnFault, simTxnFault, simTxnMove, simMove, simStop, simFreeze, simCut, simHangUp, simGrow, simShrink, simLag, simTighten, simHalt, simDoze, simHog, simFlush},
}

// drawTxnSchedule is the transactional schedule of a seed.
func drawTxnSchedule(seed uint64) *simSchedule {
	r := rand.New(rand.NewPCG(seed, 6))
	s := &simSchedule{Config: drawSimConfig(r, seed)}
	c := &s.Config
	c.makeTransactional(r)
	themes := simTxnThemes[r.IntN(len(simTxnThemes))]
	if r.IntN(3) == 0 { // requests are handled just about when they have been given up
		c.Request, c.Backoff = 100, oneOf(r, 5, 50, 100)
		themes = []simKind{simTxnFault}
		if r.IntN(2) == 0 { // and records expire on the wire
			c.Delivery, c.InFlight, c.MaxBlock = c.Request+c.Linger+oneOf(r, 10, 50, 100), oneOf(r, 1, 1, 2), 60_000
			themes = []simKind{simTxnFault, simDelay}
		}
	}
	at, gap := 0, oneOf(r, 3, 15, 60, 200)
	trouble := oneOf(r, 0, 3, 6, 12)
	event := func(kind simKind) {
		at += r.IntN(gap)
		s.Events = append(s.Events, drawTxnEvent(r, at, kind, c))
	}
	disturb := func() {
		if r.IntN(24) < trouble*2 {
			event(themes[r.IntN(len(themes))])
		}
	}
	for range 1 + r.IntN(7) {
		event(simTxnBegin)
		for range r.IntN(8) {
			disturb()
			event(oneOf(r, simSend, simSend, simSend, simSend, simTxnOffsets))
		}
		disturb()
		event(oneOf(r, simTxnCommit, simTxnCommit, simTxnCommit, simTxnAbort))
		disturb()
	}
	if r.IntN(4) == 0 {
		for range r.IntN(4) {
			event(oneOf(r, simTxnBegin, simSend, simTxnOffsets, simTxnCommit))
		}
		s.Events = append(s.Events, simEvent{at + r.IntN(50), simClose, [6]int{oneOf(r, 0, 0, 1), r.IntN(300)}})
		event(oneOf(r, simSend, simTxnCommit, simTxnAbort))
	}
	slices.SortStableFunc(s.Events, func(a, b simEvent) int { return a.At - b.At })
	return s
}

func (c *simConfig) makeTransactional(r *rand.Rand) {
	c.Idempotent, c.Acks, c.Retries, c.Wrap, c.NameDuplicates, c.Codec = true, -1, 0, false, false, compress.None
	t := &simTxnConfig{Release: oneOf(r, 0, 1, 2, 3, 4, 4, 5, 6, 6, 6), Timeout: oneOf(r, 300, 2000, 60_000, 60_000, 60_000), Markers: oneOf(r, 0, 1000, 20_000, 200_000)}
	release := &simReleases[t.Release]
	if t.Level = release.feature; r.IntN(6) == 0 {
		t.Level = 0
	}
	c.Txn, c.Produce, c.RefuseUnknown = t, release.produce, release.number < 205
	c.FirstEpoch = oneOf[int16](r, 0, 0, 0, 0, 0, 0, 32760, 32764, 32766)
	c.Batch = oneOf(r, 1, 300, 500, 1000)
	c.MaxBlock = oneOf(r, 50, 500, 60_000, 60_000)
}

func drawTxnEvent(r *rand.Rand, at int, kind simKind, c *simConfig) simEvent {
	e := drawSimEvent(r, at, kind, c)
	switch kind {
	case simSend:
		if r.IntN(4) > 0 {
			e.Args[4] |= sendInTurn
		}
		e.Args[5] = min(e.Args[5], 4)
	case simTxnMove:
		e.Args = [6]int{r.IntN(3) / 2, 1 + r.IntN(c.Nodes)}
	case simTxnFault:
		api := 1 + r.IntN(len(simTxnAPIs))
		if r.IntN(3) == 0 {
			api = 1 + slices.Index(simTxnAPIs, protocol.EndTxn)
		}
		f := oneOf(r, faultDeaf, faultMute, faultCutBefore, faultCutAfter, faultDelay, faultDelay, faultAnswerDelay, faultAnswerDelay, faultThrottle, faultTxnError, faultTxnErrorAfter)
		number := 1 + r.IntN(oneOf(r, 30, 300))
		switch f {
		case faultDelay, faultAnswerDelay:
			number = oneOf(r, number, c.Request-20+r.IntN(oneOf(r, 100, 500)))
		case faultTxnError, faultTxnErrorAfter:
			number = r.IntN(4)
		}
		e.Args = [6]int{0, int(f), number, oneOf(r, 1, 1, 1, 2), r.IntN(3), api}
	}
	return e
}
