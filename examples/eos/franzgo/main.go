// Franzgo reads a topic with franz-go's consumer and writes it to another in capitals with quill, exactly once: what it writes and
// how far it has read are committed together. Start as many as you like, each with its own -id; kill them as you like.
package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/eos/internal/app"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() { app.Main(run) }

func run(ctx context.Context, a app.Args) (err error) {
	p, err := quill.New(quill.Config{BootstrapServers: a.Bootstrap, TransactionalID: a.ID}, quill.Bytes, quill.Bytes)
	if err != nil {
		return err
	}
	defer func() { // with a context of its own: when a signal ends ctx, an open transaction still has to be aborted
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()
	if err := p.InitTransactions(ctx); err != nil { // before anything is read: it ends what this id had left open
		return err
	}
	watch := app.StartWatch(ctx, a)
	consumer, err := kgo.NewClient(kgo.SeedBrokers(a.Bootstrap...), kgo.ConsumeTopics(a.In),
		kgo.ConsumerGroup(a.Group), kgo.InstanceID(a.ID), // under the same name it comes back without a rebalance
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { watch.Assigned(len(p[a.In])) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { watch.Assigned(-len(p[a.In])) }),
		kgo.BlockRebalanceOnPoll()) // what was polled stays ours until AllowRebalance
	if err != nil {
		return err
	}
	defer consumer.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := consumer.PollRecords(ctx, a.Transaction)
		if ctx.Err() == nil {
			fetches.EachError(func(topic string, partition int32, err error) { log.Printf("read %s/%d: %v", topic, partition, err) })
		}
		if fetches.NumRecords() == 0 {
			consumer.AllowRebalance()
			continue
		}
		watch.Arrived(fetches.NumRecords())
		offsets, begin := map[quill.TopicPartition]quill.OffsetAndMetadata{}, map[int32]kgo.EpochOffset{}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if n := len(f.Records); n > 0 {
				offsets[quill.TopicPartition{Topic: f.Topic, Partition: f.Partition}] = quill.OffsetAndMetadata{Offset: f.Records[n-1].Offset + 1}
				begin[f.Partition] = kgo.EpochOffset{Epoch: -1, Offset: f.Records[0].Offset}
			}
		})
		member, generation := consumer.GroupMetadata()
		group := quill.GroupMetadata{GroupID: a.Group, GenerationID: generation, MemberID: member, GroupInstanceID: a.ID}
		err := p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
			for r := range fetches.RecordsAll() { // one that fails makes the transaction fail
				tx.Send(ctx, quill.Record[[]byte, []byte]{Topic: a.Out, Key: r.Key, Value: bytes.ToUpper(r.Value)})
			}
			return tx.SendOffsets(ctx, offsets, group)
		})
		switch {
		case errors.Is(err, quill.ErrFatal):
			return err
		case err != nil: // aborted, as when a rebalance came between: read it again, if it is still ours
			log.Print(err)
			consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{a.In: begin})
		}
		consumer.AllowRebalance()
	}
	return nil
}
