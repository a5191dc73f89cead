package quilltest

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/protocol"
)

// FuzzCheckBatch throws bytes at the checks of the log: what passes must be readable, and nothing
// may panic.
func FuzzCheckBatch(f *testing.F) {
	f.Add(testBatch{values: records(3)}.bytes())
	f.Add(testBatch{values: records(1), pid: 5, epoch: 1, sequence: 7}.bytes())
	for codec := range int16(8) {
		f.Add(testBatch{values: records(2), header: func(h *protocol.BatchHeader) { h.Attributes |= codec }}.bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) >= protocol.BatchOverhead {
			protocol.PutBatchCRC(raw, protocol.BatchCRC(raw))
		}
		cfg, err := TopicConfig{MaxTimestampAhead: -1}.resolve(3)
		if err != nil {
			t.Fatal(err)
		}
		if _, bad := checkBatch(raw, latestProduce, &cfg, false, time.Now()); bad != nil && bad.code == protocol.None {
			t.Fatal("refused without an error code")
		}
		b, bad := checkBatch(raw, latestProduce, &cfg, true, time.Now())
		if bad != nil {
			if bad.code == protocol.None {
				t.Fatal("refused without an error code")
			}
			return
		}
		got, err := Batch{Header: b.header, Bytes: raw}.Records()
		if err != nil || len(got) != int(b.header.Count) {
			t.Fatalf("accepted %d records, read back %d: %v", b.header.Count, len(got), err)
		}
	})
}
