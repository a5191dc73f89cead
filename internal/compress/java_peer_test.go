//go:build java

// To run: go test -tags java ./internal/compress, with QUILL_JAVA_CLASSPATH naming the jars that
// testdata/java/Vectors.java asks for.

package compress

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJavaTakesWhatWeWrite lets Kafka's own codecs unpack ours, at every level.
func TestJavaTakesWhatWeWrite(t *testing.T) {
	classPath := os.Getenv("QUILL_JAVA_CLASSPATH")
	require.NotEmpty(t, classPath, "QUILL_JAVA_CLASSPATH")
	dir, files := t.TempDir(), 0
	for codec, levels := range map[Codec][]int{
		Gzip:   {-1, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		Snappy: {0},
		LZ4:    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
		Zstd:   {-131072, -1, 0, 1, 3, 4, 5, 6, 9, 10, 22},
	} {
		for _, level := range levels {
			ours := level
			if codec == Snappy {
				ours = DefaultLevel
			}
			c := newCompressor(t, codec, ours)
			for _, n := range []int{0, 1, 13, 1000, 32 << 10, 64 << 10, 64<<10 + 1, 300_000, 3 << 20} {
				for _, kind := range []string{"text", "noise"} {
					in := vectorInput(kind, n)
					packed, err := c.Compress(nil, in[:n/3], in[n/3:])
					require.NoError(t, err)
					name := fmt.Sprintf("%s_%d_%s_%d.bin", codec, level, kind, n)
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), packed, 0o644))
					files++
				}
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), "java", "-cp", classPath, "testdata/java/Vectors.java", "check", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), fmt.Sprint("checked ", files))
}
