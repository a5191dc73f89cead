package quilltest

import "syscall"

// What a socket's operations fail with when there is no listener, and when the other end is gone. Plan 9
// has texts instead of numbers.
const (
	errRefused = syscall.ErrorString("connection refused")
	errReset   = syscall.ErrorString("connection reset by peer")
)
