package driver

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

// Result is what one run of one peer has shown: the line of JSON. A peer in another language prints the same.
type Result struct {
	Client  string  `json:"client"`
	Records int     `json:"records"`
	Warmup  int     `json:"warmup"`
	Size    int     `json:"size"`
	Wall    float64 `json:"wall"` // seconds, as User and System
	User    float64 `json:"user"`
	System  float64 `json:"sys"`

	PerCPU  float64 `json:"rpcs"` // records per CPU-second: the figure that counts
	PerWall float64 `json:"rps"`  // records per second
	MBytes  float64 `json:"mbps"` // 10^6 bytes of values per second

	Mallocs    float64 `json:"mallocs"`     // per record, of the Go heap only; -1 if unknown
	AllocBytes float64 `json:"alloc_bytes"` // per record
	GCs        uint32  `json:"gcs"`
	PeakKiB    int64   `json:"hwm_kib"` // resident memory at its highest, payload included; 0 if unknown

	P50     float64 `json:"p50"` // microseconds, as the next three
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Max     float64 `json:"max"`
	Samples int     `json:"samples"`

	Errors     int64  `json:"errors"`
	FirstError string `json:"first_error,omitempty"`
}

// instant is what is read before and after.
type instant struct {
	at           time.Time
	user, system time.Duration
	heap         runtime.MemStats
}

func measure() (i instant) {
	runtime.ReadMemStats(&i.heap)
	i.user, i.system = CPUTime()
	i.at = time.Now()
	return i
}

func newResult(name string, c Config, m *Meter, a, b instant) Result {
	l := m.latencies()
	n := float64(c.Records)
	r := Result{
		Client: name, Records: c.Records, Warmup: c.Warmup, Size: c.Size,
		Wall: b.at.Sub(a.at).Seconds(), User: (b.user - a.user).Seconds(), System: (b.system - a.system).Seconds(),
		Mallocs:    float64(b.heap.Mallocs-a.heap.Mallocs) / n,
		AllocBytes: float64(b.heap.TotalAlloc-a.heap.TotalAlloc) / n,
		GCs:        b.heap.NumGC - a.heap.NumGC, PeakKiB: peakKiB(),
		P50: percentile(l, .5), P99: percentile(l, .99), P999: percentile(l, .999), Max: percentile(l, 1), Samples: len(l),
		Errors: m.failures.Load(),
	}
	r.PerWall = n / r.Wall
	r.MBytes = r.PerWall * float64(c.Size) / 1e6
	if cpu := r.User + r.System; cpu > 0 {
		r.PerCPU = n / cpu
	}
	if err := m.firstFailure.Load(); err != nil {
		r.FirstError = (*err).Error()
	}
	return r
}

// profile starts the profiles asked for and returns what ends them. Without any it collects garbage
// only, so that every measuring starts from a clean heap.
func profile(c Config) (stop func() error, err error) {
	var cpu *os.File
	if c.CPUProfile != "" {
		if cpu, err = os.Create(c.CPUProfile); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(err, cpu.Close())
		}
	}
	if c.MemProfile != "" {
		runtime.MemProfileRate = 16 << 10
	}
	runtime.GC()
	return func() error {
		var errs []error
		if cpu != nil {
			pprof.StopCPUProfile()
			errs = append(errs, cpu.Close())
		}
		if c.MemProfile != "" {
			f, err := os.Create(c.MemProfile)
			if err != nil {
				return errors.Join(append(errs, err)...)
			}
			errs = append(errs, pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
		}
		return errors.Join(errs...)
	}, nil
}
