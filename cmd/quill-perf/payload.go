package main

import (
	"fmt"
	"math/rand/v2"
)

// values makes JSON-like values of exactly size bytes from a fixed seed: about 4 MiB worth, so that a
// large batch does not hold a value many times over, which would flatter the codecs.
func values(size int) [][]byte {
	events := []string{"page_view", "add_to_cart", "checkout", "search", "login", "logout", "purchase", "click"}
	countries := []string{"DE", "US", "FR", "JP", "BR", "IN", "GB", "CN", "PL", "SE"}
	agents := []string{"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "okhttp/4.9.3", "curl/8.5.0"}
	r := rand.New(rand.NewPCG(42, 42)) // #nosec G404 -- the same values in each run
	pick := func(from []string) string { return from[r.IntN(len(from))] }

	out := make([][]byte, max(1, min(4<<20/size, 64<<10)))
	for i := range out {
		v := fmt.Appendf(make([]byte, 0, size+128), `{"ts":%d,"uid":%d,"ev":"%s","cc":"%s","ms":%d,"path":"/p/%x"`,
			1700000000000+int64(i*37+r.IntN(30)), r.IntN(1e7), pick(events), pick(countries), r.IntN(5000), r.Int64())
		for k := 0; len(v) < size; k++ {
			switch r.IntN(4) {
			case 0:
				v = fmt.Appendf(v, `,"item_%d":{"sku":"SKU-%08d","qty":%d,"price":%d.%02d}`, k, r.IntN(1e8), r.IntN(9), r.IntN(500), r.IntN(100))
			case 1:
				v = fmt.Appendf(v, `,"ua_%d":"%s"`, k, pick(agents))
			case 2:
				v = fmt.Appendf(v, `,"trace_%d":"%016x%016x"`, k, r.Uint64(), r.Uint64())
			default:
				v = fmt.Appendf(v, `,"score_%d":0.%06d,"seg_%d":"%s-%d"`, k, r.IntN(1e6), k, pick(countries), r.IntN(100))
			}
		}
		v[size-1] = '}'
		out[i] = v[:size]
	}
	return out
}

// keys makes n distinct keys of 16 bytes.
func keys(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "user-%011d", i)
	}
	return out
}
