// Package goid tells goroutines apart. It is for calls that would wait for a goroutine: they ask whether they run on that one.
package goid

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
)

var texts = sync.Pool{New: func() any { return new([64]byte) }}

// Current returns the number of the running goroutine, -1 if it can't be read. The runtime gives it only in the text of
// a stack trace, "goroutine 18 [running]:", so a call takes about a microsecond. It does not allocate.
func Current() int64 {
	buf := texts.Get().(*[64]byte)
	defer texts.Put(buf)
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return -1
	}
	return id
}
