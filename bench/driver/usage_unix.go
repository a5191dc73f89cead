//go:build unix

package driver

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// CPUTime returns what the process has used so far, all its threads together.
func CPUTime() (user, system time.Duration) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, 0
	}
	return time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())
}

// peakKiB is the highest resident memory. It is not getrusage's: that one is inherited from the
// process that started this one.
func peakKiB() int64 {
	b, _ := os.ReadFile("/proc/self/status") // not on every system
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n
		}
	}
	return 0
}
