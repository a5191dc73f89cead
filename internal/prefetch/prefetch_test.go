package prefetch

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// A request changes nothing, wherever it points: to the last byte of what there is, or beyond.
func TestRequestsChangeNothing(t *testing.T) {
	page := bytes.Repeat([]byte{7}, 4096)
	for i := range page {
		Following(&page[i])
	}
	require.Equal(t, bytes.Repeat([]byte{7}, 4096), page)
	words := []int64{1, 2, 3}
	for i := range words {
		Word(&words[i])
	}
	require.Equal(t, []int64{1, 2, 3}, words)
	Following(nil)
	Word(nil)
}

func BenchmarkFollowing(b *testing.B) {
	page := make([]byte, 4096)
	i := 0
	for b.Loop() {
		Following(&page[i&4095])
		i += 64
	}
}
