package kafkaharness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/integration/ledger"
)

// Batches has Kafka's DumpLogSegments read a node's copy of a topic from its disk. The node may run. The partitions
// come one after another, each in the order of its log. The sequence can be read once.
func (c *Cluster) Batches(ctx context.Context, n *Node, topic string) (iter.Seq2[ledger.Batch, error], error) {
	segments, err := segmentsOf(n.DataDir(), topic)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, fmt.Sprintf("dump-%d-%s", n.ID, topic))
	if _, err := c.helper.Call(ctx, "dump", append([]string{file}, segments...)...); err != nil {
		return nil, err
	}
	return func(yield func(ledger.Batch, error) bool) {
		defer os.Remove(file)
		in, err := os.Open(file)
		if err != nil {
			yield(ledger.Batch{}, err)
			return
		}
		defer in.Close()
		parseDump(in, yield)
	}, nil
}

// segmentsOf lists a topic's segment files, those of a partition in order.
func segmentsOf(dataDir, topic string) ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(dataDir, topic+"-*"))
	if err != nil {
		return nil, err
	}
	var segments []string
	for _, dir := range dirs {
		if _, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), topic+"-")); err != nil {
			continue // another topic's, or one being deleted
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			return nil, err
		}
		segments = append(segments, slices.Sorted(slices.Values(files))...)
	}
	if len(segments) == 0 {
		return nil, fmt.Errorf("no segments of %s in %s", topic, dataDir)
	}
	return segments, nil
}

// parseDump yields the batches that DumpLogSegments printed. It knows every line the tool prints about a sound log and takes
// any other for a fault.
func parseDump(in io.Reader, yield func(ledger.Batch, error) bool) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var topic string
	var partition int32
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		var err error
		switch {
		case line == "" || strings.HasPrefix(line, "Log starting offset: "):
		case strings.HasPrefix(line, "Dumping "):
			topic, partition, err = dumpedPartition(strings.TrimPrefix(line, "Dumping "))
		case strings.HasPrefix(line, "baseOffset: "):
			var b ledger.Batch
			if b, err = parseBatch(line); err == nil {
				b.Topic, b.Partition = topic, partition
				if !yield(b, nil) {
					return
				}
			}
		default:
			err = fmt.Errorf("unknown line %q", line)
		}
		if err != nil {
			yield(ledger.Batch{}, fmt.Errorf("dump line %d: %w", n, err))
			return
		}
	}
	if err := lines.Err(); err != nil {
		yield(ledger.Batch{}, err)
	}
}

// dumpedPartition reads topic and partition from the path of a segment.
func dumpedPartition(path string) (string, int32, error) {
	name := filepath.Base(filepath.Dir(path))
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return "", 0, fmt.Errorf("no partition in %q", path)
	}
	partition, err := strconv.ParseInt(name[cut+1:], 10, 32)
	return name[:cut], int32(partition), err
}

// parseBatch reads "name: value" pairs; every field of ledger.Batch must be among them.
func parseBatch(line string) (ledger.Batch, error) {
	words := strings.Fields(line)
	values := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		values[strings.TrimSuffix(words[i], ":")] = words[i+1]
	}
	var firstErr error
	take := func(name string) string {
		value, ok := values[name]
		if !ok && firstErr == nil {
			firstErr = fmt.Errorf("no %s in %q (found %v)", name, line, slices.Sorted(maps.Keys(values)))
		}
		return value
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(take(name), 10, 64)
		if err != nil && firstErr == nil {
			firstErr = fmt.Errorf("%s: %w", name, err)
		}
		return n
	}
	b := ledger.Batch{
		BaseOffset:    number("baseOffset"),
		LastOffset:    number("lastOffset"),
		Count:         int32(number("count")),
		BaseSequence:  int32(number("baseSequence")),
		LastSequence:  int32(number("lastSequence")),
		ProducerID:    number("producerId"),
		ProducerEpoch: int16(number("producerEpoch")),
		LeaderEpoch:   int32(number("partitionLeaderEpoch")),
		Transactional: take("isTransactional") == "true",
		Control:       take("isControl") == "true",
		Magic:         int8(number("magic")),
		Codec:         take("compresscodec"),
		Size:          int(number("size")),
		CRC:           uint32(number("crc")),
		Valid:         take("isvalid") == "true",
	}
	return b, firstErr
}
