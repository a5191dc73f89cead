package protocol

import "testing"

func BenchmarkAppendRecord(b *testing.B) {
	value := make([]byte, 100)
	b.Run("value=100", func(b *testing.B) { benchAppendRecord(b, nil, value, nil) })
	b.Run("key=16,value=100", func(b *testing.B) { benchAppendRecord(b, make([]byte, 16), value, nil) })
	b.Run("value=1000", func(b *testing.B) { benchAppendRecord(b, nil, make([]byte, 1000), nil) })
	b.Run("value=100,headers=2", func(b *testing.B) {
		benchAppendRecord(b, nil, value, []Header{{"trace-id", make([]byte, 16)}, {"source", []byte("web")}})
	})
}

func benchAppendRecord(b *testing.B, key, value []byte, headers []Header) {
	buf := make([]byte, 0, 16<<10)
	dst := buf
	var n int32
	b.ReportAllocs()
	b.SetBytes(int64(len(key) + len(value)))
	for b.Loop() {
		if cap(dst)-len(dst) < 2048 {
			dst, n = buf, 0
		}
		dst = AppendRecord(dst, n, int64(n>>4), key, value, headers)
		n++
	}
}

func BenchmarkRecordSize(b *testing.B) {
	value := make([]byte, 100)
	for b.Loop() {
		RecordSize(5, 10, nil, value, nil)
	}
}

func BenchmarkReadRecord(b *testing.B) {
	enc := AppendRecord(nil, 100, 1000, []byte("key"), make([]byte, 100), nil)
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(enc)
		if _, err := ReadRecord(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatchCRC16KiB(b *testing.B) {
	batch := make([]byte, 16<<10)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		BatchCRC(batch)
	}
}
