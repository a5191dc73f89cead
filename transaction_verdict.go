package quill

import "github.com/quill-kafka/quill/protocol"

// Verdicts on the coordinators' answers. These functions are pure: they map an error code to a verdict. The
// tables are those of Kafka 4.4 (TransactionManager's request handlers).

// txnVerdict says what follows from the answer to a request to a coordinator.
type txnVerdict uint8

const (
	txnDone       txnVerdict = iota // it worked
	txnRetry                        // ask again, after a pause
	txnRetrySoon                    // ask again, after a short pause: the transaction before is just being ended
	txnFind                         // find the coordinator again, then ask again
	txnAbort                        // the transaction has to be aborted
	txnAbortBump                    // the same, and the epoch is to be raised; fatal where that can't be
	txnDenied                       // not allowed: the call fails, and may be made again once it is
	txnFenced                       // another producer has the transactional id: fatal
	txnFatal                        // the producer can't go on
	txnUnexpected                   // an answer that no coordinator gives to this request: fatal
)

// verdictNames are for tests.
var verdictNames = [...]string{"done", "retry", "retry soon", "find", "abort", "abort and bump", "denied", "fenced", "fatal", "unexpected"}

func (v txnVerdict) String() string { return verdictNames[v] }

// decideCommon returns the verdict that most requests have in common. ok is false for the codes that each
// request decides for itself.
func decideCommon(code protocol.ErrorCode) (v txnVerdict, ok bool) {
	switch code {
	case protocol.None:
		return txnDone, true
	case protocol.NotCoordinator, protocol.CoordinatorNotAvailable:
		return txnFind, true
	case protocol.InvalidProducerEpoch, protocol.ProducerFenced:
		return txnFenced, true
	case protocol.TransactionalIDAuthorizationFailed:
		return txnFatal, true
	}
	if code.Retriable() {
		return txnRetry, true
	}
	return txnUnexpected, false
}

// decideInside extends decideCommon for the requests of an open transaction.
func decideInside(code protocol.ErrorCode) (v txnVerdict, ok bool) {
	switch code {
	case protocol.InvalidTxnState, protocol.InvalidProducerIDMapping:
		return txnFatal, true
	case protocol.UnknownProducerID:
		return txnAbortBump, true
	}
	return decideCommon(code)
}

// decideFind returns the verdict on an answer to FindCoordinator.
func decideFind(code protocol.ErrorCode) txnVerdict {
	switch {
	case code == protocol.None:
		return txnDone
	case code.Retriable():
		return txnRetry
	case code == protocol.TransactionalIDAuthorizationFailed:
		return txnFatal
	case code == protocol.GroupAuthorizationFailed, code == protocol.TransactionAbortable:
		return txnAbort
	}
	return txnUnexpected
}

// decideInit returns the verdict on an answer to InitProducerId.
func decideInit(code protocol.ErrorCode) txnVerdict {
	switch code {
	case protocol.TransactionalIDAuthorizationFailed, protocol.ClusterAuthorizationFailed:
		return txnDenied
	case protocol.TransactionAbortable:
		return txnAbort
	case protocol.ConcurrentTransactions:
		return txnRetry
	}
	v, _ := decideCommon(code)
	return v
}

// decideAddPartition returns the verdict on one partition in the answer to AddPartitionsToTxn. first says that
// the transaction has no partition yet: CONCURRENT_TRANSACTIONS then means that the one before is just being ended.
func decideAddPartition(code protocol.ErrorCode, first bool) txnVerdict {
	if code == protocol.ConcurrentTransactions && first {
		return txnRetrySoon
	}
	if v, ok := decideInside(code); ok {
		return v
	}
	return txnAbort
}

// decideAddOffsets returns the verdict on an answer to AddOffsetsToTxn.
func decideAddOffsets(code protocol.ErrorCode) txnVerdict {
	if code == protocol.GroupAuthorizationFailed || code == protocol.TransactionAbortable {
		return txnAbort
	}
	v, _ := decideInside(code)
	return v
}

// decideOffset returns the verdict on one partition in the answer to TxnOffsetCommit.
func decideOffset(code protocol.ErrorCode) txnVerdict {
	switch code {
	case protocol.RequestTimedOut:
		return txnFind
	case protocol.GroupAuthorizationFailed, protocol.FencedInstanceID, protocol.TransactionAbortable,
		protocol.UnknownMemberID, protocol.IllegalGeneration, protocol.StaleMemberEpoch, protocol.GroupIDNotFound,
		protocol.OffsetMetadataTooLarge, protocol.TopicAuthorizationFailed:
		return txnAbort
	case protocol.UnsupportedForMessageFormat, protocol.InvalidTxnState, protocol.InvalidProducerIDMapping:
		return txnFatal
	}
	v, _ := decideCommon(code)
	return v
}

// decideEnd returns the verdict on an answer to EndTxn.
func decideEnd(code protocol.ErrorCode, commit bool) txnVerdict {
	if code == protocol.TransactionAbortable {
		if commit {
			return txnAbort
		}
		return txnFatal
	}
	v, _ := decideInside(code)
	return v
}
