package protocol

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// A batch of many small records: their offset deltas take one, two and three bytes, put together by hand, and
// beyond those the plain way. Each is read back, at all borders.
func TestOffsetDeltasOfLargeBatchesAreReadBack(t *testing.T) {
	for _, delta := range []int32{0, 1, 63, 64, 127, 128, 8190, 8191, 8192, 8193, 12345, 16383, 16384, 65535, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1<<31 - 1} {
		for _, timestamp := range []int64{0, 63, 64, 8191, 8192} {
			for _, value := range []string{"ab", "0123456789", string(make([]byte, 100)), string(make([]byte, 8000))} {
				b := AppendRecord(make([]byte, 0, 9000), delta, timestamp, []byte("key"), []byte(value), nil)
				// By the book, without the fast way.
				body := append([]byte{0}, binary.AppendVarint(nil, timestamp)...)
				body = binary.AppendVarint(body, int64(delta))
				body = append(binary.AppendVarint(body, 3), "key"...)
				body = append(binary.AppendVarint(body, int64(len(value))), value...)
				body = binary.AppendVarint(body, 0)
				require.Equal(t, append(binary.AppendVarint(nil, int64(len(body))), body...), b, "delta %d, timestamp %d, value of %d", delta, timestamp, len(value))
				r := NewReader(b)
				rec, err := ReadRecord(&r)
				require.NoError(t, err)
				require.Equal(t, Record{TimestampDelta: timestamp, OffsetDelta: delta, Key: []byte("key"), Value: []byte(value)}, rec)
			}
		}
	}
}

// The number of headers can't be more than the bytes that follow.
func TestMoreHeadersThanBytesAreRefused(t *testing.T) {
	record := func(headers int64) []byte {
		body := []byte{0, 0, 0, 1, 1}
		body = binary.AppendVarint(body, headers)
		return append(binary.AppendVarint(nil, int64(len(body))), body...)
	}
	for _, n := range []int64{1, 1 << 20, 1<<31 - 1, -1} {
		r := NewReader(record(n))
		_, err := ReadRecord(&r)
		require.ErrorIs(t, err, ErrMalformed, n)
		require.ErrorContains(t, err, "headers in")
	}
}
