package quill

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeadersKeepOrderAndDuplicates(t *testing.T) {
	var h Headers
	h.Add("a", []byte("1"))
	h.Add("b", nil)
	h.Add("a", []byte{})
	h.Add("", []byte("3"))
	require.Len(t, h, 4)

	last, ok := h.Last("a")
	require.True(t, ok)
	require.NotNil(t, last.Value, "empty is not null")
	require.Empty(t, last.Value)
	last, ok = h.Last("b")
	require.True(t, ok)
	require.Nil(t, last.Value)
	_, ok = h.Last("c")
	require.False(t, ok)
	require.Equal(t, []Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte{}}}, slices.Collect(h.All("a")))
	for e := range h.All("a") {
		require.Equal(t, "1", string(e.Value))
		break
	}
}

func TestHeadersRemoveLeavesTheOldSliceAlone(t *testing.T) {
	old := Headers{{Key: "a"}, {Key: "b"}, {Key: "a"}, {Key: "c"}}
	h := old
	h.Remove("nobody")
	require.Equal(t, &old[0], &h[0])
	h.Remove("a")
	require.Equal(t, Headers{{Key: "b"}, {Key: "c"}}, h)
	require.Equal(t, Headers{{Key: "a"}, {Key: "b"}, {Key: "a"}, {Key: "c"}}, old)
}
