package quill_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// The faults of TestChaos.

// breakThings does one thing after the other to the cluster, and makes it well in the end.
func (x *chaos) breakThings() {
	r := rand.New(rand.NewPCG(x.seed, 3))
	var injected []*quilltest.Injection
	deadline := time.Now().Add(x.faultsFor)
	for time.Now().Before(deadline) {
		switch n := r.IntN(20); {
		case n < 9:
			injected = append(injected, x.cluster.Inject(x.produceFault(r)))
		case n < 11:
			injected = append(injected, x.cluster.Inject(x.otherFault(r)))
		case n < 13 && x.forgetful:
			x.forget(r)
		case n < 16:
			x.moveLeader(r)
		default:
			x.hurtNode(r)
		}
		time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
	}
	for _, i := range injected {
		i.Remove()
	}
	for _, id := range x.cluster.NodeIDs() {
		x.must(x.cluster.ResumeNode(id))
		x.must(x.cluster.StartNode(id))
	}
	x.syncReplicas()
}

// syncReplicas brings all replicas in sync.
func (x *chaos) syncReplicas() {
	for _, topic := range chaosTopics {
		for p := range int32(topic.partitions) {
			x.must(x.cluster.SetISR(topic.name, p, x.cluster.NodeIDs()...))
		}
	}
}

func (x *chaos) must(err error) {
	if err != nil {
		x.fault("%v", err)
	}
}

// produceFault returns something that happens to some Produce requests.
func (x *chaos) produceFault(r *rand.Rand) quilltest.Fault {
	f := quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Times: 1 + r.IntN(4), Skip: r.IntN(4)}
	if r.IntN(2) == 0 {
		topic := chaosTopics[r.IntN(len(chaosTopics))]
		f.Topic = topic.name
		if r.IntN(2) == 0 {
			f.Partitions = []int32{int32(r.IntN(topic.partitions))}
		}
	}
	lossy := 14
	if x.forgetful {
		lossy = 0
	}
	n := r.IntN(8 + lossy)
	if lossy > 0 && (n == 2 || n == 3) {
		n = 0 // what is in a batch is refused each time or never; a copy that got lost might pass here
	}
	switch n {
	case 0, 1:
		f.Err = pick(r, protocol.NotEnoughReplicas, protocol.NotLeaderOrFollower, protocol.UnknownTopicOrPartition, protocol.KafkaStorageError,
			protocol.LeaderNotAvailable, protocol.CorruptMessage, protocol.RequestTimedOut, protocol.ThrottlingQuotaExceeded)
	case 2:
		f.Err = pick(r, protocol.InvalidRecord, protocol.TopicAuthorizationFailed, protocol.MessageTooLarge, protocol.InvalidTimestamp, protocol.UnsupportedForMessageFormat)
	case 3:
		f.RecordErrors = map[int32]string{int32(r.IntN(3)): "not this one"}
	case 4, 5:
		f.Delay = time.Duration(r.IntN(400)) * time.Millisecond
		if x.forgetful {
			f.Delay /= 4
		}
	case 6, 7:
		f.Throttle = time.Duration(r.IntN(1500)) * time.Millisecond
	case 8, 9:
		f.DisconnectBefore = true
	case 10, 11:
		f.DisconnectAfter = true
	case 12, 13:
		f.DropRequest = true
	case 14, 15:
		f.DropAnswer = true
	case 16, 17:
		f.AfterAppend = true
		f.Err = pick(r, protocol.RequestTimedOut, protocol.NotEnoughReplicasAfterAppend, protocol.NotLeaderOrFollower, protocol.UnknownTopicOrPartition,
			protocol.KafkaStorageError, protocol.UnknownServerError)
	case 18:
		f.AnswerDelay = time.Duration(r.IntN(5000)) * time.Millisecond
	case 19:
		f.Delay = time.Duration(r.IntN(5000)) * time.Millisecond
	case 20:
		f.CutAnswer = 1 + r.IntN(60)
	case 21:
		f.Trickle = time.Duration(1+r.IntN(20)) * time.Millisecond
	}
	return f
}

// otherFault returns something that happens to other requests.
func (x *chaos) otherFault(r *rand.Rand) quilltest.Fault {
	f := quilltest.Fault{APIs: []protocol.APIKey{pick(r, protocol.Metadata, protocol.Metadata, protocol.InitProducerID, protocol.APIVersions)}, Times: 1 + r.IntN(3)}
	switch r.IntN(6) {
	case 0:
		f.DisconnectBefore = true
	case 1:
		f.DisconnectAfter = true
	case 2:
		f.Delay = time.Duration(r.IntN(2000)) * time.Millisecond
	case 3:
		f.Throttle = time.Duration(r.IntN(500)) * time.Millisecond
	case 4:
		f.DropRequest = true
	case 5:
		switch f.APIs[0] {
		case protocol.InitProducerID:
			f.Err = pick(r, protocol.CoordinatorLoadInProgress, protocol.NotCoordinator, protocol.RequestTimedOut)
		case protocol.Metadata:
			f.Topic = chaosTopics[r.IntN(len(chaosTopics))].name
			f.Err = pick(r, protocol.LeaderNotAvailable, protocol.UnknownTopicOrPartition)
		}
	}
	if x.forgetful { // a lost connection may take requests with it
		f.DisconnectBefore, f.DisconnectAfter, f.DropRequest = false, false, false
		f.Delay /= 20
	}
	return f
}

func (x *chaos) moveLeader(r *rand.Rand) {
	topic := chaosTopics[r.IntN(len(chaosTopics))]
	p := int32(r.IntN(topic.partitions))
	_ = x.cluster.MoveLeader(topic.name, p, int32(1+r.IntN(3))) // to a node that is down: nothing happens
	if r.IntN(3) == 0 {
		if leader, _, err := x.cluster.Leader(topic.name, p); err == nil && leader > 0 {
			_ = x.cluster.SetISR(topic.name, p, leader)
		}
	}
}

// hurtNode stops, freezes, cuts off or disconnects a node for a while.
func (x *chaos) hurtNode(r *rand.Rand) {
	id := int32(1 + r.IntN(3))
	for0 := time.Duration(r.IntN(3000)) * time.Millisecond
	if x.forgetful {
		return
	}
	switch r.IntN(5) {
	case 0:
		x.must(x.cluster.StopNode(id))
		time.Sleep(for0)
		x.must(x.cluster.StartNode(id))
	case 1:
		x.must(x.cluster.PauseNode(id))
		time.Sleep(for0)
		x.must(x.cluster.ResumeNode(id))
	case 2:
		x.must(x.cluster.CutOffNode(id))
		time.Sleep(for0)
		x.must(x.cluster.ResumeNode(id))
	case 3:
		x.must(x.cluster.RelocateNode(3)) // the other two stay where the bootstrap servers are
	default:
		x.must(x.cluster.Disconnect(id))
	}
}

// forget makes a partition forget producers and records, as after a long time without any. It
// happens while nothing is under way: brokers do not forget a producer that is at work.
func (x *chaos) forget(r *rand.Rand) {
	x.syncReplicas() // or a SendSync may hold its token for long
	tokens := make([]int, 0, cap(x.world))
	for range cap(x.world) {
		tokens = append(tokens, <-x.world)
	}
	topic := chaosTopics[r.IntN(len(chaosTopics))]
	p := int32(r.IntN(topic.partitions))
	if x.p.Flush(x.t.Context()) == nil {
		x.must(x.cluster.ForgetProducers(topic.name, p))
		if r.IntN(2) == 0 {
			_, end, err := x.cluster.Offsets(topic.name, p)
			x.must(err)
			x.must(x.cluster.DeleteRecords(topic.name, p, end))
		}
	}
	for _, token := range tokens {
		x.world <- token
	}
}

// What must hold after a run of TestChaos.

// chaosSlack is how late something may be. Virtual time passes only while all goroutines wait.
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
	case e.Outcome != quill.MaybeWritten && len(at) > 0:
		x.faultLocked("%s (%v) is in the log at %v", name, s.err, at)
	case x.patient && errors.Is(s.err, quill.ErrDeliveryTimeout):
		x.faultLocked("%s: %v", name, s.err)
	case e.Fatal() && !errors.Is(s.err, quill.ErrClosed):
		x.faultLocked("%s: %v", name, s.err)
	}
}
