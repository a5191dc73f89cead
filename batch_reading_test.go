package quill

import (
	"testing"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// What is written is read by brokers and by our own tests.

// section is the records of a sealed batch before compression, in the memory of dst if they fit.
func section(t *testing.T, b *batch, dst []byte) []byte {
	t.Helper()
	wire := wireBytes(b)[protocol.BatchOverhead:]
	if b.codec == compress.None {
		return append(dst, wire...)
	}
	plain, err := compress.Decompress(b.codec, dst, wire, b.plain)
	require.NoError(t, err)
	return plain
}

// Java: DefaultRecordBatchTest.testStreamingIteratorConsistency
func TestRecordsReadOneByOneAreThoseReadTogether(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		b, h, together := built(t, codec, 50, -1, -1, -1)
		rd := protocol.NewReader(section(t, b, nil))
		var oneByOne []protocol.Record
		for range h.Count {
			r, err := protocol.ReadRecord(&rd)
			require.NoError(t, err)
			oneByOne = append(oneByOne, r)
		}
		require.Zero(t, rd.Remaining())
		require.Equal(t, together, oneByOne)
	})
}

// Java: DefaultRecordBatchTest.testBufferReuseInSkipKeyValueIterator
func TestReadingTakesOneBufferHoweverManyRecords(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		for _, n := range []int{2, 1000} {
			b, h, _ := built(t, codec, n, -1, -1, -1)
			buf := make([]byte, 0, b.plain)
			plain := section(t, b, buf)
			require.Len(t, plain, b.plain)
			require.Same(t, &buf[:1][0], &plain[0], "the one given")
			read := 0
			require.Zero(t, testing.AllocsPerRun(10, func() {
				for range protocol.Records(plain, h.Count) {
					read++
				}
			}), "keys and values lie in it")
			require.Equal(t, 11*n, read)
		}
	})
}
