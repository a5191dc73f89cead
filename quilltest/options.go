package quilltest

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// Options shape a Cluster. The zero value is three nodes on loopback TCP that behave as Kafka 4.4
// does with default settings.
type Options struct {
	// Nodes is how many nodes the cluster has; their ids are 1 to Nodes. If zero, 3.
	Nodes int
	// Racks are the nodes' racks by position. A node without one has no rack.
	Racks []string
	// ClusterID is the cluster's id. If empty, "quilltest".
	ClusterID string

	// Pipes replaces TCP by in-process connections, which only DialContext reaches: for
	// testing/synctest. The nodes' names end in ".invalid", so that nothing else is dialed by mistake.
	Pipes bool
	// TLS makes the nodes serve TLS with this configuration; a CA makes one. If nil, plaintext.
	TLS *tls.Config
	// SASL makes the nodes want a login. If nil, anybody may do anything.
	SASL *SASL

	// Advertise, if set, says under which address metadata and produce responses name a node: for
	// proxies in front of it, and for lies. BootstrapServers and NodeAddr stay what they are.
	Advertise func(node int32, host string, port int32) (string, int32)
	// Greet, if set, returns bytes that a node writes as soon as a connection opens, before any
	// request.
	Greet func(node int32) []byte

	// Release is the Kafka release whose API versions the nodes serve, such as "2.1". If empty,
	// "4.4"; the oldest is "0.11". Before 2.5 the nodes also answer UNKNOWN_PRODUCER_ID and
	// DUPLICATE_SEQUENCE_NUMBER as those releases do.
	Release string
	// MaxVersions lowers the highest version of single APIs; a negative number removes the API.
	MaxVersions map[protocol.APIKey]int16
	// Features are the finalized features (KIP-584). If nil, transaction.version 2 from release 4.0
	// on, and none before. With {"transaction.version": 1} a newer release, too, has its clients
	// speak version 1 of the transaction protocol.
	Features map[string]int16

	// AutoCreate creates a topic that a client asks for and that does not exist. Kafka:
	// auto.create.topics.enable.
	AutoCreate bool
	// DefaultPartitions is the partition count of such a topic. If zero, 1. Kafka: num.partitions.
	DefaultPartitions int
	// MaxRequestBytes is the largest request a node reads; it closes the connection on a larger
	// one. If zero, 100 MiB. Kafka: socket.request.max.bytes.
	MaxRequestBytes int

	// Strict refuses batches that no good producer writes although Kafka takes them: offset deltas with
	// gaps in an uncompressed batch, bytes behind the batch, a producer id without an epoch, attributes
	// that are not a producer's. It is meant for tests of producers.
	Strict bool

	// ProduceQuota is how many bytes per second a client id may produce before its answers carry a
	// throttle time; a second's worth may go ahead. If zero, any number. Kafka: the quota
	// producer_byte_rate.
	ProduceQuota int64

	// MaxTransactionTimeout is the longest transaction time-out that a producer may ask for. If
	// zero, 15 minutes. Kafka: transaction.max.timeout.ms.
	MaxTransactionTimeout time.Duration
	// MarkerDelay passes between the answer to EndTxn and the transaction markers; meanwhile the
	// transactional id gets CONCURRENT_TRANSACTIONS. If zero, the markers are there before the
	// answer.
	MarkerDelay time.Duration

	// Retain is how many bytes of batches each partition keeps, newest first, for Records and
	// Batches. If zero, all; if negative, none: batches are checked and counted, then dropped,
	// which keeps memory flat.
	Retain int64
	// RetainRequests is how many requests the log of Requests keeps, newest first. If zero, 4096;
	// if negative, none.
	RetainRequests int

	// Intercept, if set, is asked for every request after the injected faults, on the connection's
	// goroutine. What it returns applies to this request only; nil lets it pass. It may call any
	// method of the Cluster except Close.
	Intercept func(r *Request) *Fault
}

// TopicConfig shapes a topic. The zero value is Kafka's default, but for Replicas.
type TopicConfig struct {
	// Replicas is the replication factor. If zero, 3, or the number of nodes if that is less.
	Replicas int
	// MinISR is how many replicas must be in sync for acks=all. If zero, 1. Kafka:
	// min.insync.replicas.
	MinISR int
	// MaxMessageBytes is the largest batch. If zero, 1048588. Kafka: max.message.bytes.
	MaxMessageBytes int
	// SegmentBytes is the largest batch that fits into a segment of the log. If zero, 1 GiB. Kafka:
	// segment.bytes.
	SegmentBytes int
	// LogAppendTime gives records the node's time. Kafka: message.timestamp.type=LogAppendTime.
	LogAppendTime bool
	// MaxTimestampAhead is how far a record's timestamp may lie after the node's clock. If zero,
	// one hour; if negative, any. Kafka: message.timestamp.after.max.ms.
	MaxTimestampAhead time.Duration
	// MaxTimestampBehind is how far it may lie before. If zero, any. Kafka:
	// message.timestamp.before.max.ms.
	MaxTimestampBehind time.Duration
	// Compacted refuses records without a key, one by one (KIP-467). Kafka: cleanup.policy=compact.
	Compacted bool
	// Internal marks the topic as one of Kafka's own.
	Internal bool
}

// resolve fills in the defaults.
func (o Options) resolve() (Options, error) {
	if o.Nodes < 0 {
		return o, fmt.Errorf("quilltest: %d nodes", o.Nodes)
	}
	o.Nodes = orDefault(o.Nodes, 3)
	o.ClusterID = orDefault(o.ClusterID, "quilltest")
	o.Release = orDefault(o.Release, latestRelease)
	o.DefaultPartitions = orDefault(o.DefaultPartitions, 1)
	o.MaxRequestBytes = orDefault(o.MaxRequestBytes, 100<<20)
	o.MaxTransactionTimeout = orDefault(o.MaxTransactionTimeout, 15*time.Minute)
	o.RetainRequests = max(orDefault(o.RetainRequests, 4096), 0)
	if len(o.Racks) > o.Nodes {
		return o, fmt.Errorf("quilltest: %d racks for %d nodes", len(o.Racks), o.Nodes)
	}
	return o, nil
}

// resolve fills in the defaults and checks the topic against the number of nodes.
func (t TopicConfig) resolve(nodes int) (TopicConfig, error) {
	t.Replicas = orDefault(t.Replicas, min(3, nodes))
	t.MinISR = orDefault(t.MinISR, 1)
	t.MaxMessageBytes = orDefault(t.MaxMessageBytes, 1<<20+12)
	t.SegmentBytes = orDefault(t.SegmentBytes, 1<<30)
	t.MaxTimestampAhead = orDefault(t.MaxTimestampAhead, time.Hour)
	if t.Replicas < 0 || t.Replicas > nodes {
		return t, fmt.Errorf("quilltest: %d replicas on %d nodes: %w", t.Replicas, nodes, protocol.InvalidReplicationFactor)
	}
	return t, nil
}

func orDefault[T comparable](v, byDefault T) T {
	var zero T
	if v == zero {
		return byDefault
	}
	return v
}
