package null

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSequencesTellDuplicatesAndGaps(t *testing.T) {
	type step struct {
		id       int64
		epoch    int16
		sequence int32
		records  int32
		offset   int64
		dups     int64
		gaps     int64
	}
	for name, steps := range map[string][]step{
		"in order":                    {{1, 0, 0, 10, 0, 0, 0}, {1, 0, 10, 5, 10, 0, 0}, {1, 0, 15, 1, 15, 0, 0}},
		"a duplicate gets its offset": {{1, 0, 0, 10, 0, 0, 0}, {1, 0, 10, 5, 10, 0, 0}, {1, 0, 0, 10, 0, 1, 0}, {1, 0, 15, 1, 15, 1, 0}},
		"too old for its offset": {{1, 0, 0, 1, 0, 0, 0}, {1, 0, 1, 1, 1, 0, 0}, {1, 0, 2, 1, 2, 0, 0}, {1, 0, 3, 1, 3, 0, 0}, {1, 0, 4, 1, 4, 0, 0},
			{1, 0, 5, 1, 5, 0, 0}, {1, 0, 0, 1, -1, 1, 0}, {1, 0, 1, 1, 1, 2, 0}},
		"one loss is one gap":       {{1, 0, 0, 10, 0, 0, 0}, {1, 0, 11, 5, 10, 0, 1}, {1, 0, 16, 5, 15, 0, 1}},
		"the first one is lost":     {{1, 0, 3, 10, 0, 0, 1}},
		"a new epoch begins at 0":   {{1, 0, 0, 10, 0, 0, 0}, {1, 1, 0, 10, 10, 0, 0}, {1, 2, 7, 1, 20, 0, 1}},
		"producers are independent": {{1, 0, 0, 10, 0, 0, 0}, {2, 0, 0, 10, 10, 0, 0}, {1, 0, 10, 1, 20, 0, 0}},
		"without idempotence":       {{-1, -1, -1, 10, 0, 0, 0}, {-1, -1, -1, 10, 10, 0, 0}},
		"sequences wrap": {{1, 0, 0, math.MaxInt32, 0, 0, 0}, {1, 0, math.MaxInt32, 3, math.MaxInt32, 0, 0}, {1, 0, 2, 1, math.MaxInt32 + 3, 0, 0},
			{1, 0, math.MaxInt32, 3, math.MaxInt32, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var p partition
			for i, s := range steps {
				h := batchHeader{producerID: s.id, epoch: s.epoch, sequence: s.sequence, records: s.records, lastOffsetDelta: s.records - 1}
				require.Equal(t, s.offset, p.count(&h, 100), "step %d", i)
				got := p.stats()
				require.Equal(t, s.dups, got.Duplicates, "step %d", i)
				require.Equal(t, s.gaps, got.Gaps, "step %d", i)
				require.Zero(t, got.BadCount)
			}
		})
	}
}

// sealed is a batch made by kmsg, not by a producer.
func sealed(records int32, payload []byte, codec int16) (header, rest []byte) {
	b := kmsg.RecordBatch{Magic: 2, Attributes: codec, LastOffsetDelta: records - 1, NumRecords: records, ProducerID: 7, Records: payload,
		Length: int32(49 + len(payload))}
	all := b.AppendTo(nil)
	binary.BigEndian.PutUint32(all[17:], crc32.Checksum(all[21:], castagnoli))
	return all[:batchHeaderSize], all[batchHeaderSize:]
}

func plainRecords(n int32) (b []byte) {
	for i := range n {
		r := kmsg.Record{OffsetDelta: i, Key: []byte("k"), Value: []byte("value"), Headers: []kmsg.Header{{Key: "h", Value: []byte("1")}}}
		r.Length = int32(len(r.AppendTo(nil))) - 1
		b = r.AppendTo(b)
	}
	return b
}

func TestVerifyFindsWhatHeadersHide(t *testing.T) {
	good := plainRecords(3)
	twice := append(plainRecords(1), plainRecords(1)...) // both at offset 0
	for name, test := range map[string]struct {
		records int32
		payload []byte
		codec   int16
		break_  func(header, rest []byte)
		want    TopicStats
	}{
		"good":                  {records: 3, payload: good, want: TopicStats{Decoded: 1}},
		"a flipped bit":         {records: 3, payload: good, break_: func(_, rest []byte) { rest[8] ^= 1 }, want: TopicStats{BadCRC: 1, Decoded: 1}},
		"a flipped attribute":   {records: 3, payload: good, break_: func(h, _ []byte) { h[22] ^= 0x20 }, want: TopicStats{BadCRC: 1, Decoded: 1}},
		"too few records":       {records: 4, payload: good, want: TopicStats{BadCount: 1, Decoded: 1}},
		"offsets repeat":        {records: 2, payload: twice, want: TopicStats{BadPayload: 1, Decoded: 1}},
		"cut off":               {records: 3, payload: good[:len(good)-1], want: TopicStats{BadPayload: 1, Decoded: 1}},
		"no records at all":     {records: 3, payload: nil, want: TopicStats{BadCount: 1, Decoded: 1}},
		"not compressed at all": {records: 3, payload: good, codec: 4, want: TopicStats{BadPayload: 1, Decoded: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			header, rest := sealed(test.records, test.payload, test.codec)
			if test.break_ != nil {
				test.break_(header, rest)
			}
			var p partition
			var v verifier
			h := parseBatchHeader(header)
			require.Equal(t, len(header)+len(rest), h.size())
			v.check(&p, &h, header, rest)
			test.want.Codecs = map[string]int64{}
			require.Equal(t, test.want, p.stats())
		})
	}
}
