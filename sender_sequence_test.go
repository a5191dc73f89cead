package quill

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func idempotentRig(s *settings) { s.idempotent, s.linger = true, 0 }

// sendBatch appends n records as one batch and puts it on the wire.
func sendBatch(t *testing.T, r *rig, n int) *batch {
	t.Helper()
	for range n {
		r.append(0, "key", "value")
	}
	b := r.drainOne(0)
	require.EqualValues(t, n, b.records)
	return b
}

// warm lets the node see a first batch of the producer id.
func warm(t *testing.T, r *rig) {
	t.Helper()
	sendBatch(t, r, 1)
	r.answer(0, accepted(0))
}

func requireIdentity(t *testing.T, b *batch, epoch int16, sequence int32) {
	t.Helper()
	require.True(t, b.numbered())
	require.Equal(t, epoch, b.producerEpoch)
	require.Equal(t, sequence, b.baseSequence)
}

// Java: TransactionManagerTest.testDefaultSequenceNumber
func TestTheFirstBatchOfAnIDTravelsAlone(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		requireIdentity(t, sendBatch(t, r, 3), 0, 0)
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0), "were the first refused, the node would take the second in its place")
		r.answer(0, accepted(0))
		requireIdentity(t, r.drainOne(0), 0, 3)
		requireIdentity(t, sendBatch(t, r, 2), 0, 4)
	})
}

func TestFiveBatchesOfAPartitionAreInFlight(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		for i := range int32(maxInFlightPerPartition) {
			requireIdentity(t, sendBatch(t, r, 2), 0, 1+2*i)
		}
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0))
		r.answer(0, accepted(0))
		requireIdentity(t, r.drainOne(0), 0, 11)
	})
}

func TestRetriesKeepTheirSequencesAndOrder(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		a, b, c := sendBatch(t, r, 1), sendBatch(t, r, 2), sendBatch(t, r, 3)
		r.lose(0)
		r.lose(0)
		r.lose(0)
		require.Equal(t, []*batch{a, b, c}, r.queued(0))
		time.Sleep(time.Second)
		require.Same(t, a, r.drainOne(0))
		require.Empty(t, r.drain(0), "retries go one at a time")
		requireIdentity(t, a, 0, 1)
		r.answer(0, refusedWith(protocol.DuplicateSequenceNumber))
		require.Same(t, b, r.drainOne(0))
		requireIdentity(t, b, 0, 2)
		r.answer(0, accepted(10))
		require.Same(t, c, r.drainOne(0))
		requireIdentity(t, c, 0, 4)
	})
}

// A batch that may be in the log is never renumbered, not even when it is given up: what follows
// starts under a new epoch, under which a late copy is fenced (KAFKA-14397, KAFKA-14034).
func TestAGivenUpMaybeWrittenBatchEndsTheEpoch(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		a := sendBatch(t, r, 1)
		r.lose(0)
		require.True(t, a.evidence.maybeWritten)
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		requireIdentity(t, sendBatch(t, r, 1), 1, 0)
	})
}

// If a later batch of the same epoch is accepted, the one given up before it was written.
func TestAnAcceptedSuccessorSettlesTheDoubt(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		sendBatch(t, r, 1)
		b := sendBatch(t, r, 1)
		time.Sleep(r.cfg.deliveryTimeout)
		r.s.expire(time.Now())
		r.append(0, "key", "value")
		r.lose(0)
		require.Empty(t, r.drain(0), "nothing new while it is not known which numbers are used")
		r.answer(0, accepted(5))
		requireIdentity(t, r.drainOne(0), 0, b.baseSequence+1)
		require.Zero(t, r.s.idem.bumps)
	})
}

func TestASequenceThatWillNeverBeWrittenIsUsedAgain(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		requireIdentity(t, sendBatch(t, r, 4), 0, 1)
		r.answer(0, refusedWith(protocol.InvalidRecord))
		requireIdentity(t, sendBatch(t, r, 1), 0, 1)
	})
}

func TestAGapEndsTheEpochOfItsPartitionOnly(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		sendBatch(t, r, 1)
		later := sendBatch(t, r, 2)
		r.append(1, "key", "value")
		other := r.drainOne(0)
		r.answer(0, refusedWith(protocol.InvalidRecord))
		require.Equal(t, identityStale, later.identity)
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0), "until the batch in flight is back")
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		require.False(t, later.numbered())
		time.Sleep(remembered / 2)
		require.Same(t, later, r.drainOne(0))
		requireIdentity(t, later, 1, 0)
		requireIdentity(t, r.drainOne(0), 1, 2)
		requireIdentity(t, other, 0, 0)
		r.append(1, "key", "value")
		require.Empty(t, r.drain(0), "another partition moves over once it has nothing in flight")
		r.answer(0, accepted(0))
		moved := r.drainOne(0)
		require.EqualValues(t, 1, moved.queue.index)
		requireIdentity(t, moved, 1, 0)
	})
}

// The head of a partition's batches has nothing unsettled before it: if even that one is out of
// order, the node forgot the producer (KIP-360).
func TestAnOutOfOrderHeadStartsANewEpoch(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.OutOfOrderSequenceNumber, protocol.UnknownProducerID} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warm(t, r)
			a, b := sendBatch(t, r, 1), sendBatch(t, r, 1)
			forgotten := func(*batch) message.PartitionProduceResponse {
				p := answered(code, -1)
				p.LogStartOffset = 17
				return p
			}
			r.answer(0, forgotten)
			r.answer(0, forgotten)
			time.Sleep(time.Second)
			require.Same(t, a, r.drainOne(0))
			requireIdentity(t, a, 1, 0)
			r.answer(0, accepted(17))
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 1, 1)
		})
	}
}

// A node remembers the last five batches of a producer. One that was written, whose answer was lost,
// and whose retry comes after five others looks out of order; it must not be written again.
func TestABatchThatOthersPassedIsNotSentAgain(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		a := sendBatch(t, r, 1)
		r.answer(0, refusedWith(protocol.RequestTimedOut)) // written, for all we know
		time.Sleep(time.Second)
		require.Same(t, a, r.drainOne(0))
		sendBatch(t, r, 1)
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))
		r.answer(0, accepted(2))
		time.Sleep(time.Second)
		require.Same(t, a, r.drainOne(0))
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		require.True(t, a.decided())
		require.NoError(t, a.res.err)
		require.EqualValues(t, -1, a.res.baseOffset, "where, nobody knows")
		require.Zero(t, r.s.idem.bumps)
		r.dispatch()
	})
}

// Java: TransactionManagerTest.testSequenceNumberOverflow
func TestSequencesWrap(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warm(t, r)
		r.topic.queue(0).out.seq.next = math.MaxInt32 - 1
		for _, want := range []int32{math.MaxInt32 - 1, 1, 4} {
			b := sendBatch(t, r, 3)
			requireIdentity(t, b, 0, want)
			r.answer(0, accepted(0))
			require.Equal(t, b.lastSequence(), r.topic.queue(0).out.seq.lastAcked)
		}
	})
}

// useUpEpochs leaves a batch that needs a new epoch when its id has no more of them: the one before was lost and expired.
func useUpEpochs(t *testing.T, r *rig) {
	t.Helper()
	r.s.idem.epoch = math.MaxInt16
	warm(t, r)
	sendBatch(t, r, 1)
	r.lose(0)
	time.Sleep(r.cfg.deliveryTimeout)
	r.s.expire(time.Now())
	r.append(0, "key", "value")
}

func TestTheLastEpochAsksForANewID(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		useUpEpochs(t, r)
		require.Empty(t, r.drain(0))
		require.Equal(t, idNone, r.s.idem.state)
		r.s.idem = idempotence{on: true, state: idReady, id: 8}
		r.s.look(r.topic.queue(0), time.Now())
		b := r.drainOne(0)
		requireIdentity(t, b, 0, 0)
		require.EqualValues(t, 8, b.producerID)
	})
}

// modelLog is a partition as a node keeps it: it knows the last five batches of a producer id.
type modelLog struct {
	known  bool
	epoch  int16
	recent [][2]int32 // first and last sequence, newest last
	values []string
}

// produce appends a batch, or says why not.
func (l *modelLog) produce(t *testing.T, wire []byte) protocol.ErrorCode {
	h, records := read(t, wire)
	first, last := h.BaseSequence, h.LastSequence()
	switch {
	case l.known && h.ProducerEpoch < l.epoch:
		return protocol.InvalidProducerEpoch
	case l.known && h.ProducerEpoch > l.epoch:
		if first != 0 {
			return protocol.OutOfOrderSequenceNumber
		}
		l.recent = nil
	case l.known:
		if slices.Contains(l.recent, [2]int32{first, last}) {
			return protocol.None
		}
		if first != protocol.IncrementSequence(l.recent[len(l.recent)-1][1], 1) {
			return protocol.OutOfOrderSequenceNumber
		}
	}
	l.known, l.epoch = true, h.ProducerEpoch
	if l.recent = append(l.recent, [2]int32{first, last}); len(l.recent) > maxInFlightPerPartition {
		l.recent = l.recent[1:]
	}
	for _, record := range records {
		l.values = append(l.values, string(record.Value))
	}
	return protocol.None
}

// sequenceRun is one random run of a partition against a modelLog.
type sequenceRun struct {
	*rig
	rnd      *rand.Rand
	log      modelLog
	late     [][]byte            // copies that the network still carries
	identity map[*batch][3]int64 // under which a batch was last sent
	firsts   map[*batch]string   // its first value
	outcomes map[string]error
	told     []string
	sentN    int
}

// The promise of idempotence, with losses, refusals, late answers and old ones: every record at most
// once, in order; an accepted one exactly once; one that "was not written" never.
func TestRandomFaultsLeaveSequencesWhole(t *testing.T) {
	for seed := range uint64(150) {
		withRig(t, func(s *settings) { idempotentRig(s); s.batchSize = 130; s.bufferMemory = 1 << 20 }, func(t *testing.T, r *rig) {
			run := &sequenceRun{rig: r, rnd: rand.New(rand.NewPCG(seed, 7)), identity: map[*batch][3]int64{}, firsts: map[*batch]string{}, outcomes: map[string]error{}}
			if seed%3 == 0 { // the numbers wrap on the way
				r.topic.queue(0).out.seq = sequences{id: 7, next: math.MaxInt32 - 5, lastAcked: -1}
			}
			for range 120 {
				run.step(t)
			}
			run.settle(t)
			run.check(t, seed)
		})
	}
}

func (run *sequenceRun) step(t *testing.T) {
	switch run.rnd.IntN(10) {
	case 0, 1, 2:
		for range 1 + run.rnd.IntN(5) {
			run.sentN++
			value := fmt.Sprintf("%06d", run.sentN)
			in := one("", value)
			in.hasFuture = false
			in.callback = func(_ RecordMetadata, err error) {
				if _, twice := run.outcomes[value]; twice {
					t.Fatalf("record %s was told twice", value)
				}
				run.outcomes[value] = err
				run.told = append(run.told, value)
			}
			run.appendInput(0, in)
		}
	case 3, 4:
		run.send(t)
	case 5, 6, 7:
		run.answerOne(t)
	case 8:
		if run.rnd.IntN(3) == 0 {
			run.cut(t)
		}
		if len(run.late) > 0 {
			run.log.produce(t, run.late[0])
			run.late = run.late[1:]
		}
	case 9:
		time.Sleep(time.Duration(run.rnd.IntN(700)) * time.Millisecond)
		run.s.expire(time.Now())
	}
	run.dispatch()
}

// send puts a request on the wire if the connection has a slot.
func (run *sequenceRun) send(t *testing.T) {
	if len(run.sent[0]) >= maxInFlightPerPartition {
		return
	}
	for _, b := range run.drain(0) {
		run.written0(t)
		_, records := read(t, wireBytes(b))
		first, now := string(records[0].Value), [3]int64{b.producerID, int64(b.producerEpoch), int64(b.baseSequence)}
		if before, ok := run.identity[b]; ok && run.firsts[b] == first && before != now {
			require.NotContains(t, run.log.values, first, "a batch in the log has new sequences")
		}
		run.identity[b], run.firsts[b] = now, first
	}
}

// written0 seals the newest request.
func (run *sequenceRun) written0(t *testing.T) {
	req := run.sent[0][len(run.sent[0])-1]
	require.NoError(t, req.Encode(&network.Frame{}, req.Version))
}

// answerOne lets the node answer its oldest request, somehow.
func (run *sequenceRun) answerOne(t *testing.T) {
	if len(run.sent[0]) == 0 {
		return
	}
	wire := wireBytes(run.sent[0][0].batches[0])
	code := protocol.None
	switch run.rnd.IntN(10) {
	case 0:
		code = protocol.NotEnoughReplicas
	case 3:
		code = protocol.MessageTooLarge
	case 1:
		code = protocol.InvalidRecord
	case 2:
		if code = run.log.produce(t, wire); code == protocol.None {
			code = protocol.RequestTimedOut // appended, not replicated
		}
	default:
		code = run.log.produce(t, wire)
	}
	run.answer(0, refusedWith(code))
}

// cut ends the connection: the node has seen the first few requests; of the others, some arrive later.
func (run *sequenceRun) cut(t *testing.T) {
	seen := run.rnd.IntN(len(run.sent[0]) + 1)
	for i := 0; len(run.sent[0]) > 0; i++ {
		wire := slices.Clone(wireBytes(run.sent[0][0].batches[0]))
		if i < seen {
			run.log.produce(t, wire)
		} else if run.rnd.IntN(2) == 0 {
			run.late = append(run.late, wire)
		}
		run.lose(0)
	}
}

// settle lets everything come to its end without further faults.
func (run *sequenceRun) settle(t *testing.T) {
	for turns := 0; run.acc.count() > 0 || len(run.sent[0]) > 0; turns++ {
		require.Less(t, turns, 10000, "it never ends")
		run.send(t)
		if len(run.sent[0]) > 0 {
			code := run.log.produce(t, wireBytes(run.sent[0][0].batches[0]))
			run.answer(0, refusedWith(code))
		} else {
			time.Sleep(10 * time.Millisecond)
			run.s.expire(time.Now())
		}
		run.dispatch()
	}
	for _, wire := range run.late {
		run.log.produce(t, wire)
	}
}

func (run *sequenceRun) check(t *testing.T, seed uint64) {
	require.True(t, slices.IsSorted(run.log.values), "seed %d: order", seed)
	require.Len(t, slices.Compact(slices.Clone(run.log.values)), len(run.log.values), "seed %d: written twice", seed)
	require.Len(t, run.outcomes, run.sentN, "seed %d: an outcome for each", seed)
	require.True(t, slices.IsSorted(run.told), "seed %d: told in the order of the sends", seed)
	for value, err := range run.outcomes {
		_, written := slices.BinarySearch(run.log.values, value)
		if err == nil {
			require.True(t, written, "seed %d: %s was accepted and is lost", seed, value)
			continue
		}
		failed, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		if failed.Outcome != MaybeWritten {
			require.False(t, written, "seed %d: %s is said to be %v: %v", seed, value, failed.Outcome, err)
		}
	}
	require.EqualValues(t, 1<<20, run.free(), "seed %d", seed)
}

// A node that was stopped in good order reads back from its snapshot the last batch of each producer
// only, and calls the ones before it out of order although it has them.

// threeLost leaves three batches of partition 0 that may be written, and asks for the first again.
func threeLost(t *testing.T, r *rig) (lost []*batch, futures []Future) {
	t.Helper()
	warmBoth(t, r, 5)
	for range 3 {
		futures = append(futures, r.append(0, "key", "value"))
		lost = append(lost, r.drainOne(0))
	}
	for range lost {
		r.answer(0, refusedWith(protocol.RequestTimedOut))
	}
	askAgain(t, r, lost[0])
	return lost, futures
}

// askAgain sends a batch again, under the numbers it has.
func askAgain(t *testing.T, r *rig, b *batch) {
	t.Helper()
	time.Sleep(time.Second)
	id, epoch, sequence := b.producerID, b.producerEpoch, b.baseSequence
	require.Same(t, b, r.drainOne(0))
	require.Equal(t, id, b.producerID)
	requireIdentity(t, b, epoch, sequence)
}

func TestTheOneBatchThatANodeRemembersProvesThoseBefore(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.append(0, "key", "value")
		require.Empty(t, r.drain(0), "nothing new leaves as long as it is not known what is there")
		r.answer(0, accepted(503))
		r.dispatch()
		for i, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.Equal(t, []int64{-1, -1, 503}[i], m.Offset)
		}
		requireIdentity(t, r.drainOne(0), 5, 4)
		require.Zero(t, r.s.idem.bumps)
	})
}

func TestWhatANodeDoesNotRememberAtAllIsWrittenAnew(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		time.Sleep(time.Second)
		for i, b := range lost {
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 6, int32(i))
			r.answer(0, accepted(501+int64(i)))
		}
		r.dispatch()
		for i, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.EqualValues(t, 501+i, m.Offset)
		}
		require.Equal(t, 1, r.s.idem.bumps)
	})
}

// The first batches of an epoch prove no less: the node would have taken none but the first.
func TestARememberedBatchProvesThoseBeforeFromTheFirstOfAnEpochOn(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 4)
		r.s.idem.epoch = 5
		var lost []*batch
		for i := range int32(3) {
			lost = append(lost, sendTo(t, r, 0))
			requireIdentity(t, lost[i], 5, i)
		}
		for range lost {
			r.lose(0)
		}
		for _, b := range lost {
			askAgain(t, r, b)
			if b != lost[2] {
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			}
		}
		r.answer(0, accepted(503))
		require.Empty(t, r.sequences(0).inFlight)
		require.Zero(t, r.s.idem.bumps)
	})
}

// However many came between, and if the numbers begin again.
func TestAnAcceptedBatchProvesThoseBeforeAfterBillionsOfRecords(t *testing.T) {
	p := noSequences()
	p.id, p.epoch, p.known = 7, 0, true
	at := func(sequence int32) *batch {
		return &batch{identity: identityGiven, producerID: 7, baseSequence: sequence, records: 10}
	}
	for sequence, i := int32(0), 0; i < 20; sequence, i = protocol.IncrementSequence(sequence, 300_000_000), i+1 {
		before, b := at(sequence), at(protocol.IncrementSequence(sequence, 10))
		require.False(t, p.passed(before), "%d", sequence)
		p.acknowledged(b, -1)
		require.True(t, p.passed(before), "%d", sequence)
		require.False(t, p.passed(at(protocol.IncrementSequence(sequence, 20))), "%d", sequence)
	}
}

func patientRig(s *settings) {
	idempotentRig(s)
	s.deliveryTimeout = time.Minute
}

// If the last batch is given up, it will never be known whether it is what the node remembers.
func TestABatchPutAsideIsNotForgotten(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		lost, futures := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.TopicAuthorizationFailed))
		askAgain(t, r, lost[0])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		askAgain(t, r, lost[1])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		askAgain(t, r, lost[0])
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		r.dispatch()
		for _, f := range futures {
			_, err := outcomeOf(t, f)
			require.Equal(t, MaybeWritten, err.(*Error).Outcome)
		}
		require.EqualValues(t, rigMemory, r.free())
		requireIdentity(t, sendTo(t, r, 0), 6, 0)
	})
}

// A refusal proves nothing about earlier attempts: the broker may have taken the batch under other settings, and
// it is the one that it remembers. So the batches before it are not written again, for whichever reason it was refused.
func TestARefusalNowProvesNothingAboutEarlierAttempts(t *testing.T) {
	for _, code := range []protocol.ErrorCode{
		protocol.MessageTooLarge, protocol.RecordListTooLarge, protocol.InvalidRecord, protocol.InvalidTimestamp,
		protocol.UnsupportedForMessageFormat, protocol.UnsupportedCompressionType, protocol.PolicyViolation, protocol.TopicAuthorizationFailed,
	} {
		for _, lost := range []bool{false, true} { // false: answered, but with a doubt
			withRig(t, idempotentRig, func(t *testing.T, r *rig) {
				warmBoth(t, r, 5)
				first := r.append(0, "key", "value")
				a := r.drainOne(0)
				second := r.append(0, "key", "value")
				b := r.drainOne(0)
				for range 2 {
					if lost {
						r.lose(0)
					} else {
						r.answer(0, refusedWith(protocol.RequestTimedOut))
					}
				}
				askAgain(t, r, a)
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
				askAgain(t, r, b)
				r.answer(0, refusedWith(code))
				askAgain(t, r, a)
				r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
				r.dispatch()
				for _, f := range []Future{first, second} {
					_, err := outcomeOf(t, f)
					require.Equal(t, MaybeWritten, err.(*Error).Outcome, "%v", err)
				}
				requireIdentity(t, sendTo(t, r, 0), 6, 0) // at once
				require.EqualValues(t, 1, r.s.idem.bumps)
			})
		}
	}
}

// A batch was refused when it was sent again, and one behind it is not in the log. Copies of both may still arrive,
// the refused one's too if the broker changes its mind, so the second one must not get new numbers. Nor is it
// worth waiting for: what comes after it goes on at once.
func TestWhatIsBehindARefusedBatchDoesNotWaitForItsCopies(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 5)
		a, first := sendTo(t, r, 0), r.append(0, "key", "value")
		b := r.drainOne(0)
		r.lose(0)
		r.lose(0)
		askAgain(t, r, a)
		r.answer(0, refusedWith(protocol.MessageTooLarge))
		askAgain(t, r, b)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		r.dispatch()
		_, err := outcomeOf(t, first)
		require.Equal(t, MaybeWritten, err.(*Error).Outcome)
		require.ErrorContains(t, err, "whether that one was written can no longer be found out")
		requireIdentity(t, sendTo(t, r, 0), 6, 0)
	})
}

// One that was given up for want of time is another matter: a node that was frozen takes its copy when it wakes up.
func TestWhatIsBehindAnExpiredBatchWaitsForItsCopies(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		warmBoth(t, r, 5)
		sendTo(t, r, 0)
		time.Sleep(r.cfg.deliveryTimeout - 3*time.Second)
		b := sendTo(t, r, 0)
		r.lose(0)
		r.lose(0)
		time.Sleep(3 * time.Second)
		r.s.expire(time.Now())
		for range 2 {
			askAgain(t, r, b)
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		}
		askAgain(t, r, b)
		r.answer(0, accepted(7)) // both copies arrived
		require.Empty(t, r.sequences(0).inFlight)
		c := sendTo(t, r, 0)
		requireIdentity(t, c, 5, 3)

		// And that is the end of the doubt: a batch that is missing later is written again.
		r.lose(0)
		askAgain(t, r, c)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		time.Sleep(time.Second)
		require.Same(t, c, r.drainOne(0))
		requireIdentity(t, c, 6, 0)
	})
}

// For whichever reason a batch is given up, those put aside before it are asked for again if nothing is left to wait for.
func TestGivingUpABatchBringsBackThosePutAside(t *testing.T) {
	withRig(t, patientRig, func(t *testing.T, r *rig) {
		lost, _ := threeLost(t, r)
		for _, next := range lost[1:] {
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
			askAgain(t, r, next)
		}
		r.answer(0, refusedWith(protocol.NotEnoughReplicas))
		r.s.giveUp(lost[2], r.s.describe(lost[2], &Error{Kind: ErrDeliveryTimeout}, time.Now()), time.Now())
		require.Equal(t, lost[:2], r.queued(0))
		askAgain(t, r, lost[0])
	})
}

// A log that was made again has none of them: there they go in their order.
func TestBatchesPutAsideGoFirstIntoANewLog(t *testing.T) {
	withRig(t, idempotentRig, func(t *testing.T, r *rig) {
		lost, _ := threeLost(t, r)
		r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber))
		anew := *r.topic.info.Load()
		anew.ID, anew.Partitions = [16]byte{200}, slices.Clone(anew.Partitions)
		r.topic.setInfo(&anew)
		time.Sleep(time.Second)
		for i, b := range lost {
			askAgain(t, r, b)
			r.answer(0, accepted(int64(i)))
		}
		require.Zero(t, r.s.idem.bumps)
	})
}

// The log that was there before may have the records, even if the new one says that it has none of them and of their parts.
func TestWhatANewLogRefusesMayBeInTheOneBefore(t *testing.T) {
	for _, c := range []struct{ lost, split bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		withRig(t, idempotentRig, func(t *testing.T, r *rig) {
			warm(t, r)
			futures := []Future{r.append(0, "key", "value"), r.append(0, "key", "value")}
			b := r.drainOne(0)
			if c.lost {
				r.lose(0)
			} else {
				r.answer(0, refusedWith(protocol.NotEnoughReplicas))
			}
			anew := *r.topic.info.Load()
			anew.ID, anew.Partitions = [16]byte{200}, slices.Clone(anew.Partitions)
			r.topic.setInfo(&anew)
			askAgain(t, r, b)
			r.answer(0, refusedWith(protocol.OutOfOrderSequenceNumber)) // it knows nothing of the producer
			time.Sleep(time.Second)
			require.Same(t, b, r.drainOne(0))
			requireIdentity(t, b, 1, 0)
			parts := 1
			if c.split {
				r.answer(0, refusedWith(protocol.MessageTooLarge))
				r.drainOne(0)
				parts = 2
			}
			for i := range parts {
				if i > 0 {
					r.drainOne(0)
				}
				r.answer(0, refusedWith(protocol.InvalidRecord))
			}
			r.dispatch()
			want := Rejected
			if c.lost {
				want = MaybeWritten
			}
			for _, f := range futures {
				_, err := outcomeOf(t, f)
				require.ErrorIs(t, err, protocol.InvalidRecord)
				require.Equal(t, want, err.(*Error).Outcome)
			}
		})
	}
}
