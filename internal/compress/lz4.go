package compress

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// An lz4 section is an LZ4 frame:
//
//	04 22 4D 18   magic
//	60            version 1, independent blocks; no checksums, no content size
//	40            blocks of at most 64 KiB
//	82            second byte of xxHash-32 over the two bytes before
//	then for each block:
//	    uint32    little endian: length, highest bit set if the block is stored as it is
//	    bytes
//	00 00 00 00   end
//
// This is, byte for byte but for the blocks' contents, what Java's Lz4BlockOutputStream writes.
const lz4Header = "\x04\x22\x4D\x18\x60\x40\x82"

const (
	// lz4Block: with larger blocks the compressor's tables miss the cache: 4 MiB blocks cost 20 to
	// 30 % of the speed for 3 to 4 % of the size, on batches of 1 MiB.
	lz4Block = 64 << 10

	// lz4FastLevel is the level, Java's default, that means the fast compressor.
	lz4FastLevel = 9

	lz4Magic           = 0x184D2204
	lz4SkipMagic       = 0x184D2A50 // and the 15 numbers after it: a frame to skip
	lz4Stored          = 1 << 31
	lz4Window          = 64 << 10 // how far back a linked block reaches
	lz4Expansion       = 255      // what a byte of a block can unpack to at most
	lz4FlagVersion     = 1 << 6
	lz4FlagIndependent = 1 << 5
	lz4FlagBlockSum    = 1 << 4
	lz4FlagSize        = 1 << 3
	lz4FlagSum         = 1 << 2
	lz4FlagDictionary  = 1 << 0
)

// lz4BlockCompressor is one of the library's compressors.
type lz4BlockCompressor interface {
	CompressBlock(src, dst []byte) (int, error)
}

// lz4Encoder writes one LZ4 frame. scratch is as in snappyEncoder.
type lz4Encoder struct {
	c       lz4BlockCompressor
	scratch []byte
}

func newLZ4Encoder(level int) *lz4Encoder {
	switch {
	case level == lz4FastLevel:
		return &lz4Encoder{c: new(lz4.Compressor)}
	case level <= 2:
		return &lz4Encoder{c: &lz4.CompressorHC{Level: 6}} // Level is the depth of the search
	case level == 3:
		return &lz4Encoder{c: &lz4.CompressorHC{Level: 64}}
	default:
		return &lz4Encoder{c: &lz4.CompressorHC{Level: 512}}
	}
}

func (e *lz4Encoder) encode(dst []byte, src [][]byte) ([]byte, error) {
	dst = append(dst, lz4Header...)
	for block := range blocks(src, lz4Block) {
		dst = append(dst, 0, 0, 0, 0)
		at := len(dst)
		room := dst[at:cap(dst)]
		direct := len(room) >= lz4.CompressBlockBound(len(block))
		if !direct {
			if e.scratch == nil {
				e.scratch = make([]byte, lz4.CompressBlockBound(lz4Block))
			}
			room = e.scratch
		}
		n, err := e.c.CompressBlock(block, room)
		if err != nil {
			return nil, err
		}
		size := uint32(n)
		switch {
		case n >= len(block):
			dst = append(dst, block...)
			size = uint32(len(block)) | lz4Stored
		case direct:
			dst = dst[:at+n]
		default:
			dst = append(dst, room[:n]...)
		}
		binary.LittleEndian.PutUint32(dst[at-4:], size)
	}
	return append(dst, 0, 0, 0, 0), nil
}

func unlz4(dst, src []byte, limit int) ([]byte, error) {
	r := lz4Reader{src: src, end: len(dst) + limit}
	for len(r.src) > 0 && r.err == nil {
		magic := r.uint32()
		switch {
		case r.err != nil:
		case magic == lz4Magic:
			dst = r.frame(dst)
		case magic&^15 == lz4SkipMagic:
			r.bytes(int64(r.uint32()))
		default:
			r.fail("magic %#x", magic)
		}
	}
	return dst, r.err
}

// lz4Reader takes frames apart. Its error sticks.
type lz4Reader struct {
	src []byte
	end int // the output must not grow beyond
	err error
}

func (r *lz4Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
}

// bytes takes n bytes off the input; nil if they are not there.
func (r *lz4Reader) bytes(n int64) []byte {
	if r.err != nil || n > int64(len(r.src)) {
		r.fail("cut short")
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *lz4Reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// frame appends the contents of the frame whose magic has been read.
func (r *lz4Reader) frame(dst []byte) []byte {
	flags, blockMax, size := r.header(len(dst))
	begin := len(dst)
	for r.err == nil {
		head := r.uint32()
		if head == 0 { // the end, or an error
			break
		}
		n := head &^ lz4Stored
		block := r.bytes(int64(n))
		if int(n) > blockMax {
			r.fail("block of %d bytes, at most %d allowed", n, blockMax)
		}
		if flags&lz4FlagBlockSum != 0 && r.uint32() != xxh32(block) {
			r.fail("block checksum differs")
		}
		switch {
		case r.err != nil:
		case head&lz4Stored == 0:
			dst = r.block(dst, block, begin, blockMax, flags&lz4FlagIndependent == 0)
		case len(block) > r.end-len(dst):
			r.err = ErrTooLarge
		default:
			dst = append(dst, block...)
		}
	}
	if flags&lz4FlagSum != 0 && r.uint32() != xxh32(dst[begin:]) {
		r.fail("content checksum differs")
	}
	if r.err == nil && size >= 0 && size != int64(len(dst)-begin) {
		r.fail("frame holds %d bytes, its header says %d", len(dst)-begin, size)
	}
	return dst
}

// header reads the frame's descriptor. size is -1 if it does not say; at is the length of the output.
func (r *lz4Reader) header(at int) (flags byte, blockMax int, size int64) {
	size = -1
	all := r.src
	fixed := r.bytes(2)
	if fixed == nil {
		return 0, 0, size
	}
	flags = fixed[0]
	blockMax = 1 << (8 + 2*(fixed[1]>>4&7))
	if flags&0xC0 != lz4FlagVersion || flags&lz4FlagDictionary != 0 || blockMax < 64<<10 {
		r.fail("descriptor %02x %02x", fixed[0], fixed[1])
	}
	if flags&lz4FlagSize != 0 {
		if b := r.bytes(8); b != nil {
			size = int64(binary.LittleEndian.Uint64(b) &^ (1 << 63))
		}
	}
	sum := r.bytes(1)
	if r.err != nil {
		return 0, 0, size
	}
	descriptor := all[:len(all)-len(r.src)-1]
	if sum[0] != byte(xxh32(descriptor)>>8) && sum[0] != brokenHeaderSum(descriptor) {
		r.fail("header checksum differs")
	}
	if size > int64(r.end-at) {
		r.err = ErrTooLarge
	}
	return flags, blockMax, size
}

// brokenHeaderSum returns the header checksum that clients before Kafka 0.10 wrote, and that magic 0 has
// kept: it covers the magic number too (KAFKA-3160).
func brokenHeaderSum(descriptor []byte) byte {
	var b [4 + 10]byte
	binary.LittleEndian.PutUint32(b[:], lz4Magic)
	return byte(xxh32(b[:4+copy(b[4:], descriptor)]) >> 8)
}

// block appends an unpacked block of the frame whose output starts at begin.
func (r *lz4Reader) block(dst, block []byte, begin, blockMax int, linked bool) []byte {
	room := min(blockMax, lz4Expansion*len(block))
	allowed := min(room, r.end-len(dst))
	dst = slices.Grow(dst, allowed)
	var dictionary []byte
	if linked {
		dictionary = dst[max(begin, len(dst)-lz4Window):]
	}
	n, err := lz4.UncompressBlockWithDict(block, dst[len(dst):len(dst)+allowed], dictionary)
	switch {
	case err == nil:
		return dst[:len(dst)+n]
	case allowed < room: // the library does not distinguish a short buffer from a bad block
		r.err = ErrTooLarge
	default:
		r.fail("%v", err)
	}
	return dst
}
