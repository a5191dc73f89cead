// Package murmur2 is the 32-bit MurmurHash2 with the seed Kafka's producers use to
// place a keyed record. Every bit counts: another hash would send the records of
// a key to another partition than the Java producer does.
package murmur2

import (
	"encoding/binary"
	"math"
)

const (
	seed  = 0x9747b28c
	mul   = 0x5bd1e995
	shift = 24
)

// Sum returns the hash of b. Kafka: Utils.murmur2.
func Sum(b []byte) uint32 {
	h := seed ^ uint32(len(b))
	for len(b) >= 4 {
		k := binary.LittleEndian.Uint32(b) * mul
		k ^= k >> shift
		h = h*mul ^ k*mul
		b = b[4:]
	}
	if len(b) > 0 {
		var tail uint32
		for i, c := range b {
			tail |= uint32(c) << (8 * i)
		}
		h = (h ^ tail) * mul
	}
	h ^= h >> 13
	h *= mul
	return h ^ h>>15
}

// Partition returns the partition of key among n, 0 to n-1; n is positive. The
// hash loses its sign bit first. Kafka: BuiltInPartitioner.partitionForKey.
func Partition(key []byte, n int32) int32 { return int32(Sum(key)&math.MaxInt32) % n }
