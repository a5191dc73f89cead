package delivery_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Producers that can't go on, and nodes that can't take what is to be sent.

// Java: TransactionManagerTest.testFailIfNotReadyForSendIdempotentProducerFatalError
func TestAfterAFatalErrorEverySendIsRefused(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		view, err := quill.Share(x.P, quill.String, quill.String)
		require.NoError(x, err)
		x.Deliver(0, "a")
		x.Produce(quilltest.Fault{Err: protocol.ClusterAuthorizationFailed})
		require.True(x, x.Failure(x.Send(0, "b")).Fatal())
		produced := x.C.RequestCount(protocol.Produce)
		start := time.Now()
		refused := func(err error) {
			x.Helper()
			e, ok := errors.AsType[*quill.Error](err)
			require.True(x, ok)
			require.ErrorIs(x, e, protocol.ClusterAuthorizationFailed)
			require.True(x, e.Fatal())
			require.Equal(x, quill.NotSent, e.Outcome)
		}
		for _, r := range []quill.Record[string, string]{testkit.Rec("t", "k", "v"), testkit.Rec("unknown", "k", "v")} {
			for _, p := range []*quill.Producer[string, string]{x.P, view} {
				_, err := p.Send(x.Context(), r).Wait(x.Context())
				refused(err)
				_, err = p.SendSync(x.Context(), r)
				refused(err)
				_, err = testkit.SendFunc(x.T, p, r)
				refused(err)
				require.False(x, p.TrySend(r))
				for _, err := range p.SendAll(x.Context(), slices.Values([]quill.Record[string, string]{r, r})) {
					refused(err)
				}
			}
		}
		require.Zero(x, time.Since(start), "at once, known topic or not")
		require.NoError(x, x.P.Flush(x.Context()), "nothing is left to wait for")
		time.Sleep(time.Minute)
		require.Equal(x, produced, x.C.RequestCount(protocol.Produce))
		require.Equal(x, []string{"a@0:0"}, x.Stored(0))
	})
}

// Java: SenderTest.testUnsupportedVersionInProduceRequest
func TestANodeThatIsTooOldForProduceIsFatal(t *testing.T) {
	testkit.InLab(t, quilltest.Options{}, nil, func(x *testkit.Lab) {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			for i, api := range response.(*message.APIVersionsResponse).APIKeys {
				if protocol.APIKey(api.APIKey) == protocol.Produce {
					response.(*message.APIVersionsResponse).APIKeys[i] = message.APIVersion{APIKey: api.APIKey, MinVersion: 0, MaxVersion: 2}
				}
			}
		}})
		for _, partition := range []int32{0, 1} {
			e := x.Failure(x.Send(partition, "a"))
			require.ErrorIs(x, e, quill.ErrUnsupportedVersion)
			require.True(x, e.Fatal())
			require.Equal(x, quill.NotSent, e.Outcome)
		}
		require.Zero(x, x.C.RequestCount(protocol.Produce))
	})
}

// Zstd needs Produce version 7 (KIP-110). Other codecs of the same producer's day are not concerned.
//
// Java: MemoryRecordsBuilderTest.testUnsupportedCompress
func TestZstdToANodeThatDoesNotKnowItFailsAndSaysWhy(t *testing.T) {
	testkit.InLab(t, quilltest.Options{Release: "2.0"}, func(cfg *quill.Config) { cfg.Compression = quill.CompressionZstd }, func(x *testkit.Lab) {
		for range 2 {
			e := x.Failure(x.Send(0, strings.Repeat("v", 1000)))
			require.ErrorIs(x, e, protocol.UnsupportedCompressionType)
			require.False(x, e.Fatal())
			require.Equal(x, quill.NotSent, e.Outcome)
		}
		require.Zero(x, x.C.RequestCount(protocol.Produce))
	})
	testkit.InLab(t, quilltest.Options{Release: "2.0"}, func(cfg *quill.Config) { cfg.Compression = quill.CompressionLZ4 }, func(x *testkit.Lab) {
		x.Deliver(0, strings.Repeat("v", 1000))
	})
}

// ErrFatal says that the producer can't go on. So an error is fatal if and only if the next send fails, whatever the code is,
// and whether or not the producer is idempotent. Java's non-idempotent producer goes on after each code.
func TestARefusalIsFatalOnlyIfTheProducerEnds(t *testing.T) {
	for code := protocol.ErrorCode(-1); code <= 140; code++ {
		for _, idempotent := range []bool{true, false} {
			if code == protocol.None {
				continue
			}
			t.Run(fmt.Sprintf("%s, idempotent %v", code.Name(), idempotent), func(t *testing.T) {
				testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) {
					cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.Idempotence = time.Second, 2*time.Second, &idempotent
				}, func(x *testkit.Lab) { refusedThenSent(x, code) })
			})
		}
	}
}

// refusedThenSent has the nodes refuse a record as often as it is sent, and then take the next one.
func refusedThenSent(x *testkit.Lab, code protocol.ErrorCode) {
	x.Deliver(0, "a")
	refusing := x.Produce(quilltest.Fault{Err: code, Times: -1})
	_, err := x.Send(0, "b").Wait(x.Context())
	refusing.Remove()
	_, next := x.Send(0, "c").Wait(x.Context())
	require.Equal(x, next != nil, errors.Is(err, quill.ErrFatal), "%v; the next one: %v", err, next)
	require.Equal(x, next != nil, errors.Is(x.P.Health(), quill.ErrFatal), "%v", x.P.Health())
}
