package metadata_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A ping shows that a broker answers now: each makes a request of its own, or shares one that is made after it.
func TestEachPingIsAnsweredByABroker(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		p := testkit.Open(t, testkit.Config(c))
		for range 10 {
			before := c.RequestCount(protocol.Metadata)
			testkit.Within(t, 0, 150*time.Millisecond, func() { require.NoError(t, p.Ping(t.Context())) })
			testkit.RequireBetween(t, int(c.RequestCount(protocol.Metadata)-before), 1, 2)
			time.Sleep(time.Second)
		}
		before := c.RequestCount(protocol.Metadata)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { require.NoError(t, p.Ping(t.Context())) })
		}
		wg.Wait()
		testkit.RequireBetween(t, int(c.RequestCount(protocol.Metadata)-before), 1, 5)

		begin, before := time.Now(), c.RequestCount(protocol.Metadata)
		for time.Since(begin) < 10*time.Second {
			require.NoError(t, p.Ping(t.Context()))
		}
		testkit.RequireBetween(t, int(c.RequestCount(protocol.Metadata)-before), 50, 110, "ten in a second")
		require.NoError(t, p.Close(t.Context()))
		require.ErrorIs(t, p.Ping(t.Context()), quill.ErrClosed)
		_, err := p.Cluster(t.Context())
		require.ErrorIs(t, err, quill.ErrClosed)
	})
}

// A ping that no broker answers ends, and says what it waited for.
func TestAPingThatNobodyAnswersEnds(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock = -1 // sends do not wait
		p := testkit.Open(t, cfg)
		require.NoError(t, p.Ping(t.Context()))
		testkit.PauseAll(t, c)
		for range 3 {
			testkit.Within(t, 2*time.Second, 2100*time.Millisecond, func() {
				err := p.Ping(testkit.After(t, 2*time.Second))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, "ping a broker")
				require.Regexp(t, `node \d.*answer`, err)
			})
		}
		testkit.Within(t, 29*time.Second, 31*time.Second, func() {
			require.ErrorIs(t, p.Ping(t.Context()), quill.ErrTimeout)
		})
		testkit.ResumeAll(t, c)
		testkit.Within(t, 0, 2*time.Second, func() { require.NoError(t, p.Ping(t.Context())) })
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		before := c.RequestCount(protocol.Metadata)
		require.ErrorIs(t, p.Ping(canceled), context.Canceled)
		time.Sleep(time.Second)
		require.Equal(t, before, c.RequestCount(protocol.Metadata))
		require.NoError(t, p.Close(t.Context()))
	})
}

// A callback must not wait for a broker; it may look at what is known.
func TestACallbackMayLookAtTheClusterAndNotPing(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.P.SendFunc(x.Context(), testkit.To(0, "v"), func(quill.RecordMetadata, error) {
			require.ErrorIs(x, x.P.Ping(x.Context()), quill.ErrInCallback)
			s, err := x.P.Cluster(x.Context())
			require.NoError(x, err)
			require.Equal(x, x.C.ClusterID(), s.ClusterID())
			require.NoError(x, x.P.Health())
		})
		require.NoError(x, x.P.Flush(x.Context()))
	})
}

// Cluster waits for the first answer, and does not wait again.
func TestClusterIsWhatTheLastAnswerSaid(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 3, ClusterID: "lkc-1"}, func(t *testing.T, c *quilltest.Cluster) {
		controller := int32(2)
		c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.MetadataResponse).ControllerID = controller
		}})
		testkit.PauseAll(t, c)
		p := testkit.Open(t, testkit.Config(c))
		_, err := p.Cluster(testkit.After(t, time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.AfterFunc(time.Second, func() { testkit.ResumeAll(t, c) })
		s, err := p.Cluster(t.Context())
		require.NoError(t, err)
		require.Equal(t, "lkc-1", s.ClusterID())
		var ids []int32
		for n := range s.Nodes() {
			ids = append(ids, n.ID)
		}
		require.True(t, slices.Equal([]int32{1, 2, 3}, ids), ids)
		n, ok := s.Controller()
		require.True(t, ok)
		require.EqualValues(t, 2, n.ID)

		testkit.PauseAll(t, c)
		again, err := p.Cluster(t.Context())
		require.NoError(t, err)
		require.Same(t, s, again)
		testkit.ResumeAll(t, c)

		// Brokers of a KRaft cluster name another controller in each answer: that is no change.
		controller = 3
		require.NoError(t, p.Ping(t.Context()))
		again, err = p.Cluster(t.Context())
		require.NoError(t, err)
		require.Equal(t, s.Version(), again.Version())
		require.NoError(t, p.Close(t.Context()))
	})
}

// Health says by the kind of its error what a probe has to do, without asking a broker.
func TestHealthIsKnownWithoutAsking(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		testkit.CutOffAll(c)
		cfg := testkit.Config(c)
		cfg.TransactionalID = "x"
		p := testkit.Open(t, cfg)
		require.ErrorIs(t, p.Health(), quill.ErrDisconnected)
		require.ErrorContains(t, p.Health(), "no broker has answered yet")
		testkit.ResumeAll(t, c)
		require.NoError(t, p.InitTransactions(t.Context()))
		require.NoError(t, p.Ping(t.Context()))
		before := len(c.Requests())
		require.NoError(t, p.Health())

		testkit.CutOffAll(c)
		require.Error(t, p.Ping(testkit.After(t, 5*time.Second)))
		require.NoError(t, p.Health(), "no request has failed yet")
		require.ErrorIs(t, p.Ping(t.Context()), quill.ErrTimeout)
		require.ErrorIs(t, p.Health(), quill.ErrDisconnected)
		require.NotErrorIs(t, p.Health(), quill.ErrFatal)
		testkit.ResumeAll(t, c)
		require.NoError(t, p.Ping(t.Context()))
		require.NoError(t, p.Health())
		require.GreaterOrEqual(t, len(c.Requests()), before)

		other := testkit.Open(t, cfg)
		require.NoError(t, other.InitTransactions(t.Context()))
		require.NoError(t, p.BeginTransaction())
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.Error(t, err)
		require.ErrorIs(t, p.AbortTransaction(t.Context()), quill.ErrFatal)
		require.ErrorIs(t, p.Health(), quill.ErrFatal)
		require.ErrorIs(t, p.Ping(t.Context()), quill.ErrFatal)
		_ = p.Close(t.Context())
		require.NoError(t, other.Close(t.Context()))
		require.ErrorIs(t, other.Health(), quill.ErrClosed)
	})
}

// Brokers that do not let the client in are named as that, to a ping at once.
func TestAPingOfWhoIsNotLetInFailsAtOnce(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
		cfg := testkit.Config(c)
		cfg.SASL = lockedOut{}
		p := testkit.Open(t, cfg)
		testkit.Within(t, 0, time.Second, func() {
			require.ErrorIs(t, p.Ping(t.Context()), quill.ErrAuthentication)
		})
		require.ErrorIs(t, p.Health(), quill.ErrAuthentication)
		require.NoError(t, p.Close(t.Context()))
	})
}

// lockedOut is a mechanism without credentials.
type lockedOut struct{}

func (lockedOut) Name() string { return "LOCKED" }

func (lockedOut) Start(context.Context, sasl.Peer) (sasl.Session, []byte, error) {
	return nil, nil, errors.New("the vault is locked")
}
