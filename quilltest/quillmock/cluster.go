package quillmock

import (
	"context"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/metrics"
)

// Ping works, as long as the producer is not closed and Fail has set no error for it.
func (p *Producer[K, V]) Ping(ctx context.Context) error {
	if err := endOf(ctx); err != nil {
		return notBegun("ping a broker", err)
	}
	return p.look("ping a broker", func(e *Errors) error { return e.Ping })
}

// Cluster returns a cluster with the id "mock", node 1, and the topics of Options.Topics.
func (p *Producer[K, V]) Cluster(ctx context.Context) (*metadata.Snapshot, error) {
	const op = "describe the cluster"
	if err := endOf(ctx); err != nil {
		return nil, notBegun(op, err)
	}
	if err := p.look(op, func(e *Errors) error { return e.Cluster }); err != nil {
		return nil, err
	}
	topics := make([]metadata.Topic, 0, len(p.opts.Topics))
	for name, n := range p.opts.Topics {
		topics = append(topics, *topicOf(name, n))
	}
	return clusterOf(topics...), nil
}

// Health returns nil, ErrClosed, or the error that Fail has set for it.
func (p *Producer[K, V]) Health() error {
	return p.look("check the producer's health", func(e *Errors) error { return e.Health })
}

// Metrics returns what SetMetrics has set. Kafka: MockProducer.metrics.
func (p *Producer[K, V]) Metrics() metrics.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.metrics
}

// SetMetrics sets what Metrics returns, for tests of what reads them. Kafka: MockProducer.setMockMetrics.
func (p *Producer[K, V]) SetMetrics(s metrics.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.metrics = s
}

// Inspect returns what SetInspect has set.
func (p *Producer[K, V]) Inspect(context.Context) inspect.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inspect
}

// SetInspect sets what Inspect returns, for tests of what reads it.
func (p *Producer[K, V]) SetInspect(s inspect.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inspect = s
}

// look returns the error of a call that only looks at the cluster.
func (p *Producer[K, V]) look(op string, set func(e *Errors) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := set(&p.errs); err != nil {
		return err
	}
	if p.closed || p.own.closed {
		return newError(quill.Error{Op: op, Kind: quill.ErrClosed})
	}
	return nil
}

// clusterOf returns the mock's cluster with these topics.
func clusterOf(topics ...metadata.Topic) *metadata.Snapshot {
	return metadata.NewSnapshot(metadata.Update{ClusterID: "mock", Controller: &mockNode.ID, Nodes: []metadata.Node{mockNode}, Topics: topics})
}
