//go:build linux && (amd64 || arm64)

package null

import (
	"io"
	"syscall"
)

const kernelDrops = true

// kernelDrop waits for payload and makes the kernel forget up to n bytes of it: recv(2) with
// MSG_TRUNC and no memory to copy to (tcp(7)).
func kernelDrop(raw syscall.RawConn, n int) (int, error) {
	var m uintptr
	var errno syscall.Errno
	err := raw.Read(func(fd uintptr) bool {
		for {
			m, _, errno = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, 0, uintptr(n), syscall.MSG_TRUNC|syscall.MSG_DONTWAIT, 0, 0)
			if errno != syscall.EINTR {
				return errno != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, errno
	case m == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return int(m), nil
}
