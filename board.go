package quill

import (
	"sync"
	"time"

	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
)

// board publishes the sender's metadata to waiting callers. Each post closes the channel of the one before.
type board struct {
	mu sync.Mutex
	// +checklocks:mu
	snapshot *metadata.Snapshot
	// +checklocks:mu
	changed chan struct{}
	// +checklocks:mu
	lastErr error // why the last refresh failed; nil if it worked
	// +checklocks:mu
	again time.Time // no full request follows the last answer to one before
	// +checklocks:mu
	denial network.Denial // no broker lets this client in
	// +checklocks:mu
	answered int64 // the number of the last metadata request that was answered
	// +checklocks:mu
	refreshedAt time.Time // when the last full answer came; zero: none did
}

func newBoard() *board {
	return &board{snapshot: new(metadata.Snapshot), changed: make(chan struct{})}
}

// news is the content of the board at one moment.
type news struct {
	snapshot    *metadata.Snapshot
	lastErr     error
	again       time.Time // no full request follows the last answer to one before
	denial      network.Denial
	answered    int64           // the number of the last metadata request that was answered
	refreshedAt time.Time       // when the last full answer came; zero: none did
	changed     <-chan struct{} // closed when there is something newer
}

func (o *board) look() news {
	o.mu.Lock()
	defer o.mu.Unlock()
	return news{o.snapshot, o.lastErr, o.again, o.denial, o.answered, o.refreshedAt, o.changed}
}

// post publishes a new state and wakes the waiting callers.
func (o *board) post(s *metadata.Snapshot, err error) {
	o.mu.Lock()
	old := o.changed
	o.snapshot, o.lastErr, o.changed = s, err, make(chan struct{})
	o.mu.Unlock()
	close(old)
}

// note keeps the error because of which no node can be asked, for callers whose wait ends. A nil err is ignored.
func (o *board) note(err error) {
	if err == nil {
		return
	}
	o.mu.Lock()
	o.lastErr = err
	o.mu.Unlock()
}

// deny notes that no broker lets this client in, and wakes the waiting callers.
func (o *board) deny(d network.Denial) {
	o.mu.Lock()
	o.denial, o.lastErr = d, d.Err
	o.mu.Unlock()
	o.poke()
}

// poke wakes the waiting callers without a new state.
func (o *board) poke() {
	o.mu.Lock()
	old := o.changed
	o.changed = make(chan struct{})
	o.mu.Unlock()
	close(old)
}

// setNextFull notes that no full request is sent before the time again, because one has just been answered.
func (o *board) setNextFull(again time.Time) {
	o.mu.Lock()
	o.again = again
	o.mu.Unlock()
}

// setAnswered notes that the request of that number was answered, and when the last full answer came.
func (o *board) setAnswered(number int64, refreshedAt time.Time) {
	o.mu.Lock()
	o.answered, o.refreshedAt = max(o.answered, number), refreshedAt
	o.mu.Unlock()
}

// warn notes err as the last error, and wakes the waiting callers, if it is not the last error already.
func (o *board) warn(err error) {
	if o.look().lastErr != err {
		o.note(err)
		o.poke()
	}
}
