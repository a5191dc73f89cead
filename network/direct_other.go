//go:build !unix

package network

// attempt is nil: the writer writes everything.
var attempt func(fd uintptr, b []byte) (int, error)
