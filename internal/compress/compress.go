// Package compress packs and unpacks the records section of a batch with Kafka's codecs.
//
// It is the only package of the module that imports third-party code. A batch is compressed once,
// when it is sealed, by whichever goroutine seals it; so encoders are big, few and pooled, and no
// open batch owns one. Unpacking serves tests, the in-memory cluster and batch splits. It meets
// bytes from other clients, so it takes every form that Java, librdkafka, franz-go and sarama
// write, and it never makes more than the caller allows.
//
// # Which library, and why
//
// For each codec the fastest pure Go library that reaches the size of Java's default on the wire.
// Measured in one interleaved run on 2 noisy virtual cores: records sections of JSON-like 1 KiB
// records in batches of 1 MiB, MB/s per CPU second and compressed/raw. Java is Kafka 4.3.1 on the
// same bytes.
//
//	codec   choice                             MB/s  ratio   not taken                    MB/s  ratio   Java
//	gzip    klauspost level 6                    69  0.304   klauspost level 5              73  0.308   0.306 (level 6)
//	snappy  s2.EncodeSnappy, 32 KiB blocks      424  0.523   golang/snappy, 32 KiB         367  0.534   0.534
//	lz4     pierrec CompressBlock, 64 KiB       239  0.500   pierrec frame writer, 4 MiB   193  0.480   0.545 (level 9)
//	zstd    klauspost fastest                   149  0.312   klauspost default             100  0.302   0.304 (level 3)
//
// Since then snappy's blocks are larger (see snappyBlock).
//
// The frame around the lz4 blocks is written by hand: at 16 KiB, where the frame writer's own cost
// shows, bare blocks make 267 MB/s against 251, and nothing is allocated. 100-byte records give the
// same order; go test -bench . repeats what is chosen here.
package compress

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
)

// Codec is a compression codec by the number it has in a batch's attributes.
type Codec int8

// Kafka's codecs.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4 // KIP-110
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// String returns the name that compression.type uses.
func (c Codec) String() string {
	if c < 0 || int(c) >= len(codecNames) {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// DefaultLevel stands for Kafka's default level of any codec.
const DefaultLevel = math.MinInt32

// ErrCorrupt says that the input is not what the codec writes, or is cut short.
var ErrCorrupt = errors.New("corrupt input")

// ErrTooLarge says that the input unpacks to more than the limit.
var ErrTooLarge = errors.New("more output than the limit allows")

// encoder packs one section at a time, which may come in parts.
type encoder interface {
	encode(dst []byte, src [][]byte) ([]byte, error)
}

// blocks cuts the parts into blocks of at most size bytes, none of which is empty.
func blocks(parts [][]byte, size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, part := range parts {
			for len(part) > 0 {
				block := part[:min(len(part), size)]
				if !yield(block) {
					return
				}
				part = part[len(block):]
			}
		}
	}
}

// Compressor packs records sections with one codec at one level. It is safe for concurrent use.
//
// It keeps idle encoders for reuse. With zstd they contain channels, so a Compressor made inside a
// testing/synctest bubble is to be used in that bubble only.
type Compressor struct {
	codec Codec
	pool  sync.Pool // of encoder
}

// New returns a compressor for codec. DefaultLevel is Kafka's default; other levels are those of
// compression.<codec>.level (KIP-390), by Java's numbers:
//
//   - gzip, -1 or 1 to 9. Levels are klauspost's of the same number: up to 4 % larger than Java's at 5 and 6, smaller
//     at 1 and 9. -1, the default, is level 6, as in zlib.
//   - lz4, 1 to 17. 9, the default, is not the ninth: with it Java takes its fast compressor, and
//     so do we; other levels are its high compressor. 1 and 2 (0.48) and 3 (0.43) come within
//     1 % of Java's size; from 4 on the search is exhaustive (0.43 against Java's 0.42 to 0.41).
//   - zstd, -131072 to 22. Up to 3, the default, is klauspost's "fastest", 4 and 5 its "default",
//     6 to 9 "better", above "best". Negative levels leave the literals as they are, as Java's do,
//     for a tenth more speed and much more size. 0 is 3.
//
// TestLevelsThatAreOne has the levels that make the same of everything. docs/configuration.md says
// users, with sizes and speeds beside Java's (TestLevelsBesideJava).
//
// None and snappy have no levels.
func New(codec Codec, level int) (*Compressor, error) {
	c := &Compressor{codec: codec}
	lowest, highest, standard := levels(codec)
	switch {
	case codec < None || codec > Zstd:
		return nil, fmt.Errorf("compress: unknown codec %d", int8(codec))
	case level == DefaultLevel:
		level = standard
	case lowest == highest:
		return nil, fmt.Errorf("compress: %s has no levels, got %d", codec, level)
	case level != standard && (level < lowest || level > highest):
		return nil, fmt.Errorf("compress: %s level %d is outside %d to %d", codec, level, lowest, highest)
	}
	switch codec {
	case Gzip:
		c.pool.New = func() any { return newGzipEncoder(level) }
	case Snappy:
		c.pool.New = func() any { return new(snappyEncoder) }
	case LZ4:
		c.pool.New = func() any { return newLZ4Encoder(level) }
	case Zstd:
		c.pool.New = func() any { return newZstdEncoder(level) }
	}
	return c, nil
}

// levels returns the range of a codec's levels and its default, which with gzip lies outside.
func levels(codec Codec) (lowest, highest, standard int) {
	switch codec {
	case Gzip:
		return 1, 9, -1
	case LZ4:
		return 1, 17, lz4FastLevel
	case Zstd:
		return -131072, 22, 3
	default:
		return 0, 0, 0
	}
}

// Compress appends the packed form of src, the parts of a section in order, to dst and returns it. src
// and the memory behind dst must not overlap. The packed form may be larger than src; the caller
// decides what to do then. Memory is allocated only if dst has no room for the result. With None, the
// packed form is src.
//
// With snappy and lz4 no block reaches over the end of a part: many small ones cost speed and size.
func (c *Compressor) Compress(dst []byte, src ...[]byte) ([]byte, error) {
	if c.codec == None {
		for _, part := range src {
			dst = append(dst, part...)
		}
		return dst, nil
	}
	e := c.pool.Get().(encoder)
	out, err := e.encode(dst, src)
	c.pool.Put(e)
	if err != nil {
		return dst, fmt.Errorf("compress: %s: %w", c.codec, err)
	}
	return out, nil
}

// Decompress appends the unpacked form of src to dst and returns it. It makes at most limit bytes
// and allocates in proportion to what it makes or to src. It takes several gzip members, lz4 or zstd
// frames in a row, snappy with and without the frame of snappy-java, and lz4 blocks of any size,
// linked or not. It fails with ErrCorrupt or ErrTooLarge. It is safe for concurrent use.
func Decompress(codec Codec, dst, src []byte, limit int) ([]byte, error) {
	var out []byte
	err := ErrCorrupt
	limit = max(0, min(limit, math.MaxInt-len(dst)))
	switch {
	case codec == None && len(src) <= limit:
		return append(dst, src...), nil
	case codec == None:
		err = ErrTooLarge
	case codec < None || codec > Zstd:
		return dst, fmt.Errorf("compress: unknown codec %d", int8(codec))
	case len(src) == 0: // every codec writes a header
	case codec == Gzip:
		out, err = gunzip(dst, src, limit)
	case codec == Snappy:
		out, err = unsnappy(dst, src, limit)
	case codec == LZ4:
		out, err = unlz4(dst, src, limit)
	case codec == Zstd:
		out, err = unzstd(dst, src, limit)
	}
	if err != nil {
		return dst, fmt.Errorf("compress: %s: %w", codec, err)
	}
	return out, nil
}
