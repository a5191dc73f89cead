package quill

import (
	"context"
	"errors"
	"slices"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/metadata"
)

// Ping asks a broker for metadata and waits for the answer. That shows that a broker can be reached, that it lets this client in,
// and that the two have versions of Kafka's protocol in common. It does not show that every topic has a leader, or that
// records may be written to one: see PartitionsFor.
//
// It waits until ctx ends; without a deadline on ctx, for max.block.ms or request.timeout.ms at most, whichever is longer.
// The error is ErrAuthentication at once if brokers and this client refuse each other, ErrTimeout or ctx's if none answers (its
// Cause says why, as far as that is known), ErrClosed, the producer's
// fatal error, or ErrInCallback. Calls at the same time share requests: there are at most ten in a second.
func (p *Producer[K, V]) Ping(ctx context.Context) error {
	if _, err := p.cluster(ctx, opPing, true); err != nil {
		return err
	}
	return nil
}

// Cluster returns what the producer knows of the cluster: its id, its nodes, its controller, and the topics that were sent to, as the
// last answer of a broker has them. If none has answered yet, it waits for the first answer as Ping does, and fails in the same ways.
// The snapshot never changes; call Cluster again for a newer one.
func (p *Producer[K, V]) Cluster(ctx context.Context) (*metadata.Snapshot, error) {
	s, err := p.cluster(ctx, opCluster, false)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Health returns nil if the producer works as far as it knows, or why it does not. It never blocks and asks no broker. The error
// Is
//
//   - ErrFatal: the producer has failed for good and has to be replaced;
//   - ErrClosed: it was closed;
//   - ErrAuthentication: brokers and this client refuse each other; it goes on trying;
//   - ErrDisconnected: no broker has answered yet, or the last request for metadata failed; it goes on trying.
//
// For Kubernetes: a liveness probe fails on ErrFatal alone, because a restart cures nothing else; a readiness probe fails on
// any error, or on that of Ping, which asks. It may be called concurrently, and in callbacks.
func (p *Producer[K, V]) Health() error {
	if fatal := p.e.fatal.Load(); fatal != nil {
		return fatal
	}
	if p.closed.Load() || p.e.closed.Load() {
		return newError(Error{Op: opHealth, Kind: ErrClosed})
	}
	now := p.e.board.look()
	failed := Error{Op: opHealth, Kind: ErrDisconnected, Class: ErrRetriable, Cause: now.lastErr}
	switch {
	case errors.Is(now.lastErr, ErrAuthentication):
		failed.Kind, failed.Class = denialKind(now.lastErr), nil
	case now.snapshot.Empty():
		failed.Reason = "no broker has answered yet"
	case now.lastErr != nil:
		failed.Reason = "the last request for metadata failed"
	default:
		return nil
	}
	return newError(failed)
}

// Inspect returns what there is to see inside the producer now: the queue of each partition, the connection to each node, memory,
// the transaction, the settings and where they come from, the latest errors. There are no records and no secrets in it. It is meant
// for people who look for a cause, and for quillhttp; Metrics has the numbers for monitoring.
//
// The sender answers its part in its next turns, 1,024 partitions in each. Inspect waits for that for a second at most, and no longer
// than ctx; without the answer, because a handler of the log blocks the sender, Missing says so and all else is there. So it also
// works if the producer is stuck, has failed, or is closed. Its parts need not be of the very same moment. It may be called
// concurrently, also in callbacks; views show their producer. With 10,000 partitions it takes three milliseconds, and no turn of
// the sender becomes longer by more than some 50 microseconds.
func (p *Producer[K, V]) Inspect(ctx context.Context) inspect.Snapshot {
	if ctx == nil {
		ctx = context.Background()
	}
	return p.e.inspect(ctx)
}

const (
	opPing    = "ping a broker"
	opCluster = "describe the cluster"
	opHealth  = "check the producer's health"
)

// cluster returns the snapshot after an answer to a request that is made from now on, or without fresh the present one, if there
// is one.
func (p *Producer[K, V]) cluster(ctx context.Context, op string, fresh bool) (*metadata.Snapshot, *Error) {
	if err := notBegun(ctx, op); err != nil {
		return nil, err
	}
	if err := p.e.closedBy(true); err != nil || p.closed.Load() {
		return nil, p.e.closedError(op)
	}
	if now := p.e.board.look(); !fresh && !now.snapshot.Empty() {
		return now.snapshot, nil
	}
	if p.e.inside() {
		return nil, newError(Error{Op: op, Kind: ErrInCallback, Reason: "a broker has to answer first"})
	}
	return p.e.awaitAnswer(ctx, op)
}

// PartitionsFor returns the topic's partitions with their leaders and replicas. If the topic is not
// known yet it waits for its metadata as Send does, and fails in the same ways. Call it at the start to
// check that the cluster can be reached and has the topic.
func (p *Producer[K, V]) PartitionsFor(ctx context.Context, topic string) ([]metadata.Partition, error) {
	if ctx == nil {
		return nil, notBegun(ctx, opPartitions)
	}
	late := begun(ctx)
	out := outgoing{mayWait: true, lookOnly: true}
	out.record.Topic = topic
	info, err := (*metadata.Topic)(nil), (*Error)(nil)
	if p.closed.Load() {
		err = p.e.errorFor(p.e.closedReason(), topic, -1)
	} else {
		_, info, err = p.e.topicFor(ctx, &out)
	}
	if err != nil {
		own := *err
		if own.Op = opPartitions; own.Reason == waitingForMetadata {
			own.Reason = late.reason("its metadata are not known yet", own.Reason)
		}
		return nil, &own
	}
	return slices.Clone(info.Partitions), nil
}
