package protocol

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSumsOfPiecesAreJoinedToTheSumOfTheWhole(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<17)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	lengths := []int{0, 1, 2, 7, 8, 40, 255, 256, 257, 511, 512, 65535, 65536, 65537}
	for range 200 {
		lengths = append(lengths, rnd.IntN(1<<16))
	}
	for _, n := range lengths {
		head := rnd.IntN(min(5000, len(data)-n))
		whole := crc32.Checksum(data[:head+n], crc32.MakeTable(crc32.Castagnoli))
		first, second := CRC32C(0, data[:head]), CRC32C(0, data[head:head+n])
		require.Equal(t, whole, JoinCRC32C(first, second, n), "%d bytes behind %d", n, head)
	}
}

// Lengths that no test wants to hold in memory: what is joined with a long row of bytes is joined with both its parts.
func TestSumsAreJoinedForAllLengths(t *testing.T) {
	for _, n := range []int{1 << 20, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1<<30 + 12345, 1<<31 - 1} {
		half := n / 2
		parts := JoinCRC32C(JoinCRC32C(0x12345678, 0, half), 0, n-half)
		require.Equal(t, parts, JoinCRC32C(0x12345678, 0, n), "%d", n)
		require.NotEqual(t, JoinCRC32C(0x12345678, 0, n-1), parts)
	}
	require.EqualValues(t, 0x12345678, JoinCRC32C(0x12345678, 0, 0))
}

func BenchmarkJoinCRC32C(b *testing.B) {
	for b.Loop() {
		JoinCRC32C(0x12345678, 0x9abcdef0, 16323)
	}
}
