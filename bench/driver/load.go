package driver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// poolBytes is about how much payload there is before it repeats. A pool that repeats within a batch
// of 1 MB would flatter the codecs, one that does not fit the cache would measure memory.
const poolBytes = 4 << 20

// PoolSize is how many values of a size there are.
func PoolSize(size int) int { return max(1024, poolBytes/size) }

// load is what is sent. Read-only after newLoad.
type load struct {
	values [][]byte
	keys   [][]byte // nil: records have no key
}

func newLoad(c Config) *load {
	n := min(PoolSize(c.Size), max(c.Records, c.Warmup)) // a short run needs no more
	l := &load{values: Values(c.Size, n)}
	if c.Keyed {
		l.keys = make([][]byte, c.Keys)
		for i := range l.keys {
			l.keys[i] = fmt.Appendf(nil, "user-%011d", i)
		}
	}
	return l
}

// Values makes n values of exactly size bytes that look like the JSON of events, always the same ones.
func Values(size, n int) [][]byte {
	r := rand.New(rand.NewPCG(42, 42))
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	all := make([]byte, 0, n*size+4096)
	values := make([][]byte, n)
	for i := range values {
		at := len(all)
		all = fmt.Appendf(all, `{"at":%d,"user":%d,"event":%q,"land":%q,"took":%d,"page":"/p/%x"`, 1_700_000_000_000+int64(i)*37+r.Int64N(30),
			r.IntN(10_000_000), pick(events), pick(lands), r.IntN(5000), r.Int64())
		for k := 0; len(all)-at < size; k++ {
			switch r.IntN(4) {
			case 0:
				all = fmt.Appendf(all, `,"item%d":{"sku":"SKU-%08d","count":%d,"price":%d.%02d}`, k, r.IntN(100_000_000), r.IntN(9), r.IntN(500), r.IntN(100))
			case 1:
				all = fmt.Appendf(all, `,"agent%d":%q`, k, pick(agents))
			case 2:
				all = fmt.Appendf(all, `,"trace%d":"%016x%016x"`, k, r.Uint64(), r.Uint64())
			default:
				all = fmt.Appendf(all, `,"score%d":0.%06d,"segment%d":"%s-%d"`, k, r.IntN(1_000_000), k, pick(lands), r.IntN(100))
			}
		}
		all = append(all[:at+size-1], '}')
		values[i] = all[at:len(all):len(all)]
	}
	return values
}

var (
	events = []string{"page_view", "add_to_cart", "checkout", "search", "login", "logout", "purchase", "click"}
	lands  = []string{"DE", "US", "FR", "JP", "BR", "IN", "GB", "CN", "PL", "SE"}
	agents = []string{"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "okhttp/4.9.3", "curl/8.5.0"}
)

// sendAll sends n records from several goroutines, each its share of them.
func sendAll(c Config, l *load, m *Meter, client Client, n, senders int) error {
	var wg sync.WaitGroup
	errs := make([]error, senders)
	for i := range senders {
		s := sender{c: c, l: l, m: m, client: client, first: n * i / senders, end: n * (i + 1) / senders}
		if c.Rate > 0 {
			s.interval = time.Duration(senders) * time.Second / time.Duration(c.Rate)
		}
		wg.Go(func() { errs[i] = s.run() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || c.Parallel > 0 {
		return err
	}
	return client.Flush()
}

// sender is one goroutine's share.
type sender struct {
	c          Config
	l          *load
	m          *Meter
	client     Client
	first, end int
	interval   time.Duration // between two records; 0: none
}

// paceEvery is after how many records a paced sender looks at the clock.
const paceEvery = 16

// run sends the share. An error is one of a group's end.
func (s sender) run() error {
	random := uint64(s.first)*2654435761 + 88172645463325252
	v := s.first % len(s.l.values)
	begun := time.Now()
	for i := range s.end - s.first {
		if s.c.Group > 0 && i%s.c.Group == 0 {
			if err := s.turn(i > 0); err != nil {
				return err
			}
		}
		var key []byte
		if s.l.keys != nil { // xorshift: cheap, and the same for every peer
			random ^= random << 13
			random ^= random >> 7
			random ^= random << 17
			key = s.l.keys[random%uint64(len(s.l.keys))]
		}
		value := s.l.values[v]
		if v++; v == len(s.l.values) {
			v = 0
		}
		switch {
		case s.c.Parallel > 0:
			sample := s.m.start()
			s.m.Done(sample, s.client.SendSync(key, value))
			continue
		case s.interval > 0 && i%paceEvery == 0:
			if wait := time.Until(begun.Add(time.Duration(i) * s.interval)); wait > 100*time.Microsecond {
				time.Sleep(wait)
			}
		}
		sample := NoSample
		if i%s.m.every == 0 {
			sample = s.m.start()
		}
		s.client.Send(key, value, sample)
	}
	if s.c.Transaction {
		return s.client.(Transactor).Commit()
	}
	return nil
}

// turn ends a group, if there is one, and begins the next.
func (s sender) turn(end bool) error {
	tx, _ := s.client.(Transactor) // Run has seen that it is one
	switch {
	case !s.c.Transaction && end:
		return s.client.Flush()
	case !s.c.Transaction:
		return nil
	case end:
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return tx.Begin()
}
