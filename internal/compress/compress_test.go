package compress

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// inputs returns records-like text, noise and a run, around every block size.
func inputs() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	text := vectorInput("text", 3<<20)
	in := map[string][]byte{"run": bytes.Repeat([]byte{'x'}, 1<<20)}
	for _, n := range []int{
		0, 1, 4, 12, 13, 100, 1023, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1,
		128<<10 + 7, 1 << 20, 3 << 20,
	} {
		in[fmt.Sprint("text ", n)] = text[:n]
		in[fmt.Sprint("noise ", n)] = noise[:n]
	}
	return in
}

func newCompressor(t testing.TB, codec Codec, level int) *Compressor {
	t.Helper()
	c, err := New(codec, level)
	require.NoError(t, err)
	return c
}

func TestRoundTrip(t *testing.T) {
	for _, codec := range codecs {
		c := newCompressor(t, codec, DefaultLevel)
		for name, in := range inputs() {
			packed, err := c.Compress(nil, in)
			require.NoError(t, err, "%s %s", codec, name)
			out, err := Decompress(codec, nil, packed, len(in))
			require.NoError(t, err, "%s %s", codec, name)
			require.True(t, bytes.Equal(in, out), "%s %s", codec, name)
			if len(in) > 1000 && codec != None && name[0] != 'n' {
				require.Less(t, len(packed), len(in)*3/4, "%s %s", codec, name)
			}
		}
	}
}

func TestEveryLevelRoundTrips(t *testing.T) {
	in := vectorInput("text", 100_000)
	in = append(in, vectorInput("noise", 70_000)...)
	levels := map[Codec][]int{
		Gzip: {-1, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		LZ4:  {1, 2, 3, 4, 8, 9, 10, 17},
		Zstd: {-131072, -1, 0, 1, 2, 3, 4, 5, 6, 9, 10, 22},
	}
	for codec, levels := range levels {
		for _, level := range levels {
			packed, err := newCompressor(t, codec, level).Compress(nil, in)
			require.NoError(t, err)
			out, err := Decompress(codec, nil, packed, len(in))
			require.NoError(t, err)
			require.True(t, bytes.Equal(in, out), "%s level %d", codec, level)
		}
	}
}

func TestHigherLevelsPackBetter(t *testing.T) {
	in := vectorInput("text", 200_000)
	for codec, levels := range map[Codec][]int{Gzip: {1, 5, 9}, LZ4: {9, 1, 3, 4}, Zstd: {-1, 3, 10}} {
		last := len(in)
		for _, level := range levels {
			packed, err := newCompressor(t, codec, level).Compress(nil, in)
			require.NoError(t, err)
			require.Less(t, len(packed), last, "%s level %d", codec, level)
			last = len(packed)
		}
	}
}

func TestDefaultLevelIsKafkas(t *testing.T) {
	in := vectorInput("text", 200_000)
	for codec, level := range map[Codec]int{Gzip: -1, LZ4: 9, Zstd: 3} {
		byDefault, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
		require.NoError(t, err)
		byLevel, err := newCompressor(t, codec, level).Compress(nil, in)
		require.NoError(t, err)
		require.True(t, bytes.Equal(byDefault, byLevel), "%s", codec)
	}
}

func TestLevelsOutsideJavasRangeAreRefused(t *testing.T) {
	for codec, levels := range map[Codec][]int{
		None: {1}, Snappy: {0}, Gzip: {-2, 0, 10}, LZ4: {-1, 0, 18}, Zstd: {-131073, 23}, -1: {DefaultLevel}, 5: {DefaultLevel},
	} {
		for _, level := range levels {
			_, err := New(codec, level)
			require.Error(t, err, "%s level %d", codec, level)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for codec, name := range map[Codec]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"} {
		require.Equal(t, name, codec.String())
	}
	require.Equal(t, "codec(7)", Codec(7).String())
	require.Equal(t, "codec(-1)", Codec(-1).String())
}

func TestCompressAndDecompressAppend(t *testing.T) {
	in := vectorInput("text", 70_000)
	for _, codec := range codecs {
		c := newCompressor(t, codec, DefaultLevel)
		want, err := c.Compress(nil, in)
		require.NoError(t, err)
		for _, room := range []int{0, 1, 100, len(want) - 1, len(want), len(want) + 1, 2 * len(in)} {
			dst := append(make([]byte, 0, 3+room), "abc"...)
			got, err := c.Compress(dst, in)
			require.NoError(t, err)
			require.Equal(t, "abc", string(got[:3]))
			require.True(t, bytes.Equal(want, got[3:]), "%s with room for %d", codec, room)
		}
		got, err := Decompress(codec, []byte("abc"), want, len(in))
		require.NoError(t, err)
		require.Equal(t, "abc", string(got[:3]))
		require.True(t, bytes.Equal(in, got[3:]), "%s", codec)
	}
}

func TestCompressorIsSafeForConcurrentUse(t *testing.T) {
	in := inputs()
	for _, codec := range codecs {
		c := newCompressor(t, codec, DefaultLevel)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for _, n := range []int{1, 1023, 32<<10 + 1, 128<<10 + 7} {
					want := in[fmt.Sprint("text ", n)]
					packed, err := c.Compress(nil, want)
					if err != nil {
						t.Error(err)
					}
					if got, err := Decompress(codec, nil, packed, n); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes do not come back: %v", codec, n, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestPartsPackAsOneSection cuts sections anywhere: what unpacks is the whole.
func TestPartsPackAsOneSection(t *testing.T) {
	in := vectorInput("text", 600_000)
	for _, codec := range codecs {
		c := newCompressor(t, codec, DefaultLevel)
		whole, err := c.Compress(nil, in)
		require.NoError(t, err)
		for _, cuts := range [][]int{{0}, {len(in)}, {1}, {64<<10 - 61}, {300_000, 300_001, 300_001}} {
			var parts [][]byte
			from := 0
			for _, to := range append(cuts, len(in)) {
				parts = append(parts, in[from:to])
				from = to
			}
			packed, err := c.Compress([]byte("abc"), parts...)
			require.NoError(t, err)
			require.Equal(t, "abc", string(packed[:3]))
			require.Less(t, len(packed), len(whole)*101/100, "%s at %v", codec, cuts)
			out, err := Decompress(codec, nil, packed[3:], len(in))
			require.NoError(t, err)
			require.True(t, bytes.Equal(in, out), "%s at %v", codec, cuts)
		}
	}
}

// TestBubblesDoNotShareChannels uses every codec in two bubbles and outside of them.
func TestBubblesDoNotShareChannels(t *testing.T) {
	round := func(t *testing.T) {
		for _, codec := range codecs {
			packed, err := newCompressor(t, codec, DefaultLevel).Compress(nil, []byte("quill"))
			require.NoError(t, err)
			out, err := Decompress(codec, nil, packed, 5)
			require.NoError(t, err)
			require.Equal(t, "quill", string(out))
		}
	}
	synctest.Test(t, round)
	synctest.Test(t, round)
	round(t)
}

// TestSnappyIsPlainSnappy holds our blocks against a decoder that knows no extension of the format.
func TestSnappyIsPlainSnappy(t *testing.T) {
	in := vectorInput("text", 3*snappyBlock-1000)
	packed, err := newCompressor(t, Snappy, DefaultLevel).Compress(nil, in)
	require.NoError(t, err)
	var out []byte
	for b := packed[len(snappyHeader):]; len(b) > 0; {
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		block, err := snappy.Decode(nil, b[4:4+n])
		require.NoError(t, err)
		require.LessOrEqual(t, len(block), snappyBlock)
		out = append(out, block...)
		b = b[4+n:]
	}
	require.True(t, bytes.Equal(in, out))
}
