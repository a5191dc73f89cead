package compress

import (
	"fmt"
	"testing"
)

var sizes = []int{16 << 10, 128 << 10, 1 << 20}

func BenchmarkCompress(b *testing.B) {
	in := vectorInput("text", 4<<20)
	for _, codec := range codecs[1:] {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%dKiB", codec, size>>10), func(b *testing.B) {
				c := newCompressor(b, codec, DefaultLevel)
				dst := make([]byte, 0, 2*size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				at, packed := 0, 0
				for b.Loop() { // over all of in: a batch that returns would teach the branch predictor
					out, err := c.Compress(dst, in[at:at+size])
					if err != nil {
						b.Fatal(err)
					}
					packed += len(out)
					at = (at + size) % len(in)
				}
				b.ReportMetric(float64(packed)/float64(size)/float64(b.N), "packed/raw")
			})
		}
	}
}

func BenchmarkDecompress(b *testing.B) {
	const size = 128 << 10
	in := vectorInput("text", size)
	for _, codec := range codecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			packed, err := newCompressor(b, codec, DefaultLevel).Compress(nil, in)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 2*size)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decompress(codec, dst, packed, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
