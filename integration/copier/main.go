// Copier copies a topic to another, exactly once: franz-go's consumer reads, quill writes and commits the consumer's offsets
// in the same transaction. It is the client that TestExactlyOnceCopy kills. Partition n goes to partition n.
//
// Every third transaction of a process is given up when all of it was sent, and done again: what it left in the log is
// for no reader with read_committed.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quill-kafka/quill"
)

type copier struct {
	consumer  *kgo.Client
	producer  *quill.Producer[[]byte, []byte]
	group, id string
	out       string
	most      int
	pause     time.Duration

	transactions, given int
}

func main() {
	c := copier{}
	bootstrap := flag.String("bootstrap", "", "brokers as host:port,…")
	in := flag.String("in", "", "topic to read")
	flag.StringVar(&c.out, "out", "", "topic to write")
	flag.StringVar(&c.group, "group", "copier", "consumer group")
	flag.StringVar(&c.id, "id", "", "transactional id, and the member's group.instance.id")
	flag.IntVar(&c.most, "most", 750, "records of a transaction")
	flag.DurationVar(&c.pause, "pause", 0, "how long a full transaction takes besides, others accordingly less")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx, strings.Split(*bootstrap, ","), *in); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run copies until ctx ends. A fatal error, as when another process took over the id, comes back.
func (c *copier) run(ctx context.Context, bootstrap []string, in string) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.producer, err = quill.New(quill.Config{BootstrapServers: bootstrap, TransactionalID: c.id, TransactionTimeout: 30 * time.Second, Logger: logger},
		quill.Bytes, quill.Bytes)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, c.producer.Close(closing))
	}()
	if err := c.producer.InitTransactions(ctx); err != nil {
		return err
	}
	// The same instance comes back under the same name: the group goes on without a rebalance. That needs a balancer which tells
	// the group nothing that changes.
	c.consumer, err = kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ConsumerGroup(c.group), kgo.InstanceID(c.id), kgo.ConsumeTopics(in),
		kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(500*time.Millisecond), kgo.SessionTimeout(10*time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)))
	if err != nil {
		return err
	}
	defer c.consumer.Close()
	log.Print("ready")
	defer func() { log.Printf("%d transactions, %d of them given up", c.transactions, c.given) }()
	for ctx.Err() == nil {
		if err := c.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

var errGivenUp = errors.New("given up on purpose")

// step is one transaction. Until it has ended no partition is taken away from this member by its own doing.
func (c *copier) step(ctx context.Context) error {
	fetches := c.consumer.PollRecords(ctx, c.most)
	defer c.consumer.AllowRebalance()
	if fetches.NumRecords() == 0 {
		return nil
	}
	// What the group says now still holds when the offsets get there, or they are refused.
	member, generation := c.consumer.GroupMetadata()
	group := quill.GroupMetadata{GroupID: c.group, MemberID: member, GenerationID: generation, GroupInstanceID: c.id}
	c.transactions++
	giveUp := c.transactions%3 == 0
	err := c.producer.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
		offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{}
		for r := range fetches.RecordsAll() {
			tx.Send(ctx, quill.Record[[]byte, []byte]{Topic: c.out, Partition: quill.Partition(r.Partition), Key: r.Key, Value: r.Value})
			offsets[quill.TopicPartition{Topic: r.Topic, Partition: r.Partition}] = quill.OffsetAndMetadata{Offset: r.Offset + 1, LeaderEpoch: r.LeaderEpoch}
		}
		time.Sleep(c.pause * time.Duration(fetches.NumRecords()) / time.Duration(c.most))
		err := tx.SendOffsets(ctx, offsets, group)
		if err == nil && giveUp {
			c.given++
			if err := c.producer.Flush(ctx); err != nil {
				return err
			}
			return errGivenUp
		}
		return err
	})
	if err == nil {
		log.Printf("%d records committed", fetches.NumRecords())
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, quill.ErrFatal) {
		return err
	}
	log.Printf("%d records aborted: %v", fetches.NumRecords(), err)
	c.consumer.SetOffsets(begin(fetches))
	return nil
}

// begin is where the consumer has to read again what was not committed.
func begin(fetches kgo.Fetches) map[string]map[int32]kgo.EpochOffset {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		if offsets[p.Topic] == nil {
			offsets[p.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.Topic][p.Partition] = kgo.EpochOffset{Epoch: p.Records[0].LeaderEpoch, Offset: p.Records[0].Offset}
	})
	return offsets
}
