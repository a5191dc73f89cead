package quillmock

import "github.com/quill-kafka/quill"

// What a test asks a mock and makes it do. The work is core's, which all views of a mock share.

// Offsets returns the offsets that the partitions' next records get. A partition without records may be
// left out. The end of a transaction takes an offset too, as it does in Kafka.
func (p *Producer[K, V]) Offsets() map[quill.TopicPartition]int64 { return p.core.Offsets() }

// CompleteNext completes the oldest incomplete record without an error. It is false if there is
// none.
func (p *Producer[K, V]) CompleteNext() bool { return p.core.CompleteNext() }

// ErrorNext completes the oldest incomplete record with an error, as it is: give it a *quill.Error
// if the code under test asks for its Outcome. It is false if there is none. As with a real producer, a
// transaction that lost a record can't be committed.
func (p *Producer[K, V]) ErrorNext(err error) bool { return p.core.ErrorNext(err) }

// Fail sets what calls fail with from now on. Fail(Errors{}) ends it.
func (p *Producer[K, V]) Fail(errs Errors) { p.core.Fail(errs) }

// Pending returns how many records are incomplete.
func (p *Producer[K, V]) Pending() int { return p.core.Pending() }

// Flushed reports whether Flush was called, and no record was sent since.
func (p *Producer[K, V]) Flushed() bool { return p.core.Flushed() }

// Closed reports whether the producer is closed.
func (p *Producer[K, V]) Closed() bool { return p.core.Closed() }

// Transaction says where the mock is with its transactions. Kafka: MockProducer.transactionInitialized
// and its like.
func (p *Producer[K, V]) Transaction() TransactionLook { return p.core.Transaction() }

// GroupOffsets returns the offsets of each transaction committed since New or Clear that had some,
// oldest first. Kafka: MockProducer.consumerGroupOffsetsHistory.
func (p *Producer[K, V]) GroupOffsets() []GroupOffsets { return p.core.GroupOffsets() }

// UncommittedOffsets returns the offsets sent in the open transaction. Kafka:
// MockProducer.uncommittedOffsets.
func (p *Producer[K, V]) UncommittedOffsets() GroupOffsets { return p.core.UncommittedOffsets() }

// FenceProducer makes the mock behave as if another producer had taken over its transactional id: all
// calls about transactions and all sends fail with ErrProducerFenced from now on. Kafka:
// MockProducer.fenceProducer.
func (p *Producer[K, V]) FenceProducer() { p.core.FenceProducer() }
