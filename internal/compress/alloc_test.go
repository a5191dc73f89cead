//go:build !race

package compress

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoAllocations: packing allocates nothing once an encoder is there. The race detector makes
// pools forget at random, and so does the garbage collector; and a pool has nothing for a goroutine
// that was just moved to another processor. Hence the best of some tries.
func TestNoAllocations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, codec := range codecs {
		for _, n := range []int{500, 16 << 10, 1 << 20} {
			c := newCompressor(t, codec, DefaultLevel)
			in := vectorInput("text", n)
			packed, err := c.Compress(nil, in)
			require.NoError(t, err)
			parts := [][]byte{in[:n/3], in[n/3:]}
			packedParts, err := c.Compress(nil, parts...)
			require.NoError(t, err)
			rooms := map[string][]byte{"plenty": make([]byte, 0, 2*n+1000), "exact": make([]byte, 0, max(len(packed), len(packedParts)))}
			if codec == Zstd {
				delete(rooms, "exact") // the encoder of small sections tries more than it keeps
			}
			for room, dst := range rooms {
				for _, src := range [][][]byte{{in}, parts} {
					least := math.MaxFloat64
					for try := 0; try < 5 && least > 0; try++ {
						least = min(least, testing.AllocsPerRun(5, func() {
							if _, err := c.Compress(dst, src...); err != nil {
								t.Error(err)
							}
						}))
					}
					require.Zero(t, least, "%s of %d bytes in %d parts, room %s", codec, n, len(src), room)
				}
			}
		}
	}
}
