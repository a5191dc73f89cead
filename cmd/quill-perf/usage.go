package main

import (
	"runtime"
	"time"
)

// usage is what the process has used since it started.
type usage struct {
	user, system time.Duration
	peakKiB      int64 // of resident memory; not a difference
	mallocs      uint64
	allocated    uint64 // bytes
	gcs          uint32
}

func takeUsage() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{mallocs: m.Mallocs, allocated: m.TotalAlloc, gcs: m.NumGC}
	u.user, u.system, u.peakKiB = processUsage()
	return u
}

func (u usage) minus(v usage) usage {
	return usage{u.user - v.user, u.system - v.system, u.peakKiB, u.mallocs - v.mallocs, u.allocated - v.allocated, u.gcs - v.gcs}
}
