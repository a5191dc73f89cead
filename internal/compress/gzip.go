package compress

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipStandardLevel is what level -1 means, to zlib and so to Java. To the library it is 5.
const gzipStandardLevel = 6

// gzipEncoder writes one gzip member.
type gzipEncoder struct {
	w   *gzip.Writer
	out sliceWriter
}

func newGzipEncoder(level int) *gzipEncoder {
	if level == -1 {
		level = gzipStandardLevel
	}
	w, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		panic(err) // New has checked the level
	}
	return &gzipEncoder{w: w}
}

func (e *gzipEncoder) encode(dst []byte, src [][]byte) ([]byte, error) {
	e.out.b = dst
	e.w.Reset(&e.out)
	for _, part := range src {
		_, _ = e.w.Write(part) // its error sticks
	}
	err := e.w.Close()
	dst, e.out.b = e.out.b, nil
	return dst, err
}

// sliceWriter appends what is written.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// gzipDecoder reads gzip members until the input ends.
type gzipDecoder struct {
	in   bytes.Reader
	r    gzip.Reader
	peek [1]byte
}

var gzipDecoders = sync.Pool{New: func() any { return new(gzipDecoder) }}

func gunzip(dst, src []byte, limit int) ([]byte, error) {
	d := gzipDecoders.Get().(*gzipDecoder)
	defer gzipDecoders.Put(d)
	d.in.Reset(src)
	defer d.in.Reset(nil)
	if err := d.r.Reset(&d.in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	dst = slices.Grow(dst, min(limit, 4*len(src)))
	for end := len(dst) + limit; ; {
		if len(dst) == cap(dst) && len(dst) < end {
			dst = slices.Grow(dst, min(len(dst), end-len(dst)))
		}
		room := dst[len(dst):min(cap(dst), end)]
		full := len(room) == 0
		if full {
			room = d.peek[:]
		}
		n, err := d.r.Read(room)
		switch {
		case full && n > 0:
			return nil, ErrTooLarge
		case !full:
			dst = dst[:len(dst)+n]
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
}
