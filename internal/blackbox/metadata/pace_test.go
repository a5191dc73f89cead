package metadata_test

import (
	"slices"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A node that takes 10 ms for each Produce request, and gets a batch each 3 ms, has no line of requests that
// hold one batch each.
func TestBatchesGoTogetherToANodeThatIsBusy(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		const topics, service = 200, 10 * time.Millisecond
		createFirsts(c, topics)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: service, Times: -1})
		p := testkit.Open(t, testkit.Config(c))
		_, took := firstSends(t, p, topics, 3*time.Millisecond)
		requests := c.RequestCount(protocol.Produce)
		require.LessOrEqual(t, slices.Max(took), 3*service, "from the first on: %v", took)
		took = took[topics/4:] // by then the producer knows the node
		slices.Sort(took)
		require.Less(t, took[len(took)/2], 5*service/2, "the rest of what it is busy with, and its own: %v", took)
		require.Less(t, took[len(took)-1], 3*service)
		require.LessOrEqual(t, requests, int64(topics*3/10+5))
		require.GreaterOrEqual(t, requests, int64(topics*3/10*3/4), "it is not idle either")
		testkit.CloseProducer(t, p)
	})
}
