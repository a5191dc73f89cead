package protocol

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/batches.txt holds batches made by Kafka 4.4's own MemoryRecordsBuilder:
//
//	java -cp kafka-clients-4.4.0.jar:slf4j-api.jar testdata/Batches.java > testdata/batches.txt

// rec is a record of a golden batch.
type rec struct {
	timestamp  int64
	key, value []byte
	headers    []Header
}

// golden is what Batches.java was asked to write under a name.
type golden struct {
	header  BatchHeader // without what follows from the records
	records []rec
	codec   bool // the records section is compressed, by Java's gzip
}

const goldenTime = 1700000000000

func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func recordsOfSizes(keys bool, sizes ...int) []rec {
	var records []rec
	for _, n := range sizes {
		r := rec{timestamp: goldenTime + int64(n), value: fill(n)}
		if keys {
			r.key, r.value = fill(n), fill(3)
		}
		records = append(records, r)
	}
	return records
}

func timestampRecords() []rec {
	var records []rec
	for i, delta := range []int64{0, 63, 64, -1, -65, 8191, 8192} {
		records = append(records, rec{goldenTime + delta, []byte{'a' + byte(i)}, []byte{'0' + byte(i)}, nil})
	}
	return append(records, rec{0, []byte("h"), []byte("7"), nil}, rec{math.MaxInt64, []byte("i"), []byte("8"), nil})
}

func goldens() map[string]golden {
	plain := BatchHeader{
		Magic: 2, PartitionLeaderEpoch: -1, ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch, BaseSequence: NoSequence,
	}
	with := func(change func(h *BatchHeader)) BatchHeader {
		h := plain
		change(&h)
		return h
	}
	idempotent := func(h *BatchHeader) {
		h.BaseOffset, h.ProducerID, h.ProducerEpoch, h.BaseSequence = 1234567, 23423, 145, 983
	}
	var many []rec
	for n := range 300 {
		many = append(many, rec{timestamp: goldenTime + int64(n/2), value: fill(n % 5)})
	}
	abc := []rec{{1, []byte("a"), []byte("v"), nil}, {2, []byte("b"), []byte("v"), nil}, {3, []byte("c"), []byte("v"), nil}}
	return map[string]golden{
		"one": {header: plain, records: []rec{{goldenTime, []byte("key"), []byte("value"), nil}}},
		"nulls": {header: plain, records: []rec{
			{goldenTime, nil, []byte("value"), nil}, {goldenTime, []byte("key"), nil, nil},
			{goldenTime, nil, nil, nil}, {goldenTime, []byte{}, []byte{}, nil},
		}},
		"timestamps": {header: plain, records: timestampRecords()},
		"headers": {header: plain, records: []rec{
			{goldenTime, []byte("k"), []byte("v"), []Header{
				{"foo", []byte("bar")}, {"null", nil}, {"foo", []byte{}}, {"", []byte("no key")}, {"ä€😀", fill(100)},
			}},
			{goldenTime + 1, nil, nil, []Header{{"x", nil}}},
		}},
		"valuesizes": {header: plain, records: recordsOfSizes(false,
			0, 1, 2, 52, 53, 54, 55, 56, 57, 58, 63, 64, 65, 127, 128, 8191, 8192)},
		"keysizes":   {header: plain, records: recordsOfSizes(true, 0, 1, 62, 63, 64, 65, 8192)},
		"many":       {header: plain, records: many},
		"idempotent": {header: with(idempotent), records: abc[:2]},
		"wraparound": {header: with(func(h *BatchHeader) {
			idempotent(h)
			h.BaseSequence = math.MaxInt32 - 1
		}), records: abc},
		"transactional": {header: with(func(h *BatchHeader) {
			h.Attributes = AttrTransactional
			h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.PartitionLeaderEpoch = math.MaxInt64, math.MaxInt16, 0, 7
		}), records: []rec{{goldenTime, []byte("k"), []byte("v"), nil}}},
		"logappendtime": {header: with(func(h *BatchHeader) {
			h.Attributes, h.BaseOffset, h.MaxTimestamp = AttrLogAppendTime, 5, goldenTime+5
		}), records: []rec{{goldenTime, []byte("k"), []byte("v"), nil}, {goldenTime + 1, []byte("k"), []byte("w"), nil}}},
		"control": {header: with(func(h *BatchHeader) {
			h.Attributes = AttrTransactional | AttrControl
			h.ProducerID, h.ProducerEpoch = 1, 0
		}), records: []rec{{goldenTime, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 15}, nil}}},
		"gzip": {header: with(func(h *BatchHeader) { h.Attributes = 1 }), codec: true, records: []rec{
			{goldenTime, []byte("a"), fill(500), nil}, {goldenTime + 1, []byte("b"), []byte("2"), []Header{{"h", []byte("1")}}},
			{goldenTime + 2, []byte("c"), []byte("3"), nil},
		}},
	}
}

// encode builds the batch with this package, uncompressed.
func (g golden) encode() []byte {
	h := g.header
	b := make([]byte, BatchOverhead)
	h.BaseTimestamp = g.records[0].timestamp
	for i, r := range g.records {
		b = AppendRecord(b, int32(i), r.timestamp-h.BaseTimestamp, r.key, r.value, r.headers)
		if !h.LogAppendTime() {
			h.MaxTimestamp = max(h.MaxTimestamp, r.timestamp)
		}
	}
	h.Length = int32(len(b) - 12)
	h.Count = int32(len(g.records))
	h.LastOffsetDelta = h.Count - 1
	PutBatchHeader(b, &h)
	PutBatchCRC(b, BatchCRC(b))
	return b
}

// goldenBatch returns the bytes Java wrote under the name.
func goldenBatch(t testing.TB, name string) []byte {
	text, err := os.ReadFile("testdata/batches.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			b, err := hex.DecodeString(strings.TrimSpace(rest))
			require.NoError(t, err)
			return b
		}
	}
	t.Fatalf("no batch %q", name)
	return nil
}

func TestWriterMatchesJava(t *testing.T) {
	for name, g := range goldens() {
		if !g.codec {
			t.Run(name, func(t *testing.T) {
				want := goldenBatch(t, name)
				require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(g.encode()))
			})
		}
	}
}

func TestReaderMatchesJava(t *testing.T) {
	for name, g := range goldens() {
		t.Run(name, func(t *testing.T) {
			b := goldenBatch(t, name)
			h, err := ReadBatchHeader(append(b, "the next batch"...))
			require.NoError(t, err)
			require.Equal(t, len(b), h.Size())
			require.Equal(t, h.CRC, BatchCRC(b))
			require.EqualValues(t, 2, h.Magic)
			require.Equal(t, g.header.Attributes, h.Attributes)
			require.Equal(t, g.codec, h.Codec() == 1)
			require.Equal(t, g.header.BaseOffset+int64(len(g.records))-1, h.LastOffset())

			section := b[BatchOverhead:]
			if g.codec {
				z, err := gzip.NewReader(bytes.NewReader(section))
				require.NoError(t, err)
				section, err = io.ReadAll(z)
				require.NoError(t, err)
			}
			i := 0
			for got, err := range Records(section, h.Count) {
				require.NoError(t, err)
				want := g.records[i]
				require.EqualValues(t, i, got.OffsetDelta)
				require.Equal(t, want.timestamp, h.BaseTimestamp+got.TimestampDelta)
				require.Equal(t, want.key, got.Key)
				require.Equal(t, want.value, got.Value)
				require.Equal(t, want.headers, got.Headers)
				require.Zero(t, got.Attributes)
				i++
			}
			require.Len(t, g.records, i)
		})
	}
}
