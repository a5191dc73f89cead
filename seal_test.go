package quill

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// spans reports whether every chunk of the batch lies in one of the memories given.
func spans(chunks, memories [][]byte) bool {
	for _, c := range chunks {
		if !slices.ContainsFunc(memories, func(m []byte) bool { return &m[:1][0] == &c[:1][0] && cap(m) == cap(c) }) {
			return false
		}
	}
	return true
}

func TestTheCompressedCopyLivesInTheBatchsOwnMemory(t *testing.T) {
	for _, codec := range codecs[1:] {
		t.Run(codec.String(), func(t *testing.T) {
			pool := newBufferPool(1<<20, 2048)
			s, err := newSealer(codec, compress.DefaultLevel)
			require.NoError(t, err)
			b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(1, 1)), 100)
			memory, plain := slices.Clone(b.chunks), b.size()
			require.NoError(t, b.seal(s))
			require.Less(t, b.size(), plain)
			require.True(t, spans(b.chunks, memory))
			require.Less(t, len(b.chunks), len(memory))
			free, _ := pool.available()
			require.EqualValues(t, 1<<20-len(b.chunks)*2048, free, "what is not needed any more is back at once")
			require.Less(t, b.queue.topic.ratio.get(), 1.0)
			section, err := b.plainRecords()
			require.NoError(t, err)
			require.Len(t, section, b.plain)
		})
	}
}

func TestWhatDoesNotShrinkIsSentPlain(t *testing.T) {
	for _, codec := range codecs[1:] {
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		o := newTestBatch(2048)
		b := o.batch
		lim := newBatchLimits(2048, 1<<20, true)
		require.Equal(t, appendDone, o.tryAdd(one("", noise(rand.New(rand.NewPCG(1, 2)), 1000)), 5, &lim, new(ratioEstimate)))
		o.close()
		before := slices.Clone(b.chunks[0][protocol.BatchOverhead:])
		require.NoError(t, b.seal(s))
		h, records := read(t, wireBytes(b))
		require.EqualValues(t, 0, h.Codec(), codec)
		require.Len(t, records, 1)
		require.Equal(t, before, wireBytes(b)[protocol.BatchOverhead:])
	}
}

func TestARetryIsTheSameBytes(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		pool := newBufferPool(1<<20, 2048)
		s, err := newSealer(codec, compress.DefaultLevel)
		require.NoError(t, err)
		b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(2, 1)), 100)
		b.setIdentity(7, 0, 0)
		require.NoError(t, b.seal(s))
		first := wireBytes(b)
		require.NoError(t, b.seal(s))
		require.Equal(t, first, wireBytes(b))

		b.setIdentity(7, 1, 12) // after a gap: only the identity and the CRC change
		require.NoError(t, b.seal(s))
		h, records := read(t, wireBytes(b))
		require.EqualValues(t, 1, h.ProducerEpoch)
		require.EqualValues(t, 12, h.BaseSequence)
		require.Len(t, records, 100)
		require.True(t, bytes.Equal(first[protocol.BatchOverhead:], wireBytes(b)[protocol.BatchOverhead:]))
	})
}

func TestTheRatioFallsSlowlyAndRisesFast(t *testing.T) {
	var r ratioEstimate
	require.InDelta(t, 1, r.get(), 0)
	r.update(10, 100)
	require.InDelta(t, 0.995, r.get(), 1e-9)
	for range 1000 {
		r.update(10, 100)
	}
	require.InDelta(t, 0.1, r.get(), 1e-9)
	r.update(12, 100)
	require.InDelta(t, 0.15, r.get(), 1e-9)
	r.update(90, 100)
	require.InDelta(t, 0.9, r.get(), 1e-9)
}

func TestSealingDoesNotAllocate(t *testing.T) {
	pool := newBufferPool(1<<20, 2048)
	s, err := newSealer(compress.None, compress.DefaultLevel)
	require.NoError(t, err)
	b := buildBatch(pool, &partitionQueue{topic: &topicState{name: "t"}}, rand.New(rand.NewPCG(2, 1)), 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.headerDone = false
		_ = b.seal(s)
	}))
}
