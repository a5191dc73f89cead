package compress

import (
	"bytes"
	"testing"
)

// fuzzDecompress checks that an input of any kind does no harm, and that what it unpacks to comes back.
func fuzzDecompress(f *testing.F, codec Codec) {
	const limit = 1 << 18
	c := newCompressor(f, codec, DefaultLevel)
	for _, in := range [][]byte{nil, []byte("quill"), vectorInput("text", 2000), vectorInput("noise", 300), make([]byte, 5000)} {
		packed, err := c.Compress(nil, in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	for _, form := range foreign(f, vectorInput("text", 1200)) {
		if form.codec == codec {
			f.Add(form.packed)
		}
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		out, err := Decompress(codec, []byte("abc"), packed, limit)
		if !bytes.HasPrefix(out, []byte("abc")) || len(out) > limit+3 {
			t.Fatalf("output of %d bytes", len(out))
		}
		if err != nil {
			if len(out) != 3 {
				t.Fatal("output beside an error")
			}
			return
		}
		again, err := c.Compress(nil, out[3:])
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decompress(codec, nil, again, limit)
		if err != nil || !bytes.Equal(back, out[3:]) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func FuzzDecompressGzip(f *testing.F)   { fuzzDecompress(f, Gzip) }
func FuzzDecompressSnappy(f *testing.F) { fuzzDecompress(f, Snappy) }
func FuzzDecompressLZ4(f *testing.F)    { fuzzDecompress(f, LZ4) }
func FuzzDecompressZstd(f *testing.F)   { fuzzDecompress(f, Zstd) }
