package quill

import (
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// sealer compresses batches. It is used by several connection writers, and workers, at once.
//
// The compressed form is made in scratch memory and copied back over the records, so it lives in
// memory that the batch already holds; chunks that are empty then go back to the pool at once. So
// buffer.memory covers compressed copies too; the scratch buffers on top are one per goroutine
// that is compressing at this moment. A batch that does not shrink is sent as it is.
type sealer struct {
	codec compress.Codec
	c     *compress.Compressor
	// attributes are those that every batch has besides the codec: AttrTransactional, or none.
	attributes int16
	scratch    sync.Pool // of *sealScratch
	crew       sealCrew
	sealed     func(begin time.Time) // counts the time of a compression
}

type sealScratch struct {
	parts [][]byte // of the records section
	out   []byte
}

func newSealer(codec compress.Codec, level int) (*sealer, error) {
	s := &sealer{codec: codec, sealed: func(time.Time) {}}
	s.scratch.New = func() any { return new(sealScratch) }
	if codec == compress.None {
		return s, nil
	}
	var err error
	s.c, err = compress.New(codec, level)
	return s, err
}

// compress turns the records of b into their compressed form.
func (s *sealer) compress(b *batch) error {
	if s.codec == compress.None {
		return nil
	}
	defer s.sealed(time.Now())
	buf := s.scratch.Get().(*sealScratch)
	defer s.scratch.Put(buf)
	buf.parts = append(buf.parts[:0], b.chunks...)
	buf.parts[0] = buf.parts[0][protocol.BatchOverhead:]
	out, err := s.c.Compress(buf.out[:0], buf.parts...)
	clear(buf.parts)
	if err != nil {
		return err
	}
	buf.out = out
	b.queue.topic.ratio.update(len(out), b.raw)
	if len(out) >= b.raw {
		return nil
	}
	b.replaceRecords(out)
	b.codec = s.codec
	return nil
}

// replaceRecords puts the compressed records in the place of the plain ones.
func (b *batch) replaceRecords(records []byte) {
	b.raw, b.sum = len(records), recordSum{}
	kept := 0
	for i, c := range b.chunks {
		from := 0
		if i == 0 {
			from = protocol.BatchOverhead
		}
		n := copy(c[from:cap(c)], records)
		records = records[n:]
		if n == 0 && i > 0 {
			break
		}
		b.chunks[i] = c[:from+n]
		kept = i + 1
	}
	for i := kept; i < len(b.chunks); i++ {
		b.heldBytes -= int64(cap(b.chunks[i]))
		b.share.release(b.chunks[i])
		b.chunks[i] = nil
	}
	b.chunks = b.chunks[:kept]
}

// seal brings the batch into its wire form. It runs on the connection's writer or a worker, not on the
// sender, so that all processors share the compression. A batch that is sent again is compressed only the
// first time; its header is written again only if its identity changed.
func (b *batch) seal(s *sealer) error {
	if !b.sealed {
		if err := s.compress(b); err != nil {
			return err
		}
		b.sealed = true
	}
	if b.headerDone {
		return nil
	}
	h := protocol.BatchHeader{
		Length: int32(b.size() - 12), PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(b.codec) | s.attributes,
		LastOffsetDelta: b.records - 1, BaseTimestamp: b.baseTime, MaxTimestamp: b.maxTime,
		ProducerID: b.producerID, ProducerEpoch: b.producerEpoch, BaseSequence: b.baseSequence, Count: b.records,
	}
	first := b.chunks[0]
	protocol.PutBatchHeader(first, &h)
	protocol.PutBatchCRC(first, b.checkSum())
	b.headerDone = true
	return nil
}

// checkSum returns the CRC-32C for the header: that of the header behind it and the records.
func (b *batch) checkSum() uint32 {
	first := b.chunks[0]
	if b.sum.bytes == 0 { // a small batch, in whose time joining two sums would be felt, or a compressed one
		crc := protocol.CRC32C(0, first[crcFrom:])
		for _, c := range b.chunks[1:] {
			crc = protocol.CRC32C(crc, c)
		}
		return crc
	}
	at := int32(-protocol.BatchOverhead) // the position of the chunk in the records section
	for _, c := range b.chunks {
		if from := b.sum.bytes - at; int(from) < len(c) {
			b.sum.add(c[from:])
		}
		at += int32(len(c))
	}
	return protocol.JoinCRC32C(protocol.CRC32C(0, first[crcFrom:protocol.BatchOverhead]), b.sum.crc, int(b.sum.bytes))
}

// crcFrom is where the part of a batch that its CRC covers begins.
const crcFrom = 21
