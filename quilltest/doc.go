// Package quilltest is an in-memory Kafka cluster for tests of code that produces, with any client:
// this module's producer, but also Java's, librdkafka's (kcat and confluent-kafka in all languages),
// franz-go's and sarama's. Ordinary consumers read from it, as long as they are assigned partitions by
// their user: with read_committed or read_uncommitted, across changes of leaders, from any offset or
// time. There are no consumer groups to join and no followers to read from. Tests that need no cluster
// find a mock of the producer itself, the counterpart of Java's MockProducer, in package
// quilltest/quillmock.
//
// A [Cluster] speaks Kafka's own protocol, on loopback TCP or on in-process pipes:
//
//	cluster := quilltest.Start(t, quilltest.Options{Pipes: true})
//	cluster.MustCreateTopic("orders", 3, quilltest.TopicConfig{})
//	producer, err := quill.New(quill.Config{
//		BootstrapServers: cluster.BootstrapServers(),
//		DialContext:      cluster.DialContext,
//	}, quill.String, quill.String)
//	…
//	records, err := cluster.Records("orders", 0)
//
// With pipes the whole cluster lives inside a testing/synctest bubble: no test waits for real time,
// and a goroutine left over fails it. The cluster must then be made inside that bubble, and the client
// needs its DialContext; without it quill.New fails at once.
//
// # What it keeps to
//
// Each partition has a leader and a log. A log refuses what a real one refuses: a wrong CRC, a
// batch that is too large, records that do not add up to their batch, sequences out of order, a
// producer epoch that is too old, a node that does not lead. It also answers as a real one does: a
// batch that comes twice gets its first offset again, KIP-951 names the new leader, KIP-467 names
// the bad records. An odd request gets the error code of Kafka 4.3, and what a real node
// ignores, the cluster ignores (bytes behind the batch, offset deltas with gaps in an uncompressed batch),
// unless it is [Options.Strict]. There is one copy of each log: replicas are names in the metadata, and nothing is lost when a leader stops.
//
// # Transactions
//
// Transactional ids and consumer groups have coordinators ([Cluster.Coordinator]), which do what
// Kafka's do: epochs and fencing, also for producers that name their id and epoch (KIP-360), time-outs
// that abort, transaction markers in the logs, offsets that wait for the end of their transaction. Both
// versions of the protocol are spoken, distinguished by the versions of Produce, TxnOffsetCommit and
// EndTxn: in version 2 (KIP-890) writing to a partition adds it, and each transaction has an epoch of
// its own. Which one clients choose follows from Options.Release and Options.Features.
//
// Tests see the result as consumers do: [Cluster.CommittedRecords] beside [Cluster.Records],
// [Cluster.LastStableOffset], [Cluster.GroupOffsets]; and as Kafka's tools do, by
// [Cluster.Transactions]: one that stays Ongoing hangs. Consumers can't join a group, so [Cluster.SetGroup]
// says whose offsets are accepted.
//
// In three things the cluster is simpler, or stricter, than Kafka. A transaction is aborted exactly
// when its time is up, where Kafka looks every ten seconds. Markers are in the logs before EndTxn is
// answered, unless [Options.MarkerDelay] says otherwise. And a record of a transaction is refused
// wherever its partition was not added, where nodes before 3.6 did not look.
//
// # Security
//
// [Options.TLS] makes the nodes speak TLS, and a [CA] makes the certificates for it, for clients with
// certificates of their own, too. [Options.SASL] makes them want a login: PLAIN, SCRAM-SHA-256,
// SCRAM-SHA-512, or OAUTHBEARER with a func that decides about tokens. Without one, a connection is
// closed as Kafka closes it; wrong credentials are answered with Kafka's texts. Sessions end
// ([SASL.SessionLifetime], or with their token) unless the client authenticates again, as the same
// principal and with the same mechanism (KIP-368). [Cluster.AlterSASL] changes passwords meanwhile, and
// [Request.Principal] shows tests who sent a request. Refusals come at once, where Kafka waits 100 ms
// (connection.failed.authentication.delay.ms).
//
// # Faults on demand
//
// Nodes stop, start, freeze ([Cluster.PauseNode]), get lost ([Cluster.CutOffNode]), change their address
// ([Cluster.RelocateNode]), lose leaderships and coordinators ([Cluster.MoveCoordinator]). A [Fault] picks requests by API, node, topic and
// partition, and delays, loses, refuses or rewrites them or their answers; [Cluster.Inject] counts
// its hits; [Fault.Challenge] puts wrong words into a login. [Options.Intercept] decides for each request in code.
//
// # How a request flows
//
// One goroutine per connection reads a frame, decodes it, asks for the faults that match, lets the
// API's handler work (one file per API key), and writes the answer before it reads on: a real node,
// too, works on one request of a connection at a time. Batches are checked once, kept as bytes, and
// decoded only when a test reads them.
package quilltest
