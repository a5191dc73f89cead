package compress

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

// foreign returns forms that other clients write and we do not.
func foreign(t testing.TB, in []byte) map[string]struct {
	codec  Codec
	packed []byte
} {
	type form = struct {
		codec  Codec
		packed []byte
	}
	half := len(in) / 2
	compress := func(codec Codec, in []byte) []byte {
		b, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
		require.NoError(t, err)
		return b
	}
	stream := func(w io.WriteCloser, b *bytes.Buffer) []byte {
		for part := range slices.Chunk(in, 1000) {
			_, err := w.Write(part)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	forms := map[string]form{
		"snappy: one bare block":    {Snappy, snappy.Encode(nil, in)},
		"snappy: streams in a row":  {Snappy, append(compress(Snappy, in[:half]), compress(Snappy, in[half:])...)},
		"gzip: members in a row":    {Gzip, append(compress(Gzip, in[:half]), compress(Gzip, in[half:])...)},
		"lz4: frames in a row":      {LZ4, append(compress(LZ4, in[:half]), compress(LZ4, in[half:])...)},
		"lz4: a frame to skip":      {LZ4, append([]byte{0x53, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3}, compress(LZ4, in)...)},
		"zstd: frames in a row":     {Zstd, append(compress(Zstd, in[:half]), compress(Zstd, in[half:])...)},
		"zstd: a frame to skip":     {Zstd, append([]byte{0x53, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3}, compress(Zstd, in)...)},
		"snappy: blocks of 128 KiB": {Snappy, nil},
		"gzip: header with a name":  {Gzip, nil},
	}

	big := []byte(snappyHeader)
	for part := range slices.Chunk(in, 128<<10) {
		block := snappy.Encode(nil, part)
		big = append(binary.BigEndian.AppendUint32(big, uint32(len(block))), block...)
	}
	forms["snappy: blocks of 128 KiB"] = form{Snappy, big}

	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	gz.Name = "records"
	forms["gzip: header with a name"] = form{Gzip, stream(gz, &b)}

	for name, options := range map[string][]lz4.Option{
		"lz4: 256 KiB blocks":        {lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(false)},
		"lz4: 1 MiB blocks":          {lz4.BlockSizeOption(lz4.Block1Mb), lz4.ChecksumOption(true)},
		"lz4: 4 MiB blocks":          {lz4.BlockSizeOption(lz4.Block4Mb), lz4.BlockChecksumOption(true)},
		"lz4: content size, level 9": {lz4.SizeOption(uint64(len(in))), lz4.CompressionLevelOption(lz4.Level9)},
	} {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		require.NoError(t, w.Apply(options...))
		forms[name] = form{LZ4, stream(w, &b)}
	}
	for name, options := range map[string][]zstd.EOption{
		"zstd: size not told":   {zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true)},
		"zstd: 128 MiB window":  {zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128 << 20)},
		"zstd: literals stored": {zstd.WithEncoderConcurrency(1), zstd.WithNoEntropyCompression(true)},
	} {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, options...)
		require.NoError(t, err)
		forms[name] = form{Zstd, stream(w, &b)}
	}
	return forms
}

func TestDecompressTakesOtherClientsForms(t *testing.T) {
	for _, n := range []int{10, 5000, 300_000} {
		in := vectorInput("text", n)
		for name, f := range foreign(t, in) {
			out, err := Decompress(f.codec, nil, f.packed, n)
			require.NoError(t, err, "%s, %d bytes", name, n)
			require.True(t, bytes.Equal(in, out), "%s, %d bytes", name, n)
			_, err = Decompress(f.codec, nil, f.packed, n-1)
			require.ErrorIs(t, err, ErrTooLarge, "%s, %d bytes", name, n)
		}
	}
}

// TestLZ4LinkedBlocks unpacks a block that copies out of the block before it, as librdkafka writes.
func TestLZ4LinkedBlocks(t *testing.T) {
	first := "0123456789abcdefghijklmnopqrstuv"
	second := []byte{
		0x04, 32, 0, // no literals, copy 8 bytes from 32 back
		0x50, 'v', 'w', 'x', 'y', 'z', // 5 literals
	}
	frame := func(flags byte) []byte {
		b := []byte{0x04, 0x22, 0x4D, 0x18, flags, 0x40}
		b = append(b, byte(xxh32(b[4:])>>8))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(first))|lz4Stored)
		b = append(b, first...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(second)))
		return append(append(b, second...), 0, 0, 0, 0)
	}
	out, err := Decompress(LZ4, nil, frame(0x40), 100)
	require.NoError(t, err)
	require.Equal(t, first+"01234567vwxyz", string(out))

	_, err = Decompress(LZ4, nil, frame(0x60), 1<<20)
	require.ErrorIs(t, err, ErrCorrupt, "independent blocks must not reach back")
	_, err = Decompress(LZ4, []byte(first), frame(0x40)[:7], 100)
	require.ErrorIs(t, err, ErrCorrupt)
	doubled, err := Decompress(LZ4, nil, append(frame(0x40), frame(0x40)...), 100)
	require.NoError(t, err)
	require.Equal(t, string(out)+string(out), string(doubled))
}

func TestLimitHolds(t *testing.T) {
	for _, codec := range codecs {
		for name, in := range map[string][]byte{
			"bomb": make([]byte, 8<<20), "text": vectorInput("text", 200_000), "noise": vectorInput("noise", 100_000),
		} {
			packed, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
			require.NoError(t, err)
			for _, limit := range []int{-1, 0, 1, 1000, 70_000, len(in) - 1} {
				dst := make([]byte, 5, 4096)
				out, err := Decompress(codec, dst, packed, limit)
				require.ErrorIs(t, err, ErrTooLarge, "%s %s limit %d", codec, name, limit)
				require.Len(t, out, 5)
			}
			out, err := Decompress(codec, make([]byte, 5, 4096), packed, len(in))
			require.NoError(t, err)
			require.True(t, bytes.Equal(in, out[5:]))
		}
	}
}

func TestEveryTruncationFails(t *testing.T) {
	in := append(vectorInput("text", 1500), vectorInput("noise", 100)...)
	for _, codec := range codecs[1:] {
		packed, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
		require.NoError(t, err)
		for n := range packed {
			out, err := Decompress(codec, nil, packed[:n], 1<<20)
			if codec == Snappy && n == len(snappyHeader) {
				require.NoError(t, err) // a stream without blocks
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt, "%s cut at %d", codec, n)
			require.Nil(t, out)
		}
	}
}

func TestCorruptInputNeverPanics(t *testing.T) {
	in := append(vectorInput("text", 1000), vectorInput("noise", 60)...)
	forms := foreign(t, in)
	for _, codec := range codecs[1:] {
		packed, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
		require.NoError(t, err)
		forms[codec.String()] = struct {
			codec  Codec
			packed []byte
		}{codec, packed}
	}
	for _, f := range forms {
		for i := range f.packed {
			for _, flip := range []byte{0x01, 0x80, 0xFF} {
				b := bytes.Clone(f.packed)
				b[i] ^= flip
				out, err := Decompress(f.codec, nil, b, 3000)
				if err != nil {
					require.Nil(t, out)
				}
				require.LessOrEqual(t, len(out), 3000)
			}
		}
	}
}

func TestDecompressRefusesUnknownCodecs(t *testing.T) {
	for _, codec := range []Codec{-1, 5, 7} {
		_, err := Decompress(codec, nil, []byte("x"), 10)
		require.Error(t, err)
	}
}

func TestChecksumOfLZ4Frames(t *testing.T) {
	for in, want := range map[string]uint32{ // from the xxHash project's own tool
		"":    0x02CC5D05,
		"a":   0x550D7456,
		"abc": 0x32D153FF,
		"Nobody inspects the spammish repetition": 0xE2293B2F,
	} {
		require.Equal(t, want, xxh32([]byte(in)), in)
	}
}
