package quill_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

// What must hold after a run of TestChaos.

// chaosSlack is how late something may be. Virtual time passes only while everybody waits.
const chaosSlack = 2 * time.Millisecond

// check returns what does not hold.
func (x *chaos) check() []string {
	if free := x.p.BufferAvailable(); free != x.memory() {
		x.fault("%d of %d bytes of buffer memory came back", free, x.memory())
	}
	log := x.readLog()
	x.mu.Lock()
	defer x.mu.Unlock()
	for g, l := range x.ledger {
		for i, s := range l {
			x.checkOneLocked(fmt.Sprintf("%d/%d", g, i), s, log)
		}
	}
	return x.faults
}

func (x *chaos) memory() int64 {
	if x.cfg.BufferMemory == 0 {
		return 32 << 20
	}
	return x.cfg.BufferMemory
}

// ordered says whether order is promised: with idempotence, or one request in flight.
func (x *chaos) ordered() bool {
	return x.idempotent() || x.cfg.MaxInFlightRequestsPerConnection == 1
}

// place is where a record can be.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// chaosLog is what the partitions hold: copies per record, and where each begins.
type chaosLog struct {
	at      map[string][]place // by value
	records map[place]quilltest.Record
	start   map[place]int64 // log start offset, by place with offset 0
}

// readLog reads all partitions and checks the order in each.
func (x *chaos) readLog() chaosLog {
	log := chaosLog{at: map[string][]place{}, records: map[place]quilltest.Record{}, start: map[place]int64{}}
	for _, topic := range chaosTopics {
		for p := range int32(topic.partitions) {
			records, err := x.cluster.Records(topic.name, p)
			x.must(err)
			start, _, err := x.cluster.Offsets(topic.name, p)
			x.must(err)
			log.start[place{topic.name, p, 0}] = start
			last := map[int]int{}
			for _, rec := range records {
				at := place{topic.name, p, rec.Offset}
				log.at[string(rec.Value)] = append(log.at[string(rec.Value)], at)
				log.records[at] = rec
				g, i := chaosNumber(rec.Value)
				if before, ok := last[g]; ok && before >= i && x.idempotent() {
					x.fault("log of %s-%d at %d: %d/%d (epoch %d, sequence %d) after %d/%d", topic.name, p, rec.Offset, g, i, rec.ProducerEpoch, rec.Sequence, g, before)
				}
				last[g] = i
			}
		}
	}
	return log
}

// checkOneLocked checks one record.
//
// +checklocks:x.mu
func (x *chaos) checkOneLocked(name string, s *sent, log chaosLog) {
	if s.completed != 1 {
		x.faultLocked("%s has %d outcomes", name, s.completed)
		return
	}
	limit := x.cfg.DeliveryTimeout
	if limit == 0 {
		limit = 2 * time.Minute
	}
	if took := s.done.Sub(s.returned); took > limit+chaosSlack {
		x.faultLocked("%s took %v", name, took)
	}
	at := log.at[string(s.value)]
	if len(at) > 1 && x.idempotent() {
		x.faultLocked("%s (err %v) is in the log %d times: %v", name, s.err, len(at), at)
	}
	if s.err != nil {
		x.checkFailedLocked(name, s, at)
		return
	}
	told := place{s.meta.Topic, s.meta.Partition, s.meta.Offset}
	switch deleted := told.offset < log.start[place{told.topic, told.partition, 0}]; {
	case x.cfg.Acks == quill.AcksNone:
		if s.meta.HasOffset() {
			x.faultLocked("%s: offset %d with acks=0", name, told.offset)
		}
	case !s.meta.HasOffset(): // known to be written because later ones were
		if !slices.ContainsFunc(at, func(p place) bool { return p.topic == told.topic && p.partition == told.partition }) {
			x.faultLocked("%s is not in %s-%d; its copies: %v", name, told.topic, told.partition, at)
		}
	case deleted:
	case !bytes.Equal(log.records[told].Value, s.value):
		x.faultLocked("%s is not at %v; its copies: %v", name, told, at)
	}
}

// checkFailedLocked checks a record that failed; at is where it is all the same.
//
// +checklocks:x.mu
func (x *chaos) checkFailedLocked(name string, s *sent, at []place) {
	e, ok := errors.AsType[*quill.Error](s.err)
	switch {
	case !ok:
		x.faultLocked("%s failed with %T: %v", name, s.err, s.err)
	case e.Outcome() != quill.MaybeWritten && len(at) > 0:
		x.faultLocked("%s (%v) is in the log at %v", name, s.err, at)
	case x.patient && errors.Is(s.err, quill.ErrDeliveryTimeout):
		x.faultLocked("%s: %v", name, s.err)
	case e.Fatal() && !errors.Is(s.err, quill.ErrClosed):
		x.faultLocked("%s: %v", name, s.err)
	}
}
