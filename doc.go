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
// a node, and handles the answers: success, retries in order, deadlines.
//
// # Promises
//
//   - A success with acks=all (the default) is in the log of the partition, at the offset that is reported.
//   - Records of one partition keep the order of their Sends, across retries and leader changes.
//   - Retries make no duplicates (idempotence, on by default).
//   - Each Send has exactly one outcome; the callback and the future both get it. An error says
//     whether the record was not sent, may have been written, or was rejected.
//   - Send blocks at most max.block.ms. The outcome comes within delivery.timeout.ms after Send has buffered
//     the record, and not before three quarters of that time if the record fails only because the time is up
//     (as long as half of the buffer is free).
//   - Memory is bounded by buffer.memory, compression included.
//   - Callbacks of a partition run in order, never under a lock. They may call the producer, but a call that would
//     have to wait there fails with ErrInCallback.
//   - Flush waits for the records sent before it and for none sent later. Close delivers what is buffered, until its
//     context ends; then the records that are left fail, and its error says how many.
//
// # When the cluster is down
//
// Records for topics seen before fill the buffer; when it is full each Send waits max.block.ms and fails with
// ErrBufferExhausted. What is buffered fails after delivery.timeout.ms. A Send to a topic not seen before waits
// max.block.ms each time. If a user waits for the result, set MaxBlock to a second or two. When the cluster is
// back, the producer goes on by itself. docs/errors.md says what to do about each error.
//
// # Snapshots and restores
//
// Brokers know a producer by an id from the cluster. A process that is started twice from one snapshot of a
// virtual machine, or from a checkpoint, is two producers with one id; so are two that got one id from a cluster that was
// restored or mirrored. To a broker the batches of the second one look like copies of the first one's, and it may
// acknowledge them without writing them. The producer can notice this only if the topic uses CreateTime
// (message.timestamp.type), and only after the first answer for it: then the batch fails as one that may have been written, an error is
// logged, and the producer takes a new id. So close the producer before a snapshot is taken, and make it after the start.
//
// # Closing
//
// Records that are still buffered when a program ends are lost unless Close delivers them. Give Close a fresh
// context: one that ends with a signal (signal.NotifyContext) has already ended when Close is called, and
// Close would give up at once. Give it a deadline, shorter than the time until the program is killed
// (30 seconds in Kubernetes).
//
// # Transactions
//
// A producer with a TransactionalID sends in transactions: consumers that read with read_committed see all
// records of a transaction, or none. Offsets of a consumer group can be part of it, so that each input record
// counts once.
//
//	err := p.InitTransactions(ctx)                                    // once; fences older producers with the id
//	err = p.InTransaction(ctx, func(tx *quill.Tx[string, string]) error {
//		tx.Send(ctx, r)
//		return tx.SendOffsets(ctx, offsets, quill.GroupMetadata{GroupID: "g"})
//	})
//
// Or step by step: BeginTransaction, Send, SendOffsetsToTransaction, CommitTransaction or
// AbortTransaction. After an error that Is ErrAbortable call AbortTransaction; after one that Is ErrFatal make
// another producer. If a call gave up waiting (its error says so), call it again: the work goes on. A transaction that
// is open for longer than transaction.timeout.ms usually ends the producer.
//
// # Deviations from Java, on purpose
//
//   - A sequence is never given to another batch while a batch may be in the log under it. Java does
//     so in two cases (KAFKA-14397, KAFKA-14034) and can write twice or drop.
//   - The first batch of a partition under a producer id and epoch travels alone, because a broker takes
//     any sequence from a producer it does not know, and order could be lost. Java sends up to five.
//   - A batch that follows one whose outcome never became known is never sent under new
//     sequences. It is sent again under its old ones until it expires, or fails at once if the one before was
//     refused. Java renumbers and can write twice.
//   - A producer id that brokers refuse under every epoch (INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING,
//     PRODUCER_FENCED, INVALID_TXN_STATE, without a transactional id) is left for a new one, after a pause, and batches
//     that are surely not in the log are sent again. Java fails them and raises the epoch, or its producer can't go on.
//   - A broker that answers UNKNOWN_PRODUCER_ID twice for a batch, without a log start offset, has forgotten the
//     producer: a new epoch begins. Java asks until delivery.timeout.ms.
//   - A batch takes no more records after a quarter of delivery.timeout.ms, so that those in it have most of
//     their time, and Elapsed of an error is the record's own. In Java a record that joins a batch just before that expires,
//     expires with it.
//   - A Send that waits for memory makes lingering batches go at once. Java waits until linger.ms has passed.
//   - A call that would wait for itself in a callback or in the handler of the log (Flush, Close, Send, SendAll,
//     Future.Wait, transaction calls) returns an error instead. Close returns by its deadline even if a callback
//     blocks, and a callback that blocks for ten seconds is logged.
//   - buffer.memory is a hard bound, compressed copies and batches in flight included. In a cluster of
//     several nodes, one node may use at most 4/5 of the buffer, so that a node that does not answer leaves
//     the rest to records for the others. Records without a key go to other nodes then. If all
//     records go to one node of several, a sixteenth (at least one batch) is kept for records to others.
//   - If a broker refuses a batch for some of its records and names them (KIP-467), these fail and
//     the others are sent again.
//   - Goroutines that send keyless records at the same time, and fill batches, use a sticky partition
//     per processor instead of one.
//   - The producer asks for a topic's metadata at once when it is first sent to. While the topic does not exist, it
//     has a back-off of its own, and delays no other topic. Full requests may come two in a row without a pause; beyond
//     that they are retry.backoff.ms apart, as all of Java's are.
//   - A request for metadata that a call waits for does not queue behind Produce requests: while all nodes
//     have requests in flight there is one connection more, to one of them, and it is closed when it is idle.
//     Java sends it on a connection whose node first answers what came before.
//   - A batch that is due, but not full, is not sent while its node is still busy with requests before it, as
//     far as the times of its answers show; it takes more records meanwhile. Of such batches two requests are in flight
//     until answers show that the node works on more at once. Java sends up to five requests.
//   - If the cluster answers that a topic does not exist, that costs max.block.ms once: after a Send has waited that
//     long, others fail at once until the topic is found; the producer asks for it in the background while there are
//     Sends. (If the cluster can't be reached, each Send to a topic not seen before waits.) An error that
//     stays, such as TOPIC_AUTHORIZATION_FAILED, is reported itself, not as a time-out, even if max.block.ms is very short.
//   - A leader that answers for five seconds that it is none is given up for the one that the next answer
//     about metadata names, even with a lower leader epoch. Java keeps to the highest epoch that it has seen.
//   - A topic that has more than 200,000 partitions, as an answer says, is not believed: Sends to it fail
//     with that reason. Java takes whatever memory it needs.
//   - A Send to a partition that does not exist fails after one fresh request for the metadata, not
//     after max.block.ms. Others to it fail at once until the next request is allowed, so a partition that is
//     added meanwhile is found up to retry.backoff.max.ms later.
//   - If the answer to a commit, an abort or offsets is lost, and transactions do not each have their own epoch
//     (version 1 of the protocol), the next transaction begins under a new epoch, so that no late copy
//     of the request can end it or take its offsets back (KAFKA-17754). On clusters before 2.5, which
//     can't do that, it is fatal once the transaction has ended.
//     So it does if the answer about a partition or group that joins is lost: a late copy would begin a transaction that
//     no call ends, and whose time-out fences the producer (KIP-890). If the copy comes before that epoch, or on
//     clusters before 2.5, it does; the error says that it may have been so.
//   - A transactional producer forgets topics that nothing is sent to any more; Java keeps their sequences. In version 1 of
//     the protocol that takes a new epoch, for more than a hundred topics at once. On clusters before 2.5 the producer
//     ends if the answer about that epoch is lost, or another producer took the transactional id over at that moment.
//   - In a transaction every failed record is Abortable. Records that were not sent yet when the producer is closed
//     fail, since the transaction is aborted. Java still sends them.
//   - Every failure of a Send is reported by its future and callback; Java's send throws some of them. Failed
//     records are also counted in the log, by topic and cause, with a line a minute at most.
//   - request.timeout.ms of a request begins when it is written, and again with the answer to the one before it. Java's
//     begins when the request is handed over, so that it closes a slow connection again and again, and sends all once more.
//   - A Send whose context has ended sends nothing. Java has no contexts; an interrupt ends its waits only.
//   - A callback may get its record (SendRecord), and an interceptor may keep a context from a record's
//     Send to its outcome.
//   - SendSync does not wait out linger.ms.
//   - A batch that the broker finds too large is split and sent again at once, without a back-off.
//   - The sequences of a batch that was refused finally are used again if nothing followed it, so that
//     the next batch needs no new epoch.
//   - If nothing of a transaction was sent yet, it ends without a request to the coordinator.
//   - InitProducerId is sent again after UNKNOWN_SERVER_ERROR, which ends Java's producer, and
//     OFFSET_METADATA_TOO_LARGE only makes the transaction abortable.
//   - A Close that runs out of time returns ErrForceClosed with the number of records given up, and logs
//     it. Java's returns as if all had been delivered.
//   - After a pause of the process (stopped, suspended, throttled) the producer reads the answers that have
//     arrived before it lets anything time out. Java reports sends as timed out whose answers have arrived.
//   - A broker that refuses this client's login or certificate, or whose certificate is not trusted, makes what waits fail
//     at once only if no broker is left that may let it in, and is never fatal. Java's calls fail at the first one,
//     and a transactional producer may have to be made anew. So it is if FindCoordinator refuses the transactional id:
//     here InitTransactions can be called again once the right was granted.
//   - A node that hangs up on a TLS handshake is asked once without TLS, by a request that names nothing of the client, and one
//     that hangs up on the first request whether it wants SASL, so that these settings are errors at once. Java waits out max.block.ms.
//   - A session of SASL is renewed two seconds before its end at the latest (half of it, if it is shorter than four), and not only after
//     85 to 95 %: a busy broker comes to requests in flight after the end of a short one, and hangs up.
//   - The name of a certificate is that of its SAN; a common name does not count. TLS looks for the host as configured, also
//     with resolve_canonical_bootstrap_servers_only. Connections end without a close_notify.
//   - SCRAM has an upper bound of 65,536 iterations, and the nonce of a node has to add something to the client's. OAUTHBEARER
//     fetches its first token for the first connection, not in New; an endpoint of tokens may not redirect, has ten
//     seconds to connect and to answer, and has to speak https unless AllowHTTP is set. Kerberos wants the node
//     to prove who it is.
//   - Stores of type PKCS12, and GSSAPI, need an import (plugin/keystore, plugin/kerberos); the chain of a PEM store may be in
//     any order. A config provider's path outside of allowed.paths is a fault; Java leaves the text as it is.
//   - A key that is left out is no key: String serializes the empty string as a null key, and so do the
//     other serializers whose zero value says "nothing" (the table is at String). KeepZero does as Java does.
//
// # Testing
//
// Package quilltest has an in-memory cluster that speaks the real protocol; package quilltest/quillmock
// is a mock producer, the counterpart of Java's MockProducer. The producer runs inside testing/synctest
// bubbles.
package quill
