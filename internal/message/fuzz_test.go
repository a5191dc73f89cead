package message

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/protocol"
)

func FuzzAPIVersionsResponse(f *testing.F)        { fuzzResponse(f, "ApiVersions") }
func FuzzMetadataResponse(f *testing.F)           { fuzzResponse(f, "Metadata") }
func FuzzProduceResponse(f *testing.F)            { fuzzResponse(f, "Produce") }
func FuzzInitProducerIDResponse(f *testing.F)     { fuzzResponse(f, "InitProducerId") }
func FuzzFindCoordinatorResponse(f *testing.F)    { fuzzResponse(f, "FindCoordinator") }
func FuzzAddPartitionsToTxnResponse(f *testing.F) { fuzzResponse(f, "AddPartitionsToTxn") }
func FuzzAddOffsetsToTxnResponse(f *testing.F)    { fuzzResponse(f, "AddOffsetsToTxn") }
func FuzzTxnOffsetCommitResponse(f *testing.F)    { fuzzResponse(f, "TxnOffsetCommit") }
func FuzzEndTxnResponse(f *testing.F)             { fuzzResponse(f, "EndTxn") }
func FuzzSaslHandshakeResponse(f *testing.F)      { fuzzResponse(f, "SaslHandshake") }
func FuzzSaslAuthenticateResponse(f *testing.F)   { fuzzResponse(f, "SaslAuthenticate") }
func FuzzGetTelemetrySubscriptionsResponse(f *testing.F) {
	fuzzResponse(f, "GetTelemetrySubscriptions")
}
func FuzzPushTelemetryResponse(f *testing.F)        { fuzzResponse(f, "PushTelemetry") }
func FuzzListOffsetsResponse(f *testing.F)          { fuzzResponse(f, "ListOffsets") }
func FuzzFetchResponse(f *testing.F)                { fuzzResponse(f, "Fetch") }
func FuzzOffsetForLeaderEpochResponse(f *testing.F) { fuzzResponse(f, "OffsetForLeaderEpoch") }

// fuzzResponse feeds a response of one API with arbitrary bytes in an arbitrary
// version, as a broken or hostile node would.
func fuzzResponse(f *testing.F, api string) {
	for _, g := range readGolden(f, api+"Response") {
		f.Add(g.version, g.wire)
		f.Add(g.version+1, g.wire) // read as another version
	}
	f.Add(int16(-1), []byte{})
	f.Add(int16(32767), []byte{0xff, 0xff, 0xff, 0xff, 0x07})
	f.Fuzz(func(t *testing.T, version int16, wire []byte) {
		m := NewResponse(keys[api])
		r := protocol.NewReader(wire)
		used := allocated(func() { m.Decode(&r, version) })
		require.LessOrEqual(t, used, allowance(len(wire)))
		if err := r.Err(); err != nil {
			require.True(t, errors.Is(err, protocol.ErrTruncated) || errors.Is(err, protocol.ErrMalformed), err)
			return
		}
		// What was understood can be written and means the same again.
		request := NewRequest(keys[api]).(Request)
		if version < request.MinVersion() || version > request.MaxVersion() {
			return
		}
		again := NewResponse(keys[api])
		first := m.Append(nil, version)
		decode(t, again, first, version)
		require.Equal(t, first, again.Append(nil, version))
	})
}

// allowance returns how much Decode may allocate for n bytes of input.
func allowance(n int) uint64 { return 2*uint64(n) + 1<<20 }

// allocated returns the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The worst a node can do is to fill a large frame with the smallest elements,
// whose structs are much larger than their bytes.
func TestDecodeAllocatesInProportionToTheInput(t *testing.T) {
	for api, key := range keys {
		request := NewRequest(key).(Request)
		for version := request.MinVersion(); version <= request.MaxVersion(); version++ {
			for _, fill := range []byte{0, 1, 0xff} {
				for _, n := range []int{1 << 10, 1 << 16} {
					// Whichever field the count is, try it in every position of the head.
					for at := range 12 {
						wire := make([]byte, n)
						for i := range wire {
							wire[i] = fill
						}
						clear(wire[:at])
						count := uint32(n / 4)
						if RequestHeaderVersion(key, version) >= 2 {
							protocol.AppendUvarint(wire[:at], count)
						} else {
							protocol.AppendInt32(wire[:at], int32(count))
						}
						m := NewResponse(key)
						r := protocol.NewReader(wire)
						used := allocated(func() { m.Decode(&r, version) })
						require.LessOrEqual(t, used, allowance(n), "%s v%d fill %d size %d at %d", api, version, fill, n, at)
					}
				}
			}
		}
	}
}
