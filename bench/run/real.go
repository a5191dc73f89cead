package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const realPartitions = 12

// realTopic is a topic of its own for one run against a real cluster.
type realTopic struct {
	name string
	cl   *kgo.Client
}

func newRealTopic(ctx context.Context, addr string) (*realTopic, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s: only loopback addresses are measured", addr)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	t := &realTopic{name: fmt.Sprintf("quill-bench-%d", time.Now().UnixNano()), cl: cl}
	q := kmsg.NewPtrCreateTopicsRequest()
	q.TimeoutMillis = 10_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.name, realPartitions, 1
	cfg := kmsg.NewCreateTopicsRequestTopicConfig()
	cfg.Name, cfg.Value = "file.delete.delay.ms", new("1000") // or gigabytes pile up
	rt.Configs = append(rt.Configs, cfg)
	q.Topics = append(q.Topics, rt)
	r, err := q.RequestWith(ctx, cl)
	if err == nil && len(r.Topics) == 1 {
		err = kerr.ErrorForCode(r.Topics[0].ErrorCode)
	}
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("create %s: %w", t.name, err)
	}
	time.Sleep(500 * time.Millisecond) // leaders settle
	return t, nil
}

// records is how many the topic holds; -1 if that can't be found out.
func (t *realTopic) records(ctx context.Context) (sum int64) {
	q := kmsg.NewPtrListOffsetsRequest()
	q.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.name
	for i := range int32(realPartitions) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, -1
		rt.Partitions = append(rt.Partitions, p)
	}
	q.Topics = append(q.Topics, rt)
	for _, shard := range t.cl.RequestSharded(ctx, q) {
		r, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		if shard.Err != nil || !ok {
			return -1
		}
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				sum += p.Offset
			}
		}
	}
	return sum
}

// remove deletes the topic and gives the node time to let the files go.
func (t *realTopic) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.TimeoutMillis = 10_000
	q.TopicNames = []string{t.name}
	d := kmsg.NewDeleteTopicsRequestTopic()
	d.Topic = &t.name
	q.Topics = append(q.Topics, d)
	_, _ = q.RequestWith(ctx, t.cl) // a topic left over disturbs nobody
	t.cl.Close()
	time.Sleep(1500 * time.Millisecond)
}
