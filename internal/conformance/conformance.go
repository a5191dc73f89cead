// Package conformance is one script of a producer's calls, for everything that claims to be a producer:
// quill.Producer in front of real Kafka and of quilltest, and the mock. What comes back is written down
// field by field, so that two transcripts can be compared.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/metadata"
)

type (
	record      = quill.Record[[]byte, []byte]
	tx          = quill.Tx[[]byte, []byte]
	interceptor = quill.Interceptor[[]byte, []byte]
)

// Producer has all methods of a quill.Producer.
type Producer interface {
	quill.Transactor[[]byte, []byte]
	SendSync(ctx context.Context, r record) (quill.RecordMetadata, error)
	TrySend(r record) bool
	TrySendFunc(r record, fn quill.Callback) bool
	SendAll(ctx context.Context, seq iter.Seq[record]) iter.Seq2[quill.RecordMetadata, error]
	Flush(ctx context.Context) error
	PartitionsFor(ctx context.Context, topic string) ([]metadata.Partition, error)
	InitTransactions(ctx context.Context) error
	InTransaction(ctx context.Context, fn func(tx *tx) error) error
	Close(ctx context.Context) error
}

// A Target is what the script is played with.
type Target struct {
	Topic  string // exists, with 3 partitions; nobody else writes to it
	Absent string // does not exist
	// New makes a producer with these plug-ins, transactional if it gets an id.
	New func(key, value quill.Serializer[[]byte], transactionalID string, i interceptor) (Producer, error)
	// Fence takes the transactional id away from the producer.
	Fence func(p Producer, transactionalID string) error
	// Log returns the topic's records as a consumer with read_committed sees them.
	Log func() ([]Logged, error)
}

// Logged is a record in a log.
type Logged struct {
	Partition  int32
	Offset     int64
	Key, Value []byte
	Headers    []string // name=value
}

// transcript is what came back so far.
type transcript struct {
	Target
	ctx   context.Context
	p     Producer
	lines []string
}

// Play plays the script and returns its transcript.
func Play(ctx context.Context, target Target) ([]string, error) {
	t := &transcript{Target: target, ctx: ctx}
	for _, part := range []struct {
		id   string
		play func()
	}{{"", t.sends}, {"conformance", t.transactions}, {"conformance-fenced", t.fenced}, {"conformance-closed", t.closedInTransaction}} {
		p, err := target.New(appender("key"), appender("value"), part.id, noting{t})
		if err != nil {
			return nil, err
		}
		t.p = p
		part.play()
		if err := p.Close(ctx); err != nil {
			t.note("close: %s", describe(err))
		}
	}
	log, err := target.Log()
	slices.SortFunc(log, func(a, b Logged) int {
		return strings.Compare(fmt.Sprintf("%d/%09d", a.Partition, a.Offset), fmt.Sprintf("%d/%09d", b.Partition, b.Offset))
	})
	for _, r := range log {
		t.note("log %d/%d %s %s %v", r.Partition, r.Offset, part(r.Key), part(r.Value), r.Headers)
	}
	return t.lines, err
}

func part(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

func (t *transcript) note(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// outcome notes a record's.
func (t *transcript) outcome(step string, m quill.RecordMetadata, err error) {
	topic := "other"
	switch m.Topic {
	case t.Topic:
		topic = "topic"
	case t.Absent:
		topic = "absent"
	}
	at := "none"
	if m.HasTimestamp() {
		at = fmt.Sprint(m.Timestamp.UnixMilli())
	}
	t.note("%s: %s-%d offset %d time %s sizes %d %d: %s", step, topic, m.Partition, m.Offset, at, m.KeySize, m.ValueSize, describe(err))
}

var sentinels = []struct {
	name string
	err  error
}{
	{"ErrClosed", quill.ErrClosed}, {"ErrForceClosed", quill.ErrForceClosed}, {"ErrTimeout", quill.ErrTimeout}, {"ErrWouldBlock", quill.ErrWouldBlock},
	{"ErrInCallback", quill.ErrInCallback}, {"ErrInvalidRecord", quill.ErrInvalidRecord}, {"ErrInvalidTopic", quill.ErrInvalidTopic},
	{"ErrInvalidPartition", quill.ErrInvalidPartition}, {"ErrSerialization", quill.ErrSerialization}, {"ErrInvalidTxnState", quill.ErrInvalidTxnState},
	{"ErrProducerFenced", quill.ErrProducerFenced}, {"ErrTransactionAborted", quill.ErrTransactionAborted},
	{"retriable", quill.ErrRetriable}, {"abortable", quill.ErrAbortable}, {"fatal", quill.ErrFatal},
	{"canceled", context.Canceled}, {"own", errOwn},
}

var errOwn = errors.New("an error of the test's own")

// describe says all about an error that code under test may ask. Its text may differ.
func describe(err error) string {
	if err == nil {
		return "ok"
	}
	var is []string
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			is = append(is, s.name)
		}
	}
	e, ok := errors.AsType[*quill.Error](err)
	if !ok {
		return strings.Join(is, " ")
	}
	return fmt.Sprintf("%s; partition %d, %v", strings.Join(is, " "), e.Partition, e.Outcome)
}

// appender appends what it gets, and so nothing for an empty part. It adds a header, and fails on demand.
func appender(header string) quill.Serializer[[]byte] {
	return quill.SerializerFunc[[]byte](func(dst []byte, _ string, headers *quill.Headers, v []byte) ([]byte, error) {
		headers.Add(header, v)
		switch {
		case v == nil:
			return nil, nil
		case string(v) == "error":
			return nil, errOwn
		case string(v) == "panic":
			panic("at the disco")
		}
		return append(dst, v...), nil
	})
}

// noting is an interceptor that adds a header and notes what it is called with.
type noting struct{ t *transcript }

func (n noting) OnSend(_ context.Context, r record) (record, error) {
	if string(r.Value) == "skip" {
		return r, errOwn
	}
	r.Headers.Add("intercepted", []byte("yes"))
	return r, nil
}

func (n noting) OnAcknowledgement(m quill.RecordMetadata, headers quill.Headers, err error) {
	names := make([]string, 0, len(headers))
	for _, h := range headers {
		names = append(names, h.Key)
	}
	n.t.outcome(fmt.Sprint("  acknowledged ", names), m, err)
}
