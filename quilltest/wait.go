package quilltest

import (
	"context"
	"sync"

	"github.com/quill-kafka/quill/protocol"
)

// A signal wakes waiters when something has changed. It costs nothing while there are none.
type signal struct {
	mu sync.Mutex
	// +checklocks:mu
	ch chan struct{}
}

// next returns a channel that the next fire closes.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// WaitFor waits until holds returns true. It asks at once, and again whenever a request arrived, a
// batch was appended, a fault was hit or the cluster changed. It returns ctx's error if that ends
// first. holds may call any method of the Cluster that does not wait.
func (c *Cluster) WaitFor(ctx context.Context, holds func() bool) error {
	for {
		changed := c.changed.next()
		if holds() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// WaitRecords waits until at least n records were appended to the topic's partitions together,
// discarded ones included.
func (c *Cluster) WaitRecords(ctx context.Context, topic string, n int64) error {
	return c.WaitFor(ctx, func() bool { return c.Appended(topic) >= n })
}

// WaitRequests waits until at least n requests of an API have arrived at the cluster since it
// started.
func (c *Cluster) WaitRequests(ctx context.Context, api protocol.APIKey, n int64) error {
	return c.WaitFor(ctx, func() bool { return c.RequestCount(api) >= n })
}
