//go:build !amd64 || purego

package prefetch

// Following asks for the two cache lines after the one that p is in.
func Following(p *byte) {}

// Word asks for the cache line that p is in.
func Word(p *int64) {}
