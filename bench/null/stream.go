package null

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
)

const (
	windowSize = 32 << 10
	dropAtOnce = 8 << 10 // from here on a payload is dropped by the kernel instead of copied
	maxRequest = 128 << 20
)

var errBadRequest = errors.New("bad request")

// stream reads a connection's requests piece by piece. Its error is sticky: after one, every read
// is of zeros, and the request ends. A read beyond the request's end is errBadRequest.
type stream struct {
	nc  net.Conn
	raw syscall.RawConn // nil: the kernel can't drop
	err error

	buf  []byte // buf[r:w] is received and not read yet; it may hold the beginning of the next request
	r, w int
	left int // of the present request
}

func newStream(nc net.Conn) *stream {
	s := &stream{nc: nc, buf: make([]byte, windowSize)}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return s // what is encrypted must be read
	}
	if raw, err := tcp.SyscallConn(); err == nil && kernelDrops {
		s.raw = raw
	}
	return s
}

// next begins the next request and returns its size.
func (s *stream) next() (int, error) {
	s.left = 4
	size := int(s.int32())
	if s.err == nil && (size < 8 || size > maxRequest) {
		s.err = errBadRequest
	}
	s.left = size
	return size, s.err
}

// fail makes the request end.
func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// has makes sure of n bytes of the request in the window.
func (s *stream) has(n int) bool {
	if s.err != nil {
		return false
	}
	if n < 0 || n > s.left {
		s.err = errBadRequest
		return false
	}
	if s.w-s.r >= n {
		return true
	}
	if s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if n > len(s.buf) {
		s.buf = append(make([]byte, 0, n), s.buf[:s.w]...)[:n]
	}
	for s.w < n {
		m, err := s.nc.Read(s.buf[s.w:])
		if s.w += m; err != nil {
			s.err = err
			return false
		}
	}
	return true
}

// take is the next n bytes, good until the next call. It is nil after an error.
func (s *stream) take(n int) []byte {
	if !s.has(n) {
		return nil
	}
	b := s.buf[s.r : s.r+n]
	s.r += n
	s.left -= n
	return b
}

// drop passes over n bytes.
func (s *stream) drop(n int) {
	if s.err != nil {
		return
	}
	if n < 0 || n > s.left {
		s.err = errBadRequest
		return
	}
	s.left -= n
	have := min(n, s.w-s.r)
	s.r += have
	n -= have
	for n > 0 && s.err == nil { // the window is empty
		var m int
		if s.raw != nil && n >= dropAtOnce {
			m, s.err = kernelDrop(s.raw, n)
		} else {
			m, s.err = s.nc.Read(s.buf)
			s.r, s.w = min(m, n), m
			m = s.r
		}
		if m == 0 && s.err == nil {
			s.err = io.ErrUnexpectedEOF
		}
		n -= m
	}
}

func (s *stream) int16() int16 {
	if b := s.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (s *stream) int32() int32 {
	if b := s.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (s *stream) uvarint() int {
	var v int
	for shift := 0; shift < 35; shift += 7 {
		b := s.take(1)
		if b == nil {
			return 0
		}
		if v |= int(b[0]&0x7f) << shift; b[0] < 0x80 {
			return v
		}
	}
	s.fail(errBadRequest)
	return 0
}

// length of a string, array or byte field; -1 is null.
func (s *stream) length(flexible bool, width int) int {
	switch {
	case flexible:
		return s.uvarint() - 1
	case width == 2:
		return int(s.int16())
	}
	return int(s.int32())
}

// bytes of a string, good until the next call.
func (s *stream) stringBytes(flexible bool) []byte {
	return s.take(max(0, s.length(flexible, 2)))
}

func (s *stream) tags() {
	for n := s.uvarint(); n > 0 && s.err == nil; n-- {
		s.uvarint()
		s.drop(s.uvarint())
	}
}
