//go:build !unix

package main

import "time"

// processUsage is not known here.
func processUsage() (user, system time.Duration, peakKiB int64) { return 0, 0, 0 }
