package compress

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vectorInput makes the same bytes as input in testdata/java/Vectors.java.
func vectorInput(kind string, length int) []byte {
	out := make([]byte, 0, length+32)
	for i, x := 0, uint32(1); len(out) < length; i++ {
		x = x*1664525 + 1013904223
		if kind == "noise" {
			out = append(out, byte(x>>24))
		} else {
			out = fmt.Appendf(out, `{"id":%d,"v":%d}`, i, x>>22)
		}
	}
	return out[:length]
}

// TestDecompressTakesWhatJavaWrites unpacks what Kafka 4.3.1 has packed.
func TestDecompressTakesWhatJavaWrites(t *testing.T) {
	files, err := filepath.Glob("testdata/java/*.bin")
	require.NoError(t, err)
	require.Len(t, files, 23)
	for _, file := range files {
		packed, err := os.ReadFile(file)
		require.NoError(t, err)
		codec, want := vector(t, file)
		got, err := Decompress(codec, nil, packed, len(want))
		require.NoError(t, err, file)
		require.True(t, bytes.Equal(want, got), file)
	}
}

// TestFramesAreJavas compares what surrounds the packed blocks with Java's: in sections of noise, which
// both store as it is, and in empty ones everything is the same.
func TestFramesAreJavas(t *testing.T) {
	for _, file := range []string{"snappy_0_text_0", "snappy_0_text_1", "snappy_0_noise_2000", "lz4_9_text_0", "lz4_9_text_1", "lz4_9_noise_2000"} {
		want, err := os.ReadFile("testdata/java/" + file + ".bin")
		require.NoError(t, err)
		codec, in := vector(t, file)
		got, err := newCompressor(t, codec, DefaultLevel).Compress(nil, in)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), file)
	}
}

// TestSizesAreJavas compares the sizes of a section of text with Java's at the same level. The text is
// an odd one, mostly counters; package compress says how records compare.
func TestSizesAreJavas(t *testing.T) {
	for _, v := range []struct {
		codec   Codec
		level   int
		name    string
		percent int // at most
	}{
		{Gzip, -1, "gzip_-1", 108},
		{Gzip, 1, "gzip_1", 100},
		{Gzip, 9, "gzip_9", 100},
		{Snappy, DefaultLevel, "snappy_0", 101},
		{LZ4, 9, "lz4_9", 100},
		{LZ4, 1, "lz4_1", 105},
		{Zstd, 3, "zstd_3", 105},
		{Zstd, -5, "zstd_-5", 105},
	} {
		java, err := os.ReadFile("testdata/java/" + v.name + "_text_70000.bin")
		require.NoError(t, err)
		packed, err := newCompressor(t, v.codec, v.level).Compress(nil, vectorInput("text", 70000))
		require.NoError(t, err)
		t.Logf("%s: %d bytes, Java %d", v.name, len(packed), len(java))
		require.LessOrEqual(t, len(packed)*100, len(java)*v.percent, "%s: %d bytes, Java %d", v.name, len(packed), len(java))
	}
}

// vector reads the codec and the input from the name CODEC_LEVEL_KIND_LENGTH.
func vector(t *testing.T, file string) (Codec, []byte) {
	part := strings.Split(strings.TrimSuffix(filepath.Base(file), ".bin"), "_")
	require.Len(t, part, 4)
	codec := slices.Index(codecNames[:], strings.TrimSuffix(part[0], "v0"))
	require.GreaterOrEqual(t, codec, 0)
	var n int
	_, err := fmt.Sscan(part[3], &n)
	require.NoError(t, err)
	return Codec(codec), vectorInput(part[2], n)
}

// docs/configuration.md says which levels are one, for the libraries have fewer than Java's.
func TestLevelsThatAreOne(t *testing.T) {
	in := append(vectorInput("text", 60_000), vectorInput("noise", 5_000)...)
	for codec, groups := range map[Codec][][]int{
		Gzip: {{1}, {2}, {3}, {4}, {5}, {-1, 6, DefaultLevel}, {7}, {8}, {9}},
		LZ4:  {{1, 2}, {3}, {4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17}, {9, DefaultLevel}},
		Zstd: {{-131072, -5, -1}, {0, 1, 2, 3, DefaultLevel}, {4, 5}, {6, 7, 8, 9}, {10, 11, 15, 19, 22}},
	} {
		made := map[string][]int{}
		for _, group := range groups {
			var first []byte
			for _, level := range group {
				packed, err := newCompressor(t, codec, level).Compress(nil, in)
				require.NoError(t, err)
				if first == nil {
					first = packed
				}
				require.True(t, bytes.Equal(first, packed), "%s: level %d is not %d", codec, level, group[0])
			}
			require.Empty(t, made[string(first)], "%s: level %d is the same", codec, group[0])
			made[string(first)] = group
		}
	}
}
