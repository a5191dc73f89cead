//go:build unix

package quill

import (
	"syscall"
	"time"
)

// processTime returns the CPU time that the process has used until now.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
