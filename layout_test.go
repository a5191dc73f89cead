package quill

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// cacheLine is the size of the processors' cache lines. Objects whose size is a multiple of it, up to 512 bytes, begin
// at one: they lie one behind the other in spans that begin at a page.
const cacheLine = 64

func TestTheListOfBatchesHasItsCacheLine(t *testing.T) {
	var a accumulator
	require.Zero(t, unsafe.Sizeof(a)%cacheLine)
	require.Zero(t, unsafe.Offsetof(a.mu)%cacheLine)
	require.Equal(t, unsafe.Offsetof(a.mu)+cacheLine, unsafe.Offsetof(a.reasons), "all of the list is in it")
}

func TestTheClockIsAloneInItsCacheLine(t *testing.T) {
	require.EqualValues(t, cacheLine, unsafe.Sizeof(coarseClock{}))
}
