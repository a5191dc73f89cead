package quilltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// What a batch must be before it may enter a log, in the order of a broker's own checks (Kafka:
// ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator).

// maxUnpacked is the most bytes a compressed batch may unpack to. Kafka has no such limit; a test's
// heap does.
const maxUnpacked = 256 << 20

// A refusal says why a batch was not appended.
type refusal struct {
	code    protocol.ErrorCode
	reason  string
	records []recordError // the records to blame, if it was single ones (KIP-467)
}

type recordError struct {
	index  int32
	reason string
}

func refuse(code protocol.ErrorCode, format string, args ...any) *refusal {
	return &refusal{code: code, reason: fmt.Sprintf(format, args...)}
}

// A checkedBatch has passed all checks that need no state of the partition.
type checkedBatch struct {
	header protocol.BatchHeader
	raw    []byte // aliases the request
	// maxTimestamp is the largest timestamp of the records themselves, not that of the header.
	maxTimestamp int64
}

// checkBatch checks the records field of one partition of a produce request.
func checkBatch(raw []byte, version int16, cfg *TopicConfig, strict bool, now time.Time) (checkedBatch, *refusal) {
	h, bad := checkShape(raw, version)
	if bad != nil {
		return checkedBatch{}, bad
	}
	behind := len(raw) - h.Size()
	raw = raw[:h.Size()]
	switch {
	case strict && behind > 0:
		bad = refuse(protocol.InvalidRecord, "%d bytes behind the record batch", behind)
	case h.BaseOffset != 0:
		bad = refuse(protocol.InvalidRecord, "the baseOffset of the record batch should be 0, but it is %d", h.BaseOffset)
	case len(raw) > cfg.MaxMessageBytes:
		bad = refuse(protocol.MessageTooLarge, "the record batch size is %d bytes which exceeds the maximum configured value of %d", len(raw), cfg.MaxMessageBytes)
	case len(raw) > cfg.SegmentBytes:
		bad = refuse(protocol.RecordListTooLarge, "message batch size is %d bytes which exceeds the maximum configured segment size of %d", len(raw), cfg.SegmentBytes)
	case protocol.BatchCRC(raw) != h.CRC:
		bad = refuse(protocol.CorruptMessage, "record is corrupt (stored crc = %d, computed crc = %d)", h.CRC, protocol.BatchCRC(raw))
	case h.Count <= 0:
		bad = refuse(protocol.InvalidRecord, "invalid reported count for record batch: %d", h.Count)
	case int64(h.LastOffsetDelta)+1 != int64(h.Count):
		bad = refuse(protocol.InvalidRecord, "inconsistent batch offset range [0, %d] and count of records %d", h.LastOffsetDelta, h.Count)
	default:
		bad = checkAttributes(&h, strict)
	}
	if bad != nil {
		return checkedBatch{}, bad
	}
	b := checkedBatch{header: h, raw: raw}
	return b, b.checkRecords(cfg, strict, now)
}

// checkShape makes sure that raw begins with a batch of magic 2 and that no other follows. Bytes behind
// it that are no batch are left to the caller.
func checkShape(raw []byte, version int16) (protocol.BatchHeader, *refusal) {
	size, bad := batchSize(raw)
	switch {
	case bad != nil:
		return protocol.BatchHeader{}, bad
	case size == 0:
		return protocol.BatchHeader{}, refuse(protocol.InvalidRecord, "produce requests with version %d must have at least one record batch", version)
	case raw[magicOffset] < 2:
		return protocol.BatchHeader{}, refuse(protocol.InvalidRecord, "produce requests with version %d are only allowed to contain record batches with magic version 2", version)
	}
	h, err := protocol.ReadBatchHeader(raw[:size])
	switch {
	case errors.Is(err, protocol.ErrTruncated):
		return h, refuse(protocol.CorruptMessage, "record batch with a header that is too short: %v", err)
	case err != nil:
		return h, refuse(protocol.InvalidRecord, "record batch with an impossible header: %v", err)
	}
	if version < 7 && compress.Codec(h.Codec()) == compress.Zstd {
		return h, refuse(protocol.UnsupportedCompressionType, "produce requests with version %d are not allowed to use ZStandard compression", version)
	}
	if h.Codec() > int8(compress.Zstd) {
		return h, refuse(protocol.UnknownServerError, "unknown compression type id: %d", h.Codec())
	}
	switch next, bad := batchSize(raw[size:]); {
	case bad != nil:
		return h, bad
	case next > 0:
		return h, refuse(protocol.InvalidRecord, "produce requests with version %d are only allowed to contain exactly one record batch per partition", version)
	}
	return h, nil
}

// Where a batch has its magic, which is its version, and the least that its length may be.
const (
	magicOffset = 16
	leastLength = 14
)

// batchSize returns the size of the batch at the start of b, 0 if there is no whole one (Kafka:
// ByteBufferLogInputStream).
func batchSize(b []byte) (int, *refusal) {
	if len(b) < 12 {
		return 0, nil
	}
	length := int32(binary.BigEndian.Uint32(b[8:]))
	switch {
	case length < leastLength:
		return 0, refuse(protocol.CorruptMessage, "record size %d is less than the minimum record overhead (%d)", length, leastLength)
	case len(b) <= magicOffset:
		return 0, nil
	case b[magicOffset] > 2:
		return 0, refuse(protocol.CorruptMessage, "invalid magic found in record: %d", int8(b[magicOffset]))
	case length > math.MaxInt32-12:
		return 0, refuse(protocol.UnknownServerError, "record size %d", length) // as a sum of 32 bits it is negative
	case len(b) < int(length)+12:
		return 0, nil
	}
	return int(length) + 12, nil
}

// checkAttributes follows LogValidator.validateBatch. A producer id below -1 is none there.
func checkAttributes(h *protocol.BatchHeader, strict bool) *refusal {
	switch {
	case h.Control():
		return refuse(protocol.InvalidRecord, "clients are not allowed to write control records")
	case h.ProducerID > protocol.NoProducerID && h.BaseSequence < 0:
		return refuse(protocol.InvalidRecord, "invalid sequence number %d in record batch with producer id %d", h.BaseSequence, h.ProducerID)
	case !strict:
	case h.Attributes&protocol.AttrDeleteHorizon != 0:
		return refuse(protocol.InvalidRecord, "clients are not allowed to set a delete horizon")
	case h.ProducerID > protocol.NoProducerID && h.ProducerEpoch < 0:
		return refuse(protocol.InvalidRecord, "invalid producer epoch %d in record batch with producer id %d", h.ProducerEpoch, h.ProducerID)
	case h.ProducerID < protocol.NoProducerID:
		return refuse(protocol.InvalidRecord, "invalid producer id %d", h.ProducerID)
	case h.Transactional() && h.ProducerID == protocol.NoProducerID:
		return refuse(protocol.InvalidRecord, "transactional record batch without a producer id")
	case h.LogAppendTime():
		return refuse(protocol.InvalidTimestamp, "a producer should not set the timestamp type to LogAppendTime")
	}
	return nil
}

// unpacked holds buffers for decompressed records.
var unpacked = sync.Pool{New: func() any { return new([]byte) }}

// checkRecords walks the records and fills in the largest timestamp.
func (b *checkedBatch) checkRecords(cfg *TopicConfig, strict bool, now time.Time) *refusal {
	section := b.raw[protocol.BatchOverhead:]
	codec := compress.Codec(b.header.Codec())
	if codec != compress.None {
		buf := unpacked.Get().(*[]byte)
		defer unpacked.Put(buf)
		plain, err := compress.Decompress(codec, (*buf)[:0], section, maxUnpacked)
		if err != nil {
			return refuse(protocol.UnknownServerError, "records do not decompress as %v: %v", codec, err)
		}
		*buf, section = plain, plain
	}
	earliest, latest := timestampLimits(cfg, now)
	b.maxTimestamp = protocol.NoTimestamp
	var errs []recordError
	code := protocol.InvalidRecord
	for i := range b.header.Count {
		r, size, fault := skimRecord(section, strict)
		switch {
		case fault != "":
			return refuse(protocol.InvalidRecord, "record %d of %d: %s", i, b.header.Count, fault)
		case r.offsetDelta != int64(i) && codec != compress.None:
			// Kafka's own error for that is one that no code stands for.
			return refuse(protocol.UnknownServerError, "record %d of %d does not have incremental offsets: offset delta %d", i, b.header.Count, r.offsetDelta)
		case r.offsetDelta != int64(i) && strict:
			return refuse(protocol.InvalidRecord, "record %d of %d does not have incremental offsets: offset delta %d", i, b.header.Count, r.offsetDelta)
		}
		section = section[size:]
		timestamp := b.header.BaseTimestamp + r.timestampDelta
		b.maxTimestamp = max(b.maxTimestamp, timestamp)
		switch {
		case cfg.Compacted && r.nullKey:
			errs = append(errs, recordError{i, "Compacted topic cannot accept message without key."})
		case timestamp != protocol.NoTimestamp && (timestamp < earliest || timestamp > latest):
			code = protocol.InvalidTimestamp
			errs = append(errs, recordError{i, fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]", timestamp, i, earliest, latest)})
		}
	}
	if len(section) > 0 {
		return refuse(protocol.InvalidRecord, "incorrect declared batch size, %d bytes behind the last of %d records", len(section), b.header.Count)
	}
	if errs != nil {
		return &refusal{code: code, reason: fmt.Sprintf("One or more records have been rejected due to %d record errors in total", len(errs)), records: errs}
	}
	return nil
}

// timestampLimits returns the range of timestamps, in milliseconds, that records of the topic may
// have. Log append time makes all good.
func timestampLimits(cfg *TopicConfig, now time.Time) (earliest, latest int64) {
	earliest, latest = math.MinInt64, math.MaxInt64
	if cfg.LogAppendTime {
		return earliest, latest
	}
	if cfg.MaxTimestampBehind > 0 {
		earliest = now.Add(-cfg.MaxTimestampBehind).UnixMilli()
	}
	if cfg.MaxTimestampAhead >= 0 {
		latest = now.Add(cfg.MaxTimestampAhead).UnixMilli()
	}
	return earliest, latest
}

// A skimmed record is what the checks need of one; nothing is copied.
type skimmed struct {
	offsetDelta    int64
	timestampDelta int64
	nullKey        bool
}

// skimRecord reads past the record at the start of b. It returns the record's size, or what is
// wrong with it.
func skimRecord(b []byte, strict bool) (r skimmed, size int, fault string) {
	length, i := number(b, 0)
	if i < 0 || length <= 0 || length > int64(len(b)-i) {
		return r, 0, "length reaches behind the batch"
	}
	size = i + int(length)
	b = b[:size]
	r.timestampDelta, i = number(b, i+1) // behind the attributes, which are not in use
	r.offsetDelta, i = number(b, i)
	keySize, i := number(b, i)
	r.nullKey = keySize < 0
	valueSize, i := number(b, past(b, i, nullSize(keySize, strict), -1))
	i = past(b, i, nullSize(valueSize, strict), -1)
	headers, i := number(b, i)
	if headers < 0 {
		i = -1
	}
	for ; headers > 0 && i >= 0; headers-- {
		keySize, i = number(b, i)
		i = past(b, i, keySize, 0)
		valueSize, i = number(b, i)
		i = past(b, i, valueSize, -1)
	}
	if i != len(b) {
		return r, 0, fmt.Sprintf("invalid record structure in %d bytes", len(b))
	}
	return r, size, ""
}

// nullSize makes the size of null of any that is negative, as Kafka does.
func nullSize(n int64, strict bool) int64 {
	if strict {
		return n
	}
	return max(n, -1)
}

// past returns the position behind n bytes at b[i], -1 if there are fewer. An n of -1 is null, if
// that is allowed.
func past(b []byte, i int, n, least int64) int {
	if i < 0 || n < least || n > int64(len(b)-i) {
		return -1
	}
	return i + int(max(n, 0))
}

// number reads the zigzag number at b[i]. It returns the position behind it, -1 if there is none.
func number(b []byte, i int) (int64, int) {
	if i < 0 {
		return 0, -1
	}
	var u uint64
	for shift := 0; i < len(b) && shift < 64; shift += 7 {
		c := b[i]
		i++
		u |= uint64(c&0x7f) << (shift & 63)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i
		}
	}
	return 0, -1
}
