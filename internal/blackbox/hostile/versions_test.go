package hostile_test

import (
	"bytes"
	"errors"
	"math"
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

// versionLie is something a node says about the versions it speaks.
type versionLie struct {
	name  string
	tell  func(m *message.APIVersionsResponse)
	hint  int16 // refused with UNSUPPORTED_VERSION and this hint (KIP-511)
	fails bool  // no node can be used
	is    error // and errors.Is finds this
}

// entry finds an API in the answer.
func entry(m *message.APIVersionsResponse, key protocol.APIKey) *message.APIVersion {
	for i := range m.APIKeys {
		if m.APIKeys[i].APIKey == int16(key) {
			return &m.APIKeys[i]
		}
	}
	return nil
}

var versionLies = []versionLie{
	{name: "H21 empty list", tell: func(m *message.APIVersionsResponse) { m.APIKeys = nil }, fails: true, is: network.ErrUnsupportedVersion},
	{name: "H22 min above max", tell: func(m *message.APIVersionsResponse) { entry(m, protocol.Produce).MinVersion = 20 }, fails: true, is: network.ErrUnsupportedVersion},
	{name: "H22 negative max", tell: func(m *message.APIVersionsResponse) { entry(m, protocol.Metadata).MaxVersion = -1 }, fails: true, is: network.ErrUnsupportedVersion},
	{name: "H23 max 32767", tell: func(m *message.APIVersionsResponse) {
		for i := range m.APIKeys {
			m.APIKeys[i].MaxVersion = math.MaxInt16
		}
	}},
	{name: "H24 no Produce", tell: func(m *message.APIVersionsResponse) { entry(m, protocol.Produce).APIKey = 99 }, fails: true, is: network.ErrUnsupportedVersion},
	{name: "H25 every key twice", tell: func(m *message.APIVersionsResponse) { m.APIKeys = append(m.APIKeys, m.APIKeys...) }},
	{name: "H25 one key twice, without overlap", tell: func(m *message.APIVersionsResponse) {
		m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: int16(protocol.Produce), MinVersion: 100, MaxVersion: 200})
	}, fails: true, is: network.ErrUnsupportedVersion},
	{name: "H26 refused, with an equal hint", hint: 4, fails: true, is: protocol.UnsupportedVersion},
	{name: "H26 refused, with a higher hint", hint: 9, fails: true, is: protocol.UnsupportedVersion},
	{name: "H26 refused, whatever the version", hint: 1, fails: true, is: protocol.UnsupportedVersion},
	{name: "H27 unknown error", tell: func(m *message.APIVersionsResponse) { m.ErrorCode = 9999 }, fails: true, is: protocol.ErrorCode(9999)},
	{name: "H28 odd features", tell: func(m *message.APIVersionsResponse) {
		m.FinalizedFeaturesEpoch = -2
		m.FinalizedFeatures = []message.FinalizedFeatureKey{{Name: "transaction.version", MaxVersionLevel: 99}}
	}},
	{name: "H28 transaction.version 99", tell: func(m *message.APIVersionsResponse) {
		m.FinalizedFeatures = []message.FinalizedFeatureKey{{Name: "transaction.version", MaxVersionLevel: 99, MinVersionLevel: 98}, {Name: "\x1b[31m", MaxVersionLevel: -1}}
	}},
	{name: "no InitProducerId", tell: func(m *message.APIVersionsResponse) { entry(m, protocol.InitProducerID).APIKey = 98 }, fails: true, is: quill.ErrUnsupportedVersion},
}

func (l versionLie) fault(nodes ...int32) quilltest.Fault {
	f := quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Nodes: nodes, Times: -1}
	if l.tell != nil {
		f.Edit = func(_ *quilltest.Request, response any) { l.tell(response.(*message.APIVersionsResponse)) }
		return f
	}
	f.Rewrite = func(_ *quilltest.Request, frame []byte) []byte {
		m := message.APIVersionsResponse{ErrorCode: protocol.UnsupportedVersion, APIKeys: []message.APIVersion{{APIKey: int16(protocol.APIVersions), MaxVersion: l.hint}}}
		return framed(m.Append(bytes.Clone(frame[:8]), 0)) // in version 0, whichever version was asked for
	}
	return f
}

// Every node lies. A lie that rules out all work ends sends at max.block.ms and is named; one that
// does not is lived with. No node is asked in a loop.
func TestLiesAboutVersionsAreFoundOutOrHarmless(t *testing.T) {
	for _, l := range versionLies {
		t.Run(l.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.BlockConfig(10*time.Second), func(x *testkit.Siege) {
				lie := x.C.Inject(l.fault())
				_, err := x.Send(0, "a").Wait(x.Context())
				dialled, asked := x.Dialled(), int(lie.Hits())
				lie.Remove()
				testkit.RequireBetween(x, dialled, 1, 60, "20 for each of the three")
				testkit.RequireBetween(x, asked, dialled, 3*60)
				if !l.fails {
					require.NoError(x, err)
					return
				}
				require.ErrorIs(x, err, l.is)
				e, ok := errors.AsType[*quill.Error](err)
				require.True(x, ok)
				require.Equal(x, quill.NotSent, e.Outcome)
				testkit.RequireHarmless(x.T, err.Error())
				if e.Fatal() {
					return // without InitProducerId there is no idempotence
				}
				require.GreaterOrEqual(x, dialled, 15, "to the end")
				x.Deliver(0, "b")
			})
		})
	}
}

// Node 1 alone lies, as in a rolling upgrade that went wrong.
func TestLiesOfOneNodeConcernItsPartitionsOnly(t *testing.T) {
	for _, l := range versionLies {
		if l.is == quill.ErrUnsupportedVersion {
			continue // another node is asked for the producer id
		}
		t.Run(l.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
				cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 10*time.Second
			}, func(x *testkit.Siege) {
				lie := x.C.Inject(l.fault(1))
				x.Deliver(1, "a")
				b := x.Send(0, "b")
				x.Elsewhere(b)
				if l.fails {
					testkit.RequireBetween(x, x.Dialled(1), 8, 20)
					e := x.Failure(b)
					require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
					require.ErrorIs(x, e, l.is)
					require.Equal(x, quill.NotSent, e.Outcome)
				} else {
					testkit.RequireBetween(x, x.Dialled(1), 1, 2)
					x.Delivered(b)
				}
				lie.Remove()
				time.Sleep(2 * time.Second)
				x.Deliver(0, "c")
			})
		})
	}
}
