package quilltest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// A Fault says what goes wrong with which requests. All fields are optional; the zero Fault matches
// the next request and does nothing.
//
// A request matches if it fits all of APIs, Nodes, ClientID, Topic, Partitions and When. Of several
// faults that match, all take part: delays add up, and where two contradict each other the one
// injected first wins.
//
// Effects that concern partitions (Err, ErrMessage, RecordErrors, AfterAppend) hit only the
// partitions that Topic and Partitions select; the request's other partitions go their normal way.
type Fault struct {
	// APIs are the requests concerned. If empty, all.
	APIs []protocol.APIKey
	// Nodes are the nodes concerned. If empty, all.
	Nodes []int32
	// ClientID is the client concerned. If empty, any.
	ClientID string
	// Topic and Partitions select requests that write to these partitions or read from them, add them
	// to a transaction or commit offsets for them, or ask for metadata of this topic. If empty, any.
	Topic      string
	Partitions []int32
	// When, if set, has the last word. It is called on the connection's goroutine and may call any
	// method of the Cluster but Close.
	When func(r *Request) bool
	// Skip is how many matching requests pass first.
	Skip int
	// Times is how many requests are then hit. If zero, one; if negative, all.
	Times int

	// What happens follows in the order in which it happens.

	// Do, if set, is called first, as When is: to move a leader or stop a node just now.
	Do func(r *Request)
	// DropRequest loses the request and all that follows on its connection, which stays open:
	// packets that do not arrive.
	DropRequest bool
	// Delay passes before the request is handled. Later requests of the connection wait too, as on
	// a real node. It is handled even if the client has closed the connection meanwhile.
	Delay time.Duration
	// DisconnectBefore closes the connection before the request is handled: the request is lost.
	DisconnectBefore bool
	// Err is answered instead of handling: for the partitions or topics concerned, or for the whole
	// request if it names none.
	Err protocol.ErrorCode
	// ErrMessage goes with Err, where the response has a place for it.
	ErrMessage string
	// RecordErrors are, by position in the batch, the records to blame (KIP-467). The error is
	// INVALID_RECORD unless Err says otherwise.
	RecordErrors map[int32]string
	// AfterAppend answers Err after the batch was really appended, as REQUEST_TIMED_OUT and
	// NOT_ENOUGH_REPLICAS_AFTER_APPEND are; requests for a producer id or about a transaction are
	// then really carried out, too. What would be refused is refused with its own error.
	AfterAppend bool
	// Throttle is the answer's throttle time. The node then also reads nothing from the connection
	// for so long (KIP-219); before release 2.0 it answers so much later instead.
	Throttle time.Duration
	// Edit, if set, may change the answer before it is encoded. response is a pointer to a struct
	// of this module's internal/message; outside the module use Rewrite. It is not called if there
	// is no answer.
	Edit func(r *Request, response any)
	// Challenge, if set, returns what a login's answer has for the client's mechanism, in place of the challenge that the node would
	// send: a wrong signature, a salt that is none. It is called for SaslAuthenticate, and for the tokens after SaslHandshake
	// version 0, before Edit, unless the node refuses.
	Challenge func(r *Request, challenge []byte) []byte
	// AnswerDelay passes between handling and answering.
	AnswerDelay time.Duration
	// DisconnectAfter closes the connection after the request was handled: the answer is lost.
	DisconnectAfter bool
	// DropAnswer loses the answer and all later ones of the connection, which stays open and on
	// which requests are still handled: packets that get lost in one direction.
	DropAnswer bool
	// Rewrite, if set, returns the bytes to write instead of the answer's frame, which starts with
	// its four bytes of size. Nil writes nothing.
	Rewrite func(r *Request, frame []byte) []byte
	// Trickle writes the frame byte by byte with this pause between.
	Trickle time.Duration
	// CutAnswer, if positive, writes only that many bytes of the frame and closes the connection.
	CutAnswer int
}

// fails says whether the fault makes partitions fail.
func (f *Fault) fails() bool { return f.Err != protocol.None || len(f.RecordErrors) > 0 }

// code is the error of partitions that fail.
func (f *Fault) code() protocol.ErrorCode {
	if f.Err == protocol.None && len(f.RecordErrors) > 0 {
		return protocol.InvalidRecord
	}
	return f.Err
}

// covers says whether the fault concerns a partition; partition -1 is the topic as a whole.
func (f *Fault) covers(topic string, partition int32) bool {
	return (f.Topic == "" || f.Topic == topic) && (len(f.Partitions) == 0 || slices.Contains(f.Partitions, partition))
}

// matches decides everything but When and the counting.
func (f *Fault) matches(r *Request) bool {
	switch {
	case len(f.APIs) > 0 && !slices.Contains(f.APIs, r.API),
		len(f.Nodes) > 0 && !slices.Contains(f.Nodes, r.Node),
		f.ClientID != "" && f.ClientID != r.ClientID:
		return false
	case f.Topic == "" && len(f.Partitions) == 0:
		return true
	}
	return slices.ContainsFunc(r.partitions, func(p TopicPartition) bool {
		if p.Partition == -1 { // metadata: the partitions are in the answer
			return f.Topic == "" || f.Topic == p.Topic
		}
		return f.covers(p.Topic, p.Partition)
	})
}

// An Injection is a Fault at work.
type Injection struct {
	cluster *Cluster // set by Inject, read-only after
	fault   Fault
	seen    atomic.Int64 // requests that matched
	hits    atomic.Int64
}

// Hits returns how many requests the fault has hit.
func (i *Injection) Hits() int64 { return i.hits.Load() }

// Wait waits until the fault has hit at least n requests. It returns ctx's error if that ends
// first.
func (i *Injection) Wait(ctx context.Context, n int64) error {
	return i.cluster.WaitFor(ctx, func() bool { return i.Hits() >= n })
}

// Remove ends the fault. Requests under way may still feel it.
func (i *Injection) Remove() {
	l := &i.cluster.faults
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = slices.DeleteFunc(slices.Clone(l.active), func(other *Injection) bool { return other == i })
}

// claim counts a match and says whether it is one to hit.
func (i *Injection) claim() bool {
	n := i.seen.Add(1) - int64(i.fault.Skip)
	if n <= 0 || i.fault.Times >= 0 && n > int64(max(i.fault.Times, 1)) {
		return false
	}
	i.hits.Add(1)
	return true
}

// A faultList holds the faults at work, in the order of Inject.
type faultList struct {
	mu sync.Mutex
	// active is replaced, never changed in place.
	// +checklocks:mu
	active []*Injection
}

func (l *faultList) snapshot() []*Injection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active
}

// Inject puts a fault to work, until it has hit Fault.Times requests or is removed.
func (c *Cluster) Inject(f Fault) *Injection {
	i := &Injection{cluster: c, fault: f}
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.active = append(slices.Clone(c.faults.active), i)
	return i
}

// A plan is the faults that hit one request.
type plan []*Fault

// plan finds the faults for a request and counts them.
func (c *Cluster) plan(r *Request) plan {
	var hit plan
	for _, i := range c.faults.snapshot() {
		if i.fault.matches(r) && (i.fault.When == nil || i.fault.When(r)) && i.claim() {
			hit = append(hit, &i.fault)
		}
	}
	if c.opts.Intercept != nil {
		if f := c.opts.Intercept(r); f != nil {
			hit = append(hit, f)
		}
	}
	if len(hit) > 0 {
		c.changed.fire() // for Injection.Wait
	}
	return hit
}

// any says whether one of the faults has a property.
func (p plan) any(has func(f *Fault) bool) bool { return slices.ContainsFunc(p, has) }

// sum adds up a duration.
func (p plan) sum(of func(f *Fault) time.Duration) time.Duration {
	var total time.Duration
	for _, f := range p {
		total += of(f)
	}
	return total
}

// failing returns the fault that makes a partition fail, nil if none does.
func (p plan) failing(topic string, partition int32) *Fault {
	for _, f := range p {
		if f.fails() && f.covers(topic, partition) {
			return f
		}
	}
	return nil
}

// whole returns the fault that makes a request fail that names no partitions, nil if none does.
func (p plan) whole() *Fault {
	for _, f := range p {
		if f.fails() && f.Topic == "" && len(f.Partitions) == 0 {
			return f
		}
	}
	return nil
}

// failure returns the error for a request that names no partitions.
func (p plan) failure() protocol.ErrorCode {
	if f := p.whole(); f != nil {
		return f.code()
	}
	return protocol.None
}
