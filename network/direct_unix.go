//go:build unix

package network

import "syscall"

// attempt writes what a socket takes of b without blocking. Sockets of package net never block a system call.
var attempt = func(fd uintptr, b []byte) (int, error) {
	n, err := syscall.Write(int(fd), b)
	switch err {
	case nil:
		return n, nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, err
}
