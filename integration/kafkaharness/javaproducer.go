package kafkaharness

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/quill-kafka/quill/integration/ledger"
)

// ProduceWithJava sends all records of the ledger's plan with Kafka's own producer and takes down what it answers. It is the
// peer that our producer is held against, and proves the harness itself. Settings are the producer's, "key=value".
func (c *Cluster) ProduceWithJava(ctx context.Context, topic string, l *ledger.Ledger, settings ...string) error {
	records := filepath.Join(c.dir, "java-records-"+topic)
	answers := filepath.Join(c.dir, "java-answers-"+topic)
	defer os.Remove(records)
	defer os.Remove(answers)
	if err := writeRecords(records, l); err != nil {
		return err
	}
	words := append([]string{c.bootstrapList(), topic, records, answers}, settings...)
	if _, err := c.helper.Call(ctx, "produce", words...); err != nil {
		return err
	}
	return readResults(answers, l)
}

// ConsoleProducer runs Kafka's console producer against one address, with a client's .properties file, until it has sent the lines.
// It ends well also if a record failed, as Kafka's tool does. Flags are the JVM's.
func (c *Cluster) ConsoleProducer(ctx context.Context, addr, topic, properties string, lines io.Reader, flags ...string) error {
	tools := c.nodes[0].tools
	cmd := exec.CommandContext(ctx, tools.Java, append(flags, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classPath(tools.BrokerJars), "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", addr, "--topic", topic, "--producer.config", properties)...)
	cmd.Stdin = lines
	return run(cmd)
}

// writeRecords writes the plan's records, a round over all streams after the other.
func writeRecords(file string, l *ledger.Ledger) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	buffered := bufio.NewWriterSize(out, 1<<20)
	plan := l.Plan()
	b := binary.BigEndian.AppendUint32(nil, uint32(plan.Records()))
	for counter := range plan.PerStream {
		for stream := range plan.Streams {
			l.Sent(stream, counter)
			b = appendSized(b, func(dst []byte) []byte { return plan.AppendKey(dst, stream, counter) })
			b = appendSized(b, func(dst []byte) []byte { return plan.AppendValue(dst, stream, counter) })
			if _, err := buffered.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return buffered.Flush()
}

// appendSized appends a part with its length before it.
func appendSized(dst []byte, part func(dst []byte) []byte) []byte {
	at := len(dst)
	dst = part(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// readResults reads the answers, in the order of writeRecords.
func readResults(file string, l *ledger.Ledger) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	buffered := bufio.NewReaderSize(in, 1<<20)
	plan := l.Plan()
	for counter := range plan.PerStream {
		for stream := range plan.Streams {
			var result struct {
				Partition         int32
				Offset, Timestamp int64
			}
			if err := binary.Read(buffered, binary.BigEndian, &result); err != nil {
				return err
			}
			r := ledger.Result{Outcome: ledger.Acknowledged, Partition: result.Partition, Offset: result.Offset, Timestamp: result.Timestamp}
			if result.Partition < 0 {
				r.Outcome, r.Class = ledger.MaybeWritten, "failed"
			}
			l.Done(stream, counter, r)
		}
	}
	return nil
}
