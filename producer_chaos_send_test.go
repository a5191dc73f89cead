package quill_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
)

// What the goroutines of TestChaos send, and how outcomes come into the ledger.

func chaosLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.String("t", a.Value.Time().Format("05.000"))
		}
		return a
	}}))
}

func isForced(err error) bool { return errors.Is(err, quill.ErrForceClosed) }

// send is one goroutine's work.
func (x *chaos) send(g int) {
	r := rand.New(rand.NewPCG(x.seed, uint64(100+g)))
	var open sync.WaitGroup
	defer open.Wait()
	for i := range x.records {
		if x.pause > 0 && r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.Int64N(int64(x.pause))))
		}
		token := <-x.world
		x.sendOne(g, i, r, &open)
		x.world <- token
		if r.IntN(60) == 0 {
			x.flush(r)
		}
	}
}

// sendOne sends the goroutine's i-th record in one of the ways there are.
func (x *chaos) sendOne(g, i int, r *rand.Rand, open *sync.WaitGroup) {
	topic := chaosTopics[r.IntN(len(chaosTopics))]
	s := &sent{topic: topic.name, value: chaosValue(g, i, r)}
	rec := quill.Record[[]byte, []byte]{Topic: topic.name, Value: s.value}
	switch r.IntN(3) {
	case 0:
		rec.Partition = quill.Partition(int32(r.IntN(topic.partitions)))
	case 1:
		rec.Key = s.value[:4]
	}
	x.mu.Lock()
	x.ledger[g] = append(x.ledger[g], s)
	x.mu.Unlock()
	ctx := x.t.Context()
	started := time.Now()
	switch n := r.IntN(100); {
	case n < 60:
		x.p.SendFunc(ctx, rec, func(m quill.RecordMetadata, err error) { x.calledBack(g, i, s, m, err) })
	case n < 85:
		f := x.p.Send(ctx, rec)
		open.Go(func() {
			m, err := f.Wait(context.Background())
			x.completed(s, m, err)
		})
	case n < 95:
		m, err := x.p.SendSync(ctx, rec)
		x.completed(s, m, err)
		started = time.Now() // not a send alone
	default:
		if !x.p.TrySendFunc(rec, func(m quill.RecordMetadata, err error) { x.calledBack(g, i, s, m, err) }) {
			x.completed(s, quill.RecordMetadata{Topic: s.topic, Partition: -1, Offset: -1}, &quill.Error{Op: "try", Kind: quill.ErrWouldBlock})
		}
	}
	maxBlock := x.cfg.MaxBlock
	if maxBlock == 0 {
		maxBlock = time.Minute
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s.returned = time.Now()
	if took := s.returned.Sub(started); took > maxBlock+chaosSlack {
		x.faultLocked("Send of %d/%d took %v", g, i, took)
	}
}

// chaosValue is the goroutine, the number and some bytes that compress a little.
func chaosValue(g, i int, r *rand.Rand) []byte {
	n := 8 + r.IntN(200)
	if r.IntN(30) == 0 {
		n += r.IntN(1700)
	}
	v := make([]byte, n)
	for j := range v {
		v[j] = byte(r.IntN(20))
	}
	binary.BigEndian.PutUint32(v, uint32(g))
	binary.BigEndian.PutUint32(v[4:], uint32(i))
	return v
}

// chaosNumber reads what chaosValue wrote.
func chaosNumber(v []byte) (g, i int) {
	return int(binary.BigEndian.Uint32(v)), int(binary.BigEndian.Uint32(v[4:]))
}

// calledBack is the callback of record i of a goroutine.
func (x *chaos) calledBack(g, i int, s *sent, m quill.RecordMetadata, err error) {
	x.completed(s, m, err)
	x.mu.Lock()
	defer x.mu.Unlock()
	if neverAppended(err) {
		return
	}
	key := fmt.Sprint(g, m.Topic, m.Partition)
	if before, ok := x.last[key]; ok && before > i {
		if x.ordered() {
			x.faultLocked("callback of %d/%d (%v, err %v) ran after that of %d/%d, in %s-%d", g, i, m.Offset, err, g, before, m.Topic, m.Partition)
		}
	}
	x.last[key] = max(i, x.last[key])
}

// neverAppended reports whether a record failed in its Send, where its callback ran then.
func neverAppended(err error) bool {
	e, ok := errors.AsType[*quill.Error](err)
	if !ok || e.Attempts > 0 || e.Code != 0 || errors.Is(err, quill.ErrForceClosed) || errors.Is(err, quill.ErrDeliveryTimeout) {
		return false
	}
	return errors.Is(err, quill.ErrClosed) || errors.Is(err, quill.ErrTimeout) || errors.Is(err, quill.ErrRecordTooLarge) || errors.Is(err, quill.ErrWouldBlock)
}

// completed notes an outcome.
func (x *chaos) completed(s *sent, m quill.RecordMetadata, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s.completed++
	s.done, s.meta, s.err = time.Now(), m, err
}

// flush is a Flush that may be cut short.
func (x *chaos) flush(r *rand.Rand) {
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	if r.IntN(2) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(500))*time.Millisecond)
		defer cancel()
	}
	if err := x.p.Flush(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) && !(x.abrupt && errors.Is(err, quill.ErrClosed)) {
		x.fault("flush: %v", err)
	}
}
