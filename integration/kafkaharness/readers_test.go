package kafkaharness

import (
	"bytes"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/integration/ledger"
)

// plan is what Kafka's producer had written when testdata was captured; kcat then wrote two records more.
var plan = ledger.Plan{Run: 1, Streams: 1, PerStream: 40, Keys: 4, ValueSize: 60}

// TestDumpIsUnderstood parses what DumpLogSegments 4.3.1 printed.
func TestDumpIsUnderstood(t *testing.T) {
	in, err := os.Open("testdata/dump.txt")
	require.NoError(t, err)
	defer in.Close()
	var batches []ledger.Batch
	parseDump(in, collect(t, &batches))
	require.Len(t, batches, 22)
	require.Equal(t, ledger.Batch{
		Topic: "cap-1", Partition: 0, BaseOffset: 2, LastOffset: 3, Count: 2, BaseSequence: 2, LastSequence: 3,
		Magic: 2, Codec: "lz4", Size: 191, CRC: 1098297526, Valid: true,
	}, batches[1])
	require.EqualValues(t, -1, batches[len(batches)-1].ProducerID, "kcat's batch has no producer id")
	sent := batches[:0]
	for _, b := range batches {
		if b.ProducerID >= 0 {
			sent = append(sent, b)
		}
	}
	report, err := ledger.CheckBatches(ledger.BatchRules{Codec: "lz4", Idempotent: true}, all(sent))
	require.NoError(t, err)
	require.NoError(t, report.Violations.Err())
	require.Equal(t, plan.Records(), report.Records)
	require.Equal(t, 1, report.Producers)
}

// TestDumpOfBrokenLogIsRefused feeds lines that the tool prints about damage, or that lack a field.
func TestDumpOfBrokenLogIsRefused(t *testing.T) {
	for _, text := range []string{
		"Found 17 invalid bytes at the end of 00000000000000000000.log\n",
		"Dumping nothing\n",
		"baseOffset: 0 lastOffset: 1\n",
		"baseOffset: x lastOffset: 1 count: 2\n",
	} {
		var got error
		parseDump(strings.NewReader(text), func(_ ledger.Batch, err error) bool {
			got = err
			return true
		})
		require.Error(t, got, text)
	}
}

// TestKcatOutputIsUnderstood parses what kcat 1.7.1 printed, and refuses each beginning of it that ends inside a record.
func TestKcatOutputIsUnderstood(t *testing.T) {
	text, err := os.ReadFile("testdata/kcat.txt")
	require.NoError(t, err)
	var rows []ledger.Row
	require.True(t, parseKcat(bytes.NewReader(text), collect(t, &rows)))
	require.Len(t, rows, 42)
	require.Equal(t, 2, count(rows, func(r ledger.Row) bool { return r.Run != plan.Run }))
	last := rows[len(rows)-1]
	require.Equal(t, ledger.NewRow(1, 20, 1795237071399, []byte("k"), []byte("v with\ttab"), nil), last)

	ends := map[int]bool{0: true}
	for at, b := range text {
		ends[at+1] = b == '\n'
	}
	for at := range text {
		good := parseKcat(bytes.NewReader(text[:at]), func(ledger.Row, error) bool { return true })
		require.Equal(t, ends[at], good, "cut after %d bytes", at)
	}
}

// TestRowsFileIsCounted refuses a file that holds other than the announced number of rows.
func TestRowsFileIsCounted(t *testing.T) {
	for _, k := range []struct {
		size, want int
		good       bool
	}{{0, 0, true}, {2 * ledger.RowSize, 2, true}, {2 * ledger.RowSize, 1, false}, {ledger.RowSize, 2, false}, {ledger.RowSize + 5, 1, false}, {ledger.RowSize - 1, 1, false}} {
		var failed error
		readRows(bytes.NewReader(make([]byte, k.size)), k.want, func(_ ledger.Row, err error) bool {
			failed = err
			return err == nil
		})
		require.Equal(t, k.good, failed == nil, "%d bytes for %d rows: %v", k.size, k.want, failed)
	}
}

// TestRecordInFull parses a record of the helper's read command.
func TestRecordInFull(t *testing.T) {
	r, err := parseRecord([]string{"3", "7", "1795237071399", "CreateTime", "-", "6162", "68", "", "69", "-"})
	require.NoError(t, err)
	require.Nil(t, r.Key)
	require.Equal(t, "ab", string(r.Value))
	require.Equal(t, []ledger.Header{{Name: "h", Value: []byte{}}, {Name: "i", Value: nil}}, r.Headers)
	for _, words := range [][]string{{"1"}, {"3", "7", "9", "CreateTime", "-", "6162", "68"}, {"x", "7", "9", "CreateTime", "-", "-"}, {"3", "7", "9", "CreateTime", "zz", "-"}} {
		_, err := parseRecord(words)
		require.Error(t, err, words)
	}
}

// TestSegmentsOfOneTopic leaves out other topics whose names begin alike, and deleted partitions.
func TestSegmentsOfOneTopic(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a-0", "a-10", "a-b-0", "a-0.5f-delete"} {
		require.NoError(t, os.Mkdir(dir+"/"+name, 0o755))
		for _, file := range []string{"20.log", "00.log", "00.index"} {
			require.NoError(t, os.WriteFile(dir+"/"+name+"/"+file, nil, 0o644))
		}
	}
	segments, err := segmentsOf(dir, "a")
	require.NoError(t, err)
	require.Equal(t, []string{dir + "/a-0/00.log", dir + "/a-0/20.log", dir + "/a-10/00.log", dir + "/a-10/20.log"}, segments)
	_, err = segmentsOf(dir, "c")
	require.Error(t, err)
}

// collect returns a yield function that gathers values and fails the test on errors.
func collect[T any](t *testing.T, into *[]T) func(T, error) bool {
	return func(value T, err error) bool {
		require.NoError(t, err)
		*into = append(*into, value)
		return true
	}
}

func all[T any](values []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, value := range values {
			if !yield(value, nil) {
				return
			}
		}
	}
}

func count[T any](values []T, match func(T) bool) int {
	n := 0
	for _, value := range values {
		if match(value) {
			n++
		}
	}
	return n
}
