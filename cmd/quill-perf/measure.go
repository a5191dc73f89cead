package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/quill-kafka/quill"
)

// sampleEvery is how many records there are to a latency when the tool sends as fast as it can.
const sampleEvery = 64

// load sends records.
type load struct {
	p      *quill.Producer[[]byte, []byte]
	o      options
	values [][]byte
	keys   [][]byte
	stamps sync.Pool // of *stamp
}

// stamp is the callback of a record whose latency is taken. It is used again and again, so that
// measuring allocates nothing.
type stamp struct {
	m      *meter
	sentAt time.Time
	done   quill.Callback
}

// measure runs the warm-up and the steady state and shows the results.
func measure(ctx context.Context, p *quill.Producer[[]byte, []byte], o options, d *display) error {
	l := &load{p: p, o: o, values: values(o.size), keys: keys(o.keys)}
	l.stamps.New = func() any { return l.newStamp() }
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer d.close()

	warm, steady := newMeter(fail), newMeter(fail)
	var whole time.Duration
	if o.warmup > 0 {
		d.line(fmt.Sprintf("Warmup first %d records. Steady state results will print after the complete test summary.", o.warmup))
		elapsed, err := l.phase(ctx, warm, 0, o.warmup, d)
		if err != nil {
			d.line(warm.summary(o.size, elapsed).line(""))
			return errors.Join(err, undeliveredBy(warm))
		}
		whole = elapsed
		d.line("In steady state.")
	}
	runtime.GC() // the garbage of the beginning is not the steady state's
	before := takeUsage()
	elapsed, err := l.phase(ctx, steady, o.warmup, o.records, d)
	used := takeUsage().minus(before)
	d.close()
	err = errors.Join(err, undeliveredBy(warm, steady))

	result := steady.summary(o.size, elapsed)
	if o.json {
		return errors.Join(err, d.json(result, steady, used, o))
	}
	if o.warmup == 0 {
		d.line(result.line(""))
		return err
	}
	d.line(warm.summary(o.size, whole).plus(result).line(""))
	d.line(result.line(" steady state"))
	return err
}

// phase sends the records from first to last and waits for their outcomes. The error says what cut it
// short; failed records don't, unless the producer is of no further use.
func (l *load) phase(ctx context.Context, m *meter, first, last int, d *display) (time.Duration, error) {
	begin := time.Now()
	stop := d.watch(m, l.o.size, first)
	var senders sync.WaitGroup
	n := last - first
	for g := range l.o.goroutines {
		from, to := first+n*g/l.o.goroutines, first+n*(g+1)/l.o.goroutines
		senders.Go(func() { l.send(ctx, m, from, to) })
	}
	senders.Wait()
	err := l.p.Flush(ctx)
	elapsed := time.Since(begin)
	stop()
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		err = errInterrupted
	} else if cause != nil {
		err = fmt.Errorf("the producer gave up: %w", cause)
	}
	return elapsed, err
}

// send sends the records from first to last, one after another.
func (l *load) send(ctx context.Context, m *meter, first, last int) {
	pace := pacer{begin: time.Now(), rate: l.o.throughput / float64(l.o.goroutines)}
	every := sampleEvery
	if l.o.throughput > 0 {
		every = 1
	}
	outcome := quill.Callback(m.outcome)
	random := uint64(first)*2654435761 + 88172645463325252
	for i := first; i < last; i++ {
		if i&63 == 0 && ctx.Err() != nil {
			return
		}
		pace.wait(ctx, i-first)
		r := quill.Record[[]byte, []byte]{Topic: l.o.topic, Value: l.values[i%len(l.values)]}
		if len(l.keys) > 0 {
			random ^= random << 13 // xorshift
			random ^= random >> 7
			random ^= random << 17
			r.Key = l.keys[random%uint64(len(l.keys))]
		}
		switch {
		case l.o.wait:
			sentAt := time.Now()
			meta, err := l.p.SendSync(ctx, r)
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return // given up, not failed
			}
			if err == nil {
				m.sample(time.Since(sentAt))
			}
			m.outcome(meta, err)
		case (i-first)%every == 0:
			s := l.stamps.Get().(*stamp)
			s.m, s.sentAt = m, time.Now()
			l.p.SendFunc(ctx, r, s.done)
		default:
			l.p.SendFunc(ctx, r, outcome)
		}
	}
}

func (l *load) newStamp() *stamp {
	s := new(stamp)
	s.done = func(meta quill.RecordMetadata, err error) {
		if err == nil {
			s.m.sample(time.Since(s.sentAt))
		}
		s.m.outcome(meta, err)
		l.stamps.Put(s)
	}
	return s
}

// pacer spreads records over time.
type pacer struct {
	begin time.Time
	rate  float64 // records per second; any if not positive
}

// minPause is the shortest pause worth sleeping.
const minPause = 100 * time.Microsecond

// wait waits until record i, counted from 0, is due.
func (p *pacer) wait(ctx context.Context, i int) {
	if p.rate <= 0 {
		return
	}
	if i%16 != 0 && p.rate > 10_000 {
		return // the clock is not read for every record
	}
	due := p.begin.Add(time.Duration(float64(i) / p.rate * float64(time.Second)))
	pause := time.Until(due)
	if pause < minPause {
		return
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}
