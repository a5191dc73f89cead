package integration

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/murmur2"
)

// TestPartitionsMatchJava asks Kafka's Java client for the partition of 100,000 random keys in topics of 1 to 1000 partitions:
// a hundred million answers, compared by a sum for each key.
func TestPartitionsMatchJava(t *testing.T) {
	tools := kafkaharness.Require(t)
	helper, err := kafkaharness.StartHelper(tools, t.TempDir())
	require.NoError(t, err)
	defer helper.Close()

	const most = 1000
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = make([]byte, random.IntN(40))
		for at := range keys[i] {
			keys[i][at] = byte(random.Uint32())
		}
	}
	vectors, err := helper.KeyVectors(within(t, 2*time.Minute), t.TempDir(), keys, most)
	require.NoError(t, err)

	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	var partitions []byte
	for i, key := range keys {
		if got := int32(murmur2.Sum(key)); got != vectors[i].Murmur2 {
			t.Fatalf("murmur2 of %x is %d, in Java %d", key, got, vectors[i].Murmur2)
		}
		partitions = partitions[:0]
		for n := range most {
			partitions = binary.BigEndian.AppendUint32(partitions, uint32(quill.KeyPartition(key, n+1)))
		}
		if got := crc32.Checksum(partitions, castagnoli); got != vectors[i].PartitionSum {
			t.Fatalf("the partitions of %x in topics of 1 to %d partitions differ from Java's", key, most)
		}
	}
}
