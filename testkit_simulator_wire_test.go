package quill

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// The simulator's wire: what happens to a request between the sender and a node, and back. A request
// is encoded when the writer comes to it, its bytes are read out of the batches' own memory, perhaps
// in two parts with time between, and nothing stops an old connection's requests from being handled
// long after the sender has given them up.

type simConn struct {
	x      *simulation
	number int
	target *simTarget
	node   *simNode

	out      []*simCall // to be written
	writing  bool
	waiting  []*simCall  // written at least in part, without an answer
	left     bool        // closed from this side
	ended    bool        // the sender has heard that it has ended
	flying   []*simFrame // on their way to the node
	in       []*simFrame // there
	answers  []simBytes  // on their way back
	arriveAt time.Time   // of the last frame
	answerAt time.Time   // of the last answer
	busy     bool        // the node handles a request
	dead     bool        // the node's side is closed
	deaf     bool
	mute     bool
	late     int // answers that the reader could not fetch, since the process was halted
}

// simBytes is an answer.
type simBytes struct {
	to    *simFrame
	bytes []byte
}

// simFrame is a request that has come to a node.
type simFrame struct {
	conn        *simConn
	call        int
	sent        *simCall
	bytes       []byte
	key         protocol.APIKey
	version     int16
	correlation int32
	body        message.Message
	parts       []simPart
	faults      []*simActiveFault
}

// simPart is the batch for one partition in a Produce request.
type simPart struct {
	topic  string
	index  int32
	size   int
	batch  *simBatch // nil: it could not be read
	seen   *simSeen  // nil: not idempotent, or handled
	latest int32     // the highest sequence with which its producer may begin
}

func (p *simPart) settle() {
	if p.seen != nil && !p.batch.settled {
		p.batch.settled = true
		p.seen.pending--
	}
}

// drop forgets a request that no node will handle.
func (f *simFrame) drop() {
	for i := range f.parts {
		f.parts[i].settle()
	}
}

func (c *simCluster) nodeAt(addr string) *simNode {
	for _, n := range c.nodes {
		if simHost(n.id)+":9092" == addr {
			return n
		}
	}
	return nil
}

// reachable is when the node can be reached: now if it can.
func (n *simNode) stalled(now time.Time) (until time.Time, stalled bool) {
	until = n.frozenUntil
	if n.cutUntil.After(until) {
		until = n.cutUntil
	}
	return until, until.After(now)
}

// dial tries to connect.
func (c *simConn) dial(limit time.Time) {
	if c.left {
		return
	}
	until, stalled := c.node.stalled(c.x.now)
	switch {
	case !c.node.up:
		c.end(errRefused)
	case stalled && until.After(limit):
		c.x.at(limit, func() { c.end(errSetup) })
	case stalled:
		c.x.at(until, func() { c.dial(limit) })
	default:
		c.node.conns = append(c.node.conns, c)
		c.x.say("connection %d to node %d is open", c.number, c.node.id)
		if c.x.cluster.txn != nil {
			c.target.level = c.x.cluster.txn.level
		}
		c.x.net.post(simPost{kind: postOpened, conn: c})
	}
}

// end posts to the sender that the connection is no more.
func (c *simConn) end(err error) {
	if c.ended {
		return
	}
	c.ended, c.left = true, true // from here on the batches are not read
	c.x.say("connection %d has ended: %v", c.number, err)
	c.x.net.post(simPost{kind: postClosed, conn: c, err: err})
}

// leave closes the connection from the sender's side. Its writer needs a moment to notice; until then
// it may still read from the batches.
func (c *simConn) leave(err error) {
	c.left = true
	c.x.after(c.x.pause(), func() { c.end(err) })
	c.x.after(c.x.hop(), func() {
		if c.x.draw(2) == 0 { // the node notices before it handles what has arrived, or after
			c.hangUp(false)
		}
	})
}

// hangUp closes the node's side. What has arrived is handled all the same if finish says so.
func (c *simConn) hangUp(finish bool) {
	if c.dead {
		return
	}
	if !finish {
		c.dead = true
		for _, f := range c.in {
			f.drop()
		}
		c.in = nil
	}
	if !c.left {
		c.x.after(c.x.hop(), func() { c.end(errHungUp) })
	}
}

// pump writes the next request.
func (c *simConn) pump() {
	if c.writing || len(c.out) == 0 || c.left {
		return
	}
	c.writing = true
	c.x.after(c.x.hop(), c.write)
}

// write encodes a request and puts its bytes on the wire.
func (c *simConn) write() {
	if c.left || len(c.out) == 0 {
		return
	}
	call := c.out[0]
	c.out = c.out[1:]
	r := call.r
	var frame network.Frame
	frame.Buf = message.AppendRequestHeader(make([]byte, 4, 256), r.Exchange.APIKey(), r.Version, r.CorrelationID, "sim")
	if err := r.Exchange.Encode(&frame, r.Version); err != nil {
		c.writing = false
		c.x.net.post(simPost{kind: postAnswered, conn: c, call: call, err: c.x.net.fault(c.target, "encode", err)})
		c.pump()
		return
	}
	vectors := slices.Clone(frame.Vectors())
	size := 0
	for _, v := range vectors {
		size += len(v)
	}
	binary.BigEndian.PutUint32(frame.Buf, uint32(size-4))
	r.MaybeSent = true
	c.waiting = append(c.waiting, call)
	wire := make([]byte, 0, size)
	stall, torn := c.writerFaults(r)
	if stall == 0 && !torn {
		c.wrote(call, appendWire(wire, vectors, 0, size))
		return
	}
	part := 1 + c.x.draw(size)
	wire = appendWire(wire, vectors, 0, part)
	c.x.say("connection %d: the write of request %d halts at byte %d of %d", c.number, call.number, part, size)
	c.x.after(stall, func() {
		switch {
		case c.ended:
		case torn:
			c.x.say("connection %d is cut", c.number)
			c.hangUp(true)
		default:
			c.wrote(call, appendWire(wire, vectors, part, size))
		}
	})
}

// appendWire copies bytes from..to of the vectors as they are at this moment.
func appendWire(dst []byte, vectors [][]byte, from, to int) []byte {
	at := 0
	for _, v := range vectors {
		lo, hi := max(from-at, 0), min(to-at, len(v))
		if lo < hi {
			dst = append(dst, v[lo:hi]...)
		}
		at += len(v)
	}
	return dst
}

// wrote sends the bytes on, and lets the request go once the writer has come back.
func (c *simConn) wrote(call *simCall, wire []byte) {
	f := &simFrame{conn: c, call: call.number, sent: call, bytes: wire}
	at := backoff.Later(c.x.now.Add(c.x.hop()), c.arriveAt)
	c.arriveAt = at
	c.x.cluster.flying++
	c.flying = append(c.flying, f)
	c.x.at(at, c.arrive)
	c.x.after(c.x.pause(), func() {
		if c.ended {
			return
		}
		c.writing, call.written = false, true
		if call.r.NoAnswer {
			c.forget(call)
			c.x.net.post(simPost{kind: postAnswered, conn: c, call: call})
		} else if call.answered {
			c.finish(call)
		}
		c.pump()
	})
}

func (c *simConn) forget(call *simCall) {
	c.waiting = slices.DeleteFunc(c.waiting, func(other *simCall) bool { return other == call })
}

// arrive takes the next whole request into the node.
func (c *simConn) arrive() {
	if until := c.node.cutUntil; until.After(c.x.now) && !c.dead && !c.left {
		c.x.at(until, c.arrive)
		return
	}
	f := c.flying[0]
	c.flying = c.flying[1:]
	c.x.cluster.flying--
	if c.dead || c.deaf || !c.node.up || c.node.cutUntil.After(c.x.now) {
		return
	}
	if !c.x.cluster.arrive(f) {
		c.hangUp(false)
		return
	}
	c.in = append(c.in, f)
	c.serve()
}

// serve lets the node handle the connection's next request.
func (c *simConn) serve() {
	if c.busy || len(c.in) == 0 || c.dead {
		return
	}
	c.busy = true
	c.x.after(c.x.hop(), c.handle)
}

func (c *simConn) handle() {
	if c.dead || len(c.in) == 0 {
		return
	}
	if until := c.node.frozenUntil; until.After(c.x.now) {
		c.x.at(until, c.handle)
		return
	}
	f := c.in[0]
	if f.faults == nil {
		f.faults = []*simActiveFault{}
		f.claim(c.x.cluster)
		for _, fault := range f.faults {
			c.x.say("node %d: fault %s %d for request %d", c.node.id, simFaultNames[fault.kind], fault.number, f.call)
		}
		if delay := f.fault(faultDelay); delay != nil {
			c.x.after(c.x.ms(delay.number), c.handle)
			return
		}
	}
	c.in = c.in[1:]
	switch {
	case f.fault(faultDeaf) != nil:
		c.deaf = true
		f.drop()
		for _, other := range c.in {
			other.drop()
		}
		c.in = nil
		return
	case f.fault(faultCutBefore) != nil:
		f.drop()
		c.hangUp(false)
		return
	}
	answer := c.x.cluster.handle(c.node, f)
	f.drop()
	c.x.say("node %d: %s", c.node.id, simHandled{f, answer})
	if answer.message == nil || answer.hangUp {
		if c.busy = false; answer.hangUp {
			c.hangUp(false)
		}
		c.serve()
		return
	}
	wait := time.Duration(0)
	if answer.wait {
		wait = c.x.micros(c.x.draw(c.x.cfg.Replicas + 1))
	}
	if delay := f.fault(faultAnswerDelay); delay != nil {
		wait += c.x.ms(delay.number)
	}
	c.x.after(wait, func() { c.reply(f, answer) })
}

// reply lets the answer leave the node, which then goes on to the next request.
func (c *simConn) reply(f *simFrame, answer simAnswer) {
	if until := c.node.frozenUntil; until.After(c.x.now) && c.node.up {
		c.x.at(until, func() { c.reply(f, answer) })
		return
	}
	if !c.node.up || c.dead {
		return
	}
	if answer.leave != nil {
		answer.leave()
	}
	c.mute = c.mute || f.fault(faultMute) != nil
	if f.fault(faultCutAfter) != nil {
		c.hangUp(false)
		return
	}
	if !c.mute {
		bytes := message.AppendResponseHeader(nil, f.key, f.version, f.correlation)
		bytes = answer.message.Append(bytes, f.version)
		at := backoff.Later(c.x.now.Add(c.x.hop()), c.answerAt)
		c.answerAt = at
		c.answers = append(c.answers, simBytes{f, bytes})
		c.x.at(at, c.receive)
	}
	c.busy = false
	c.serve()
}

// receive takes the next answer in on the sender's side.
func (c *simConn) receive() {
	if until := c.node.cutUntil; until.After(c.x.now) && !c.left {
		c.x.at(until, c.receive)
		return
	}
	if c.x.haltedUntil.After(c.x.now) && !c.left {
		c.late++
		c.x.after(c.x.ms(1+c.x.draw(10)), func() { c.late--; c.receive() }) // the reader does not run either
		return
	}
	f, bytes := c.answers[0].to, c.answers[0].bytes
	c.answers = c.answers[1:]
	if c.left || c.ended {
		return
	}
	rd := protocol.NewReader(bytes)
	id := message.DecodeResponseHeader(&rd, f.key, f.version)
	if len(c.waiting) == 0 || c.waiting[0].r.CorrelationID != id {
		c.x.violate("simulator", "connection %d: answer to %d is not expected", c.number, id)
		return
	}
	call := c.waiting[0]
	c.waiting = c.waiting[1:]
	call.answered = true
	if call.decoded = call.r.Exchange.Decode(&rd, call.r.Version); call.decoded != nil {
		c.x.violate("simulator", "connection %d: %v", c.number, call.decoded)
	}
	for i := range bytes {
		bytes[i] = 0xdb // what it was read from is used again
	}
	if call.written {
		c.finish(call)
	}
}

func (c *simConn) finish(call *simCall) {
	c.x.net.post(simPost{kind: postAnswered, conn: c, call: call})
}

// simExchange prints a request.
type simExchange struct{ r *network.Request }

func (e simExchange) String() string {
	r, ok := e.r.Exchange.(*produceRequest)
	if !ok {
		return e.r.Exchange.APIKey().String()
	}
	var parts []string
	for _, b := range r.batches {
		parts = append(parts, fmt.Sprintf("%s-%d: %d records, id %d/%d, sequence %d, attempt %d", b.queue.topic.name, b.queue.index, b.records,
			b.producerID, b.producerEpoch, b.baseSequence, b.attempts))
	}
	return "Produce " + strings.Join(parts, "; ")
}

// simHandled prints what became of a request at a node.
type simHandled struct {
	f      *simFrame
	answer simAnswer
}

func (h simHandled) String() string {
	res, ok := h.answer.message.(*message.ProduceResponse)
	if !ok {
		return fmt.Sprintf("request %d, %v, handled%s", h.f.call, h.f.key, describeTxnAnswer(h.f, h.answer.message))
	}
	var parts []string
	for _, t := range res.Responses {
		for _, p := range t.PartitionResponses {
			parts = append(parts, fmt.Sprintf("%s %d: %v at %d", t.Name, p.Index, p.ErrorCode.Name(), p.BaseOffset))
		}
	}
	return fmt.Sprintf("request %d answered: %s", h.f.call, strings.Join(parts, "; "))
}
