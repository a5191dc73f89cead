package quilltest

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkCheckBatch measures what the cluster adds to each record: 100-byte values, uncompressed.
func BenchmarkCheckBatch(b *testing.B) {
	values := make([]string, 1000)
	for i := range values {
		values[i] = strings.Repeat("x", 100)
	}
	raw := testBatch{values: values}.bytes()
	cfg, err := TopicConfig{}.resolve(3)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, bad := checkBatch(raw, latestProduce, &cfg, false, now); bad != nil {
			b.Fatal(bad.reason)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(values)), "ns/record")
}

// BenchmarkProduce measures one request of 1000 records and its answer.
func BenchmarkProduce(b *testing.B) {
	for name, opts := range map[string]Options{"tcp": {Retain: -1}, "pipes": {Retain: -1, Pipes: true}} {
		b.Run(name, func(b *testing.B) {
			c := Start(b, opts)
			c.MustCreateTopic("orders", 1, TopicConfig{})
			values := make([]string, 1000)
			for i := range values {
				values[i] = strings.Repeat("x", 100)
			}
			r := dial(b, c, 1)
			req := produceRequest(c, "orders", -1, testBatch{values: values}.bytes())
			b.ReportAllocs()
			for b.Loop() {
				r.do(req, latestProduce)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(values)), "ns/record")
		})
	}
}
