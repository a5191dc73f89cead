package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/quill-kafka/quill"
)

// at is the timestamp of the script's records. The broker's limits allow all of the past, and it is the past in a
// bubble of testing/synctest, too.
var at = time.UnixMilli(900_000_000_123)

// to returns a record for partition 1.
func (t *transcript) to(key, value []byte) record {
	return record{Topic: t.Topic, Partition: quill.Partition(1), Key: key, Value: value, Timestamp: at}
}

func (t *transcript) send(step string, r record) {
	m, err := t.p.SendSync(t.ctx, r)
	t.outcome(step, m, err)
}

// sends makes the calls of a producer without transactions.
func (t *transcript) sends() {
	k, v := []byte("key"), []byte("value")
	for _, key := range [][]byte{k, {}, nil} {
		for _, value := range [][]byte{v, {}, nil} {
			t.send(fmt.Sprintf("send %s %s", part(key), part(value)), t.to(key, value))
		}
	}
	byKey := t.to([]byte("ada"), v)
	byKey.Partition = quill.PartitionID{}
	t.send("by the key's hash", byKey)
	own := quill.Headers{{Key: "own", Value: nil}}
	withHeaders := t.to(k, v)
	withHeaders.Headers = own
	t.send("headers", withHeaders)
	t.note("own headers after: %d", len(own))
	t.send("interceptor fails", t.to(k, []byte("skip")))

	t.failures(k, v)
	t.ways(k, v)
	t.note("init: %s", describe(t.p.InitTransactions(t.ctx)))
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.note("close: %s", describe(t.p.Close(t.ctx)))
	t.afterClose(k, v)
}

// failures sends records that are refused before they leave.
func (t *transcript) failures(k, v []byte) {
	for _, text := range []string{"error", "panic"} {
		t.send("value serializer: "+text, t.to(k, []byte(text)))
		t.send("key serializer: "+text, t.to([]byte(text), v))
	}
	far := t.to(k, v)
	far.Partition = quill.Partition(3)
	t.send("partition that does not exist", far)
	early := t.to(k, v)
	early.Timestamp = time.UnixMilli(-1)
	t.send("before 1970", early)
	absent := t.to(k, v)
	absent.Topic = t.Absent
	absent.Partition = quill.PartitionID{}
	t.send("topic that does not exist", absent)
	ended, end := context.WithCancel(t.ctx)
	end()
	m, err := t.p.SendSync(ended, t.to(k, v))
	t.outcome("context that has ended", m, err)
	m, err = t.p.Send(t.ctx, t.to(k, v)).Wait(t.ctx)
	t.outcome("context that has not", m, err)
	wrong := t.to(k, v)
	wrong.Topic = "no topic's name"
	t.send("topic that can't exist", wrong)
}

// ways sends in each way there is.
func (t *transcript) ways(k, v []byte) {
	t.p.SendFunc(t.ctx, t.to(k, v), func(m quill.RecordMetadata, err error) { t.outcome("callback", m, err) })
	t.note("flush: %s", describe(t.p.Flush(t.ctx)))
	t.p.SendFunc(t.ctx, t.to(k, v), nil)
	t.note("flush: %s", describe(t.p.Flush(t.ctx)))
	done := make(chan struct{})
	t.p.SendFunc(t.ctx, t.to(k, []byte("error")), func(m quill.RecordMetadata, err error) {
		t.outcome("callback of a failure", m, err)
		close(done)
	})
	<-done
	f := t.p.Send(t.ctx, t.to(k, v))
	m, err := f.Wait(t.ctx)
	t.outcome("future", m, err)
	taken := t.p.TrySend(t.to(k, v))
	t.note("try: %v, flush: %s", taken, describe(t.p.Flush(t.ctx)))
	t.note("try what fails: %v", t.p.TrySendFunc(t.to(k, []byte("error")), func(quill.RecordMetadata, error) { t.note("must not be called") }))
	for _, all := range [][]record{{t.to(k, v), t.to(nil, nil)}, {t.to(k, []byte("error"))}} {
		var outcomes []func() // noted when all have been acknowledged
		for m, err := range t.p.SendAll(t.ctx, slices.Values(all)) {
			outcomes = append(outcomes, func() { t.outcome("all", m, err) })
		}
		for _, note := range outcomes {
			note()
		}
	}
	t.p.SendFunc(t.ctx, t.to(k, v), func(m quill.RecordMetadata, err error) {
		t.outcome("callback that calls", m, err)
		t.note("flush inside: %s", describe(t.p.Flush(t.ctx)))
	})
	t.note("flush: %s", describe(t.p.Flush(t.ctx)))
	partitions, err := t.p.PartitionsFor(t.ctx, t.Topic)
	t.note("partitions: %d, %s", len(partitions), describe(err))
	partitions, err = t.p.PartitionsFor(t.ctx, t.Absent)
	t.note("partitions of none: %d, %s", len(partitions), describe(err))
}

// afterClose makes the calls of a closed producer.
func (t *transcript) afterClose(k, v []byte) {
	t.send("send after close", t.to(k, v))
	t.note("try after close: %v", t.p.TrySend(t.to(k, v)))
	t.note("flush after close: %s", describe(t.p.Flush(t.ctx)))
	_, err := t.p.PartitionsFor(t.ctx, t.Topic)
	t.note("partitions after close: %s", describe(err))
	t.note("close after close: %s", describe(t.p.Close(t.ctx)))
}

func (t *transcript) inTransaction(step string, fn func(x *tx) error) {
	t.note("%s: %s", step, describe(t.p.InTransaction(t.ctx, fn)))
}

// transactions makes the calls of a transactional producer.
func (t *transcript) transactions() {
	k, v := []byte("key"), []byte("transactional")
	offsets := map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: t.Topic, Partition: 0}: {Offset: 1}}
	group := quill.GroupMetadata{GroupID: "conformance"}
	all := func(when string) {
		t.send("send "+when, t.to(k, v))
		t.note("offsets %s: %s", when, describe(t.p.SendOffsetsToTransaction(t.ctx, offsets, group)))
		t.note("commit %s: %s", when, describe(t.p.CommitTransaction(t.ctx)))
		t.note("abort %s: %s", when, describe(t.p.AbortTransaction(t.ctx)))
	}
	all("before init")
	t.note("begin before init: %s", describe(t.p.BeginTransaction()))
	t.note("init: %s", describe(t.p.InitTransactions(t.ctx)))
	t.note("init twice: %s", describe(t.p.InitTransactions(t.ctx)))
	all("outside")
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.note("begin twice: %s", describe(t.p.BeginTransaction()))
	t.send("in a transaction", t.to(k, v))
	t.note("offsets: %s", describe(t.p.SendOffsetsToTransaction(t.ctx, offsets, group)))
	t.note("no offsets: %s", describe(t.p.SendOffsetsToTransaction(t.ctx, nil, group)))
	t.note("no group: %s", describe(t.p.SendOffsetsToTransaction(t.ctx, offsets, quill.GroupMetadata{})))
	t.send("serializer fails in a transaction", t.to(k, []byte("error")))
	t.note("commit: %s", describe(t.p.CommitTransaction(t.ctx)))
	t.lostRecords(k, v)
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.note("negative offset: %s", describe(t.p.SendOffsetsToTransaction(t.ctx, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: t.Topic}: {Offset: -1}}, group)))
	t.send("to be aborted", t.to(k, v))
	t.note("abort: %s", describe(t.p.AbortTransaction(t.ctx)))
	all("after abort")
	t.functions(k, v)
}

// lostRecords loses a record in a transaction before it leaves: that breaks it.
func (t *transcript) lostRecords(k, v []byte) {
	far, wrong, early := t.to(k, v), t.to(k, v), t.to(k, v)
	far.Partition = quill.Partition(3)
	wrong.Topic = "no topic's name"
	early.Timestamp = time.UnixMilli(-1)
	for _, lost := range []struct {
		step string
		record
	}{{"to no partition", far}, {"to no topic", wrong}, {"before 1970", early}} {
		t.note("begin: %s", describe(t.p.BeginTransaction()))
		t.send(lost.step, lost.record)
		t.send("after one "+lost.step, t.to(k, v))
		t.note("commit after one %s: %s", lost.step, describe(t.p.CommitTransaction(t.ctx)))
		t.note("abort: %s", describe(t.p.AbortTransaction(t.ctx)))
	}
}

// functions runs transactions by InTransaction.
func (t *transcript) functions(k, v []byte) {
	var late *tx
	t.inTransaction("function", func(x *tx) error {
		late = x
		m, err := x.Send(t.ctx, t.to(k, v)).Wait(t.ctx)
		t.outcome("in a function", m, err)
		return nil
	})
	m, err := late.Send(t.ctx, t.to(k, v)).Wait(t.ctx)
	t.outcome("after the function", m, err)
	t.inTransaction("function that fails", func(x *tx) error {
		m, err := x.Send(t.ctx, t.to(k, v)).Wait(t.ctx)
		t.outcome("in a function that fails", m, err)
		return errOwn
	})
	t.inTransaction("function that loses a record", func(x *tx) error {
		x.Send(t.ctx, t.to(k, []byte("error")))
		return nil
	})
	ended, end := context.WithCancel(t.ctx)
	end()
	t.note("function with a context that has ended: %s", describe(t.p.InTransaction(ended, func(*tx) error { return nil })))
	t.note("begin with it: %s", describe(t.p.BeginTransaction()))
	t.note("commit with it: %s", describe(t.p.CommitTransaction(ended)))
	t.note("offsets with it: %s", describe(t.p.SendOffsetsToTransaction(ended, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: t.Topic}: {Offset: 1}}, quill.GroupMetadata{GroupID: "g"})))
	t.note("init with it: %s", describe(t.p.InitTransactions(ended)))
	t.note("abort: %s", describe(t.p.AbortTransaction(t.ctx)))
	t.inTransaction("function in a function", func(x *tx) error {
		return t.p.InTransaction(t.ctx, func(*tx) error { return nil })
	})
	t.inTransaction("function after all that", func(x *tx) error {
		x.SendFunc(t.ctx, t.to(nil, v), nil)
		return nil
	})
}

// fenced makes the calls of a producer that has lost its transactional id.
func (t *transcript) fenced() {
	k, v := []byte("key"), []byte("fenced")
	t.note("init: %s", describe(t.p.InitTransactions(t.ctx)))
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.send("before the fence", t.to(k, v))
	t.note("fence: %s", describe(t.Fence(t.p, "conformance-fenced")))
	t.note("commit: %s", describe(t.p.CommitTransaction(t.ctx)))
	t.note("abort: %s", describe(t.p.AbortTransaction(t.ctx)))
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.send("after the fence", t.to(k, v))
}

// closedInTransaction closes a producer in the middle of a transaction.
func (t *transcript) closedInTransaction() {
	k, v := []byte("key"), []byte("closed")
	t.note("init: %s", describe(t.p.InitTransactions(t.ctx)))
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.send("before close", t.to(k, v))
	t.note("close: %s", describe(t.p.Close(t.ctx)))
	t.send("after close", t.to(k, v))
	t.note("commit: %s", describe(t.p.CommitTransaction(t.ctx)))
	t.note("abort: %s", describe(t.p.AbortTransaction(t.ctx)))
	t.note("begin: %s", describe(t.p.BeginTransaction()))
	t.note("init: %s", describe(t.p.InitTransactions(context.WithoutCancel(t.ctx))))
}
