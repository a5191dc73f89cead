package murmur2

import (
	"bufio"
	"encoding/hex"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/vectors.txt was written by Kafka 4.4's own Utils.murmur2:
//
//	java -cp kafka-clients-4.4.0.jar:slf4j-api.jar testdata/Vectors.java > testdata/vectors.txt
//
// Its lines are a hex key, the hash and the partitions among partitionCounts. The
// last line is a CRC-32 over the results of 100,000 keys of the generator below,
// which Vectors.java has too.
var partitionCounts = []int32{1, 2, 3, 7, 12, 100, 1000, 2147483647}

// keys is the generator: xorshift64*, so that Java and Go make the same keys.
type keys uint64

func (k *keys) next() uint64 {
	x := uint64(*k)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*k = keys(x)
	return x * 2685821657736338717
}

// key returns the next key, of 0 to 64 bytes.
func (k *keys) key() []byte {
	b := make([]byte, (k.next()>>33)%65)
	for i := range b {
		b[i] = byte(k.next() >> 56)
	}
	return b
}

func TestSameAsJava(t *testing.T) {
	f, err := os.Open("testdata/vectors.txt")
	require.NoError(t, err)
	defer f.Close()
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), " ")
		if fields[0] == "crc" {
			continue
		}
		key, err := hex.DecodeString(strings.TrimPrefix(fields[0], "k"))
		require.NoError(t, err)
		got := []string{fields[0], strconv.Itoa(int(int32(Sum(key))))}
		for _, count := range partitionCounts {
			got = append(got, strconv.Itoa(int(Partition(key, count))))
		}
		require.Equal(t, fields, got)
		n++
	}
	require.NoError(t, lines.Err())
	require.Greater(t, n, 300)
}

func TestHundredThousandKeysSameAsJava(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.txt")
	require.NoError(t, err)
	_, want, found := strings.Cut(string(text), "crc ")
	require.True(t, found)

	gen := keys(20260101)
	crc := crc32.NewIEEE()
	var line []byte
	for range 100_000 {
		key := gen.key()
		line = strconv.AppendInt(line[:0], int64(int32(Sum(key))), 10)
		for _, count := range partitionCounts {
			line = strconv.AppendInt(append(line, ' '), int64(Partition(key, count)), 10)
		}
		crc.Write(append(line, '\n'))
	}
	require.Equal(t, strings.TrimSpace(want), strconv.FormatUint(uint64(crc.Sum32()), 16))
}

func TestNoAllocation(t *testing.T) {
	key := []byte("a key of some length")
	require.Zero(t, testing.AllocsPerRun(100, func() { Partition(key, 12) }))
}

func BenchmarkPartition(b *testing.B) {
	for _, size := range []int{8, 16, 36} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			key := make([]byte, size)
			for b.Loop() {
				Partition(key, 12)
			}
		})
	}
}
