package compress

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is the window of Java's default level. A batch is seldom larger, and a smaller
	// window than the library's 4 to 32 MiB makes an encoder that much smaller.
	zstdWindow = 2 << 20

	// zstdMaxWindow is what libzstd's decoder takes: level 22 writes it. No memory is set aside for it.
	zstdMaxWindow = 128 << 20

	// zstdMaxBlock is what a block can make at most.
	zstdMaxBlock = 128 << 10
)

// zstdEncoder writes one frame without a checksum: the batch has one. It can't take a section in parts.
type zstdEncoder struct {
	e     *zstd.Encoder
	whole []byte // of one that came so
}

func newZstdEncoder(level int) *zstdEncoder {
	speed := zstd.SpeedBestCompression
	switch {
	case level <= 3:
		speed = zstd.SpeedFastest
	case level <= 5:
		speed = zstd.SpeedDefault
	case level <= 9:
		speed = zstd.SpeedBetterCompression
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(speed),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithNoEntropyCompression(level < 0))
	if err != nil {
		panic(err) // constant options
	}
	return &zstdEncoder{e: e}
}

func (e *zstdEncoder) encode(dst []byte, src [][]byte) ([]byte, error) {
	if len(src) == 1 {
		return e.e.EncodeAll(src[0], dst), nil
	}
	e.whole = e.whole[:0]
	for _, part := range src {
		e.whole = append(e.whole, part...)
	}
	return e.e.EncodeAll(e.whole, dst), nil
}

// unzstd makes a decoder for each call and keeps none: a decoder contains a channel, and one that a
// testing/synctest bubble had left in a pool would panic outside of it. Unpacking is not on the way
// of a record.
//
// The decoder is held to the room it is given. There is always room for a whole block more than the
// limit, so how much it made shows what stopped it.
func unzstd(dst, src []byte, limit int) ([]byte, error) {
	bound, err := zstdBound(src, limit)
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	const slack = zstdMaxBlock + 1024
	room := dst[len(dst):]
	if cap(room) < bound+slack {
		room = make([]byte, 0, bound+slack)
	}
	out, err := d.DecodeAll(src, room[:0:bound+slack])
	switch {
	case len(out) > limit, errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, ErrTooLarge
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return append(dst, out...), nil // onto itself, if there was room in dst
}

// zstdBound returns how much the frames of src can make, at most limit, by their blocks' headers:
//
//	bit 0       last block
//	bits 1, 2   0: stored, 1: one byte repeated, 2: packed
//	bits 3..23  size: of the contents if stored or repeated, else of the block
func zstdBound(src []byte, limit int) (int, error) {
	var bound uint64
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		skip := uint64(h.HeaderSize)
		if h.Skippable {
			skip += uint64(h.SkippableSize)
		}
		var frame uint64
		for last := h.Skippable; !last; {
			if skip+3 > uint64(len(src)) {
				return 0, fmt.Errorf("%w: cut inside a block header", ErrCorrupt)
			}
			b := uint32(src[skip]) | uint32(src[skip+1])<<8 | uint32(src[skip+2])<<16
			last = b&1 != 0
			made, taken := b>>3, b>>3
			switch b >> 1 & 3 {
			case 1:
				taken = 1
			case 2:
				made = zstdMaxBlock
			}
			frame += uint64(min(made, zstdMaxBlock))
			skip += 3 + uint64(taken)
		}
		if h.HasCheckSum {
			skip += 4
		}
		switch {
		case skip > uint64(len(src)):
			return 0, fmt.Errorf("%w: cut short", ErrCorrupt)
		case h.HasFCS && h.FrameContentSize > frame:
			return 0, fmt.Errorf("%w: frame claims to hold %d bytes", ErrCorrupt, h.FrameContentSize)
		case h.HasFCS:
			frame = h.FrameContentSize
		}
		bound += frame
		src = src[skip:]
	}
	return int(min(bound, uint64(limit))), nil
}
