package integration

// Produce requests that no client of good will sends, to Kafka and to quilltest: the answers' codes are the same.

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// oddBatch is a batch of three records; what is odd about it is in the functions.
type oddBatch struct {
	header  func(h *protocol.BatchHeader)
	records func() []byte // instead of the usual ones
	codec   compress.Codec
	after   func(raw []byte) []byte // the batch with its checksum
}

// oddRecord is one record, by its parts.
func oddRecord(delta int32, timestamp int64, key, value []byte) []byte {
	return protocol.AppendRecord(nil, delta, timestamp, key, value, nil)
}

func oddRecords(deltas ...int32) func() []byte {
	return func() (section []byte) {
		for i, delta := range deltas {
			section = append(section, oddRecord(delta, int64(i), []byte("key"), []byte("value"))...)
		}
		return section
	}
}

func (b oddBatch) bytes(t *testing.T) []byte {
	t.Helper()
	section := oddRecords(0, 1, 2)()
	if b.records != nil {
		section = b.records()
	}
	if b.codec != compress.None {
		c, err := compress.New(b.codec, compress.DefaultLevel)
		require.NoError(t, err)
		section, err = c.Compress(nil, section)
		require.NoError(t, err)
	}
	now := time.Now().UnixMilli()
	h := protocol.BatchHeader{
		Length: int32(protocol.BatchOverhead - 12 + len(section)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(b.codec),
		LastOffsetDelta: 2, BaseTimestamp: now, MaxTimestamp: now + 2, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: 3,
	}
	if b.header != nil {
		b.header(&h)
	}
	raw := append(make([]byte, protocol.BatchOverhead), section...)
	protocol.PutBatchHeader(raw, &h)
	protocol.PutBatchCRC(raw, protocol.BatchCRC(raw))
	if b.after != nil {
		raw = b.after(raw)
	}
	return raw
}

// legacySet is a message set of magic 0 or 1 (KIP-32).
func legacySet(magic byte) func([]byte) []byte {
	return func([]byte) []byte {
		body := []byte{magic, 0}
		if magic == 1 {
			body = protocol.AppendInt64(body, time.Now().UnixMilli())
		}
		body = protocol.AppendInt32(body, -1) // no key
		body = append(protocol.AppendInt32(body, 5), "value"...)
		set := protocol.AppendInt64(nil, 0)
		set = protocol.AppendInt32(set, int32(4+len(body)))
		set = binary.BigEndian.AppendUint32(set, crc32.ChecksumIEEE(body))
		return append(set, body...)
	}
}

func attributes(bits int16) func(h *protocol.BatchHeader) {
	return func(h *protocol.BatchHeader) { h.Attributes |= bits }
}

func identity(id int64, epoch int16, sequence int32) func(h *protocol.BatchHeader) {
	return func(h *protocol.BatchHeader) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = id, epoch, sequence }
}

// put changes bytes of the finished batch. From the attributes on they are under the checksum, which is mended.
func put(at int, bytes ...byte) func([]byte) []byte {
	return func(raw []byte) []byte {
		copy(raw[at:], bytes)
		if at >= 21 {
			protocol.PutBatchCRC(raw, protocol.BatchCRC(raw))
		}
		return raw
	}
}

var oddBatches = map[string]oddBatch{
	"an ordinary one":               {},
	"gzip":                          {codec: compress.Gzip},
	"snappy":                        {codec: compress.Snappy},
	"lz4":                           {codec: compress.LZ4},
	"zstd":                          {codec: compress.Zstd},
	"magic 0":                       {after: legacySet(0)},
	"magic 1":                       {after: legacySet(1)},
	"magic 1 before a good batch":   {after: func(raw []byte) []byte { return append(legacySet(1)(nil), raw...) }},
	"magic 3":                       {after: put(16, 3)},
	"magic -1":                      {after: put(16, 0xff)},
	"codec 5":                       {header: attributes(5)},
	"codec 6":                       {header: attributes(6)},
	"codec 7":                       {header: attributes(7)},
	"not gzip":                      {header: attributes(1)},
	"not snappy":                    {header: attributes(2)},
	"not lz4":                       {header: attributes(3)},
	"not zstd":                      {header: attributes(4)},
	"transactional, no producer":    {header: attributes(protocol.AttrTransactional)},
	"control":                       {header: attributes(protocol.AttrControl)},
	"control of a producer":         {header: func(h *protocol.BatchHeader) { identity(910_000, 0, 0)(h); attributes(protocol.AttrControl)(h) }},
	"delete horizon":                {header: attributes(protocol.AttrDeleteHorizon)},
	"log append time":               {header: attributes(protocol.AttrLogAppendTime)},
	"unknown attribute":             {header: attributes(1 << 9)},
	"id without an epoch":           {header: identity(910_001, -1, 0)},
	"id without a sequence":         {header: identity(910_002, 0, -1)},
	"id alone":                      {header: identity(910_003, -1, -1)},
	"epoch without an id":           {header: identity(-1, 5, -1)},
	"sequence without an id":        {header: identity(-1, -1, 7)},
	"epoch and sequence, no id":     {header: identity(-1, 0, 0)},
	"id -2":                         {header: identity(-2, 0, 0)},
	"epoch -2":                      {header: identity(910_004, -2, 0)},
	"sequence -2":                   {header: identity(910_005, 0, -2)},
	"an unknown id":                 {header: identity(910_006, 0, 0)},
	"an unknown id in the middle":   {header: identity(910_007, 3, 40)},
	"the last sequence":             {header: identity(910_008, 0, 1<<31-1)},
	"transactional, no such id":     {header: func(h *protocol.BatchHeader) { identity(910_009, 0, 0)(h); attributes(protocol.AttrTransactional)(h) }},
	"a gap":                         {records: oddRecords(0, 2, 3)},
	"a gap and its last delta":      {records: oddRecords(0, 2, 3), header: func(h *protocol.BatchHeader) { h.LastOffsetDelta = 3 }},
	"a gap, compressed":             {records: oddRecords(0, 2, 3), codec: compress.Gzip},
	"deltas from 1":                 {records: oddRecords(1, 2, 3)},
	"deltas from 1, compressed":     {records: oddRecords(1, 2, 3), codec: compress.LZ4},
	"deltas backwards":              {records: oddRecords(2, 1, 0)},
	"deltas all 0":                  {records: oddRecords(0, 0, 0)},
	"deltas all 0, compressed":      {records: oddRecords(0, 0, 0), codec: compress.Zstd},
	"negative deltas":               {records: oddRecords(-1, 0, 1)},
	"count too large":               {header: func(h *protocol.BatchHeader) { h.Count = 4 }},
	"count and delta too large":     {header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 4, 3 }},
	"count and delta too large, gz": {codec: compress.Gzip, header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 4, 3 }},
	"count too small":               {header: func(h *protocol.BatchHeader) { h.Count = 2 }},
	"count and delta too small":     {header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 2, 1 }},
	"count and delta too small, gz": {codec: compress.Gzip, header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 2, 1 }},
	"count 0":                       {header: func(h *protocol.BatchHeader) { h.Count = 0 }},
	"count -1":                      {header: func(h *protocol.BatchHeader) { h.Count = -1 }},
	"count and delta of none":       {header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 0, -1 }},
	"last delta too large":          {header: func(h *protocol.BatchHeader) { h.LastOffsetDelta = 5 }},
	"last delta negative":           {header: func(h *protocol.BatchHeader) { h.LastOffsetDelta = -1 }},
	"no records":                    {records: oddRecords(), header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 0, -1 }},
	"no records, delta 0":           {records: oddRecords(), header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 0, 0 }},
	"wrong checksum":                {after: put(17, 1, 2, 3, 4)},
	"two batches":                   {after: func(raw []byte) []byte { return append(raw, raw...) }},
	"bytes behind the batch":        {after: func(raw []byte) []byte { return append(raw, make([]byte, 7)...) }},
	"many bytes behind the batch":   {after: func(raw []byte) []byte { return append(raw, make([]byte, 100)...) }},
	"half a batch":                  {after: func(raw []byte) []byte { return raw[:len(raw)/2] }},
	"all but one byte":              {after: func(raw []byte) []byte { return raw[:len(raw)-1] }},
	"a header's start":              {after: func(raw []byte) []byte { return raw[:11] }},
	"a header":                      {after: func(raw []byte) []byte { return raw[:protocol.BatchOverhead] }},
	"no bytes":                      {after: func([]byte) []byte { return []byte{} }},
	"null":                          {after: func([]byte) []byte { return nil }},
	"length -1":                     {after: put(8, 0xff, 0xff, 0xff, 0xff)},
	"length 0":                      {after: put(8, 0, 0, 0, 0)},
	"length 13":                     {after: put(8, 0, 0, 0, 13)},
	"length 2^31-1":                 {after: put(8, 0x7f, 0xff, 0xff, 0xff)},
	"base offset 5":                 {header: func(h *protocol.BatchHeader) { h.BaseOffset = 5 }},
	"base offset -1":                {header: func(h *protocol.BatchHeader) { h.BaseOffset = -1 }},
	"leader epoch 77":               {header: func(h *protocol.BatchHeader) { h.PartitionLeaderEpoch = 77 }},
	"timestamp -1":                  {header: func(h *protocol.BatchHeader) { h.BaseTimestamp, h.MaxTimestamp = -1, -1 }},
	"timestamp -5":                  {header: func(h *protocol.BatchHeader) { h.BaseTimestamp, h.MaxTimestamp = -5, -3 }},
	"timestamp in two hours":        {header: func(h *protocol.BatchHeader) { h.BaseTimestamp += 7_200_000; h.MaxTimestamp += 7_200_000 }},
	"timestamp in two hours, gz":    {codec: compress.Gzip, header: func(h *protocol.BatchHeader) { h.BaseTimestamp += 7_200_000; h.MaxTimestamp += 7_200_000 }},
	"wrong largest timestamp":       {header: func(h *protocol.BatchHeader) { h.MaxTimestamp = 5 }},
	"record length 0":               {records: func() []byte { return append(oddRecords(0, 1)(), 0) }},
	"record length -1":              {records: func() []byte { return append(oddRecords(0, 1)(), 1) }},
	"record length 1000":            {records: func() []byte { return append(oddRecords(0, 1)(), 0xd0, 0x0f) }},
	"bytes behind the records":      {records: func() []byte { return append(oddRecords(0, 1, 2)(), 1, 2, 3) }},
	"bytes behind, compressed":      {codec: compress.Snappy, records: func() []byte { return append(oddRecords(0, 1, 2)(), 1, 2, 3) }},
	"key length 100":                {records: func() []byte { return append(oddRecords(0, 1)(), 14, 0, 0, 4, 0xc8, 1, 1, 0) }},
	"key length -2":                 {records: func() []byte { return append(oddRecords(0, 1)(), 12, 0, 0, 4, 3, 1, 0) }},
	"value length -2":               {records: func() []byte { return append(oddRecords(0, 1)(), 12, 0, 0, 4, 1, 3, 0) }},
	"headers -1":                    {records: func() []byte { return append(oddRecords(0, 1)(), 12, 0, 0, 4, 1, 1, 1) }},
	"headers 1000":                  {records: func() []byte { return append(oddRecords(0, 1)(), 14, 0, 0, 4, 1, 1, 0xd0, 0x0f) }},
	"header without a name":         {records: func() []byte { return append(oddRecords(0, 1)(), 16, 0, 0, 4, 1, 1, 2, 1, 1) }},
	"record longer than it is":      {records: func() []byte { return append(oddRecords(0, 1)(), 14, 0, 0, 4, 1, 1, 0, 0) }},
	"record attributes":             {records: func() []byte { return append(oddRecords(0, 1)(), 12, 0x7f, 0, 4, 1, 1, 0) }},
	"one large":                     {records: func() []byte { return oddRecord(0, 0, nil, make([]byte, 2<<20)) }, header: func(h *protocol.BatchHeader) { h.Count, h.LastOffsetDelta = 1, 0 }},
}

// oddSide is one of the two clusters.
type oddSide struct {
	address string
	ids     map[string]protocol.UUID
	conn    net.Conn
	calls   int32
}

// ask returns the answer to a request of one partition, or says that the connection was closed.
func (s *oddSide) ask(t *testing.T, req *message.ProduceRequest, version int16) string {
	t.Helper()
	if s.conn == nil {
		var err error
		s.conn, err = net.Dial("tcp", s.address)
		require.NoError(t, err)
	}
	for i := range req.TopicData {
		req.TopicData[i].TopicID = s.ids[req.TopicData[i].Name]
	}
	s.calls++
	require.NoError(t, s.conn.SetDeadline(time.Now().Add(20*time.Second)))
	b := message.AppendRequestHeader(make([]byte, 4), protocol.Produce, version, s.calls, "odd")
	b = req.Append(b, version)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := s.conn.Write(b)
	if err == nil {
		_, err = io.ReadFull(s.conn, b[:4])
	}
	if err != nil {
		s.close()
		return "closed"
	}
	b = make([]byte, binary.BigEndian.Uint32(b))
	_, err = io.ReadFull(s.conn, b)
	require.NoError(t, err)
	in := protocol.NewReader(b)
	message.DecodeResponseHeader(&in, protocol.Produce, version)
	res := message.NewResponse(protocol.Produce).(*message.ProduceResponse)
	res.Decode(&in, version)
	require.NoError(t, in.Err())
	var codes []string
	for _, r := range res.Responses {
		for _, p := range r.PartitionResponses {
			var blamed strings.Builder
			for _, e := range p.RecordErrors {
				blamed.WriteString(fmt.Sprint(" ", e.BatchIndex))
			}
			codes = append(codes, fmt.Sprintf("%d: %s%s", p.Index, p.ErrorCode.Name(), blamed.String()))
		}
	}
	slices.Sort(codes) // Kafka answers in no order
	return fmt.Sprint(codes)
}

func (s *oddSide) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// oddRequest writes batches to partitions of a topic.
func oddRequest(topic string, batch []byte, partitions ...int32) *message.ProduceRequest {
	t := message.TopicProduceData{Name: topic}
	for _, p := range partitions {
		t.PartitionData = append(t.PartitionData, message.PartitionProduceData{Index: p, Records: batch})
	}
	return &message.ProduceRequest{Acks: -1, TimeoutMs: 5000, TopicData: []message.TopicProduceData{t}}
}

// TestOddProduceRequestsAreAnsweredAsKafkas sends each to both, in the versions where answers differ.
func TestOddProduceRequestsAreAnsweredAsKafkas(t *testing.T) {
	c := oneNode(t)
	topic, compacted := newTopic(t, c, "odd", 3), newTopic(t, c, "odd-compacted", 1, "cleanup.policy=compact")
	kafka, ours := oddSides(t, c, topic, compacted)
	good := oddBatch{}.bytes(t)
	both := func(name string, req *message.ProduceRequest, version int16) {
		t.Run(fmt.Sprintf("%s/v%d", name, version), func(t *testing.T) {
			want := kafka.ask(t, req, version)
			for begin := time.Now(); strings.Contains(want, "NOT_LEADER_OR_FOLLOWER") && time.Since(begin) < time.Minute; want = kafka.ask(t, req, version) {
				time.Sleep(100 * time.Millisecond) // a starved broker loses touch with its controller
			}
			require.Equal(t, want, ours.ask(t, req, version))
		})
	}
	for _, version := range []int16{3, 6, 7, 8, 12, 13} {
		for name, b := range oddBatches {
			both(name, oddRequest(topic, b.bytes(t), 0), version)
		}
		id := "odd-transaction"
		for name, header := range map[string]func(h *protocol.BatchHeader){
			"transactional id of no transaction": func(h *protocol.BatchHeader) { identity(920_000, 0, 0)(h); attributes(protocol.AttrTransactional)(h) },
			"transactional id, plain batch":      func(*protocol.BatchHeader) {},
			"transactional id, idempotent batch": identity(920_001, 0, 0),
			"transactional id, no producer":      attributes(protocol.AttrTransactional),
		} {
			req := oddRequest(topic, oddBatch{header: header}.bytes(t), 0)
			req.TransactionalID = &id
			both(name, req, version)
		}
		for _, acks := range []int16{-2, 2, 100} {
			req := oddRequest(topic, good, 0)
			req.Acks = acks
			both(fmt.Sprint("acks ", acks), req, version)
		}
		both("no such partition", oddRequest(topic, good, 3), version)
		both("partition -1", oddRequest(topic, good, -1), version)
		both("no such topic", oddRequest("odd-none", good, 0), version)
		both("a good one beside a bad one", oddRequest(topic, good, 0, 7), version)
		both("the same partition twice", oddRequest(topic, good, 1, 1), version)
		twice := oddRequest(topic, good, 0)
		twice.TopicData = append(twice.TopicData, oddRequest(topic, good, 2).TopicData...)
		both("the same topic twice", twice, version)
		both("nothing", &message.ProduceRequest{Acks: -1, TimeoutMs: 5000}, version)
		both("no partitions", oddRequest(topic, good), version)
		both("compacted without keys", oddRequest(compacted, oddBatch{records: func() []byte {
			return append(append(oddRecord(0, 0, nil, []byte("a")), oddRecord(1, 0, []byte("k"), nil)...), oddRecord(2, 0, nil, nil)...)
		}}.bytes(t), 0), version)
	}
}

func oddSides(t *testing.T, c *kafkaharness.Cluster, topic, compacted string) (kafka, ours *oddSide) {
	double, err := quilltest.NewCluster(quilltest.Options{Nodes: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = double.Close() })
	double.MustCreateTopic(topic, 3, quilltest.TopicConfig{})
	double.MustCreateTopic(compacted, 1, quilltest.TopicConfig{Compacted: true})
	kafka = &oddSide{address: c.Bootstrap()[0], ids: make(map[string]protocol.UUID)}
	ours = &oddSide{address: double.BootstrapServers()[0], ids: make(map[string]protocol.UUID)}
	for _, name := range []string{topic, compacted} {
		coordinated := dialCoordinator(t, kafka.address, name)
		coordinated.wake()
		kafka.ids[name] = coordinated.topicID
		ours.ids[name] = double.TopicID(name)
	}
	none := protocol.UUID{1, 2, 3}
	kafka.ids["odd-none"], ours.ids["odd-none"] = none, none
	t.Cleanup(kafka.close)
	t.Cleanup(ours.close)
	return kafka, ours
}
