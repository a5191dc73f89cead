package quilltest

import (
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// A CoordinatorType says what a coordinator coordinates. The numbers are those of FindCoordinator.
type CoordinatorType int8

const (
	// GroupCoordinator keeps the offsets of a consumer group; its key is the group id.
	GroupCoordinator CoordinatorType = 0
	// TransactionCoordinator keeps the transactions of a transactional id, which is its key.
	TransactionCoordinator CoordinatorType = 1
)

// coordinators knows which keys were moved. All others have a home that follows from their name.
type coordinators struct {
	mu sync.Mutex
	// +checklocks:mu
	homes map[coordinatorKey]int32
}

type coordinatorKey struct {
	kind CoordinatorType
	key  string
}

// home returns the node that coordinates a key while it runs.
func (c *coordinators) home(k coordinatorKey, nodes int) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if node, moved := c.homes[k]; moved {
		return node
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(k.key))
	return int32((h.Sum32()+uint32(k.kind))%uint32(nodes)) + 1
}

// Coordinator returns the node that coordinates a group or a transactional id, -1 if no node runs.
// What a coordinator knows is not lost when its node stops: the next running node takes over.
func (c *Cluster) Coordinator(kind CoordinatorType, key string) int32 {
	home := c.coordinators.home(coordinatorKey{kind, key}, len(c.nodes))
	for i := range c.nodes {
		n := c.nodes[(int(home)-1+i)%len(c.nodes)]
		if n.running() {
			return n.id
		}
	}
	return -1
}

// MoveCoordinator makes a node the coordinator of a group or a transactional id. The node before
// answers NOT_COORDINATOR from then on. While the new one does not run, the next running node
// stands in for it.
func (c *Cluster) MoveCoordinator(kind CoordinatorType, key string, node int32) error {
	if _, err := c.node(node); err != nil {
		return err
	}
	defer c.changed.fire()
	c.coordinators.mu.Lock()
	defer c.coordinators.mu.Unlock()
	if c.coordinators.homes == nil {
		c.coordinators.homes = make(map[coordinatorKey]int32)
	}
	c.coordinators.homes[coordinatorKey{kind, key}] = node
	return nil
}

// coordinates returns NOT_COORDINATOR unless the node that handles the call coordinates the key.
func (q *call) coordinates(kind CoordinatorType, key string) protocol.ErrorCode {
	if q.cluster.Coordinator(kind, key) != q.node.id {
		return protocol.NotCoordinator
	}
	return protocol.None
}

var findCoordinatorAPI = api{
	min: message.FindCoordinatorMinVersion, max: message.FindCoordinatorMaxVersion,
	handle: handleFindCoordinator,
}

func handleFindCoordinator(q *call) (message.Message, bool) {
	req := q.body.(*message.FindCoordinatorRequest)
	res := newResponse[*message.FindCoordinatorResponse](protocol.FindCoordinator)
	if q.Version < 4 {
		found := q.findCoordinator(CoordinatorType(req.KeyType), req.Key)
		res.ErrorCode, res.ErrorMessage = found.ErrorCode, found.ErrorMessage
		res.NodeID, res.Host, res.Port = found.NodeID, found.Host, found.Port
		return res, true
	}
	for _, key := range req.CoordinatorKeys {
		res.Coordinators = append(res.Coordinators, q.findCoordinator(CoordinatorType(req.KeyType), key))
	}
	return res, true
}

// findCoordinator looks up one key, faults included.
func (q *call) findCoordinator(kind CoordinatorType, key string) message.Coordinator {
	found := message.Coordinator{Key: key, NodeID: -1, Port: -1, ErrorCode: q.plan.failure()}
	if found.ErrorCode == protocol.None && kind != GroupCoordinator && kind != TransactionCoordinator {
		found.ErrorCode = protocol.InvalidRequest
		found.ErrorMessage = nullable(fmt.Sprintf("no coordinators of type %d", kind))
	}
	if found.ErrorCode != protocol.None {
		return found
	}
	n, err := q.cluster.node(q.cluster.Coordinator(kind, key))
	if err != nil {
		found.ErrorCode = protocol.CoordinatorNotAvailable
		return found
	}
	found.NodeID = n.id
	found.Host, found.Port = n.advertised()
	return found
}
