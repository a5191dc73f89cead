package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
)

// BatchOverhead is the size of a batch header, the bytes before the first record.
const BatchOverhead = 61

// Offsets of fields in a batch header.
const (
	batchLengthEnd = 12 // the length counts the bytes from here on
	batchCRC       = 17
	batchCRCStart  = 21 // the CRC covers the bytes from here on
)

// Bits of BatchHeader.Attributes. The lowest three are the codec.
const (
	AttrLogAppendTime int16 = 0x08 // timestamps are the broker's (KIP-32)
	AttrTransactional int16 = 0x10 // part of a transaction (KIP-98)
	AttrControl       int16 = 0x20 // holds a transaction marker, no data
	AttrDeleteHorizon int16 = 0x40 // the base timestamp is a delete horizon (KIP-534)

	attrCodec int16 = 0x07
)

// Values of BatchHeader that mean "none".
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
)

// BatchHeader is the head of a record batch of magic 2, in front of its records.
//
//	 0 +-------------------------------+
//	   | base offset             int64 |
//	 8 +-------------------------------+
//	   | length                  int32 |  bytes from 12 to the end of the batch
//	12 +-------------------------------+
//	   | partition leader epoch  int32 |  the broker's; outside the CRC
//	16 +-------------------------------+
//	   | magic = 2                int8 |
//	17 +-------------------------------+
//	   | CRC-32C                uint32 |  of the bytes from 21 to the end
//	21 +-------------------------------+
//	   | attributes              int16 |  .. delete horizon 6, control 5,
//	   |                               |  transactional 4, log append time 3, codec 2-0
//	23 +-------------------------------+
//	   | last offset delta       int32 |  also the last sequence's delta
//	27 +-------------------------------+
//	   | base timestamp          int64 |
//	35 +-------------------------------+
//	   | max timestamp           int64 |
//	43 +-------------------------------+
//	   | producer id             int64 |  -1: not idempotent
//	51 +-------------------------------+
//	   | producer epoch          int16 |
//	53 +-------------------------------+
//	   | base sequence           int32 |
//	57 +-------------------------------+
//	   | record count            int32 |
//	61 +-------------------------------+
//	   | records, all compressed       |
//	   | together if codec is not 0    |
//	   +-------------------------------+
type BatchHeader struct {
	BaseOffset           int64
	Length               int32
	PartitionLeaderEpoch int32
	Magic                int8
	CRC                  uint32
	Attributes           int16
	LastOffsetDelta      int32
	BaseTimestamp        int64
	MaxTimestamp         int64
	ProducerID           int64
	ProducerEpoch        int16
	BaseSequence         int32
	Count                int32
}

// Codec returns the number of the codec the records are compressed with, 0 for none.
func (h *BatchHeader) Codec() int8 { return int8(h.Attributes & attrCodec) }

// LogAppendTime reports whether the timestamps are the broker's: every record then
// has MaxTimestamp.
func (h *BatchHeader) LogAppendTime() bool { return h.Attributes&AttrLogAppendTime != 0 }

// Transactional reports whether the batch is part of a transaction.
func (h *BatchHeader) Transactional() bool { return h.Attributes&AttrTransactional != 0 }

// Control reports whether the batch holds a transaction marker instead of data.
func (h *BatchHeader) Control() bool { return h.Attributes&AttrControl != 0 }

// Size returns the size of the whole batch in bytes.
func (h *BatchHeader) Size() int { return batchLengthEnd + int(h.Length) }

// LastOffset returns the offset of the last record.
func (h *BatchHeader) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// LastSequence returns the sequence of the last record, NoSequence if the batch
// has none.
func (h *BatchHeader) LastSequence() int32 {
	if h.BaseSequence == NoSequence {
		return NoSequence
	}
	return IncrementSequence(h.BaseSequence, h.LastOffsetDelta)
}

// PutBatchHeader writes the header to the first BatchOverhead bytes of b, the
// CRC as given. The CRC covers most of what is written here: set it afterwards
// with PutBatchCRC.
func PutBatchHeader(b []byte, h *BatchHeader) {
	b = b[:BatchOverhead:BatchOverhead]
	be := binary.BigEndian
	be.PutUint64(b[0:], uint64(h.BaseOffset))
	be.PutUint32(b[8:], uint32(h.Length))
	be.PutUint32(b[12:], uint32(h.PartitionLeaderEpoch))
	b[16] = byte(h.Magic)
	be.PutUint32(b[17:], h.CRC)
	be.PutUint16(b[21:], uint16(h.Attributes))
	be.PutUint32(b[23:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[27:], uint64(h.BaseTimestamp))
	be.PutUint64(b[35:], uint64(h.MaxTimestamp))
	be.PutUint64(b[43:], uint64(h.ProducerID))
	be.PutUint16(b[51:], uint16(h.ProducerEpoch))
	be.PutUint32(b[53:], uint32(h.BaseSequence))
	be.PutUint32(b[57:], uint32(h.Count))
}

// PutBatchCRC writes the CRC field of the batch at the start of b.
func PutBatchCRC(b []byte, crc uint32) { binary.BigEndian.PutUint32(b[batchCRC:], crc) }

// ReadBatchHeader reads the header of the batch at the start of b. b may hold
// more than the batch; Size says where it ends. The error wraps ErrTruncated if
// the batch is longer than b, ErrMalformed if its magic is not 2 or a size cannot
// be. The CRC is not checked: compare it with BatchCRC.
func ReadBatchHeader(b []byte) (BatchHeader, error) {
	if len(b) > 16 && b[16] != 2 {
		return BatchHeader{}, fmt.Errorf("batch of magic %d: %w", int8(b[16]), ErrMalformed)
	}
	if len(b) < BatchOverhead {
		return BatchHeader{}, fmt.Errorf("batch header in %d bytes: %w", len(b), ErrTruncated)
	}
	be := binary.BigEndian
	h := BatchHeader{
		BaseOffset:           int64(be.Uint64(b[0:])),
		Length:               int32(be.Uint32(b[8:])),
		PartitionLeaderEpoch: int32(be.Uint32(b[12:])),
		Magic:                int8(b[16]),
		CRC:                  be.Uint32(b[17:]),
		Attributes:           int16(be.Uint16(b[21:])),
		LastOffsetDelta:      int32(be.Uint32(b[23:])),
		BaseTimestamp:        int64(be.Uint64(b[27:])),
		MaxTimestamp:         int64(be.Uint64(b[35:])),
		ProducerID:           int64(be.Uint64(b[43:])),
		ProducerEpoch:        int16(be.Uint16(b[51:])),
		BaseSequence:         int32(be.Uint32(b[53:])),
		Count:                int32(be.Uint32(b[57:])),
	}
	switch {
	case h.Length < BatchOverhead-batchLengthEnd:
		return BatchHeader{}, fmt.Errorf("batch length %d: %w", h.Length, ErrMalformed)
	case int(h.Length) > len(b)-batchLengthEnd:
		return BatchHeader{}, fmt.Errorf("batch of %d bytes in %d: %w", h.Size(), len(b), ErrTruncated)
	case h.Count < 0 || h.LastOffsetDelta < 0:
		return BatchHeader{}, fmt.Errorf("batch of %d records, last offset delta %d: %w",
			h.Count, h.LastOffsetDelta, ErrMalformed)
	}
	return h, nil
}

// BatchCRC returns the CRC-32C for the header of the batch b: that of its bytes
// from the attributes to the end. b must end where the batch ends.
func BatchCRC(b []byte) uint32 { return CRC32C(0, b[batchCRCStart:]) }

// IncrementSequence returns the sequence n after seq. Sequences live modulo 2^31:
// 0 follows the largest. n is not negative.
func IncrementSequence(seq, n int32) int32 { return int32((uint32(seq) + uint32(n)) & math.MaxInt32) }

// DecrementSequence returns the sequence n before seq, modulo 2^31. n is not negative.
func DecrementSequence(seq, n int32) int32 { return int32((uint32(seq) - uint32(n)) & math.MaxInt32) }
