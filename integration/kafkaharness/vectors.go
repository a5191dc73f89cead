package kafkaharness

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// KeyVector is what Kafka's Java client says about a key.
type KeyVector struct {
	Murmur2 int32 // Utils.murmur2
	// PartitionSum is the CRC-32C over BuiltInPartitioner's partitions of the key, as four bytes each, big endian, in topics
	// of 1, 2, 3 ... partitions.
	PartitionSum uint32
}

// KeyVectors asks Kafka's Java client about each key, for partition counts from 1 to most.
func (h *Helper) KeyVectors(ctx context.Context, dir string, keys [][]byte, most int) ([]KeyVector, error) {
	keyFile, answerFile := filepath.Join(dir, "keys"), filepath.Join(dir, "answers")
	b := binary.BigEndian.AppendUint32(nil, uint32(len(keys)))
	for _, key := range keys {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(key))), key...)
	}
	if err := os.WriteFile(keyFile, b, 0o644); err != nil {
		return nil, err
	}
	if _, err := h.Call(ctx, "partitions", keyFile, strconv.Itoa(most), answerFile); err != nil {
		return nil, err
	}
	answers, err := os.ReadFile(answerFile)
	if err != nil {
		return nil, err
	}
	if len(answers) != 8*len(keys) {
		return nil, fmt.Errorf("%d bytes of answers for %d keys", len(answers), len(keys))
	}
	vectors := make([]KeyVector, len(keys))
	for i := range vectors {
		vectors[i].Murmur2 = int32(binary.BigEndian.Uint32(answers[8*i:]))
		vectors[i].PartitionSum = binary.BigEndian.Uint32(answers[8*i+4:])
	}
	return vectors, nil
}
