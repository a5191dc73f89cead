package quill

import "sync"

// NewFuture returns a future that is not a Producer's, for fakes of one in tests, and the function
// that gives it its outcome. Only the first call of that function counts; it may be called from any
// goroutine. topic and partition (-1 if none was chosen) are what a wait that ends early tells.
func NewFuture(topic string, partition int32) (f Future, resolve func(m RecordMetadata, err error)) {
	res := &result{topic: topic, partition: partition, fate: noFate, meta: make([]recordMeta, 1), shared: true}
	var once sync.Once
	return Future{res: res}, func(m RecordMetadata, err error) {
		once.Do(func() {
			res.baseOffset, res.err = m.Offset, err
			res.meta[0] = recordMeta{timestamp: timestampMillis(m.Timestamp), keySize: m.KeySize, valueSize: m.ValueSize}
			res.release()
		})
	}
}
