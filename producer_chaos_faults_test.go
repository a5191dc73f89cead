package quill_test

import (
	"math/rand/v2"
	"time"

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

// produceFault is something that happens to some Produce requests.
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

// otherFault is something that happens to other requests.
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
