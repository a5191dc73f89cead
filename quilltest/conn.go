package quilltest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// An api is what a node knows of one API key. Each has a file of its own.
type api struct {
	min, max   int16 // what the handler speaks
	advertised int16 // lowest version named in ApiVersions
	// partitions names what the request writes to or asks about, for faults. May be nil.
	partitions func(c *Cluster, m message.Message, version int16) []TopicPartition
	// handle returns the answer, nil for none, and whether the connection stays open.
	handle func(q *call) (message.Message, bool)
}

var apis = map[protocol.APIKey]api{
	protocol.Produce:              produceAPI,
	protocol.Fetch:                fetchAPI,
	protocol.ListOffsets:          listOffsetsAPI,
	protocol.OffsetForLeaderEpoch: offsetForLeaderEpochAPI,
	protocol.Metadata:             metadataAPI,
	protocol.FindCoordinator:      findCoordinatorAPI,
	protocol.APIVersions:          apiVersionsAPI,
	protocol.InitProducerID:       initProducerIDAPI,
	protocol.AddPartitionsToTxn:   addPartitionsToTxnAPI,
	protocol.AddOffsetsToTxn:      addOffsetsToTxnAPI,
	protocol.EndTxn:               endTxnAPI,
	protocol.TxnOffsetCommit:      txnOffsetCommitAPI,
	protocol.SaslHandshake:        saslHandshakeAPI,
	protocol.SaslAuthenticate:     saslAuthenticateAPI,
}

// A call is a request being handled.
type call struct {
	*Request
	cluster *Cluster
	node    *node
	plan    plan
	body    message.Message
	done    <-chan struct{} // closed when the connection ends
	sasl    *saslConn
	last    bool // the connection ends after the answer

	unauthorized bool // of a Produce request: it has records of a transaction and does not say which
}

// A conn is one connection. All fields but the last two belong to serve.
type conn struct {
	node     *node
	nc       net.Conn // dressed in TLS if the cluster has it
	id       int64
	in       *bufio.Reader
	frame    []byte // the request; used again for the next
	answer   []byte // the response; used again for the next
	messages map[protocol.APIKey]message.Message
	deaf     bool // requests get lost (Fault.DropRequest)
	mute     bool // answers get lost (Fault.DropAnswer)
	sasl     saslConn

	done      chan struct{} // closed by close
	closeOnce sync.Once
}

func newConn(n *node, nc net.Conn) *conn {
	nc = n.dress(nc)
	c := &conn{
		node: n, nc: nc, id: n.cluster.nextConn.Add(1),
		in:       bufio.NewReaderSize(nc, 32<<10),
		messages: make(map[protocol.APIKey]message.Message),
		done:     make(chan struct{}),
	}
	if n.cluster.opts.SASL != nil {
		c.sasl.state = saslFirst
	}
	return c
}

// close ends the connection and with it serve. Anybody may call it, more than once.
func (c *conn) close() {
	c.closeOnce.Do(func() {
		close(c.done)
		_ = c.nc.Close()
	})
}

// serve handles one request after the other until the connection ends.
func (c *conn) serve() {
	defer c.node.forget(c)
	defer c.close()
	if greet := c.node.cluster.opts.Greet; greet != nil {
		if !c.write(greet(c.node.id), 0) {
			return
		}
	}
	for {
		if err := c.readFrame(); err != nil {
			return
		}
		if c.deaf {
			continue
		}
		if !c.awaitResume() || !c.handle() {
			return
		}
	}
}

// readFrame reads a request into c.frame.
func (c *conn) readFrame() error {
	var prefix [4]byte
	if _, err := io.ReadFull(c.in, prefix[:]); err != nil {
		return err
	}
	size := int32(binary.BigEndian.Uint32(prefix[:]))
	limit := c.node.cluster.opts.MaxRequestBytes
	if c.sasl.state != saslNone && c.sasl.state != saslComplete {
		limit = min(limit, mostLoginBytes)
	}
	if size < 0 || int(size) > limit {
		return fmt.Errorf("request of %d bytes", size)
	}
	if cap(c.frame) < int(size) {
		c.frame = make([]byte, size)
	}
	c.frame = c.frame[:size]
	_, err := io.ReadFull(c.in, c.frame)
	return err
}

// awaitResume waits while the node is paused. It is false if the connection ended meanwhile.
func (c *conn) awaitResume() bool {
	for {
		gate := c.node.paused()
		if gate == nil {
			return true
		}
		select {
		case <-gate:
		case <-c.done:
			return false
		}
	}
}

// sleep is false if the connection ended meanwhile.
func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}

// handle answers the request in c.frame. It is false if the connection must end.
func (c *conn) handle() bool {
	cluster := c.node.cluster
	req := Request{Node: c.node.id, Conn: c.id, Size: len(c.frame), Time: time.Now(), Principal: c.sasl.principal}
	handler, ok := c.decode(&req)
	if !ok {
		return false // a node does not answer what it does not know
	}
	cluster.requests.add(req)
	cluster.changed.fire()
	q := &call{Request: &req, cluster: cluster, node: c.node, done: c.done, sasl: &c.sasl}
	switch c.sasl.permit(req.API, req.Time) {
	case saslClose:
		return false
	case saslRefuse:
		q.plan, q.last = plan{{Err: protocol.IllegalSaslState}}, true
	}
	q.plan = append(q.plan, cluster.plan(&req)...)
	q.body, _ = req.Message.(message.Message)
	return c.carryOut(q, handler)
}

// decode reads the request in c.frame and finds its handler.
func (c *conn) decode(req *Request) (handler api, ok bool) {
	r := protocol.NewReader(c.frame)
	if c.sasl.state == saslTokens && c.sasl.bare {
		req.API, req.Version, req.Body = protocol.SaslAuthenticate, bareToken, c.frame
		req.Message = &message.SaslAuthenticateRequest{AuthBytes: c.frame}
		return saslAuthenticateAPI, true
	}
	req.API, req.Version, req.CorrelationID, req.ClientID = message.DecodeRequestHeader(&r)
	served, known := c.node.cluster.served[req.API]
	if r.Err() != nil || !known {
		return api{}, false
	}
	handler = apis[req.API]
	if req.Version < served.min || req.Version > served.max {
		handler.handle = refuseAPIVersions
		return handler, req.API == protocol.APIVersions
	}
	body := c.message(req.API)
	req.Body = c.frame[len(c.frame)-r.Remaining():]
	body.Decode(&r, req.Version)
	if r.Err() != nil || r.Remaining() > 0 {
		return api{}, false
	}
	req.Message = body
	if handler.partitions != nil {
		req.partitions = handler.partitions(c.node.cluster, body, req.Version)
	}
	return handler, true
}

// message returns a request to decode into; it is used again by the connection's next request.
func (c *conn) message(key protocol.APIKey) message.Message {
	m := c.messages[key]
	if m == nil {
		m = message.NewRequest(key)
		c.messages[key] = m
	}
	return m
}

// carryOut goes through a request's faults in the order in which Fault lists them.
func (c *conn) carryOut(q *call, handler api) bool {
	for _, f := range q.plan {
		if f.Do != nil {
			f.Do(q.Request)
		}
	}
	if q.plan.any(func(f *Fault) bool { return f.DropRequest }) {
		c.deaf = true
		return true
	}
	if !c.sleep(q.plan.sum(func(f *Fault) time.Duration { return f.Delay })) || !c.awaitResume() {
		return false
	}
	if q.plan.any(func(f *Fault) bool { return f.DisconnectBefore }) {
		return false
	}
	answer, open := handler.handle(q)
	c.node.cluster.changed.fire()
	if answer == nil || !open {
		return open
	}
	throttle := q.plan.sum(func(f *Fault) time.Duration { return f.Throttle })
	if q.API == protocol.Produce {
		throttle += q.cluster.quota.charge(q.ClientID, q.Size, time.Now())
	}
	if throttle != 0 {
		setThrottle(answer, throttle)
	}
	for _, f := range q.plan {
		if f.Edit != nil {
			f.Edit(q.Request, answer)
		}
	}
	answersLate := q.cluster.release.before(2, 0) // throttled answers: KIP-219 has them come at once
	if answersLate && !c.sleep(throttle) {
		return false
	}
	if !c.sleep(q.plan.sum(func(f *Fault) time.Duration { return f.AnswerDelay })) || !c.awaitResume() {
		return false
	}
	if q.plan.any(func(f *Fault) bool { return f.DisconnectAfter }) {
		return false
	}
	return c.reply(q, answer) && !q.last && (answersLate || c.sleep(throttle))
}

// reply writes an answer. It is false if the connection must end.
func (c *conn) reply(q *call, answer message.Message) bool {
	c.mute = c.mute || q.plan.any(func(f *Fault) bool { return f.DropAnswer })
	if c.mute {
		return true
	}
	b := appendAnswer(append(c.answer[:0], 0, 0, 0, 0), q, answer)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	c.answer = b
	cut := 0
	for _, f := range q.plan {
		if f.Rewrite != nil {
			b = f.Rewrite(q.Request, b)
		}
		cut = max(cut, f.CutAnswer)
	}
	if cut > 0 {
		b = b[:min(cut, len(b))]
	}
	return c.write(b, q.plan.sum(func(f *Fault) time.Duration { return f.Trickle })) && cut == 0
}

// appendAnswer encodes an answer with its header.
func appendAnswer(b []byte, q *call, answer message.Message) []byte {
	version := q.Version
	switch {
	case version == bareToken:
		return append(b, answer.(*message.SaslAuthenticateResponse).AuthBytes...)
	case q.API == protocol.APIVersions && q.Message == nil:
		version = 0 // the version asked for is not spoken (KIP-511)
	}
	b = message.AppendResponseHeader(b, q.API, version, q.CorrelationID)
	return answer.Append(b, version)
}

// write writes bytes, one by one if there is a pause between them. It is false if the connection
// has ended.
func (c *conn) write(b []byte, pause time.Duration) bool {
	for len(b) > 0 {
		n := len(b)
		if pause > 0 {
			n = 1
		}
		if _, err := c.nc.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
		if len(b) > 0 && !c.sleep(pause) {
			return false
		}
	}
	return true
}

// setThrottle puts a throttle time into an answer.
func setThrottle(answer message.Message, d time.Duration) {
	ms := int32(d.Milliseconds())
	switch m := answer.(type) {
	case *message.ProduceResponse:
		m.ThrottleTimeMs = ms
	case *message.FetchResponse:
		m.ThrottleTimeMs = ms
	case *message.ListOffsetsResponse:
		m.ThrottleTimeMs = ms
	case *message.OffsetForLeaderEpochResponse:
		m.ThrottleTimeMs = ms
	case *message.MetadataResponse:
		m.ThrottleTimeMs = ms
	case *message.APIVersionsResponse:
		m.ThrottleTimeMs = ms
	case *message.InitProducerIDResponse:
		m.ThrottleTimeMs = ms
	case *message.FindCoordinatorResponse:
		m.ThrottleTimeMs = ms
	case *message.AddPartitionsToTxnResponse:
		m.ThrottleTimeMs = ms
	case *message.AddOffsetsToTxnResponse:
		m.ThrottleTimeMs = ms
	case *message.EndTxnResponse:
		m.ThrottleTimeMs = ms
	case *message.TxnOffsetCommitResponse:
		m.ThrottleTimeMs = ms
	}
}
