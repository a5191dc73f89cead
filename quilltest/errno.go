//go:build !plan9

package quilltest

import "syscall"

// What a socket's operations fail with when there is no listener, and when the other end is gone.
const (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
)
