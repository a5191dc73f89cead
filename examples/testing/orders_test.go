package orders

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// bubble runs a test on a service and its own cluster. Time in it is virtual: it moves when all goroutines wait.
func bubble(t *testing.T, test func(t *testing.T, s *Service, c *quilltest.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		cluster := quilltest.Start(t, quilltest.Options{Pipes: true})
		cluster.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
		cfg := quill.Config{BootstrapServers: cluster.BootstrapServers(), DialContext: cluster.DialContext}
		p, err := quill.New(cfg, quill.String, quill.JSON[Order]())
		require.NoError(t, err)
		test(t, &Service{p}, cluster)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		require.NoError(t, p.Close(ctx))
	})
}

var (
	order  = Order{ID: "order-17", Cents: 1999}
	writes = []protocol.APIKey{protocol.Produce}
)

func TestOrderIsInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, s *Service, c *quilltest.Cluster) {
		require.NoError(t, s.Place(t.Context(), order))
		records, err := c.AllRecords("orders")
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Equal(t, "order-17", string(records[0].Key))
		require.JSONEq(t, `{"id": "order-17", "cents": 1999}`, string(records[0].Value))
	})
}

func TestInvalidOrderIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, s *Service, c *quilltest.Cluster) {
		require.Error(t, s.Place(t.Context(), Order{ID: "order-18"}))
		require.Zero(t, c.Appended("orders"))
	})
}

func TestLostAnswerMakesNoSecondOrder(t *testing.T) {
	bubble(t, func(t *testing.T, s *Service, c *quilltest.Cluster) {
		lost := c.Inject(quilltest.Fault{APIs: writes, DisconnectAfter: true})
		require.NoError(t, s.Place(t.Context(), order)) // the producer sends it again, and the broker knows it
		require.EqualValues(t, 1, lost.Hits())
		require.EqualValues(t, 1, c.Appended("orders"))
	})
}

func TestClusterThatIsDownIsSafeToTryAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *Service, c *quilltest.Cluster) {
		for _, id := range c.NodeIDs() {
			require.NoError(t, c.StopNode(id))
		}
		begin := time.Now()
		require.ErrorIs(t, s.Place(t.Context(), order), ErrTryAgain)
		require.Equal(t, time.Minute, time.Since(begin)) // max.block.ms, over in no time
	})
}

func TestClusterThatStopsAnsweringLeavesItUnclear(t *testing.T) {
	bubble(t, func(t *testing.T, s *Service, c *quilltest.Cluster) {
		silent := c.Inject(quilltest.Fault{APIs: writes, Times: -1, DropAnswer: true})
		require.ErrorIs(t, s.Place(t.Context(), order), ErrUnclear)
		silent.Remove()
		require.EqualValues(t, 1, c.Appended("orders")) // indeed
	})
}
