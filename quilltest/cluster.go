package quilltest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/quill-kafka/quill/protocol"
)

// A Cluster is an in-memory Kafka cluster. Its methods may be called concurrently. Those that
// return an error for a topic, partition or node that does not exist return a protocol.ErrorCode,
// wrapped.
type Cluster struct {
	opts     Options // set by NewCluster, read-only after
	release  release
	served   map[protocol.APIKey]versionRange
	features map[string]int16
	rules    sequenceRules
	nodes    []*node // by id, from 1

	changed   signal
	requests  requestLog
	faults    faultList
	producers producerIDs
	quota     quota

	sasl         saslSettings
	coordinators coordinators
	transactions transactions
	groups       groups

	goroutines sync.WaitGroup
	nextConn   atomic.Int64

	mu sync.Mutex // held for memory work only
	// +checklocks:mu
	topics map[string]*topic
	// +checklocks:mu
	topicIDs map[protocol.UUID]*topic
	// +checklocks:mu
	created uint64 // number of topics created, for their ids
	// +checklocks:mu
	closed bool
}

// NewCluster starts a cluster. Close stops it. The error is about the options, or about listening.
func NewCluster(opts Options) (*Cluster, error) {
	opts, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	rel, err := findRelease(opts.Release)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		opts:     opts,
		release:  rel,
		served:   rel.versions(opts.MaxVersions),
		features: rel.features(opts.Features),
		rules:    sequenceRules{refuseUnknown: rel.before(2, 5), nameDuplicates: rel.before(1, 0)},
		topics:   make(map[string]*topic),
		topicIDs: make(map[protocol.UUID]*topic),
	}
	c.requests.limit = opts.RetainRequests
	c.quota.perSecond = opts.ProduceQuota
	c.transactions.ids = &c.producers
	c.transactions.version2 = c.features["transaction.version"] >= 2
	if opts.SASL != nil {
		if err := c.sasl.store(opts.SASL); err != nil {
			return nil, err
		}
	}
	c.transactions.expire = func(id string, number int64) {
		c.goUnlessClosed(func() { c.expireTransaction(id, number) })
	}
	for i := range opts.Nodes {
		n := newNode(c, int32(i+1))
		if i < len(opts.Racks) {
			n.rack = opts.Racks[i]
		}
		c.nodes = append(c.nodes, n)
		if err := n.start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// TB is what Start needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Cleanup(f func())
	Fatalf(format string, args ...any)
}

// Start is NewCluster for a test: it fails the test on an error and closes the cluster when the
// test ends.
func Start(tb TB, opts Options) *Cluster {
	tb.Helper()
	c, err := NewCluster(opts)
	if err != nil {
		tb.Fatalf("quilltest: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Fatalf("quilltest: %v", err)
		}
	})
	return c
}

// Close stops all nodes, cuts all connections and waits until no goroutine of the cluster is left.
// The logs stay readable. It may be called again. It must not be called from a hook (Fault.When,
// Fault.Do, Options.Intercept …).
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.stop())
	}
	c.goroutines.Wait()
	c.transactions.stop()
	return errors.Join(errs...)
}

// goUnlessClosed runs f on a goroutine that Close waits for, and says whether it did.
func (c *Cluster) goUnlessClosed(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.goroutines.Go(f)
	}
	return !c.closed
}

// BootstrapServers returns the host:port of every node.
func (c *Cluster) BootstrapServers() []string {
	servers := make([]string, 0, len(c.nodes))
	for _, n := range c.nodes {
		servers = append(servers, n.address())
	}
	return servers
}

// ClusterID returns the cluster's id.
func (c *Cluster) ClusterID() string { return c.opts.ClusterID }

// DialContext connects to the node at addr, a host:port as in BootstrapServers. It fits
// quill.Config.DialContext and is the only way in with Options.Pipes. A stopped node refuses the
// connection (ECONNREFUSED); one that is cut off keeps it waiting.
func (c *Cluster) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if n.address() != addr {
			continue
		}
		if found := n.unreachable(); found != nil {
			select {
			case <-found:
			case <-ctx.Done():
				return nil, &net.OpError{Op: "dial", Net: network, Err: context.Cause(ctx)}
			}
		}
		if c.opts.Pipes {
			return n.dialPipe()
		}
	}
	if c.opts.Pipes {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "no such node", Addr: addr}}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// CreateTopic makes a topic with the given number of partitions. Leaders go round the nodes. A
// topic that was deleted comes back with a new id and an empty log.
func (c *Cluster) CreateTopic(name string, partitions int, cfg TopicConfig) error {
	if !validTopicName(name) {
		return fmt.Errorf("quilltest: topic %q: %w", name, protocol.InvalidTopicException)
	}
	if partitions <= 0 {
		return fmt.Errorf("quilltest: topic %q with %d partitions: %w", name, partitions, protocol.InvalidPartitions)
	}
	cfg, err := cfg.resolve(len(c.nodes))
	if err != nil {
		return err
	}
	defer c.changed.fire()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.topics[name] != nil {
		return fmt.Errorf("quilltest: topic %q: %w", name, protocol.TopicAlreadyExists)
	}
	c.created++
	t := &topic{name: name, internal: cfg.Internal, cfg: cfg}
	copy(t.id[:], "quill")
	binary.BigEndian.PutUint64(t.id[8:], c.created)
	c.growLocked(t, partitions)
	c.topics[name], c.topicIDs[t.id] = t, t
	return nil
}

// MustCreateTopic is CreateTopic for tests and examples: it panics on an error.
func (c *Cluster) MustCreateTopic(name string, partitions int, cfg TopicConfig) {
	if err := c.CreateTopic(name, partitions, cfg); err != nil {
		panic(err)
	}
}

// AlterTopic changes a topic's settings while it is in use, as kafka-configs.sh does: the next batch meets the new ones.
// change gets the present settings; a field that it sets to zero has its default again. So tests can have a broker refuse
// what it took before (MaxMessageBytes, Compacted, MinISR, MaxTimestampBehind), or take it otherwise (LogAppendTime).
// Replicas and Internal can't be changed. The brokers of a Cluster do not compress again, so there is no compression.type.
//
//	err := cluster.AlterTopic("orders", func(cfg *quilltest.TopicConfig) { cfg.MaxMessageBytes = 1000 })
func (c *Cluster) AlterTopic(name string, change func(cfg *TopicConfig)) error {
	defer c.changed.fire()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil {
		return fmt.Errorf("quilltest: topic %q: %w", name, protocol.UnknownTopicOrPartition)
	}
	cfg := t.cfg
	change(&cfg)
	cfg, err := cfg.resolve(len(c.nodes))
	if err != nil {
		return err
	}
	if cfg.Replicas != t.cfg.Replicas || cfg.Internal != t.internal {
		return fmt.Errorf("quilltest: topic %q: replicas and internal can't be changed: %w", name, protocol.InvalidConfig)
	}
	t.cfg = cfg
	for _, p := range t.partitions {
		p.mu.Lock()
		p.cfg = cfg
		p.mu.Unlock()
	}
	return nil
}

// AddPartitions raises a topic's number of partitions to total.
func (c *Cluster) AddPartitions(name string, total int) error {
	defer c.changed.fire()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil {
		return fmt.Errorf("quilltest: topic %q: %w", name, protocol.UnknownTopicOrPartition)
	}
	if total <= len(t.partitions) {
		return fmt.Errorf("quilltest: topic %q has %d partitions, asked for %d: %w", name, len(t.partitions), total, protocol.InvalidPartitions)
	}
	c.growLocked(t, total)
	return nil
}

// growLocked adds partitions up to total.
//
// +checklocks:c.mu
func (c *Cluster) growLocked(t *topic, total int) {
	partitions := slices.Clone(t.partitions)
	for i := len(partitions); i < total; i++ {
		replicas := make([]int32, 0, t.cfg.Replicas)
		for j := range t.cfg.Replicas {
			replicas = append(replicas, c.nodes[(i+j)%len(c.nodes)].id)
		}
		partitions = append(partitions, newPartition(c, t, int32(i), replicas))
	}
	t.partitions = partitions
}

// DeleteTopic deletes a topic and its logs.
func (c *Cluster) DeleteTopic(name string) error {
	defer c.changed.fire()
	defer c.resumeTransactions() // no producer waits for its markers any more
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil {
		return fmt.Errorf("quilltest: topic %q: %w", name, protocol.UnknownTopicOrPartition)
	}
	delete(c.topics, name)
	delete(c.topicIDs, t.id)
	for _, p := range t.partitions {
		p.mu.Lock()
		p.deleted = true
		p.mu.Unlock()
	}
	return nil
}

// TopicID returns the topic's present id, zero if it does not exist.
func (c *Cluster) TopicID(name string) protocol.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		return t.id
	}
	return protocol.UUID{}
}

// partitions returns a topic's partitions, nil if it does not exist.
func (c *Cluster) partitions(topic string) []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[topic]; t != nil {
		return t.partitions
	}
	return nil
}

func (c *Cluster) partition(topic string, index int32) (*partition, error) {
	partitions := c.partitions(topic)
	if index < 0 || int(index) >= len(partitions) {
		return nil, fmt.Errorf("quilltest: partition %s-%d: %w", topic, index, protocol.UnknownTopicOrPartition)
	}
	return partitions[index], nil
}

// Leader returns a partition's leader and leader epoch. The leader is -1 while no replica in sync
// runs.
func (c *Cluster) Leader(topic string, partition int32) (node, epoch int32, err error) {
	p, err := c.partition(topic, partition)
	if err != nil {
		return -1, -1, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader, p.epoch, nil
}

// MoveLeader makes a node the leader of a partition, in a new leader epoch. The node must be a
// running replica; it joins the replicas in sync.
func (c *Cluster) MoveLeader(topic string, partition, node int32) error {
	p, err := c.partition(topic, partition)
	if err != nil {
		return err
	}
	defer c.changed.fire()
	defer c.resumeTransactions()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.running(node) || !slices.Contains(p.replicas, node) {
		return fmt.Errorf("quilltest: node %d is no running replica of %s-%d: %w", node, topic, partition, protocol.ReplicaNotAvailable)
	}
	if !slices.Contains(p.isr, node) {
		p.isr = append(slices.Clone(p.isr), node)
	}
	p.setLeaderLocked(node)
	return nil
}

// SetISR sets a partition's replicas in sync, which TopicConfig.MinISR counts. They must be
// replicas, and the leader one of them.
func (c *Cluster) SetISR(topic string, partition int32, nodes ...int32) error {
	p, err := c.partition(topic, partition)
	if err != nil {
		return err
	}
	defer c.changed.fire()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range nodes {
		if !slices.Contains(p.replicas, id) {
			return fmt.Errorf("quilltest: node %d is no replica of %s-%d: %w", id, topic, partition, protocol.ReplicaNotAvailable)
		}
	}
	if len(nodes) == 0 || p.leader != -1 && !slices.Contains(nodes, p.leader) {
		return fmt.Errorf("quilltest: the leader %d of %s-%d must be in sync: %w", p.leader, topic, partition, protocol.InvalidRequest)
	}
	p.isr = slices.Clone(nodes)
	return nil
}

// validTopicName follows Kafka's org.apache.kafka.common.internals.Topic.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return false
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}

func joinHostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
