package quill

import (
	"testing"

	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// What each code means in the answer to each request: the tables of Kafka 4.4's request handlers. Codes
// that a table does not name are retried if Kafka calls them retriable; else they are what rest says.

type verdicts map[protocol.ErrorCode]txnVerdict

var verdictTables = []struct {
	name   string
	decide func(code protocol.ErrorCode) txnVerdict
	rest   txnVerdict
	codes  verdicts
}{
	{"FindCoordinator", decideFind, txnUnexpected, verdicts{
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"InitProducerId", decideInit, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnDenied,
		protocol.ClusterAuthorizationFailed:         txnDenied,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"AddPartitionsToTxn, the first ones", func(code protocol.ErrorCode) txnVerdict { return decideAddPartition(code, true) }, txnAbort, addPartitions(txnRetrySoon)},
	{"AddPartitionsToTxn, more", func(code protocol.ErrorCode) txnVerdict { return decideAddPartition(code, false) }, txnAbort, addPartitions(txnRetry)},
	{"AddOffsetsToTxn", decideAddOffsets, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.TransactionAbortable:               txnAbort,
	}},
	{"TxnOffsetCommit", decideOffset, txnUnexpected, verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.RequestTimedOut:                    txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.UnsupportedForMessageFormat:        txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.GroupAuthorizationFailed:           txnAbort,
		protocol.FencedInstanceID:                   txnAbort,
		protocol.UnknownMemberID:                    txnAbort,
		protocol.IllegalGeneration:                  txnAbort,
		protocol.StaleMemberEpoch:                   txnAbort,
		protocol.GroupIDNotFound:                    txnAbort,
		protocol.TransactionAbortable:               txnAbort,
		protocol.OffsetMetadataTooLarge:             txnAbort, // in Java fatal, for a text of the caller's
		protocol.TopicAuthorizationFailed:           txnAbort, // the same
	}},
	{"EndTxn, a commit", func(code protocol.ErrorCode) txnVerdict { return decideEnd(code, true) }, txnUnexpected, endTxn(txnAbort)},
	{"EndTxn, an abort", func(code protocol.ErrorCode) txnVerdict { return decideEnd(code, false) }, txnUnexpected, endTxn(txnFatal)},
}

func addPartitions(concurrent txnVerdict) verdicts {
	return verdicts{
		protocol.ConcurrentTransactions:             concurrent,
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
	}
}

func endTxn(abortable txnVerdict) verdicts {
	return verdicts{
		protocol.NotCoordinator:                     txnFind,
		protocol.CoordinatorNotAvailable:            txnFind,
		protocol.TransactionalIDAuthorizationFailed: txnFatal,
		protocol.InvalidTxnState:                    txnFatal,
		protocol.InvalidProducerIDMapping:           txnFatal,
		protocol.UnknownProducerID:                  txnAbortBump,
		protocol.InvalidProducerEpoch:               txnFenced,
		protocol.ProducerFenced:                     txnFenced,
		protocol.TransactionAbortable:               abortable,
	}
}

func TestAnswersOfCoordinatorsFollowKafkasTables(t *testing.T) {
	for _, table := range verdictTables {
		for code := protocol.UnknownServerError; code < 140; code++ { // some that nobody knows, too
			want, named := table.codes[code]
			switch {
			case named:
			case code == protocol.None:
				want = txnDone
			case code.Retriable():
				want = txnRetry
			default:
				want = table.rest
			}
			require.Equal(t, want, table.decide(code), "%s: %v", table.name, code)
		}
	}
}
