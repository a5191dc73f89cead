// Package quill is a Kafka producer: Java's KafkaProducer for Go, without cgo. Its names, defaults
// and promises are Kafka's; where it goes further, see "Deviations" below.
//
//	p, err := quill.New(quill.Config{BootstrapServers: []string{"localhost:9092"}}, quill.String, quill.String)
//	if err != nil { … }
//	defer func() {
//		last, cancel := context.WithTimeout(context.Background(), 30*time.Second)
//		defer cancel()
//		if err := p.Close(last); err != nil { … } // what is buffered is delivered here
//	}()
//
//	p.SendFunc(ctx, quill.Record[string, string]{Topic: "orders", Key: "42", Value: "paid"},
//		func(m quill.RecordMetadata, err error) { … })                 // with a callback
//	m, err := p.Send(ctx, r).Wait(ctx)                                // or wait for the future
//
// # How it works
//
// Send runs the interceptors, serializes key and value, chooses a partition (the record's own, a
// custom partitioner's, the murmur2 hash of the key, or Kafka's sticky partition), and writes the
// record, in its final form, into the partition's open batch. Batches live in one buffer of
// buffer.memory bytes; when it is full, Send waits. One goroutine in the background sends batches
// that are full or have lingered, many partitions to a request and up to five requests at a time to
// a node, and handles what comes back: success, retries in order, deadlines.
//
// # Promises
//
//   - A success with acks=all (the default) is in the log of the partition, at the offset told.
//   - Records of one partition keep the order of their Sends, across retries and leader changes.
//   - Retries make no duplicates (idempotence, on by default).
//   - Each Send has one outcome, told once, to the callback and to the future alike; an error says
//     whether the record was not sent, may have been written, or was rejected.
//   - It is told within delivery.timeout.ms of the append; Send itself blocks at most max.block.ms.
//     No record is given up before three quarters of delivery.timeout.ms, as long as half of the buffer is free.
//   - Memory is bounded by buffer.memory, compression included.
//   - Callbacks of a partition run in order, never under a lock, and may use the producer.
//   - Flush waits for what was sent before it and nothing later. Close drains, until its context
//     ends; then it fails what is left, says how many records that were, and returns.
//
// # Snapshots and restores
//
// Brokers know a producer by an id from the cluster. A process that is started twice from one snapshot of a
// virtual machine, or from a checkpoint, is two producers with one id; so are two that got one id from a cluster that was
// restored or mirrored. To a broker the batches of the second one are copies of the first one's, and it may
// acknowledge them without writing them. The producer notices that where the topic's records keep their own
// timestamps (message.timestamp.type=CreateTime), once an answer for the topic has shown it: the batch fails as
// maybe written, that is logged, and a new id is taken. Where the broker sets the timestamps, and before that answer,
// nothing in the protocol shows it. So close the producer before a snapshot is taken, and make it after the start.
//
// # Closing
//
// What is buffered when a program ends is lost unless Close delivers it. Its context has to be a fresh
// one: a context that ends with a signal (signal.NotifyContext) is over by the time Close is called, and
// Close would give up at once. Give it a deadline, shorter than what the program has before it is killed
// (30 seconds in Kubernetes).
//
// # Transactions
//
// A producer with a TransactionalID sends in transactions: what belongs to one becomes visible together,
// to consumers that read with read_committed, or not at all. Offsets of a consumer group can be part of
// it, so that each input record counts once.
//
//	err := p.InitTransactions(ctx)                                    // once; fences older producers with the id
//	err = p.InTransaction(ctx, func(tx *quill.Tx[string, string]) error {
//		tx.Send(ctx, r)
//		return tx.SendOffsets(ctx, offsets, quill.GroupMetadata{GroupID: "g"})
//	})
//
// Or step by step: BeginTransaction, Send, SendOffsetsToTransaction, CommitTransaction or
// AbortTransaction. An error that Is ErrAbortable asks for an abort, one that Is ErrFatal for another
// producer; a call that gave up waiting is to be made again.
//
// # Deviations from Java, on purpose
//
//   - A sequence is never given to another batch while a batch may be in the log under it. Java does
//     so in two cases (KAFKA-14397, KAFKA-14034) and can write twice or drop.
//   - The first batch of a partition under a producer id and epoch travels alone, because a broker takes
//     any sequence from a producer it does not know, and order could be lost. Java sends up to five.
//   - A batch that was lost behind another one that was given up unsettled is never sent under new
//     sequences; it is asked for under its old ones until it expires, or fails at once if the one before was
//     refused. Java renumbers and can write twice.
//   - A producer id that brokers refuse under every epoch (INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING,
//     PRODUCER_FENCED, INVALID_TXN_STATE, without a transactional id) is left for a new one, after a pause, and batches
//     that are surely not in the log are sent again. Java fails them and raises the epoch, or ends.
//   - A broker that says UNKNOWN_PRODUCER_ID twice for a batch, without the log's start, has forgotten the
//     producer: a new epoch begins. Java asks until delivery.timeout.ms.
//   - A batch takes no more records after a quarter of delivery.timeout.ms, so that those in it have most of
//     their time, and Elapsed of an error is the record's own. In Java a record that joins a batch just before that expires, expires with it.
//   - A Send that waits for memory makes lingering batches go at once. Java sits the linger out.
//   - Whatever would wait for itself in a callback (Flush, Close, Send, SendAll, Future.Wait, the calls
//     about transactions) returns an error instead. Close returns by its deadline even if a callback
//     blocks, and a callback that blocks for ten seconds is logged.
//   - buffer.memory is a hard bound, compressed copies and batches in flight included. In a cluster of
//     several nodes, one may hold at most four times what is free of it, so that a node that takes
//     nothing leaves a fifth for the records to the others. Keyless records go round such a node. If all
//     records go to one node of several, a sixteenth (at least one batch) is kept for records to others.
//   - If a broker refuses a batch for some of its records and names them (KIP-467), these fail and
//     the others are sent again.
//   - Goroutines that send keyless records at the same time, and fill batches, use a sticky partition
//     per processor instead of one.
//   - A topic is asked about at once when it is first sent to, and has a back-off of its own while it is
//     not there, so that it delays nobody else. Full requests may come two in a row without a pause; beyond
//     that they are retry.backoff.ms apart, as all of Java's are.
//   - A topic that does not exist costs max.block.ms once: after a Send has waited for it that long in
//     vain, others fail at once, until it is found; it is asked for in the background as long as there
//     are any. An error that stays, such as TOPIC_AUTHORIZATION_FAILED, is reported as what it is, be
//     max.block.ms ever so short.
//   - A Send to a partition that does not exist fails after one fresh look at the metadata, not
//     after max.block.ms.
//   - The answer to a commit, an abort or offsets got lost: where each transaction does not have an epoch
//     of its own (version 1 of the protocol), the next one begins under a new epoch, so that no late copy
//     of the request can end it or take its offsets back (KAFKA-17754). On clusters before 2.5, which
//     can't do that, it is fatal once the transaction has ended.
//   - In a transaction every failed record is Abortable, and what has not left when the producer is closed
//     fails, since the transaction is aborted. Java still sends it.
//   - Every failure of a Send is told through its future and callback, never by a second way. What nobody
//     looks at is seen in the log: failures are counted by topic and cause, a line a minute at most.
//   - A Send whose context is over sends nothing. Java has no contexts; an interrupt ends its waits only.
//   - A callback may get its record (SendRecord), and an interceptor may keep a context from a record's
//     Send to its outcome.
//   - SendSync does not wait out linger.ms.
//   - A batch that the broker finds too large is split and sent again at once, without a back-off.
//   - The sequences of a batch that was refused for good are used again if nothing followed it, so that
//     the next batch needs no new epoch.
//   - A transaction of which nothing has left the producer is ended without a request to the coordinator.
//   - InitProducerId is asked again after UNKNOWN_SERVER_ERROR, which ends Java's producer, and
//     OFFSET_METADATA_TOO_LARGE only makes the transaction abortable.
//   - A Close that runs out of time returns ErrForceClosed with the number of records given up, and logs
//     it. Java's returns as if all had been delivered.
//   - A process that stood still (stopped, suspended, throttled) looks into its sockets before it gives up
//     anything by the clock. Java reports sends as timed out whose answers have arrived.
//   - A key that is left out is no key: String serializes the empty string as a null key, and so do the
//     other serializers whose zero value says "nothing" (the table is at String). KeepZero has it Java's way.
//
// # Testing
//
// Package quilltest has an in-memory cluster that speaks the real protocol; package quilltest/quillmock
// is a mock producer, the counterpart of Java's MockProducer. The producer runs inside testing/synctest
// bubbles.
package quill
