package quill

import (
	"context"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/goid"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// simulation is one run of a schedule. It lives in a bubble of which it is the only goroutine: time
// is virtual, and what happens next is always the first item of the agenda, or a turn of the sender
// or the dispatcher.
type simulation struct {
	cfg     simConfig
	e       *engine
	p       *Producer[[]byte, []byte]
	net     *simNet
	cluster *simCluster

	start, now time.Time
	agenda     simAgenda
	drawnAt    time.Time
	draws      uint64
	drawFrom   uint64 // seed and time, mixed

	wakeAt     time.Time    // the sender's next turn
	dispatchAt time.Time    // the dispatcher's; zero: none
	app        []simTxnCall // calls about transactions to make
	calling    *simTxnCall  // the one that is being waited for
	again      simKind      // what has to be called again, having timed out; 0: nothing
	txn        *simTxn      // the open one
	txns       []*simTxn
	ready      bool  // InitTransactions was
	ghost      bool  // a request that was given up may have begun a transaction
	offset     int64 // the latest that was sent
	returned   int   // calls that have

	haltedUntil time.Time // the process does not run
	dozingUntil time.Time // callbacks don't
	excused     time.Duration
	turns       int // at this instant
	goroutine   int64

	records   []*simRecord
	appended  int // records that were
	open      []*simRecord
	called    map[simTopicPartition]int // by partition, the last record called back
	waits     []*simWait
	flushes   []*simFlushing
	hogged    [][]byte
	closedAt  time.Time
	forced    bool
	doubt     bool      // see doubtful
	forgotten bool      // a partition may have forgotten the producer
	refusedID bool      // a producer id was refused as such
	fatal     bool      // an error was possible that ends the producer
	fatalAt   time.Time // when one did; zero: none
	faults    []string
	loud      bool
	text      strings.Builder
	cancelled context.Context
}

type simTopicPartition struct {
	topic     string
	partition int32
}

// simAgenda is what is to happen, the earliest first, and in the order of its coming at one instant.
type simAgenda struct {
	items []simItem
	count int64
}

type simItem struct {
	at    time.Time
	order int64
	run   func()
}

func (i *simItem) before(j *simItem) bool {
	return i.at.Before(j.at) || i.at.Equal(j.at) && i.order < j.order
}

func (a *simAgenda) push(at time.Time, run func()) {
	a.count++
	a.items = append(a.items, simItem{at, a.count, run})
	h := a.items
	for i := len(h) - 1; i > 0 && h[i].before(&h[(i-1)/2]); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (a *simAgenda) pop() simItem {
	h := a.items
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], simItem{}
	a.items = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func (x *simulation) at(t time.Time, run func())        { x.agenda.push(t, run) }
func (x *simulation) after(d time.Duration, run func()) { x.agenda.push(x.now.Add(d), run) }
func (x *simulation) ms(n int) time.Duration            { return time.Duration(n) * time.Millisecond }
func (x *simulation) micros(n int) time.Duration        { return time.Duration(n) * time.Microsecond }
func (x *simulation) hop() time.Duration                { return x.micros(x.draw(x.cfg.Latency + 1)) }
func (x *simulation) random() float64                   { return float64(x.draw(1<<30)) / (1 << 30) }
func (x *simulation) highest(protocolKey protocol.APIKey) int16 {
	if x.cfg.Txn != nil {
		return simReleases[x.cfg.Txn.Release].highest(protocolKey)
	}
	return simVersions(x.cfg.Produce, protocolKey)
}

// pause returns how long a goroutine of a connection needs where it mostly needs nothing.
func (x *simulation) pause() time.Duration {
	if x.draw(8) > 0 {
		return 0
	}
	return x.micros(x.draw(3000))
}

// draw returns a random number below n. It depends on the seed, the time and how many were drawn at that
// time, so that what is left of a schedule goes on much as before when an event is taken out.
func (x *simulation) draw(n int) int {
	if x.drawnAt != x.now {
		x.drawnAt, x.draws = x.now, 0
		x.drawFrom = x.cfg.Seed ^ uint64(x.now.Sub(x.start))*0x9e3779b97f4a7c15
	}
	x.draws++
	h := x.drawFrom ^ x.draws*0xbf58476d1ce4e5b9
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(h^h>>31, uint64(n))
	return int(hi)
}

// simVersions returns the highest version of an API that goes with that of Produce.
func simVersions(produce int16, key protocol.APIKey) int16 {
	switch {
	case key == protocol.Produce:
		return produce
	case key == protocol.InitProducerID:
		return 4
	case produce >= 13:
		return 13
	case produce >= 11:
		return 12
	case produce >= 9:
		return 9
	}
	return 8
}

// say adds a line to the transcript.
func (x *simulation) say(format string, args ...any) {
	if x.loud {
		fmt.Fprintf(&x.text, "%10.3f  %s\n", float64(x.now.Sub(x.start).Microseconds())/1000, fmt.Sprintf(format, args...))
	}
}

// violate notes that something does not hold; what is the invariant's name.
func (x *simulation) violate(what, format string, args ...any) {
	if len(x.faults) < 10 {
		x.faults = append(x.faults, what+": "+fmt.Sprintf(format, args...))
	}
	x.say("VIOLATION "+what+": "+format, args...)
}

// Write implements io.Writer for the producer's log.
func (x *simulation) Write(line []byte) (int, error) {
	x.say("log: %s", strings.TrimSpace(string(line)))
	return len(line), nil
}

func (x *simulation) logger() *slog.Logger {
	if !x.loud {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(x, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// simResult is what came of a run.
type simResult struct {
	faults []string
	text   string
	bumps  int
}

// runSchedule runs a schedule. It must be called in a bubble of its own.
func runSchedule(s *simSchedule, loud bool) simResult {
	x := &simulation{cfg: s.Config, loud: loud, start: time.Now(), called: map[simTopicPartition]int{}, goroutine: goid.Current()}
	x.now = x.start
	var cancel context.CancelFunc
	x.cancelled, cancel = context.WithCancel(context.Background())
	cancel()
	func() {
		defer func() {
			if p := recover(); p != nil {
				x.violate("I12", "panic: %v", p)
				x.say("%s", debug.Stack())
			}
		}()
		x.build()
		x.run(s.Events)
	}()
	return simResult{x.faults, x.text.String(), x.e.sender.idem.bumps}
}

// simCompressors are shared by all runs: making one costs more than a run. Zstd is not among them: its
// encoders have channels, which belong to one bubble.
var simCompressors = sync.OnceValue(func() map[compress.Codec]*compress.Compressor {
	made := map[compress.Codec]*compress.Compressor{}
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4} {
		c, err := compress.New(codec, compress.DefaultLevel)
		if err != nil {
			panic(err)
		}
		made[codec] = c
	}
	return made
})

func (x *simulation) build() {
	c := &x.cfg
	cfg := Config{
		BootstrapServers: []string{"node-1:9092"}, ClientID: "sim", Logger: x.logger(), Acks: AcksAll, Idempotence: new(true),
		DialContext:  func(context.Context, string, string) (net.Conn, error) { return nil, errRefused },
		RetryBackoff: x.orNone(c.Backoff), RetryBackoffMax: x.ms(max(c.Backoff, 1000)), DeliveryTimeout: x.ms(c.Delivery), RequestTimeout: x.ms(c.Request),
		MaxBlock: x.ms(c.MaxBlock), MaxInFlightRequestsPerConnection: c.InFlight, MaxRequestSize: c.MaxRequest,
		BatchSize: c.Batch, Linger: x.orNone(c.Linger), BufferMemory: c.Buffer, Compression: Compression(c.Codec), Retries: c.Retries,
	}
	if !c.Idempotent {
		cfg.Idempotence = new(false)
		cfg.Acks = map[int16]Acks{-1: AcksAll, 0: AcksNone, 1: AcksLeader}[c.Acks]
	}
	if c.Txn != nil {
		cfg.TransactionalID, cfg.TransactionTimeout = simTransactionalID, x.ms(c.Txn.Timeout)
	}
	e, err := assemble(cfg)
	if err != nil {
		panic(err)
	}
	e.sender.losses = nil // it would set timers of the machine's
	x.e = e
	if c.Codec != compress.None {
		e.sender.sealer.c = simCompressors()[c.Codec]
	}
	e.random = func() uint32 { return uint32(x.draw(1<<31 - 1)) }
	e.sender.random, e.sender.refresh.random = x.random, x.random
	x.cluster, x.net = newSimCluster(x), newSimNet(x)
	if c.Txn != nil {
		x.cluster.txn = newSimCoordinator(x)
		x.fatal = c.Txn.mayEnd()
	}
	e.sender.client = x.net
	if x.p, err = newView[[]byte, []byte](e, Bytes, Bytes, nil); err != nil {
		panic(err)
	}
	x.wakeAt = x.now
}

// orNone says none as a Config does.
func (x *simulation) orNone(ms int) time.Duration {
	if ms == 0 {
		return -1
	}
	return x.ms(ms)
}

// run plays the events, makes everything well, and brings the producer to its end.
func (x *simulation) run(events []simEvent) {
	last := 0
	for _, e := range events {
		x.at(x.start.Add(x.ms(e.At)), func() { x.event(e) })
		last = e.At
	}
	x.until(x.start.Add(x.ms(last)), func() bool { return false })
	x.heal()
	if x.closedAt.IsZero() {
		x.settle()
	}
	if x.closedAt.IsZero() && x.e.fatal.Load() == nil && !x.doubtful() {
		if x.cfg.Txn != nil {
			x.probeTransaction()
		} else {
			x.probe()
		}
	}
	if x.closedAt.IsZero() {
		x.close()
	}
	x.end()
	x.check()
	x.sayOutcomes()
}

// until lets things happen up to a time, or until done. It reports whether that came first.
func (x *simulation) until(limit time.Time, done func() bool) bool {
	for !done() {
		if len(x.faults) > 0 && strings.HasPrefix(x.faults[0], "hang") {
			return false
		}
		x.listen()
		at, act := x.next(limit)
		x.sleep(at)
		if act == nil {
			return done()
		}
		act()
		x.wakeServed()
		x.poll()
	}
	return true
}

// next returns what happens next and when, nothing before limit if act is nil.
func (x *simulation) next(limit time.Time) (at time.Time, act func()) {
	at = limit
	consider := func(t time.Time, run func()) {
		if t.Before(at) || act == nil && !t.After(limit) {
			at, act = t, run
		}
	}
	if len(x.agenda.items) > 0 {
		consider(x.agenda.items[0].at, func() { x.agenda.pop().run() })
	}
	if !x.e.sender.stopped {
		consider(backoff.Later(x.wakeAt, x.haltedUntil), x.turn)
	}
	if !x.dispatchAt.IsZero() {
		consider(backoff.Later(x.dispatchAt, backoff.Later(x.haltedUntil, x.dozingUntil)), x.dispatch)
	}
	return at, act
}

// sleep lets time pass.
func (x *simulation) sleep(until time.Time) {
	if d := until.Sub(x.now); d > 0 {
		time.Sleep(d)
		x.now, x.turns = time.Now(), 0
	}
}

// turn is a turn of the sender, and what inbox.sleep does before it sleeps.
func (x *simulation) turn() {
	if x.turns++; x.turns > 500 {
		x.violate("hang", "the sender takes turn after turn at one instant")
		return
	}
	box := x.e.box
	box.sleepsUntil.Store(awake)
	next := x.e.sender.step(x.now)
	if x.turns == 1 {
		if err := checkPlaces(x.e.sender); err != nil {
			x.violate("I14", "%v", err)
		}
	}
	if x.e.fatal.Load() != nil && x.fatalAt.IsZero() {
		x.fatalAt = x.now
	}
	box.sleepsUntil.Store(int64(next.Sub(box.start)))
	box.mu.Lock()
	empty := len(box.in.queues)+len(box.in.events)+len(box.in.topics)+len(box.in.commands) == 0
	box.mu.Unlock()
	if !empty || !next.After(x.now) {
		box.sleepsUntil.Store(awake)
		next = x.now
	}
	x.wakeAt = next
	x.serveWaits()
}

// listen hears the bells, for every reason that they ring.
func (x *simulation) listen() {
	select {
	case <-x.e.box.woken:
		if at := x.now.Add(x.micros(x.draw(x.cfg.Turn + 1))); at.Before(x.wakeAt) {
			x.wakeAt = at
		}
	default:
	}
	select {
	case <-x.e.dispatch.woken:
		if x.dispatchAt.IsZero() {
			x.dispatchAt = x.now
		}
	default:
	}
}

// dispatch runs the callbacks of what is decided.
func (x *simulation) dispatch() {
	x.dispatchAt = time.Time{}
	x.doubtful()
	d := x.e.dispatch
	d.id.Store(x.goroutine)
	d.watch.on.Store(true) // as if it looked: no timers of the machine's here
	for {
		d.mu.Lock()
		queue := d.queue
		d.queue = nil
		d.mu.Unlock()
		if len(queue) == 0 {
			break
		}
		for _, b := range queue {
			d.deliver(b)
		}
	}
	d.id.Store(0)
	x.look()
	x.serveWaits()
}

// heal makes the cluster well.
func (x *simulation) heal() {
	x.say("the cluster gets well")
	x.haltedUntil, x.dozingUntil = time.Time{}, time.Time{}
	c := x.cluster
	c.faults, c.forbiddenUntil = nil, time.Time{}
	for _, n := range c.nodes {
		n.frozenUntil, n.cutUntil, n.lagUntil = time.Time{}, time.Time{}, time.Time{}
		if !n.up {
			c.startNode(n)
		}
	}
	for i := range x.cfg.Partitions {
		t := c.topic(simTopicName(i))
		if t == nil {
			c.create(i, 1)
			continue
		}
		t.forbiddenUntil, t.shrunkUntil = time.Time{}, time.Time{}
		t.settings = [simSettings]int{}
	}
	x.freeHog()
}

// settle flushes. With the cluster well that takes no longer than a few time-outs and back-offs.
func (x *simulation) settle() {
	limit := x.ms(x.cfg.Request)*4 + 30*time.Second
	x.settleTransactions()
	if !x.closedAt.IsZero() {
		return
	}
	f := x.flush()
	if !x.until(x.now.Add(limit), func() bool { return f.done || !x.closedAt.IsZero() }) && !x.doubtful() {
		x.violate("I13", "a flush of the healthy cluster takes longer than %v", limit)
	}
}

// probe sends to all partitions that were sent to before, again and again until something gets
// through: none may stay blocked by what was given up.
func (x *simulation) probe() {
	blocked := map[simTopicPartition]bool{}
	for _, r := range x.records {
		if r.in {
			blocked[simTopicPartition{simTopicName(r.topic), r.partition}] = true
		}
	}
	if x.cfg.Acks == 0 { // nodes refuse by hanging up: those in line cost a connection each, with its back-off
		x.until(x.now.Add(time.Duration(len(x.waits))*2*time.Second), func() bool { return len(x.waits) == 0 })
	}
	begun := len(x.records)
	for range 40 {
		first := len(x.records)
		for topic := range x.cfg.Partitions {
			for p := range int32(8) {
				if blocked[simTopicPartition{simTopicName(topic), p}] {
					x.send([6]int{topic, 2, int(p), 20, sendFuture | sendUrgent, 1})
				}
			}
		}
		x.until(x.now.Add(x.ms(min(x.cfg.Delivery, 1000))), func() bool {
			return !slices.ContainsFunc(x.records[first:], func(r *simRecord) bool { return r.completed == 0 })
		})
		for _, r := range x.records[begun:] { // also those of earlier rounds that took longer
			if r.completed > 0 && r.err == nil {
				delete(blocked, simTopicPartition{simTopicName(r.topic), r.partition})
			}
		}
		if len(blocked) == 0 || !x.closedAt.IsZero() {
			return
		}
		x.until(x.now.Add(300*time.Millisecond), func() bool { return false })
	}
	if x.e.fatal.Load() == nil {
		x.violate("I13", "%d partitions take nothing any more", len(blocked))
	}
}

// close lets the producer deliver what it has and end.
func (x *simulation) close() {
	x.closedAt = x.now
	x.say("close")
	x.e.beginClose(false)
}

// end waits for the producer's end, and for late requests.
func (x *simulation) end() {
	s := x.e.sender
	limit := x.ms(4*x.cfg.Request) + 30*time.Second
	stopped := func() bool { return s.stopped }
	if !x.until(x.now.Add(limit), stopped) && x.cfg.patient() && !x.doubtful() {
		x.violate("I13", "close of a producer whose cluster is well takes longer than %v", limit)
	}
	if limit += x.ms(x.cfg.Delivery); !x.until(x.now.Add(limit), stopped) {
		x.violate("hang", "the sender has not ended %v after close", limit)
		return
	}
	x.checkEnded()
	x.net.Close()
	if !x.until(x.now.Add(time.Minute), x.net.ended) {
		x.violate("hang", "connections have not ended")
		return
	}
	s.box.take(&s.mail)
	s.takeEvents(x.now)
	if s.txn != nil {
		s.txn.stop(s.closedError())
	}
	s.dispatch.kick()
	x.until(x.now.Add(x.afterwards()), func() bool { return false })
	x.e.clock.close()
}

// ended reports whether all connections have.
func (n *simNet) ended() bool {
	open := n.open
	for _, p := range n.posts {
		if p.kind == postClosed {
			open--
		}
	}
	return open == 0
}

var _ connections = (*network.Client)(nil)
