package quill

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Work grows with what is in use, not with what is known. Two things hold that here: all partitions
// and topics that are known and not in use are nil, so that code that walks them panics; and what
// the sender asks its connections is counted, and is the same with three nodes and with a thousand.

type knownCluster struct{ nodes, partitions, topics int }

func TestWhatIsNotInUseCostsNothing(t *testing.T) {
	var few, many map[string]int
	synctest.Test(t, func(t *testing.T) { few = workFor(t, knownCluster{nodes: 3, partitions: 12, topics: 1}) })
	synctest.Test(t, func(t *testing.T) {
		many = workFor(t, knownCluster{nodes: 1000, partitions: 100_000, topics: 1000})
	})
	require.Positive(t, few["Send"])
	require.Equal(t, few, many)
}

// workFor plays a producer's daily life for 12 partitions on 3 nodes, and returns what the sender asked.
func workFor(t *testing.T, known knownCluster) map[string]int {
	const used = 12
	e, n := assembleNull(t, Config{BatchSize: 2048, BufferMemory: 1 << 20}, known.nodes, 3, func(string) int { return known.partitions })
	s := e.sender
	topic := e.acc.ensureTopic("t", e.newTopic)
	queues := make([]*partitionQueue, known.partitions)
	for i := range used {
		queues[i] = &partitionQueue{topic: topic, index: int32(i), hint: noHint, out: newPartitionOut()}
	}
	topic.queues.Store(&queues)
	name := "t"
	var res message.MetadataResponse
	n.mu.Lock()
	n.describeLocked(&message.MetadataRequest{Topics: []message.MetadataRequestTopic{{Name: &name}}}, &res)
	n.mu.Unlock()
	snapshot := metadata.NewSnapshot(s.refresh.update(&metadataAsk{topics: []*topicState{topic}}, &res, 13))
	info, ok := snapshot.Topic(name)
	require.True(t, ok)
	s.acc.setNodes(snapshot)
	topic.setInfo(info)
	s.adopt(snapshot, time.Now())
	s.idem.state, s.idem.id, s.idem.epoch = idReady, 7, 0
	s.refresh.refreshedAt = time.Now()
	s.refresh.topics[name] = topic
	for i := range known.topics - 1 {
		s.refresh.topics[string(rune('A'+i))] = nil
	}

	delivered := 0
	in := appendInput{record: bytesRecord{Value: stageValue()}, timestamp: -1, callback: func(_ RecordMetadata, err error) {
		require.NoError(t, err)
		delivered++
	}}
	in.maxSize = protocol.MaxRecordSize(nil, in.record.Value, nil)
	sent := 0
	send := func(records int) {
		for i := range records {
			_, err := e.acc.append(context.Background(), topic.queue(int32(i%used)), &in, nil, nil)
			require.NoError(t, err)
			sent++
		}
	}
	turns := func(count int) {
		for range count {
			s.step(time.Now())
			synctest.Wait()
			drainDispatcher(s.dispatch)
		}
	}
	n.calls = map[string]int{}
	send(used) // and linger
	turns(2)
	time.Sleep(e.cfg.linger)
	turns(4)
	require.Equal(t, sent, delivered)
	send(100 * used) // full batches, more than may be in flight
	turns(40)
	e.acc.beginFlush()
	turns(4)
	require.Equal(t, sent, delivered)
	send(used)
	e.acc.pool.onWait() // a Send waits for memory
	turns(4)
	time.Sleep(e.cfg.linger)
	turns(4)
	require.Equal(t, sent, delivered)
	turns(100) // nothing to do
	n.Close()
	n.Wait()
	e.clock.close()
	return n.calls
}

// drainDispatcher runs the callbacks of all that is decided, in the caller's goroutine.
func drainDispatcher(d *dispatcher) {
	d.kick()
	d.mu.Lock()
	d.batches, d.queue = d.queue, d.batches[:0]
	d.mu.Unlock()
	for i, b := range d.batches {
		d.deliver(b)
		d.batches[i] = nil
	}
	d.at = place{}
}

// The look at all queue lengths, for keyless records, is the one walk there is. It gets rarer the
// longer it takes.
func TestBalancingOfManyPartitionsIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for partitions, every := range map[int]time.Duration{12: 5 * time.Millisecond, 1000: 7 * time.Millisecond, 100_000: 205 * time.Millisecond} {
			a := &accumulator{clock: newCoarseClock()}
			topic := &topicState{name: "t", sticky: newStickyPartitioner(1024, true, false, "", nil)}
			queues := make([]*partitionQueue, partitions)
			topic.queues.Store(&queues)
			time.Sleep(time.Second)
			a.balance(topic)
			first := topic.loadAt.Load()
			require.NotZero(t, first)
			time.Sleep(every - time.Millisecond)
			a.balance(topic)
			require.Equal(t, first, topic.loadAt.Load(), "%d partitions", partitions)
			time.Sleep(time.Millisecond)
			a.balance(topic)
			require.NotEqual(t, first, topic.loadAt.Load(), "%d partitions", partitions)
		}
	})
}
