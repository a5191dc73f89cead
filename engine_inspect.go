package quill

import (
	"context"
	"slices"
	"time"

	"github.com/quill-kafka/quill/inspect"
)

// inspectPatience is how long Inspect waits for the sender, which answers in its next turn unless a handler of the log blocks.
const inspectPatience = time.Second

// inspect returns what there is to see of the producer.
func (e *engine) inspect(ctx context.Context) inspect.Snapshot {
	now := time.Now()
	s := inspect.Snapshot{
		Taken: now, ClientID: e.cfg.clientID, Version: softwareVersion(), State: inspect.Running,
		Memory: e.acc.pool.inspect(), Batches: e.acc.unfinishedCount(), Callbacks: e.dispatch.inspect(),
		Settings: slices.Clone(e.cfg.inspected), Errors: e.acc.measures.latest.inspect(),
	}
	s.Callbacks.Slowest = e.acc.measures.slowestCallbacks()
	if fatal := e.fatal.Load(); fatal != nil {
		s.State, s.Fault = inspect.Failed, withoutForeign(fatal)
	} else if isClosed(e.sender.finished) {
		s.State = inspect.Closed
	} else if e.closed.Load() {
		s.State = inspect.Closing
	}
	s.Cluster = e.inspectCluster()
	queues := e.acc.queues()
	view, missing := e.askSender(ctx, queues, now)
	if s.Missing = missing; view != nil {
		s.Nodes, s.ProducerID, s.Transaction = view.nodes, view.producerID, view.transaction
	}
	if s.Nodes == nil {
		s.Nodes = []inspect.Node{}
	}
	s.Partitions = e.inspectPartitions(queues, view, now)
	if s.Transaction != nil {
		s.Transaction.Partitions = view.members
	}
	return s
}

// inspectCluster returns what the last answer of a broker says of the cluster.
func (e *engine) inspectCluster() inspect.Cluster {
	known := e.board.look()
	c := inspect.Cluster{ID: known.snapshot.ClusterID(), Controller: -1, Nodes: known.snapshot.NodeCount(), Answered: known.refreshedAt}
	if n, ok := known.snapshot.Controller(); ok {
		c.Controller = n.ID
	}
	if known.lastErr != nil {
		c.LastError = withoutForeign(known.lastErr)
	}
	return c
}

// askSender returns the sender's part. If the sender has ended, its state is nobody's and is read here; if it does not answer in
// time, or would have to answer to itself, view is nil and missing says so.
func (e *engine) askSender(ctx context.Context, queues []*partitionQueue, now time.Time) (view *senderView, missing string) {
	if e.cfg.logCalls.inside() {
		return nil, "Inspect was called in the handler of the log, which the sender may be waiting for"
	}
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	view = newSenderView(queues)
	e.box.command(view.begin)
	select {
	case <-view.given:
	case <-e.sender.finished:
		view = newSenderView(queues)
		for view.begin(e.sender, now); !isClosed(view.given); {
			view.goOn(e.sender, now)
		}
	case <-ctx.Done():
		if !isClosed(view.given) {
			view.vain.Store(true)
			return nil, "the sender did not answer within " + inspectPatience.String() +
				", or before the call's context ended: a handler of the log may block it"
		}
	}
	return view, ""
}

// inspectPartitions puts together what callers, brokers and the sender know of each partition; view is nil without the sender's part.
func (e *engine) inspectPartitions(queues []*partitionQueue, view *senderView, now time.Time) []inspect.Partition {
	leaders := e.board.look().snapshot
	list := make([]inspect.Partition, len(queues))
	var sequences []inspect.Sequences // one allocation for all
	if view != nil {
		sequences = make([]inspect.Sequences, 0, len(queues))
	}
	for i, q := range queues {
		p := &list[i]
		*p = inspect.Partition{Topic: q.topic.name, Partition: q.index, Leader: -1, LeaderEpoch: -1}
		if n, epoch, ok := leaders.LeaderOf(q.topic.info.Load(), q.index); ok {
			p.Leader, p.LeaderEpoch = n.ID, epoch
		}
		var oldest time.Time
		p.Queued, p.Records, p.Bytes, oldest = q.contents()
		if view != nil {
			x := &view.partitions[i]
			p.InFlight, p.Muted, p.Settling = x.inFlight, x.muted, x.settling
			if oldest.IsZero() || !x.oldest.IsZero() && x.oldest.Before(oldest) {
				oldest = x.oldest
			}
			if x.waits != nil && p.Queued+p.InFlight > 0 {
				p.Waits = withoutForeign(x.waits)
			}
			if x.sequences.Epoch >= 0 {
				sequences = append(sequences, x.sequences)
				p.Sequences = &sequences[len(sequences)-1]
			}
		}
		if !oldest.IsZero() {
			p.Age = max(0, now.Sub(oldest))
		}
	}
	return list
}
