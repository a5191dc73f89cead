package metadata_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// The bootstrap servers are KRaft controllers, which serve no metadata of topics: a send says so at once instead
// of waiting for max.block.ms, and works as soon as there is a broker.
func TestAControllerPortFailsAtOnce(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		controllers := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.APIVersionsResponse).APIKeys = []message.APIVersion{{APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}
		}})
		for range 3 {
			start := time.Now()
			e := x.Failure(x.Send(0, "v"))
			require.ErrorIs(x, e, quill.ErrUnsupportedVersion)
			require.ErrorIs(x, e, network.ErrController)
			require.ErrorContains(x, e, "it is a KRaft controller")
			require.False(x, e.Fatal())
			require.Equal(x, quill.NotSent, e.Outcome)
			require.Less(x, time.Since(start), time.Second)
			time.Sleep(500 * time.Millisecond)
		}
		controllers.Remove()
		time.Sleep(5 * time.Second)
		_, _ = x.Send(0, "asks").Wait(x.Context())
		time.Sleep(5 * time.Second)
		x.Deliver(0, "v")
	})
}

// One broker among controllers is enough.
func TestABrokerAmongControllersIsFound(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Nodes: []int32{2, 3}, Times: 20, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.APIVersionsResponse).APIKeys = []message.APIVersion{{APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}
		}})
		x.Deliver(0, "v")
	})
}
