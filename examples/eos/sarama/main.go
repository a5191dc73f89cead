// Sarama is franzgo with sarama's consumer group: what it writes and how far it has read are committed together.
package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/eos/internal/app"
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
	cfg := sarama.NewConfig()
	cfg.Version, cfg.Consumer.Group.InstanceId = sarama.V3_0_0_0, a.ID // under the same name it comes back without a rebalance
	cfg.Consumer.IsolationLevel = sarama.ReadCommitted                 // and offsets of open transactions are waited for
	cfg.Consumer.Offsets.Initial, cfg.Consumer.Offsets.AutoCommit.Enable = sarama.OffsetOldest, false
	consumer, err := sarama.NewConsumerGroup(a.Bootstrap, a.Group, cfg)
	if err != nil {
		return err
	}
	defer consumer.Close()
	watch := app.StartWatch(ctx, a)
	for ctx.Err() == nil { // a turn is a session: from one rebalance to the next, and it begins at the committed offsets
		if err := consumer.Consume(ctx, []string{a.In}, &handler{args: a, producer: p, watch: watch}); err != nil {
			log.Print(err)
		}
	}
	return nil
}

type handler struct {
	args     app.Args
	producer *quill.Producer[[]byte, []byte]
	watch    *app.Watch
	turn     sync.Mutex // a producer has one transaction at a time, and each partition a goroutine
}

// Setup begins a session.
func (h *handler) Setup(s sarama.ConsumerGroupSession) error {
	h.watch.Assigned(len(s.Claims()[h.args.In]))
	return nil
}

// Cleanup ends it.
func (h *handler) Cleanup(s sarama.ConsumerGroupSession) error {
	h.watch.Assigned(-len(s.Claims()[h.args.In]))
	return nil
}

// ConsumeClaim reads one partition. An error ends the session, and the next one reads again what was not committed.
func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for first := range claim.Messages() {
		batch := []*sarama.ConsumerMessage{first}
		for len(batch) < h.args.Transaction && len(claim.Messages()) > 0 {
			batch = append(batch, <-claim.Messages())
		}
		h.watch.Arrived(len(batch))
		if err := h.copy(s, batch); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) copy(s sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	ctx := context.WithoutCancel(s.Context()) // its end must not cut off a commit
	return h.producer.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
		for _, m := range batch { // one that fails makes the transaction fail
			tx.Send(ctx, quill.Record[[]byte, []byte]{Topic: h.args.Out, Key: m.Key, Value: bytes.ToUpper(m.Value)})
		}
		m := batch[len(batch)-1]
		return tx.SendOffsets(ctx, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: m.Topic, Partition: m.Partition}: {Offset: m.Offset + 1}},
			quill.GroupMetadata{GroupID: h.args.Group, GenerationID: s.GenerationID(), MemberID: s.MemberID(), GroupInstanceID: h.args.ID})
	})
}
