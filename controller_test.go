package quill_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
)

// The bootstrap servers are KRaft controllers, which serve no metadata of topics: a send says so at once instead
// of waiting for max.block.ms, and works as soon as there is a broker.
func TestAControllerPortFailsAtOnce(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		controllers := x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.APIVersionsResponse).APIKeys = []message.APIVersion{{APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}
		}})
		for range 3 {
			start := time.Now()
			e := x.failed(x.send(0, "v"))
			require.ErrorIs(x, e, quill.ErrUnsupportedVersion)
			require.ErrorIs(x, e, network.ErrController)
			require.ErrorContains(x, e, "it is a KRaft controller")
			require.False(x, e.Fatal())
			require.Equal(x, quill.NotSent, e.Outcome())
			require.Less(x, time.Since(start), time.Second)
			time.Sleep(500 * time.Millisecond)
		}
		controllers.Remove()
		time.Sleep(5 * time.Second)
		_, _ = x.send(0, "asks").Wait(x.Context())
		time.Sleep(5 * time.Second)
		x.deliver(0, "v")
	})
}

// One broker among controllers is enough.
func TestABrokerAmongControllersIsFound(t *testing.T) {
	inLab(t, quilltest.Options{}, nil, func(x *lab) {
		x.c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Nodes: []int32{2, 3}, Times: 20, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.APIVersionsResponse).APIKeys = []message.APIVersion{{APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}
		}})
		x.deliver(0, "v")
	})
}
