package quill

import (
	"sync"
	"time"

	"github.com/quill-kafka/quill/metadata"
)

// board is where waiting callers see metadata arrive. Each post closes the channel of the one before.
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
}

func newBoard() *board {
	return &board{snapshot: new(metadata.Snapshot), changed: make(chan struct{})}
}

// news is what the board shows at one moment.
type news struct {
	snapshot *metadata.Snapshot
	lastErr  error
	again    time.Time       // no full request follows the last answer to one before
	changed  <-chan struct{} // closed when there is something newer
}

func (o *board) look() news {
	o.mu.Lock()
	defer o.mu.Unlock()
	return news{o.snapshot, o.lastErr, o.again, o.changed}
}

// post shows a new state to those who wait.
func (o *board) post(s *metadata.Snapshot, err error) {
	o.mu.Lock()
	old := o.changed
	o.snapshot, o.lastErr, o.changed = s, err, make(chan struct{})
	o.mu.Unlock()
	close(old)
}

// note keeps why nobody can be asked, for those whose wait ends.
func (o *board) note(err error) {
	if err == nil {
		return
	}
	o.mu.Lock()
	o.lastErr = err
	o.mu.Unlock()
}

// poke wakes those who wait, without news about the cluster.
func (o *board) poke() {
	o.mu.Lock()
	old := o.changed
	o.changed = make(chan struct{})
	o.mu.Unlock()
	close(old)
}
