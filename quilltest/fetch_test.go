package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// fetchRequest reads partition 0 of a topic from an offset, and waits for nothing.
func fetchRequest(c *Cluster, topic string, offset int64) *message.FetchRequest {
	req := message.NewRequest(protocol.Fetch).(*message.FetchRequest)
	p := message.FetchPartition{FetchOffset: offset, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 1 << 20}
	req.Topics = []message.FetchTopic{{Topic: topic, TopicID: c.TopicID(topic), Partitions: []message.FetchPartition{p}}}
	return req
}

// fetch returns the answer for the only partition asked for.
func (r *rawClient) fetch(req *message.FetchRequest, version int16) message.PartitionData {
	r.t.Helper()
	return only(r.t, r.do(req, version).(*message.FetchResponse))
}

func only(t testing.TB, res *message.FetchResponse) message.PartitionData {
	t.Helper()
	require.Equal(t, protocol.None, res.ErrorCode)
	require.Zero(t, res.SessionID)
	require.Len(t, res.Responses, 1)
	require.Len(t, res.Responses[0].Partitions, 1)
	return res.Responses[0].Partitions[0]
}

func TestFetchReadsTheLogInEveryVersion(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		for range 3 {
			r.produce(c, "orders", testBatch{values: records(10)}.bytes())
		}
		log, err := c.Batches("orders", 0)
		require.NoError(t, err)
		for version := message.FetchMinVersion; version <= message.FetchMaxVersion; version++ {
			res := r.do(fetchRequest(c, "orders", 0), version).(*message.FetchResponse)
			if version >= 13 {
				require.Equal(t, c.TopicID("orders"), res.Responses[0].TopicID)
			} else {
				require.Equal(t, "orders", res.Responses[0].Topic)
			}
			p := only(t, res)
			require.Equal(t, protocol.None, p.ErrorCode)
			require.Equal(t, [2]int64{30, 30}, [2]int64{p.HighWatermark, p.LastStableOffset})
			require.Equal(t, join(log), p.Records)
			require.Empty(t, p.AbortedTransactions)

			require.Equal(t, join(log[1:]), r.fetch(fetchRequest(c, "orders", 19), version).Records, "the whole batch that holds the offset")
			require.Equal(t, join(log[2:]), r.fetch(fetchRequest(c, "orders", 20), version).Records)
			require.Equal(t, []byte{}, r.fetch(fetchRequest(c, "orders", 30), version).Records, "not null")
			require.Equal(t, protocol.OffsetOutOfRange, r.fetch(fetchRequest(c, "orders", 31), version).ErrorCode)
			require.Equal(t, protocol.OffsetOutOfRange, r.fetch(fetchRequest(c, "orders", -1), version).ErrorCode)
		}
		require.NoError(t, c.DeleteRecords("orders", 0, 15))
		require.Equal(t, protocol.OffsetOutOfRange, r.fetch(fetchRequest(c, "orders", 14), 18).ErrorCode)
		p := r.fetch(fetchRequest(c, "orders", 15), 18)
		require.Equal(t, int64(15), p.LogStartOffset)
		require.Equal(t, join(log[1:]), p.Records)
	})
}

func join(batches []Batch) []byte {
	var all []byte
	for _, b := range batches {
		all = append(all, b.Bytes...)
	}
	return all
}

func TestFetchNamesWhatDoesNotExist(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		require.Equal(t, protocol.UnknownTopicOrPartition, r.fetch(fetchRequest(c, "others", 0), 12).ErrorCode)
		require.Equal(t, protocol.UnknownTopicID, r.fetch(fetchRequest(c, "others", 0), 13).ErrorCode)
		req := fetchRequest(c, "orders", 0)
		req.Topics[0].Partitions[0].Partition = 1
		require.Equal(t, protocol.UnknownTopicOrPartition, r.fetch(req, 12).ErrorCode)
		require.Equal(t, protocol.UnknownTopicOrPartition, r.fetch(req, 13).ErrorCode)
		req = fetchRequest(c, "orders", 0)
		require.NoError(t, c.DeleteTopic("orders"))
		c.MustCreateTopic("orders", 1, TopicConfig{})
		require.Equal(t, protocol.UnknownTopicID, r.fetch(req, 18).ErrorCode, "an id means one topic only")
		require.Equal(t, protocol.None, r.fetch(req, 12).ErrorCode)
	})
}

// TestFetchWaits: for a number of bytes, for a time, and not if there is an error.
func TestFetchWaits(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		reader, writer := dial(t, c, 1), dial(t, c, 1)
		req := fetchRequest(c, "orders", 0)
		req.MaxWaitMs, req.MinBytes = 500, 1
		begin := time.Now()
		require.Empty(t, reader.fetch(req, 18).Records)
		require.Equal(t, 500*time.Millisecond, time.Since(begin))

		batch := testBatch{values: records(1)}.bytes()
		req.MinBytes = int32(2 * len(batch))
		begin = time.Now()
		reader.send(req, 18)
		time.Sleep(100 * time.Millisecond)
		writer.produce(c, "orders", batch)
		time.Sleep(100 * time.Millisecond)
		writer.produce(c, "orders", batch)
		require.Len(t, only(t, reader.receive(protocol.Fetch, 18).(*message.FetchResponse)).Records, 2*len(batch))
		require.Equal(t, 200*time.Millisecond, time.Since(begin))

		req.MinBytes++
		begin = time.Now()
		require.Len(t, reader.fetch(req, 18).Records, 2*len(batch), "what there is when the time is up")
		require.Equal(t, 500*time.Millisecond, time.Since(begin))

		begin = time.Now()
		reader.send(req, 18)
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, c.MoveLeader("orders", 0, 2))
		require.Equal(t, protocol.NotLeaderOrFollower, only(t, reader.receive(protocol.Fetch, 18).(*message.FetchResponse)).ErrorCode)
		require.Equal(t, 100*time.Millisecond, time.Since(begin))

		req.MaxWaitMs = 1 << 30
		waiting := dial(t, c, 2)
		waiting.send(req, 18)
		require.NoError(t, c.WaitRequests(t.Context(), protocol.Fetch, 5))
		require.NoError(t, c.StopNode(2)) // and so must Close, which Start asks for
		waiting.requireClosed()
	})
}

func TestFetchKeepsItsBounds(t *testing.T) {
	inBubble(t, Options{Nodes: 1}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 2, TopicConfig{})
		r := dial(t, c, 1)
		batch := testBatch{values: records(10)}.bytes()
		for range 3 {
			r.do(produceRequest(c, "orders", -1, batch, batch), latestProduce)
		}
		read := func(total, each int) [2]int {
			req := fetchRequest(c, "orders", 0)
			req.MaxBytes = int32(total)
			req.Topics[0].Partitions[0].PartitionMaxBytes = int32(each)
			second := req.Topics[0].Partitions[0]
			second.Partition = 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
			res := r.do(req, 18).(*message.FetchResponse).Responses[0]
			return [2]int{len(res.Partitions[0].Records) / len(batch), len(res.Partitions[1].Records) / len(batch)}
		}
		n := len(batch)
		require.Equal(t, [2]int{3, 3}, read(100*n, 100*n))
		require.Equal(t, [2]int{2, 2}, read(100*n, 2*n))
		require.Equal(t, [2]int{1, 1}, read(100*n, 2*n-1))
		require.Equal(t, [2]int{3, 1}, read(4*n, 100*n))
		require.Equal(t, [2]int{1, 0}, read(1, 100*n), "a reader always gets on (KIP-74)")
		require.Equal(t, [2]int{1, 0}, read(0, 0))
	})
}

func TestFetchAsksForTheLeader(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		require.NoError(t, c.MoveLeader("orders", 0, 2))
		req := fetchRequest(c, "orders", 0)
		for version, hint := range map[int16]bool{15: false, 16: true, 18: true} {
			res := dial(t, c, 1).do(req, version).(*message.FetchResponse)
			p := only(t, res)
			require.Equal(t, protocol.NotLeaderOrFollower, p.ErrorCode)
			want := message.FetchLeaderIDAndEpoch{LeaderID: -1, LeaderEpoch: -1}
			if hint {
				want = message.FetchLeaderIDAndEpoch{LeaderID: 2, LeaderEpoch: 1}
				require.Equal(t, c.NodeAddr(2), joinHostPort(res.NodeEndpoints[0].Host, res.NodeEndpoints[0].Port))
			}
			require.Equal(t, want, p.CurrentLeader)
		}
		for epoch, code := range map[int32]protocol.ErrorCode{-1: protocol.None, 0: protocol.FencedLeaderEpoch, 1: protocol.None, 2: protocol.UnknownLeaderEpoch} {
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			require.Equal(t, code, dial(t, c, 2).fetch(req, 18).ErrorCode)
		}
	})
}

func TestFetchDeclinesSessions(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		req := fetchRequest(c, "orders", 0)
		req.SessionEpoch = 0
		require.Equal(t, protocol.None, r.fetch(req, 18).ErrorCode) // and the session id is 0
		req.SessionID, req.SessionEpoch = 7, 1
		require.Equal(t, protocol.FetchSessionIDNotFound, r.do(req, 18).(*message.FetchResponse).ErrorCode)
	})
}

// TestFetchReadCommitted reads around transactions as consumers of both isolation levels do.
func TestFetchReadCommitted(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		x := newTxnClient(t, c, "tx", true)
		x.mustInit()
		read := func(isolation int8, offset int64) message.PartitionData {
			req := fetchRequest(c, "orders", offset)
			req.IsolationLevel = isolation
			return r.fetch(req, 18)
		}
		r.produce(c, "orders", testBatch{values: records(2)}.bytes()) // 0, 1
		require.Equal(t, protocol.None, x.write("orders", 0, 3))      // 2, 3, 4
		r.produce(c, "orders", testBatch{values: records(1)}.bytes()) // 5
		log, err := c.Batches("orders", 0)
		require.NoError(t, err)
		p := read(readCommitted, 0)
		require.Equal(t, [2]int64{6, 2}, [2]int64{p.HighWatermark, p.LastStableOffset})
		require.Equal(t, join(log[:1]), p.Records, "nothing behind an open transaction")
		require.Equal(t, join(log), read(0, 0).Records)

		aborted := x.producer.id
		require.Equal(t, protocol.None, x.end(false)) // 6
		log, err = c.Batches("orders", 0)
		require.NoError(t, err)
		p = read(readCommitted, 0)
		require.Equal(t, join(log), p.Records, "readers leave out themselves what was aborted")
		require.Equal(t, []message.AbortedTransaction{{ProducerID: aborted, FirstOffset: 2}}, p.AbortedTransactions)
		require.Len(t, read(readCommitted, 6).AbortedTransactions, 1, "its marker is read")
		require.Empty(t, read(readCommitted, 7).AbortedTransactions)
		require.Empty(t, read(0, 0).AbortedTransactions)
	})
}

func TestFetchFaults(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		c.Inject(Fault{APIs: []protocol.APIKey{protocol.Fetch}, Topic: "orders", Err: protocol.KafkaStorageError, Throttle: time.Second})
		res := r.do(fetchRequest(c, "orders", 0), 18).(*message.FetchResponse)
		require.Equal(t, protocol.KafkaStorageError, only(t, res).ErrorCode)
		require.Equal(t, int32(1000), res.ThrottleTimeMs)
		require.Equal(t, protocol.None, r.fetch(fetchRequest(c, "orders", 0), 18).ErrorCode)
	})
}

// TestFetchKnowsWhatIsKept: what Options.Retain dropped can't be read.
func TestFetchKnowsWhatIsKept(t *testing.T) {
	batch := testBatch{values: records(10), timestamp: 1}.bytes()
	for _, retain := range []int64{-1, int64(len(batch))} {
		inBubble(t, Options{Retain: retain}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 1, TopicConfig{})
			r := dial(t, c, 1)
			r.produce(c, "orders", batch)
			r.produce(c, "orders", batch)
			first := int64(20)
			if retain > 0 {
				first = 10
			}
			require.Equal(t, protocol.OffsetOutOfRange, r.fetch(fetchRequest(c, "orders", first-1), 18).ErrorCode)
			require.Equal(t, protocol.None, r.fetch(fetchRequest(c, "orders", first), 18).ErrorCode)
			require.Equal(t, first, r.listOffset(t, 0, earliestTimestamp).Offset)
		})
	}
}

// listOffset asks for an offset in partition 0 of orders.
func (r *rawClient) listOffset(t *testing.T, isolation int8, timestamp int64) message.ListOffsetsPartitionResponse {
	t.Helper()
	req := &message.ListOffsetsRequest{ReplicaID: -1, IsolationLevel: isolation, Topics: []message.ListOffsetsTopic{
		{Name: "orders", Partitions: []message.ListOffsetsPartition{{CurrentLeaderEpoch: -1, Timestamp: timestamp}}}}}
	res := r.do(req, message.ListOffsetsMaxVersion).(*message.ListOffsetsResponse)
	require.Len(t, res.Topics, 1)
	require.Len(t, res.Topics[0].Partitions, 1)
	return res.Topics[0].Partitions[0]
}

func TestListOffsets(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		none := message.ListOffsetsPartitionResponse{Timestamp: -1, Offset: -1, LeaderEpoch: -1}
		require.Equal(t, none, r.listOffset(t, 0, 0))
		require.Equal(t, none, r.listOffset(t, 0, maxTimestamp))
		require.Zero(t, r.listOffset(t, 0, latestTimestamp).Offset)

		r.produce(c, "orders", testBatch{values: records(5), timestamp: 1000}.bytes()) // 0-4: 1000 … 1004
		require.NoError(t, c.MoveLeader("orders", 0, 2))
		r = dial(t, c, 2)
		r.produce(c, "orders", testBatch{values: records(5), timestamp: 2000}.bytes()) // 5-9: 2000 … 2004
		x := newTxnClient(t, c, "tx", true)
		x.mustInit()
		require.Equal(t, protocol.None, x.write("orders", 0, 1)) // 10: now
		at := func(timestamp, offset int64, epoch int32) message.ListOffsetsPartitionResponse {
			return message.ListOffsetsPartitionResponse{Timestamp: timestamp, Offset: offset, LeaderEpoch: epoch}
		}
		for asked, want := range map[int64]message.ListOffsetsPartitionResponse{
			latestTimestamp: at(-1, 10, 1), earliestTimestamp: at(-1, 0, 0), earliestLocalTimestamp: at(-1, 0, 0),
			latestTieredTimestamp: none, earliestPendingUpload: none, maxTimestamp: at(2004, 9, 1),
			0: at(1000, 0, 0), 1000: at(1000, 0, 0), 1001: at(1001, 1, 0), 1005: at(2000, 5, 1), 2004: at(2004, 9, 1), 2005: none,
		} {
			require.Equal(t, want, r.listOffset(t, readCommitted, asked), "timestamp %d", asked)
		}
		require.Equal(t, int64(11), r.listOffset(t, 0, latestTimestamp).Offset)
		require.Equal(t, int64(10), r.listOffset(t, 0, 2005).Offset)
		require.Equal(t, protocol.UnsupportedVersion, r.listOffset(t, 0, -7).ErrorCode)
		require.NoError(t, c.DeleteRecords("orders", 0, 2))
		require.Equal(t, at(-1, 2, 0), r.listOffset(t, 0, earliestTimestamp))
		require.Equal(t, at(1002, 2, 0), r.listOffset(t, 0, 0))
		require.Equal(t, protocol.NotLeaderOrFollower, dial(t, c, 1).listOffset(t, 0, 0).ErrorCode)

		twice := &message.ListOffsetsRequest{ReplicaID: -1, Topics: []message.ListOffsetsTopic{
			{Name: "orders", Partitions: []message.ListOffsetsPartition{{CurrentLeaderEpoch: -1}, {CurrentLeaderEpoch: -1}}},
			{Name: "others", Partitions: []message.ListOffsetsPartition{{CurrentLeaderEpoch: -1}}}}}
		res := r.do(twice, 1).(*message.ListOffsetsResponse)
		require.Equal(t, protocol.InvalidRequest, res.Topics[0].Partitions[1].ErrorCode)
		require.Equal(t, protocol.UnknownTopicOrPartition, res.Topics[1].Partitions[0].ErrorCode)
	})
}

// TestEndsOfLeaderEpochs expects what Kafka's LeaderEpochFileCache says of the same log.
func TestEndsOfLeaderEpochs(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		ask := func(node, current, epoch int32) message.OffsetForLeaderEpochEpochEndOffset {
			req := &message.OffsetForLeaderEpochRequest{ReplicaID: -1, Topics: []message.OffsetForLeaderTopic{
				{Topic: "orders", Partitions: []message.OffsetForLeaderPartition{{CurrentLeaderEpoch: current, LeaderEpoch: epoch}}}}}
			return dial(t, c, node).do(req, 4).(*message.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		}
		end := func(epoch int32, offset int64) message.OffsetForLeaderEpochEpochEndOffset {
			return message.OffsetForLeaderEpochEpochEndOffset{LeaderEpoch: epoch, EndOffset: offset}
		}
		require.Equal(t, end(0, 0), ask(1, -1, 0))
		dial(t, c, 1).produce(c, "orders", testBatch{values: records(5)}.bytes())
		require.Equal(t, end(0, 5), ask(1, 0, 0))
		require.NoError(t, c.MoveLeader("orders", 0, 2)) // epoch 1: nothing is written
		require.NoError(t, c.MoveLeader("orders", 0, 3)) // epoch 2
		require.Equal(t, end(0, 5), ask(3, 2, 1))
		dial(t, c, 3).produce(c, "orders", testBatch{values: records(3)}.bytes())
		require.NoError(t, c.MoveLeader("orders", 0, 1)) // epoch 3
		for asked, want := range map[int32]message.OffsetForLeaderEpochEpochEndOffset{-1: end(-1, -1), 0: end(0, 5), 1: end(0, 5), 2: end(2, 8), 3: end(3, 8), 4: end(-1, -1)} {
			require.Equal(t, want, ask(1, 3, asked), "epoch %d", asked)
		}
		require.NoError(t, c.DeleteRecords("orders", 0, 5))
		require.Equal(t, end(0, 5), ask(1, 3, 0), "before the log begins")
		require.Equal(t, protocol.FencedLeaderEpoch, ask(1, 2, 0).ErrorCode)
		require.Equal(t, protocol.UnknownLeaderEpoch, ask(1, 4, 0).ErrorCode)
		require.Equal(t, protocol.NotLeaderOrFollower, ask(2, -1, 0).ErrorCode)
	})
}
