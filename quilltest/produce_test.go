package quilltest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func TestProduceAppendsWhatWasSent(t *testing.T) {
	for version := message.ProduceMinVersion; version <= message.ProduceMaxVersion; version++ {
		inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 2, TopicConfig{})
			require.NoError(t, c.MoveLeader("orders", 1, 1))
			r := dial(t, c, 1)
			req := produceRequest(c, "orders", -1, testBatch{values: records(3)}.bytes(), testBatch{values: records(2), pid: 7, epoch: 1, sequence: 0}.bytes())
			r.do(req, version)
			res := r.do(produceRequest(c, "orders", 1, testBatch{values: records(1)}.bytes()), version).(*message.ProduceResponse)
			require.Equal(t, int64(3), res.Responses[0].PartitionResponses[0].BaseOffset)
			require.Equal(t, int64(-1), res.Responses[0].PartitionResponses[0].LogAppendTimeMs)

			log, err := c.Records("orders", 0)
			require.NoError(t, err)
			require.Len(t, log, 4)
			now := time.UnixMilli(time.Now().UnixMilli())
			require.Equal(t, Record{
				Topic: "orders", Offset: 1, Timestamp: now.Add(time.Millisecond), Key: []byte("key"), Value: []byte("value 1"),
				Headers: []protocol.Header{{Key: "h", Value: []byte("x")}}, ProducerID: -1, ProducerEpoch: -1, Sequence: -1, Index: 1,
			}, log[1])
			require.Equal(t, 1, log[3].Batch)
			log, err = c.AllRecords("orders")
			require.NoError(t, err)
			last := log[len(log)-1]
			require.Equal(t, []any{int64(7), int16(1), int32(1), int64(1)}, []any{last.ProducerID, last.ProducerEpoch, last.Sequence, last.Offset})
			require.Equal(t, int64(6), c.Appended("orders"))
			require.Equal(t, int64(3), c.AppendedBatches("orders"))

			batches, err := c.Batches("orders", 0)
			require.NoError(t, err)
			for _, b := range batches {
				require.Equal(t, protocol.BatchCRC(b.Bytes), b.Header.CRC)
			}
			require.Equal(t, int64(3), batches[1].Header.BaseOffset)
			require.Equal(t, int32(1), batches[0].Node)
		})
	}
}

// TestLogRefusesWhatABrokerRefuses goes through the checks of one batch.
func TestLogRefusesWhatABrokerRefuses(t *testing.T) {
	header := func(f func(h *protocol.BatchHeader)) testBatch { return testBatch{values: records(3), header: f} }
	section := func(f func(b []byte) []byte) testBatch { return testBatch{values: records(3), section: f} }
	raw := func(f func(b []byte) []byte) testBatch { return testBatch{values: records(3), raw: f} }
	second := protocol.AppendRecord(nil, 5, 0, nil, []byte("x"), nil)
	hour := time.Hour.Milliseconds()
	tests := []struct {
		name    string
		batch   testBatch
		version int16
		code    protocol.ErrorCode
		strict  protocol.ErrorCode // with Options.Strict; 0: the same
		cfg     TopicConfig
	}{
		{name: "empty", batch: raw(func([]byte) []byte { return []byte{} }), code: protocol.InvalidRecord},
		{name: "half a batch", batch: raw(func(b []byte) []byte { return b[:len(b)-1] }), code: protocol.InvalidRecord},
		{name: "half a header", batch: raw(func(b []byte) []byte { return b[:20] }), code: protocol.InvalidRecord},
		{name: "bytes behind", batch: raw(func(b []byte) []byte { return append(b, 0) }), strict: protocol.InvalidRecord},
		{name: "two batches", batch: raw(func(b []byte) []byte { return append(b, b...) }), code: protocol.InvalidRecord},
		{name: "magic 1", batch: header(func(h *protocol.BatchHeader) { h.Magic = 1 }), code: protocol.InvalidRecord},
		{name: "flipped bit", batch: raw(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), code: protocol.CorruptMessage},
		{name: "base offset", batch: header(func(h *protocol.BatchHeader) { h.BaseOffset = 1 }), code: protocol.InvalidRecord},
		{name: "no records", batch: testBatch{}, code: protocol.InvalidRecord},
		{name: "count too low", batch: header(func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 2, 1 }), code: protocol.InvalidRecord},
		{name: "count too high", batch: header(func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 4, 3 }), code: protocol.InvalidRecord},
		{name: "count and last offset differ", batch: header(func(h *protocol.BatchHeader) { h.LastOffsetDelta = 3 }), code: protocol.InvalidRecord},
		{name: "offset gap", batch: section(func(b []byte) []byte { return append(b[:len(b)/3*2], second...) }), strict: protocol.InvalidRecord},
		{name: "record cut", batch: section(func(b []byte) []byte { return b[:len(b)-1] }), code: protocol.InvalidRecord},
		{name: "garbage", batch: section(func(b []byte) []byte { return []byte(strings.Repeat("\xff", len(b))) }), code: protocol.InvalidRecord},
		{name: "control", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrControl }), code: protocol.InvalidRecord},
		{name: "delete horizon", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrDeleteHorizon }), strict: protocol.InvalidRecord},
		{name: "log append time", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrLogAppendTime }), strict: protocol.InvalidTimestamp},
		{name: "producer id without sequence", batch: header(func(h *protocol.BatchHeader) { h.ProducerID, h.ProducerEpoch = 5, 0 }), code: protocol.InvalidRecord},
		{name: "producer id without epoch", batch: header(func(h *protocol.BatchHeader) { h.ProducerID, h.BaseSequence = 5, 0 }), strict: protocol.InvalidRecord},
		{name: "transactional without producer id", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrTransactional }), code: protocol.TransactionalIDAuthorizationFailed},
		{name: "outside a transaction", batch: testBatch{values: records(1), pid: 5, header: func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrTransactional }}, code: protocol.TransactionalIDAuthorizationFailed},
		{name: "unknown codec", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= 7 }), code: protocol.UnknownServerError},
		{name: "not compressed as it says", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= int16(compress.Gzip) }), code: protocol.UnknownServerError},
		{name: "zstd before version 7", batch: header(func(h *protocol.BatchHeader) { h.Attributes |= int16(compress.Zstd) }), version: 6, code: protocol.UnsupportedCompressionType},
		{name: "too large", batch: testBatch{values: records(3)}, cfg: TopicConfig{MaxMessageBytes: 100}, code: protocol.MessageTooLarge},
		{name: "larger than a segment", batch: testBatch{values: records(3)}, cfg: TopicConfig{SegmentBytes: 100}, code: protocol.RecordListTooLarge},
		{name: "from the future", batch: testBatch{values: records(3), timestamp: timestampAhead(2 * hour)}, code: protocol.InvalidTimestamp},
		{name: "from the past", batch: testBatch{values: records(3), timestamp: timestampAhead(-2 * hour)}, cfg: TopicConfig{MaxTimestampBehind: time.Hour}, code: protocol.InvalidTimestamp},
		{name: "from the past, any goes", batch: testBatch{values: records(3), timestamp: timestampAhead(-2 * hour)}},
		{name: "from the future, any goes", batch: testBatch{values: records(3), timestamp: timestampAhead(2 * hour)}, cfg: TopicConfig{MaxTimestampAhead: -1}},
		{name: "no timestamps", batch: testBatch{values: records(1), timestamp: -1}},
	}
	for _, test := range tests {
		for _, strict := range []bool{false, true} {
			code := test.code
			if strict {
				code = orDefault(test.strict, code)
			}
			t.Run(fmt.Sprintf("%s/%v", test.name, strict), func(t *testing.T) {
				inBubble(t, Options{Strict: strict}, func(t *testing.T, c *Cluster) {
					c.MustCreateTopic("orders", 1, test.cfg)
					version := orDefault(test.version, latestProduce)
					got := dial(t, c, 1).produceAt(c, "orders", test.batch.bytes(), version)
					require.Equal(t, code, got.ErrorCode)
					if code == protocol.None {
						require.Equal(t, int64(len(test.batch.values)), c.Appended("orders"))
						return
					}
					require.Equal(t, int64(-1), got.BaseOffset)
					require.Zero(t, c.Appended("orders"))
				})
			})
		}
	}
}

// timestampAhead returns a time ms after the start of a bubble's clock, midnight UTC 2000-01-01.
func timestampAhead(ms int64) int64 {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + ms
}

func TestCompressedBatchesAreReadBack(t *testing.T) {
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 1, TopicConfig{})
			z, err := compress.New(codec, compress.DefaultLevel)
			require.NoError(t, err)
			pack := func(b []byte) []byte {
				packed, err := z.Compress(nil, b)
				require.NoError(t, err)
				return packed
			}
			batch := testBatch{values: records(50), header: func(h *protocol.BatchHeader) { h.Attributes |= int16(codec) }, section: pack}
			r := dial(t, c, 1)
			require.Equal(t, protocol.None, r.produce(c, "orders", batch.bytes()).ErrorCode)
			log, err := c.Records("orders", 0)
			require.NoError(t, err)
			require.Len(t, log, 50)
			require.Equal(t, "value 49", string(log[49].Value))

			batch.header = func(h *protocol.BatchHeader) { h.Attributes |= int16(codec); h.Count, h.LastOffsetDelta = 49, 48 }
			require.Equal(t, protocol.InvalidRecord, r.produce(c, "orders", batch.bytes()).ErrorCode)
		})
	}
}

func TestSinglePartitionsFail(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 3, TopicConfig{})
		good := testBatch{values: records(1)}.bytes()
		res := dial(t, c, 2).do(produceRequest(c, "orders", -1, good, good, []byte{}, good), latestProduce).(*message.ProduceResponse)
		var codes []protocol.ErrorCode
		for _, p := range res.Responses[0].PartitionResponses {
			codes = append(codes, p.ErrorCode)
		}
		require.Equal(t, []protocol.ErrorCode{protocol.NotLeaderOrFollower, protocol.None, protocol.NotLeaderOrFollower, protocol.UnknownTopicOrPartition}, codes)
	})
}

func TestUnknownTopics(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		good := testBatch{values: records(1)}.bytes()
		r := dial(t, c, 1)
		require.Equal(t, protocol.UnknownTopicID, r.produceAt(c, "none", good, 13).ErrorCode)
		require.Equal(t, protocol.UnknownTopicOrPartition, r.produceAt(c, "none", good, 12).ErrorCode)

		c.MustCreateTopic("orders", 1, TopicConfig{})
		stale := produceRequest(c, "orders", -1, good)
		old := c.TopicID("orders")
		require.NoError(t, c.DeleteTopic("orders"))
		c.MustCreateTopic("orders", 1, TopicConfig{})
		require.NotEqual(t, old, c.TopicID("orders"))
		res := r.do(stale, 13).(*message.ProduceResponse)
		require.Equal(t, protocol.UnknownTopicID, res.Responses[0].PartitionResponses[0].ErrorCode)
		require.Equal(t, old, res.Responses[0].TopicID)
		require.Zero(t, c.Appended("orders"))
	})
}

func TestNewLeaderIsNamed(t *testing.T) {
	inBubble(t, Options{Racks: []string{"a", "b"}}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		require.NoError(t, c.MoveLeader("orders", 0, 2))
		batch := testBatch{values: records(1)}.bytes()
		r := dial(t, c, 1)
		res := r.do(produceRequest(c, "orders", -1, batch), 10).(*message.ProduceResponse)
		p := res.Responses[0].PartitionResponses[0]
		require.Equal(t, protocol.NotLeaderOrFollower, p.ErrorCode)
		require.Equal(t, message.LeaderIDAndEpoch{LeaderID: 2, LeaderEpoch: 1}, p.CurrentLeader)
		require.Len(t, res.NodeEndpoints, 1)
		require.Equal(t, c.NodeAddr(2), joinHostPort(res.NodeEndpoints[0].Host, res.NodeEndpoints[0].Port))
		require.Equal(t, "b", *res.NodeEndpoints[0].Rack)

		res = r.do(produceRequest(c, "orders", -1, batch), 9).(*message.ProduceResponse)
		require.Equal(t, int32(-1), res.Responses[0].PartitionResponses[0].CurrentLeader.LeaderID)
		require.Empty(t, res.NodeEndpoints)
	})
}

func TestAcks(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{MinISR: 2})
		batch := testBatch{values: records(1)}.bytes()
		r := dial(t, c, 1)
		require.Equal(t, protocol.None, r.produce(c, "orders", batch).ErrorCode)
		require.NoError(t, c.SetISR("orders", 0, 1))
		require.Equal(t, protocol.NotEnoughReplicas, r.produce(c, "orders", batch).ErrorCode)
		code := func(acks int16) protocol.ErrorCode {
			res := r.do(produceRequest(c, "orders", acks, batch), latestProduce).(*message.ProduceResponse)
			return res.Responses[0].PartitionResponses[0].ErrorCode
		}
		require.Equal(t, protocol.None, code(1), "acks=1 needs the leader only")
		require.Equal(t, protocol.InvalidRequiredAcks, code(2))

		r.send(produceRequest(c, "orders", 0, batch), latestProduce)
		require.NoError(t, c.WaitRecords(t.Context(), "orders", 3))
		r.requireSilence()
		require.NoError(t, c.MoveLeader("orders", 0, 3))
		r.send(produceRequest(c, "orders", 0, batch), latestProduce)
		r.requireClosed()
		require.Equal(t, int64(3), c.Appended("orders"))
	})
}

func TestLogAppendTime(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{LogAppendTime: true})
		time.Sleep(time.Hour)
		res := dial(t, c, 1).produce(c, "orders", testBatch{values: records(2), timestamp: 5}.bytes())
		require.Equal(t, time.Now().UnixMilli(), res.LogAppendTimeMs)
		log, err := c.Records("orders", 0)
		require.NoError(t, err)
		require.Equal(t, time.Now().UnixMilli(), log[0].Timestamp.UnixMilli())
		require.Equal(t, log[0].Timestamp, log[1].Timestamp)
		batches, err := c.Batches("orders", 0)
		require.NoError(t, err)
		require.True(t, batches[0].Header.LogAppendTime())
		require.Equal(t, protocol.BatchCRC(batches[0].Bytes), batches[0].Header.CRC)
	})
}

func TestMaxTimestampIsTheLogsOwn(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		wrong := testBatch{values: records(3), header: func(h *protocol.BatchHeader) { h.MaxTimestamp = 1 }}
		require.Equal(t, protocol.None, dial(t, c, 1).produce(c, "orders", wrong.bytes()).ErrorCode)
		batches, err := c.Batches("orders", 0)
		require.NoError(t, err)
		require.Equal(t, batches[0].Header.BaseTimestamp+2, batches[0].Header.MaxTimestamp)
		require.Equal(t, protocol.BatchCRC(batches[0].Bytes), batches[0].Header.CRC)
	})
}

func TestCompactedTopicNamesRecordsWithoutKey(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{Compacted: true})
		batch := testBatch{values: records(3), section: func([]byte) []byte {
			b := protocol.AppendRecord(nil, 0, 0, []byte("k"), nil, nil)
			b = protocol.AppendRecord(b, 1, 0, nil, []byte("v"), nil)
			return protocol.AppendRecord(b, 2, 0, []byte{}, []byte("v"), nil)
		}}
		res := dial(t, c, 1).produce(c, "orders", batch.bytes())
		require.Equal(t, protocol.InvalidRecord, res.ErrorCode)
		require.Len(t, res.RecordErrors, 1)
		require.Equal(t, int32(1), res.RecordErrors[0].BatchIndex)
		require.NotNil(t, res.ErrorMessage)
	})
}

func TestSequences(t *testing.T) {
	type step struct {
		pid      int64
		epoch    int16
		sequence int32
		n        int
		code     protocol.ErrorCode
		offset   int64
	}
	const ok = protocol.None
	tests := []struct {
		name    string
		release string
		steps   []step
	}{
		{"continues", "", []step{{5, 0, 0, 2, ok, 0}, {5, 0, 2, 3, ok, 2}, {5, 0, 5, 1, ok, 5}}},
		{"gap", "", []step{{5, 0, 0, 2, ok, 0}, {5, 0, 3, 1, protocol.OutOfOrderSequenceNumber, -1}, {5, 0, 2, 1, ok, 2}}},
		{"last five come twice", "", []step{
			{5, 0, 0, 1, ok, 0}, {5, 0, 1, 2, ok, 1}, {5, 0, 3, 1, ok, 3}, {5, 0, 4, 1, ok, 4}, {5, 0, 5, 1, ok, 5}, {5, 0, 6, 1, ok, 6},
			{5, 0, 6, 1, ok, 6}, {5, 0, 1, 2, ok, 1}, {5, 0, 0, 1, protocol.OutOfOrderSequenceNumber, -1}, {5, 0, 7, 1, ok, 7},
		}},
		{"other end than before", "", []step{{5, 0, 0, 3, ok, 0}, {5, 0, 0, 2, protocol.OutOfOrderSequenceNumber, -1}}},
		{"new epoch starts at 0", "", []step{{5, 0, 0, 2, ok, 0}, {5, 1, 2, 1, protocol.OutOfOrderSequenceNumber, -1}, {5, 1, 0, 1, ok, 2}, {5, 1, 1, 1, ok, 3}}},
		{"old epoch", "", []step{{5, 3, 0, 1, ok, 0}, {5, 2, 1, 1, protocol.InvalidProducerEpoch, -1}, {5, 2, 0, 1, protocol.InvalidProducerEpoch, -1}}},
		{"same sequences in a new epoch are no duplicate", "", []step{{5, 0, 0, 2, ok, 0}, {5, 1, 0, 2, ok, 2}, {5, 1, 0, 2, ok, 2}}},
		{"producer ids are apart", "", []step{{5, 0, 0, 2, ok, 0}, {6, 0, 0, 2, ok, 2}, {5, 0, 2, 1, ok, 4}}},
		{"wrap", "", []step{{5, 0, math.MaxInt32 - 2, 2, ok, 0}, {5, 0, math.MaxInt32, 3, ok, 2}, {5, 0, 2, 1, ok, 5}, {5, 0, math.MaxInt32, 3, ok, 2}, {5, 0, 0, 1, protocol.OutOfOrderSequenceNumber, -1}}},
		{"wrap between batches", "", []step{{5, 0, math.MaxInt32, 1, ok, 0}, {5, 0, 0, 1, ok, 1}}},
		{"unknown producer id may start anywhere", "", []step{{5, 2, 17, 1, ok, 0}, {5, 2, 18, 1, ok, 1}}},
		{"unknown producer id before 2.5", "2.4", []step{{5, 0, 17, 1, protocol.UnknownProducerID, -1}, {5, 0, 0, 1, ok, 0}, {5, 0, 2, 1, protocol.OutOfOrderSequenceNumber, -1}}},
		{"old duplicates in 0.11", "0.11", []step{
			{5, 0, 0, 1, ok, 0}, {5, 0, 1, 1, ok, 1}, {5, 0, 2, 1, ok, 2}, {5, 0, 3, 1, ok, 3}, {5, 0, 4, 1, ok, 4}, {5, 0, 5, 1, ok, 5},
			{5, 0, 0, 1, protocol.DuplicateSequenceNumber, -1}, {5, 0, 7, 1, protocol.OutOfOrderSequenceNumber, -1},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, Options{Release: test.release}, func(t *testing.T, c *Cluster) {
				c.MustCreateTopic("orders", 1, TopicConfig{})
				r := dial(t, c, 1)
				for i, s := range test.steps {
					before := c.Appended("orders")
					batch := testBatch{values: records(s.n), pid: s.pid, epoch: s.epoch, sequence: s.sequence}
					res := r.produceAt(c, "orders", batch.bytes(), c.served[protocol.Produce].max)
					require.Equal(t, s.code, res.ErrorCode, "step %d", i)
					require.Equal(t, s.offset, res.BaseOffset, "step %d", i)
					appended := s.code == ok && s.offset == before
					require.Equal(t, appended, c.Appended("orders") > before, "step %d", i)
				}
			})
		})
	}
}

func TestForgottenProducerMayGoOn(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		require.Equal(t, protocol.None, r.produce(c, "orders", testBatch{values: records(2), pid: 5}.bytes()).ErrorCode)
		require.NoError(t, c.DeleteRecords("orders", 0, 2))
		require.NoError(t, c.ForgetProducers("orders", 0))
		res := r.produce(c, "orders", testBatch{values: records(1), pid: 5, sequence: 2}.bytes())
		require.Equal(t, protocol.None, res.ErrorCode)
		require.Equal(t, int64(2), res.LogStartOffset)
		require.Error(t, c.DeleteRecords("orders", 0, 7))
		log, err := c.Records("orders", 0)
		require.NoError(t, err)
		require.Len(t, log, 1)
	})
}

func TestRetainBoundsMemory(t *testing.T) {
	size := int64(len(testBatch{values: records(10)}.bytes()))
	for _, test := range []struct {
		retain int64
		kept   int
	}{{0, 20}, {-1, 0}, {3 * size, 3}} {
		inBubble(t, Options{Retain: test.retain}, func(t *testing.T, c *Cluster) {
			c.MustCreateTopic("orders", 1, TopicConfig{})
			r := dial(t, c, 1)
			batch := testBatch{values: records(10)}.bytes()
			for range 20 {
				require.Equal(t, protocol.None, r.produce(c, "orders", batch).ErrorCode)
			}
			batches, err := c.Batches("orders", 0)
			require.NoError(t, err)
			require.Len(t, batches, test.kept)
			require.Equal(t, int64(200), c.Appended("orders"))
			_, end, err := c.Offsets("orders", 0)
			require.NoError(t, err)
			require.Equal(t, int64(200), end)
		})
	}
}

func TestAppendDoesNotKeepTheRequest(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		first := records(5)
		r.produce(c, "orders", testBatch{values: first}.bytes())
		second := slices.Clone(first)
		slices.Reverse(second)
		r.produce(c, "orders", testBatch{values: second}.bytes())
		log, err := c.Records("orders", 0)
		require.NoError(t, err)
		for i, v := range slices.Concat(first, second) {
			require.Equal(t, v, string(log[i].Value))
		}
	})
}

// TestOddBatchesAreStoredAsKafkaStoresThem: what is taken although it is odd must be readable, and say
// nothing about the topic that is not so.
func TestOddBatchesAreStoredAsKafkaStoresThem(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		r := dial(t, c, 1)
		odd := testBatch{values: records(3), header: func(h *protocol.BatchHeader) { h.Attributes |= protocol.AttrLogAppendTime }}
		require.Equal(t, protocol.None, r.produce(c, "orders", odd.bytes()).ErrorCode)
		odd = testBatch{values: records(3), raw: func(b []byte) []byte { return append(b, 1, 2, 3) }}
		require.Equal(t, protocol.None, r.produce(c, "orders", odd.bytes()).ErrorCode)
		log, err := c.Batches("orders", 0)
		require.NoError(t, err)
		require.False(t, log[0].Header.LogAppendTime(), "the topic's type counts")
		for _, b := range log {
			require.Equal(t, b.Header.Size(), len(b.Bytes), "without what was behind it")
			require.Equal(t, protocol.BatchCRC(b.Bytes), b.Header.CRC)
		}
		r.send(produceRequest(c, "orders", -1, nil), latestProduce)
		r.requireClosed() // a node can't read null records
	})
}

// TestOfAPartitionNamedTwiceTheLastBatchCounts, and there is one answer, as from Kafka.
func TestOfAPartitionNamedTwiceTheLastBatchCounts(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		c.MustCreateTopic("orders", 1, TopicConfig{})
		req := produceRequest(c, "orders", -1, testBatch{values: []string{"a"}}.bytes(), testBatch{values: []string{"b"}}.bytes())
		req.TopicData[0].PartitionData[1].Index = 0
		res := dial(t, c, 1).do(req, latestProduce).(*message.ProduceResponse)
		require.Len(t, res.Responses[0].PartitionResponses, 1)
		log, err := c.Records("orders", 0)
		require.NoError(t, err)
		require.Len(t, log, 1)
		require.Equal(t, "b", string(log[0].Value))
	})
}
