//go:build unix

package main

import (
	"runtime"
	"syscall"
	"time"
)

// processUsage asks the operating system. It is all zero if that does not answer.
func processUsage() (user, system time.Duration, peakKiB int64) {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0, 0, 0
	}
	peakKiB = int64(ru.Maxrss)
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		peakKiB /= 1024 // bytes there
	}
	return time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano()), peakKiB
}
