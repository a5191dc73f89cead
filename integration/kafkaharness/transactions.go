package kafkaharness

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// GroupOffsets returns a consumer group's committed offsets in a topic, without those of open transactions.
func (c *Cluster) GroupOffsets(ctx context.Context, group, topic string) (map[int32]int64, error) {
	rows, err := c.ask(ctx, "offsets", group)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for _, row := range rows {
		if row[0] != topic {
			continue
		}
		partition, err := parseIDs(row[1])
		if err != nil {
			return nil, err
		}
		if offsets[partition[0]], err = strconv.ParseInt(row[2], 10, 64); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

// TransactionState returns Kafka's name for the state of a transactional id: Ongoing, PrepareCommit, CompleteCommit ...
func (c *Cluster) TransactionState(ctx context.Context, id string) (string, error) {
	rows, err := c.ask(ctx, "transaction", id)
	if err != nil {
		return "", err
	}
	return rows[0][0], nil
}

// OpenTransactions tells, in words, of each transaction that has not ended: in the eyes of any coordinator, or of a leader
// of one of the topics. The topic to which groups commit is always looked at, once there is one.
func (c *Cluster) OpenTransactions(ctx context.Context, topics ...string) ([]string, error) {
	rows, err := c.ask(ctx, "open", append(topics, "__consumer_offsets")...)
	if err != nil {
		return nil, err
	}
	var open []string
	for _, row := range rows {
		open = append(open, row...)
	}
	return open, nil
}

// WaitNoTransactions returns once no transaction is open. One that hangs shows by ctx's end. Coordinators that still load
// are waited for, too.
func (c *Cluster) WaitNoTransactions(ctx context.Context, topics ...string) error {
	for {
		open, err := c.OpenTransactions(ctx, topics...)
		if err == nil && len(open) == 0 {
			return nil
		}
		if ended := sleep(ctx, 200*time.Millisecond); ended != nil {
			return fmt.Errorf("transactions hang: %s: %w", strings.Join(open, "; "), errors.Join(err, ended))
		}
	}
}
