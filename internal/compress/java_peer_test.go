//go:build java && linux

// To run: go test -tags java ./internal/compress, with QUILL_JAVA_CLASSPATH naming the jars that
// testdata/java/Vectors.java asks for.

package compress

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestLevelsBesideJava packs records like those of an order system in sections of 64 KiB, as many as a batch of
// 16 KiB holds of them, at every level with both. It prints the table of docs/configuration.md.
func TestLevelsBesideJava(t *testing.T) {
	classPath := os.Getenv("QUILL_JAVA_CLASSPATH")
	require.NotEmpty(t, classPath, "QUILL_JAVA_CLASSPATH")
	const size = 64 << 10
	raw := orders(512 << 10)
	file := filepath.Join(t.TempDir(), "raw")
	require.NoError(t, os.WriteFile(file, raw, 0o644))
	var names []string
	ours := map[string][2]float64{}
	for codec, levels := range levelsBesideJava {
		for _, level := range levels {
			name := fmt.Sprintf("%s_%d", codec, level)
			names = append(names, name)
			c := newCompressor(t, codec, level)
			ratio, speed := measure(t, c, raw, size)
			ours[name] = [2]float64{ratio, speed}
		}
	}
	slices.Sort(names)
	args := append([]string{"-cp", classPath, "testdata/java/Vectors.java", "measure", file, strconv.Itoa(size)}, names...)
	java := exec.CommandContext(t.Context(), "java", args...)
	java.Stderr = t.Output()
	out, err := java.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, java.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var name string
		var ratio, speed float64
		_, err := fmt.Sscan(lines.Text(), &name, &ratio, &speed)
		require.NoError(t, err, lines.Text())
		t.Logf("| %s | %.3f | %.3f | %.2f | %.0f | %.0f |", name, ours[name][0], ratio, ours[name][0]/ratio, ours[name][1], speed)
	}
	require.NoError(t, java.Wait())
}

var levelsBesideJava = map[Codec][]int{
	Gzip: {-1, 1, 3, 5, 6, 9},
	LZ4:  {1, 2, 3, 4, 6, 9, 12, 17},
	Zstd: {-5, 1, 3, 5, 7, 9, 10, 15, 22},
}

// measure returns packed/raw and MB per second of CPU time.
func measure(t *testing.T, c *Compressor, raw []byte, size int) (ratio, speed float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dst := make([]byte, 0, 2*size)
	var packed, bytes int
	var begin, used time.Duration
	for pass := 0; used < 200*time.Millisecond; pass++ {
		if pass == 1 {
			packed, bytes, begin = 0, 0, threadTime(t)
		}
		for at := 0; at+size <= len(raw); at += size {
			out, err := c.Compress(dst, raw[at:at+size])
			require.NoError(t, err)
			packed += len(out)
			bytes += size
		}
		if pass > 0 {
			used = threadTime(t) - begin
		}
	}
	return float64(packed) / float64(bytes), float64(bytes) / 1e6 / used.Seconds()
}

func threadTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	const thisThread = 1 // RUSAGE_THREAD of Linux
	require.NoError(t, syscall.Getrusage(thisThread, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// orders makes JSON records of some 400 bytes that differ as such records do.
func orders(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("tea milk sugar flour rice lentils pepper salt oil vinegar bread butter cheese apples pears plums express standard pickup gift paid open shipped returned")
	var out []byte
	for i := 0; len(out) < n; i++ {
		out = fmt.Appendf(out, `{"order":%d,"customer":"c-%08x","placed":"2026-11-%02dT%02d:%02d:%02d.%03dZ","items":[`, 1000000+i, rnd.Uint32()>>12, 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60), rnd.IntN(1000))
		for j := range 1 + rnd.IntN(5) {
			if j > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, `{"sku":"%s-%03d","count":%d,"price":%d.%02d}`, words[rnd.IntN(len(words))], rnd.IntN(300), 1+rnd.IntN(9), rnd.IntN(80), rnd.IntN(100))
		}
		out = fmt.Appendf(out, `],"state":"%s","note":"%s %s %s","trace":"%016x"}`, words[rnd.IntN(len(words))], words[rnd.IntN(len(words))], words[rnd.IntN(len(words))], words[rnd.IntN(len(words))], rnd.Uint64())
	}
	return out[:n]
}
