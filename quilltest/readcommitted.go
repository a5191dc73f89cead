package quilltest

import (
	"slices"

	"github.com/quill-kafka/quill/protocol"
)

// What a partition knows of transactions, and what of it a consumer with read_committed sees: the
// records before the first one of a transaction that is still open, without those of aborted
// transactions. As for a real consumer, an aborted transaction is a producer id, an offset where it
// begins and the offset of its marker.

// An abortedTransaction hides its producer's records from first up to marker.
type abortedTransaction struct {
	producer      int64
	first, marker int64
}

// addingProduce is the version of Produce from which on it adds a partition to the transaction
// (KIP-890, part 2).
const addingProduce = 12

// joinLocked makes a batch of a transaction part of it, or refuses it if the partition is not added
// and the request's version does not do so.
//
// +checklocks:p.mu
func (p *partition) joinLocked(h *protocol.BatchHeader, transactionalID string, version int16) *refusal {
	if !h.Transactional() || h.ProducerID <= protocol.NoProducerID {
		return nil
	}
	if transactionalID == "" {
		return refuse(protocol.TransactionalIDAuthorizationFailed, "transactional records without a transactional id")
	}
	t := &p.cluster.transactions
	producer := producerID{h.ProducerID, h.ProducerEpoch}
	var code protocol.ErrorCode
	if version >= addingProduce {
		code = t.add(transactionalID, producer, member{partition: p})
	} else {
		code = t.verify(transactionalID, producer, member{partition: p})
	}
	switch {
	case code == protocol.None:
		return nil
	case code == protocol.ProducerFenced:
		code = protocol.InvalidProducerEpoch // what a Produce response can say (KIP-588)
	case code == protocol.TransactionAbortable && version < 11:
		code = protocol.InvalidTxnState
	case code == protocol.ConcurrentTransactions && version < addingProduce:
		code = protocol.NotEnoughReplicas
	}
	return refuse(code, "%s-%d is not part of the transaction of %q with producer id %d and epoch %d", p.topic.name, p.index, transactionalID, h.ProducerID, h.ProducerEpoch)
}

// lastStableLocked returns the offset of the first record that belongs to an open transaction, or of
// the next record.
//
// +checklocks:p.mu
func (p *partition) lastStableLocked() int64 {
	stable := p.end
	for _, s := range p.producers {
		if s.transaction != noTransaction {
			stable = min(stable, s.transaction)
		}
	}
	return stable
}

// LastStableOffset returns the offset up to which a consumer with read_committed reads: that of the
// first record of an open transaction, or that of the next record.
func (c *Cluster) LastStableOffset(topic string, partition int32) (int64, error) {
	p, err := c.partition(topic, partition)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastStableLocked(), nil
}

// CommittedRecords is Records as a consumer with read_committed sees them: without those of aborted
// transactions, and only up to the last stable offset.
func (c *Cluster) CommittedRecords(topic string, partition int32) ([]Record, error) {
	p, err := c.partition(topic, partition)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	stored, aborted, stable := slices.Clone(p.batches), p.aborted[:len(p.aborted):len(p.aborted)], p.lastStableLocked()
	p.mu.Unlock()
	batches, err := p.read(stored)
	if err != nil {
		return nil, err
	}
	return decode(batches, func(h *protocol.BatchHeader) bool {
		return h.LastOffset() < stable && !(h.Transactional() && slices.ContainsFunc(aborted, func(a abortedTransaction) bool {
			return a.producer == h.ProducerID && a.first <= h.BaseOffset && h.BaseOffset < a.marker
		}))
	})
}

// AllCommittedRecords returns the committed records of all partitions of a topic, partition after
// partition.
func (c *Cluster) AllCommittedRecords(topic string) ([]Record, error) {
	var all []Record
	for _, p := range c.partitions(topic) {
		records, err := c.CommittedRecords(topic, p.index)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}
