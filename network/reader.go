package network

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/quill-kafka/quill/internal/invariant"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

const (
	// inboxSize holds any number of small answers: one read fetches them all.
	inboxSize = 16 << 10
	// firstGrow is what is allocated for a larger answer before its bytes are there; see roomFor.
	firstGrow = 64 << 10
	// keptFrame is the largest buffer for large answers that a connection keeps.
	keptFrame = 1 << 20
	// minAnswer is the smallest answer: its correlation id.
	minAnswer = 4
)

// read reads answers and handles them until the connection can't go on, and returns why.
func (c *conn) read(nc io.Reader) error {
	for {
		frame, err := c.in.next(nc, c.cfg.MaxResponse)
		if err != nil {
			return c.errorf("read", err)
		}
		if err := c.answer(frame); err != nil {
			return err
		}
	}
}

// answer matches a frame with the oldest request, decodes it and gives the request back.
func (c *conn) answer(frame []byte) error {
	peek := protocol.NewReader(frame)
	x, err := c.next(peek.Int32())
	if err != nil {
		return c.errorf("read", err)
	}
	c.lastWrite = x.write
	r := x.request
	key := r.Exchange.APIKey()
	rd := &c.body
	*rd = protocol.NewReader(frame)
	message.DecodeResponseHeader(rd, key, r.Version)
	if err = rd.Err(); err == nil {
		err = r.Exchange.Decode(rd, r.Version)
	}
	if err == nil {
		err = c.spareBytes(rd, key, r.Version)
	}
	if err != nil {
		err = c.errorf("decode", malformed("%v version %d: %w", key, r.Version, err))
	}
	if x.reply != nil {
		x.reply <- err // to the writer, which waits for it
		return err
	}
	c.arrived.response = int32(sizeField + len(frame))
	c.deliver(x.write, Event{kind: answered, conn: c, request: r, err: err, arrived: c.arrived})
	c.arrived = arrived{}
	return err
}

// spareBytes handles bytes behind the end of an answer. They do no harm, because the size of the frame says where the
// next one begins; librdkafka's mock brokers send a byte too many. They are logged once for each node. In invariant
// builds, which are tested with our own brokers, they are an error.
func (c *conn) spareBytes(rd *protocol.Reader, key protocol.APIKey, version int16) error {
	n := rd.Remaining()
	if n == 0 {
		return nil
	}
	if invariant.Enabled {
		return fmt.Errorf("%d bytes left over", n)
	}
	if !c.spare.Swap(true) {
		c.cfg.Logger.Warn("node sends answers with bytes left over, which are ignored",
			nodeName(c.id), "addr", c.addr, "api", key, "version", version, "bytes", n)
	}
	return nil
}

// next removes the oldest request that waits for an answer and returns it. It fails if there is none, or if that has
// another correlation id than the answer.
func (c *conn) next(id int32) (expected, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.awaiting) == 0 {
		return expected{}, malformed("correlation id %d, but no request waits", id)
	}
	x := c.awaiting[0]
	if x.request.CorrelationID != id {
		return expected{}, malformed("correlation id %d, want %d", id, x.request.CorrelationID)
	}
	c.awaiting = slices.Delete(c.awaiting, 0, 1)
	return x, nil
}

// deliver posts an answer, or leaves it to the writer if the write of its request has not returned yet.
// It does not wait for that: a node may read the rest of a write only after its answers to the
// beginning were read.
func (c *conn) deliver(write int64, e Event) {
	c.mu.Lock()
	hold := write > c.ended || c.posting
	if hold {
		c.early = append(c.early, e)
	}
	c.mu.Unlock()
	if !hold {
		c.cfg.Post(e) // from here on the owner has the request
	}
}

// frameReader cuts what arrives into frames.
type frameReader struct {
	buf  []byte
	r, w int // buf[r:w] is not yet consumed

	large []byte // for frames that don't fit into buf
}

// next reads one frame, without its size. The result is valid until the next call.
func (x *frameReader) next(nc io.Reader, limit int) ([]byte, error) {
	if x.buf == nil {
		x.buf = make([]byte, inboxSize)
	}
	if cap(x.large) > keptFrame {
		x.large = nil
	}
	if err := x.want(nc, sizeField); err != nil {
		return nil, err
	}
	size, err := frameSize(x.buf[x.r:], limit)
	if err != nil {
		return nil, err
	}
	if sizeField+size > len(x.buf) {
		x.r += sizeField
		return x.nextLarge(nc, size)
	}
	if err := x.want(nc, sizeField+size); err != nil {
		return nil, err
	}
	frame := x.buf[x.r+sizeField : x.r+sizeField+size]
	x.r += sizeField + size
	return frame, nil
}

// want reads until n bytes are there. n is at most len(buf).
func (x *frameReader) want(nc io.Reader, n int) error {
	if x.r == x.w {
		x.r, x.w = 0, 0
	}
	for x.w-x.r < n {
		if x.r+n > len(x.buf) {
			x.w = copy(x.buf, x.buf[x.r:x.w])
			x.r = 0
		}
		m, err := readSome(nc, x.buf[x.w:])
		if err == io.EOF && x.w > x.r {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		x.w += m
	}
	return nil
}

// nextLarge reads a frame that buf can't hold. Its buffer grows with what arrives, see roomFor.
func (x *frameReader) nextLarge(nc io.Reader, size int) ([]byte, error) {
	have := min(size, x.w-x.r)
	b := append(x.large[:0], x.buf[x.r:x.r+have]...)
	x.r += have
	for len(b) < size {
		if len(b) == cap(b) {
			b = slices.Grow(b, roomFor(size, cap(b))-len(b))
		}
		n, err := readSome(nc, b[len(b):min(cap(b), size)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		b = b[:len(b)+n]
	}
	x.large = b
	return b, nil
}

// roomFor returns how large the buffer should be next for a frame of which have bytes have arrived. It doubles until an
// eighth of the frame is there: beyond that, the small buffers left behind would take more than the frame.
func roomFor(size, have int) int {
	if have >= size/8 {
		return size
	}
	return max(2*have, firstGrow)
}

// readSome reads at least one byte.
func readSome(nc io.Reader, b []byte) (int, error) {
	for range 100 {
		n, err := nc.Read(b)
		if n > 0 {
			return n, nil // the next read returns an error again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// errTLSAnswer says that the node answers plaintext with a record of TLS.
var errTLSAnswer = fmt.Errorf("%w: the listener speaks TLS; set Config.TLS (security.protocol SSL or SASL_SSL), or name a plaintext one",
	ErrWrongProtocol)

// frameSize reads the size in front of a frame. If it can't be one, the error says what the bytes
// look like.
func frameSize(b []byte, limit int) (int, error) {
	size := int(int32(binary.BigEndian.Uint32(b)))
	switch {
	case size >= minAnswer && size <= limit:
		return size, nil
	case string(b[:4]) == "HTTP":
		return 0, fmt.Errorf("%w: it answers with HTTP; is the port that of a Kafka listener?", ErrWrongProtocol)
	case b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3 && b[2] <= 4:
		return 0, errTLSAnswer
	case isText(b[:4]):
		return 0, fmt.Errorf("%w: it answers with text (%q)", ErrWrongProtocol, b[:4])
	case size > limit:
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrResponseTooLarge, size, limit)
	default:
		return 0, malformed("size %d", size)
	}
}

func isText(b []byte) bool {
	for _, x := range b {
		if x < ' ' || x > '~' {
			return false
		}
	}
	return true
}
