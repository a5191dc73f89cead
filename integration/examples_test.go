package integration

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
)

// TestConsumersOfOthersExactlyOnce runs the examples of consume-transform-produce loops, with two processes each, and kills both once.
func TestConsumersOfOthersExactlyOnce(t *testing.T) {
	for _, name := range []string{"franzgo", "sarama"} {
		t.Run(name, func(t *testing.T) {
			const records = 4000
			c := threeNodes(t)
			ctx := within(t, 3*time.Minute)
			in, out, dir := newTopic(t, c, name+"-in", 4), newTopic(t, c, name+"-out", 4), t.TempDir()
			binary := filepath.Join(dir, name)
			build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./"+name)
			build.Dir = filepath.Join("..", "examples", "eos")
			said, err := build.CombinedOutput()
			require.NoError(t, err, "%s", said)

			p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap()})
			var want []string
			send := func(n int) {
				for range n {
					value := fmt.Sprintf("order %06d", len(want))
					p.SendFunc(ctx, quill.Record[[]byte, []byte]{Topic: in, Partition: quill.Partition(int32(len(want) % 4)), Value: []byte(value)}, nil)
					want = append(want, strings.ToUpper(value))
				}
				require.NoError(t, p.Flush(ctx))
			}
			start := func(i int) *kafkaharness.Program {
				id := fmt.Sprintf("%s-%d", name, i)
				program, err := kafkaharness.StartProgram(filepath.Join(dir, id+".log"), binary, "-bootstrap", strings.Join(c.Bootstrap(), ","),
					"-in", in, "-out", out, "-group", name, "-id", id, "-records", "100")
				require.NoError(t, err)
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("%s, last lines of its log:\n%s", id, program.LogTail(15))
					}
				})
				return program
			}
			send(records / 2)
			programs := []*kafkaharness.Program{start(0), start(1)}
			for i := range programs {
				require.NoError(t, waitOffsets(ctx, c, name, in, (i+1)*records/8))
				require.NoError(t, programs[i].Kill())
				programs[i] = start(i)
			}
			send(records / 2)
			require.NoError(t, waitOffsets(ctx, c, name, in, records))
			for _, program := range programs {
				require.NoError(t, program.Stop(30*time.Second))
			}
			require.NoError(t, c.WaitNoTransactions(ctx, in, out))
			require.Equal(t, want, valuesOf(ctx, t, c, out, kafkaharness.ReadCommitted))
		})
	}
}

// waitOffsets returns once a group has committed so many records of a topic.
func waitOffsets(ctx context.Context, c *kafkaharness.Cluster, group, topic string, records int) error {
	for {
		offsets, err := c.GroupOffsets(ctx, group, topic)
		if err != nil {
			return err
		}
		total := 0
		for _, offset := range offsets {
			total += int(offset)
		}
		if total >= records {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("offsets are at %v: %w", offsets, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
