package network

import (
	"encoding/binary"
	"math"
	"net"

	"github.com/quill-kafka/quill/internal/message"
)

const (
	// joinLimit is how much is joined into one write. A request above it goes alone.
	joinLimit = 1 << 20
	// keptHeader is the largest header scratch that a connection keeps.
	keptHeader = 256 << 10
	// sizeField is the length of the size in front of every frame.
	sizeField = 4
)

// Frame is what requests are encoded into. Its bytes are those of Buf, with the attached slices
// between them:
//
//	Buf:       │ size · header · body … │            │ … body … │         │ … │
//	attached:                           │ batch ···· │          │ batch · │
//
// Encoders append to Buf and must not change what it holds already, which belongs to other requests.
type Frame struct {
	Buf []byte

	pieces   []piece // attached slices, in order
	attached int     // bytes of them
	iov      [][]byte
}

// piece is a slice that comes after the first `at` bytes of Buf.
type piece struct {
	at    int
	bytes []byte
}

// Attach puts b, without copying, behind what is in Buf. b must not change until the request has come
// back.
func (f *Frame) Attach(b []byte) {
	if len(b) == 0 {
		return
	}
	f.pieces = append(f.pieces, piece{len(f.Buf), b})
	f.attached += len(b)
}

// size returns the number of bytes in the frame.
func (f *Frame) size() int { return len(f.Buf) + f.attached }

// add encodes one request behind those already there. After an error the frame is as before.
func (f *Frame) add(r *Request, clientID string) error {
	start, pieces, attached := len(f.Buf), len(f.pieces), f.attached
	before := f.size()
	f.Buf = append(f.Buf, 0, 0, 0, 0)
	f.Buf = message.AppendRequestHeader(f.Buf, r.Exchange.APIKey(), r.Version, r.CorrelationID, clientID)
	err := r.Exchange.Encode(f, r.Version)
	size := f.size() - before - sizeField
	if err == nil && size > math.MaxInt32 {
		err = ErrRequestTooLarge
	}
	if err != nil {
		clear(f.pieces[pieces:])
		f.Buf, f.pieces, f.attached = f.Buf[:start], f.pieces[:pieces], attached
		return err
	}
	binary.BigEndian.PutUint32(f.Buf[start:], uint32(size))
	return nil
}

// Vectors lays out the frame for writing. The result is valid until the next call of any method.
func (f *Frame) Vectors() net.Buffers {
	f.iov = f.iov[:0]
	at := 0
	for _, p := range f.pieces {
		if p.at > at {
			f.iov = append(f.iov, f.Buf[at:p.at])
			at = p.at
		}
		f.iov = append(f.iov, p.bytes)
	}
	if len(f.Buf) > at {
		f.iov = append(f.iov, f.Buf[at:])
	}
	return f.iov
}

// reset empties the frame and drops its references to the attached slices.
func (f *Frame) reset() {
	clear(f.pieces)
	clear(f.iov)
	f.pieces, f.attached, f.iov = f.pieces[:0], 0, f.iov[:0]
	if cap(f.Buf) > keptHeader {
		f.Buf = nil
	}
	f.Buf = f.Buf[:0]
}

// erase empties the frame and overwrites what was in it.
func (f *Frame) erase() {
	clear(f.Buf)
	f.reset()
}
