package integration

// Brokers before 3.3 want ZooKeeper, so that the harness does not start them. Started by hand, one node each with
// auto.create.topics.enable, they are named in QUILL_OLD_BROKERS, and each is sent to with what its version knows:
//
//	QUILL_OLD_BROKERS=0.11.0.3=127.0.0.1:27100,1.1.1=127.0.0.1:27120 go -C integration test -v -run TestOldBrokers .
//
// Without it the harness's own broker stands in for them.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/integration/ledger"
	"github.com/quill-kafka/quill/protocol"
)

// TestOldBrokers sends keyed records with headers to each broker that is named: with each codec and idempotence, without idempotence with
// acks=1, and in a transaction. kcat finds each once, in order, where it was reported. Codecs that a version does not know are
// refused with an error that says so.
func TestOldBrokers(t *testing.T) {
	words := os.Getenv("QUILL_OLD_BROKERS")
	create := func(*testing.T, string) {} // the broker does
	if words == "" {
		c := oneNode(t)
		words = kafkaharness.BrokerVersion() + "=" + c.Bootstrap()[0]
		create = func(t *testing.T, topic string) { newTopic(t, c, topic, 3) }
	}
	var table strings.Builder
	for word := range strings.SplitSeq(words, ",") {
		version, address, ok := strings.Cut(word, "=")
		require.True(t, ok, "QUILL_OLD_BROKERS: %q is not version=host:port", word)
		t.Run(version, func(t *testing.T) {
			b := oldBroker{version: version, address: address, create: create}
			for _, k := range b.trials() {
				fmt.Fprintf(&table, "%s\t%s\t%s\n", version, k.name, b.try(t, k))
			}
		})
	}
	var lines strings.Builder
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	_, _ = w.Write([]byte(table.String()))
	require.NoError(t, w.Flush())
	t.Logf("\n%s", lines.String())
}

type oldBroker struct {
	version, address string
	create           func(t *testing.T, topic string)
}

// oldTrial is one way of sending.
type oldTrial struct {
	name    string
	cfg     quill.Config
	unknown bool // the version refuses it
}

func (b oldBroker) trials() (trials []oldTrial) {
	for codec := range quill.CompressionZstd + 1 {
		trials = append(trials, oldTrial{name: codec.String(), cfg: quill.Config{Compression: codec},
			unknown: codec == quill.CompressionZstd && !b.since(2, 1)}) // KIP-110
	}
	return append(trials,
		// One request at a time: without idempotence a retry may overtake otherwise.
		oldTrial{name: "acks=1, not idempotent", cfg: quill.Config{Acks: quill.AcksLeader, Idempotence: new(false), MaxInFlightRequestsPerConnection: 1}},
		oldTrial{name: "transaction", cfg: quill.Config{TransactionalID: "old-brokers"}})
}

// since reports whether the version is at least that.
func (b oldBroker) since(major, minor int) bool {
	var numbers []int
	for word := range strings.SplitSeq(b.version, ".") {
		n, _ := strconv.Atoi(word) // what is no number is a qualifier
		numbers = append(numbers, n)
	}
	return slices.Compare(numbers, []int{major, minor}) >= 0
}

// try returns what came of it, in words.
func (b oldBroker) try(t *testing.T, k oldTrial) string {
	ctx := within(t, 2*time.Minute)
	topic := fmt.Sprintf("quill-%d", time.Now().UnixNano())
	b.create(t, topic)
	l := ledger.New(ledger.Plan{Run: uint32(time.Now().UnixNano()), Streams: 4, PerStream: 250, Keys: 10, ValueSize: 100, Headers: 2})
	k.cfg.BootstrapServers = []string{b.address}
	p := newProducer(t, k.cfg)
	sending := &load{producer: p, topic: topic, ledger: l}
	if k.cfg.TransactionalID != "" {
		if err := b.sendInTransaction(ctx, p, topic, l); err != nil {
			t.Errorf("%s: %v", k.name, err)
			return err.Error()
		}
	} else {
		if k.unknown {
			return b.refused(ctx, t, p, topic)
		}
		sending.run(ctx)
		require.NoError(t, p.Flush(ctx))
	}
	return b.judge(ctx, t, k, topic, l)
}

// sendInTransaction sends all records of the plan in one.
func (b oldBroker) sendInTransaction(ctx context.Context, p *quill.Producer[[]byte, []byte], topic string, l *ledger.Ledger) error {
	if err := p.InitTransactions(ctx); err != nil {
		return err
	}
	plan := l.Plan()
	return p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
		for counter := range plan.PerStream {
			for stream := range plan.Streams {
				r := quill.Record[[]byte, []byte]{Topic: topic, Key: plan.AppendKey(nil, stream, counter), Value: plan.AppendValue(nil, stream, counter)}
				l.Sent(stream, counter)
				tx.SendFunc(ctx, r, func(m quill.RecordMetadata, err error) { l.Done(stream, counter, resultOf(m, err)) })
			}
		}
		return nil
	})
}

// refused sends a record that the broker can't take.
func (b oldBroker) refused(ctx context.Context, t *testing.T, p *quill.Producer[[]byte, []byte], topic string) string {
	_, err := p.SendSync(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte(strings.Repeat("a", 1000))})
	e, ok := errors.AsType[*quill.Error](err)
	if assert.True(t, ok, "%v", err) {
		assert.NotEqual(t, quill.MaybeWritten, e.Outcome)
		assert.True(t, errors.Is(err, quill.ErrUnsupportedVersion) || errors.Is(err, protocol.UnsupportedCompressionType), "%v", err)
	}
	return fmt.Sprint("refused: ", err)
}

// judge has kcat read the topic.
func (b oldBroker) judge(ctx context.Context, t *testing.T, k oldTrial, topic string, l *ledger.Ledger) string {
	kcat, err := kafkaharness.FindKcat(ctx)
	kafkaharness.RequireFound(t, err)
	rules := ledger.Rules{Idempotent: k.cfg.Idempotence == nil, IgnoreHeaders: true}
	report, err := l.Audit(rules, kcat.IsolatedRows(ctx, k.cfg.BootstrapServers, topic, kafkaharness.ReadCommitted))
	if err == nil {
		err = report.Violations.Err()
	}
	totals := l.Totals()
	assert.NoError(t, err, k.name)
	assert.Empty(t, totals.Failures, k.name)
	records := l.Plan().Records()
	if err != nil || len(totals.Failures) > 0 || report.Rows != records {
		return fmt.Sprintf("FAILED: %d of %d acknowledged, %v; %v", totals.Acknowledged, records, totals.Failures, cmp.Or(err, errors.New("no violations")))
	}
	return fmt.Sprintf("%d sent, acknowledged and read back", report.Rows)
}
