package quill

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill/network"
)

// BufferAvailable returns the buffer memory that no batch holds, for tests of what comes back.
func (p *Producer[K, V]) BufferAvailable() int64 {
	free, _ := p.e.acc.pool.available()
	return free
}

// EpochBumps is how many epochs and producer ids were given up. Only after Close.
func (p *Producer[K, V]) EpochBumps() int { return p.e.sender.idem.bumps }

// SealWith lets up to this many workers seal batches of any size. Before the first Send.
func (p *Producer[K, V]) SealWith(workers int) {
	crew := &p.e.sender.sealer.crew
	crew.most, crew.least, crew.back = workers, 0, p.e.box.giveBack
}

// countedTurns counts how often the sender asks for time-outs, twice a turn.
type countedTurns struct {
	connections
	asked *atomic.Int64
}

func (c countedTurns) Tick(now time.Time, done []*network.Request) ([]*network.Request, time.Time) {
	c.asked.Add(1)
	return c.connections.Tick(now, done)
}

// CountTurns returns a function that returns how many turns the sender has taken since.
func (p *Producer[K, V]) CountTurns() (turns func() int64) {
	var asked atomic.Int64
	counting := make(chan struct{})
	p.e.box.command(func(s *sender, _ time.Time) {
		s.client = countedTurns{s.client, &asked}
		close(counting)
	})
	<-counting
	return func() int64 { return asked.Load() / 2 }
}

// TopicsKept returns how many topics the producer knows, asks for, or keeps for later, whichever is most.
func (p *Producer[K, V]) TopicsKept() int {
	kept := make(chan int)
	p.e.box.command(func(s *sender, _ time.Time) {
		r := s.refresh
		kept <- max(len(*s.acc.topics.Load()), len(r.topics), len(r.unknown), len(r.idle), len(r.shelf), len(slices.Collect(s.snapshot.Topics())))
	})
	return <-kept
}

// HoldSender keeps the sender from its turns until release is called or the test ends, as a log handler does that blocks.
func (p *Producer[K, V]) HoldSender(t *testing.T) (release func()) {
	held, on := make(chan struct{}), make(chan struct{})
	p.e.box.command(func(*sender, time.Time) {
		close(held)
		<-on
	})
	<-held
	release = sync.OnceFunc(func() { close(on) })
	t.Cleanup(release)
	return release
}

// TopicsWaiting returns how often a topic lies in the sender's inbox.
func (p *Producer[K, V]) TopicsWaiting() int {
	p.e.box.mu.Lock()
	defer p.e.box.mu.Unlock()
	return len(p.e.box.in.topics)
}

// CommandsWaiting returns how many orders lie in the sender's inbox.
func (p *Producer[K, V]) CommandsWaiting() int {
	p.e.box.mu.Lock()
	defer p.e.box.mu.Unlock()
	return len(p.e.box.in.commands)
}
