package integration

import (
	"testing"

	"github.com/quill-kafka/quill"
)

// What is promised about transactions holds with version 1 of the protocol too, where the epoch stays the same from one
// transaction to the next (before KIP-890).

func TestVersion1ExactlyOnceCopy(t *testing.T) { testExactlyOnceCopy(t, threeOldNodes(t), 70) }

func TestVersion1TransactionsCommitAndAbort(t *testing.T) {
	testTransactions(t, threeOldNodes(t), quill.CompressionLZ4)
}

func TestVersion1FencedProducerWritesNothing(t *testing.T) {
	testFencing(t, threeOldNodes(t), "fenced-1")
}
