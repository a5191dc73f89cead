package kafkaharness

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Partition is a partition as the cluster describes it.
type Partition struct {
	Index    int32
	Leader   int32 // -1: none
	Replicas []int32
	ISR      []int32
}

// CreateTopic creates a topic with as many replicas as the cluster has nodes, three at most. It returns when every
// partition has a leader and all its replicas in sync. Settings are "key=value".
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int, settings ...string) error {
	if err := c.CreateTopicUnready(ctx, name, partitions, settings...); err != nil {
		return err
	}
	return c.WaitInSync(ctx, name)
}

// CreateTopicUnready is CreateTopic without the wait: nodes may not know yet what they lead.
func (c *Cluster) CreateTopicUnready(ctx context.Context, name string, partitions int, settings ...string) error {
	words := append([]string{name, strconv.Itoa(partitions), strconv.Itoa(min(len(c.nodes), 3))}, settings...)
	_, err := c.helper.Call(ctx, "create", words...)
	return err
}

// DeleteTopic deletes a topic.
func (c *Cluster) DeleteTopic(ctx context.Context, name string) error {
	_, err := c.helper.Call(ctx, "delete", name)
	return err
}

// AddPartitions raises a topic's number of partitions and waits until all are in sync.
func (c *Cluster) AddPartitions(ctx context.Context, name string, total int) error {
	if _, err := c.helper.Call(ctx, "grow", name, strconv.Itoa(total)); err != nil {
		return err
	}
	return c.WaitInSync(ctx, name)
}

// SetTopic changes one setting of a topic.
func (c *Cluster) SetTopic(ctx context.Context, name, key, value string) error {
	_, err := c.ask(ctx, "configure", name, key, value)
	return err
}

// RestrictTopic adds a rule for everybody: permission is ALLOW or DENY, operation WRITE, DESCRIBE, ALL ... The cluster
// needs an authorizer: see WithAuthorizer. A topic with a rule allows nothing but what its rules allow.
func (c *Cluster) RestrictTopic(ctx context.Context, name, permission, operation string) error {
	_, err := c.helper.Call(ctx, "acl", name, permission, operation)
	return err
}

// Describe returns a topic's partitions in order.
func (c *Cluster) Describe(ctx context.Context, name string) ([]Partition, error) {
	rows, err := c.ask(ctx, "describe", name)
	if err != nil {
		return nil, err
	}
	partitions := make([]Partition, len(rows))
	for i, row := range rows {
		numbers, err := parseIDs(row[0] + "," + row[1])
		if err != nil {
			return nil, err
		}
		p := Partition{Index: numbers[0], Leader: numbers[1]}
		if p.Replicas, err = parseIDs(row[2]); err != nil {
			return nil, err
		}
		if p.ISR, err = parseIDs(row[3]); err != nil {
			return nil, err
		}
		partitions[i] = p
	}
	return partitions, nil
}

// Leader returns the node that leads a partition, waiting for one if there is none.
func (c *Cluster) Leader(ctx context.Context, name string, partition int32) (*Node, error) {
	var leader int32
	err := c.wait(ctx, name, func(p Partition) bool {
		if p.Index == partition {
			leader = p.Leader
		}
		return p.Index != partition || p.Leader > 0
	})
	if err != nil {
		return nil, err
	}
	if leader == 0 {
		return nil, fmt.Errorf("topic %s has no partition %d", name, partition)
	}
	return c.Node(leader), nil
}

// WaitInSync returns once every partition of the topic has a leader and all its replicas in sync.
func (c *Cluster) WaitInSync(ctx context.Context, name string) error {
	return c.wait(ctx, name, func(p Partition) bool { return p.Leader > 0 && len(p.ISR) == len(p.Replicas) })
}

// MoveLeader makes the node the leader of a partition, and waits for it.
func (c *Cluster) MoveLeader(ctx context.Context, name string, partition, node int32) error {
	if _, err := c.ask(ctx, "move", name, fmt.Sprint(partition), fmt.Sprint(node)); err != nil {
		return err
	}
	return c.wait(ctx, name, func(p Partition) bool { return p.Index != partition || p.Leader == node })
}

// ElectPreferred gives every partition of the topic back to the first of its replicas.
func (c *Cluster) ElectPreferred(ctx context.Context, name string) error {
	_, err := c.ask(ctx, "elect", name)
	return err
}

// Controller returns the active controller.
func (c *Cluster) Controller(ctx context.Context) (*Node, error) {
	rows, err := c.ask(ctx, "controller")
	if err != nil {
		return nil, err
	}
	ids, err := parseIDs(rows[0][0])
	if err != nil {
		return nil, err
	}
	return c.Node(ids[0]), nil
}

// EndOffsets returns the end offset of each partition.
func (c *Cluster) EndOffsets(ctx context.Context, name string) (map[int32]int64, error) {
	rows, err := c.ask(ctx, "ends", c.bootstrapList(), name)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for _, row := range rows {
		partition, err := parseIDs(row[0])
		if err != nil {
			return nil, err
		}
		if ends[partition[0]], err = strconv.ParseInt(row[1], 10, 64); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// wait describes the topic until every partition is as wanted.
func (c *Cluster) wait(ctx context.Context, name string, want func(Partition) bool) error {
	for {
		partitions, err := c.Describe(ctx, name)
		if err != nil {
			return err
		}
		good := len(partitions) > 0
		for _, p := range partitions {
			good = want(p) && good
		}
		if good {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("topic %s is at %+v: %w", name, partitions, err)
		}
	}
}

func (c *Cluster) bootstrapList() string { return strings.Join(c.Bootstrap(), ",") }

// parseIDs reads numbers separated by commas.
func parseIDs(list string) ([]int32, error) {
	if list == "" {
		return nil, nil
	}
	var ids []int32
	for word := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}
