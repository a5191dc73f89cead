package kafkaharness

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/integration/ledger"
)

// Isolation says what a reader sees of transactions: Kafka's isolation.level.
type Isolation string

const (
	ReadUncommitted Isolation = "read_uncommitted" // all there is
	ReadCommitted   Isolation = "read_committed"   // nothing of transactions that are open or were aborted
)

// Rows has Kafka's own consumer read a whole topic. The consumer writes everything to a file first; the sequence then
// reads that file, can be read once, and removes it at its end.
func (c *Cluster) Rows(ctx context.Context, topic string) (iter.Seq2[ledger.Row, error], error) {
	return c.IsolatedRows(ctx, topic, ReadUncommitted)
}

// IsolatedRows is Rows of what a reader of that isolation sees.
func (c *Cluster) IsolatedRows(ctx context.Context, topic string, isolation Isolation) (iter.Seq2[ledger.Row, error], error) {
	file := filepath.Join(c.dir, fmt.Sprintf("rows-%s-%s", topic, isolation))
	rows, err := c.ask(ctx, "consume", c.bootstrapList(), string(isolation), topic, file)
	if err != nil {
		return nil, err
	}
	want, err := strconv.Atoi(rows[0][0])
	if err != nil {
		return nil, err
	}
	return func(yield func(ledger.Row, error) bool) {
		defer os.Remove(file)
		in, err := os.Open(file)
		if err != nil {
			yield(ledger.Row{}, err)
			return
		}
		defer in.Close()
		readRows(in, want, yield)
	}, nil
}

// readRows yields want rows, or an error if there are fewer or more.
func readRows(in io.Reader, want int, yield func(ledger.Row, error) bool) {
	buffered := bufio.NewReaderSize(in, 1<<20)
	var b [ledger.RowSize]byte
	for n := 0; ; n++ {
		_, err := io.ReadFull(buffered, b[:])
		switch {
		case errors.Is(err, io.EOF) && n == want:
			return
		case err != nil:
			yield(ledger.Row{}, fmt.Errorf("row %d of %d: %w", n, want, err))
			return
		case n == want:
			yield(ledger.Row{}, fmt.Errorf("more than %d rows", want))
			return
		}
		if !yield(ledger.DecodeRow(b[:]), nil) {
			return
		}
	}
}

// Record is one record in full.
type Record struct {
	Partition     int32
	Offset        int64
	Timestamp     int64  // milliseconds
	TimestampType string // CreateTime or LogAppendTime
	Key, Value    []byte // nil: null
	Headers       []ledger.Header
}

// Records has Kafka's own consumer read a whole topic in full: for small topics.
func (c *Cluster) Records(ctx context.Context, topic string) ([]Record, error) {
	return c.IsolatedRecords(ctx, topic, ReadUncommitted)
}

// IsolatedRecords is Records of what a reader of that isolation sees.
func (c *Cluster) IsolatedRecords(ctx context.Context, topic string, isolation Isolation) ([]Record, error) {
	rows, err := c.ask(ctx, "read", c.bootstrapList(), string(isolation), topic)
	if err != nil {
		return nil, err
	}
	return parseRecords(rows)
}

// Records has Kafka's own consumer read a topic of any cluster, up to its present end.
func (h *Helper) Records(ctx context.Context, bootstrap []string, topic string, isolation Isolation) ([]Record, error) {
	rows, err := h.Call(ctx, "read", strings.Join(bootstrap, ","), string(isolation), topic)
	if err != nil {
		return nil, err
	}
	return parseRecords(rows)
}

func parseRecords(rows [][]string) ([]Record, error) {
	records := make([]Record, len(rows))
	for i, row := range rows {
		var err error
		if records[i], err = parseRecord(row); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// parseRecord reads the words of one answer of the helper's read command.
func parseRecord(words []string) (Record, error) {
	var r Record
	if len(words) < 6 || len(words)%2 != 0 {
		return r, fmt.Errorf("a record of %d words", len(words))
	}
	r.TimestampType = words[3]
	partition, err := strconv.ParseInt(words[0], 10, 32)
	r.Partition = int32(partition)
	errs := []error{err}
	r.Offset, err = strconv.ParseInt(words[1], 10, 64)
	errs = append(errs, err)
	r.Timestamp, err = strconv.ParseInt(words[2], 10, 64)
	errs = append(errs, err)
	parts := make([][]byte, len(words)-4)
	for i, word := range words[4:] {
		if word == "-" {
			continue
		}
		parts[i], err = hex.DecodeString(word)
		errs = append(errs, err)
	}
	r.Key, r.Value = parts[0], parts[1]
	for at := 2; at < len(parts); at += 2 {
		r.Headers = append(r.Headers, ledger.Header{Name: string(parts[at]), Value: parts[at+1]})
	}
	return r, errors.Join(errs...)
}
