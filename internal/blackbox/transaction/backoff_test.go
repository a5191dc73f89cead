package transaction_test

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A coordinator that is loading its log, or has just moved, is asked again each retry.backoff.ms, as Java does:
// with a back-off that grows a rolling restart is felt for seconds.
func TestCoordinatorsAreAskedAgainWithoutAGrowingPause(t *testing.T) {
	const times = 6
	for _, code := range []protocol.ErrorCode{protocol.CoordinatorLoadInProgress, protocol.NotCoordinator, protocol.ConcurrentTransactions} {
		for _, api := range []protocol.APIKey{protocol.InitProducerID, protocol.EndTxn, protocol.FindCoordinator} {
			if api == protocol.FindCoordinator && code != protocol.CoordinatorLoadInProgress {
				continue
			}
			t.Run(api.String()+" "+code.Name(), func(t *testing.T) {
				testkit.InRelease(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.RetryBackoffMax = time.Minute }, func(x *testkit.TxnLab) {
					fault := quilltest.Fault{APIs: []protocol.APIKey{api}, Err: code, Times: times}
					if api != protocol.EndTxn {
						x.C.Inject(fault)
						testkit.Within(x.T, times*80*time.Millisecond, times*130*time.Millisecond, func() { require.NoError(x, x.P.InitTransactions(x.Context())) })
						return
					}
					require.NoError(x, x.P.InitTransactions(x.Context()))
					x.Begin()
					x.Send(0, "v")
					require.NoError(x, x.P.Flush(x.Context()))
					x.C.Inject(fault)
					testkit.Within(x.T, times*80*time.Millisecond, times*130*time.Millisecond, func() { require.NoError(x, x.P.CommitTransaction(x.Context())) })
				})
			})
		}
	}
}

// A coordinator that can't end transactions is noticed before records are sent that could not be committed.
func TestInitTransactionsNoticesWhatTheCoordinatorLacks(t *testing.T) {
	for _, api := range []protocol.APIKey{protocol.EndTxn, protocol.AddPartitionsToTxn, protocol.InitProducerID} {
		testkit.InRelease(t, quilltest.Options{MaxVersions: map[protocol.APIKey]int16{api: -1}}, nil, func(x *testkit.TxnLab) {
			err := x.P.InitTransactions(x.Context())
			require.ErrorIs(x, err, quill.ErrUnsupportedVersion)
			require.ErrorIs(x, err, quill.ErrFatal)
			require.ErrorContains(x, err, "does not serve "+api.String()+", which transactions need; Kafka has that since 0.11")
			require.Zero(x, x.C.RequestCount(protocol.InitProducerID), "nothing was asked for in vain")
		})
	}
}
