package quill

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// simSums has a line for each seed: how long the transcript of its run is, and the sum of it. The transcript has what
// happened, all that the producer logs, what each record came to, and what is in the logs in the end. A change that is
// not meant to change anything leaves the file as it was.
type simSums struct {
	path  string
	first int
	lines []string // written by the seeds' goroutines, one each
}

// newSimSums returns nil if no sums are asked for.
func newSimSums(t *testing.T, first, n int) *simSums {
	prefix := os.Getenv("QUILL_SIM_SUMS")
	if prefix == "" {
		return nil
	}
	return &simSums{path: prefix + t.Name() + ".txt", first: first, lines: make([]string, n)}
}

func (s *simSums) add(seed int64, result simResult) {
	if s != nil {
		s.lines[int(seed)-s.first] = fmt.Sprintf("%d %d %x", seed, len(result.text), sha256.Sum256([]byte(result.text)))
	}
}

func (s *simSums) write(t *testing.T) {
	if s != nil {
		require.NoError(t, os.WriteFile(s.path, []byte(strings.Join(s.lines, "\n")+"\n"), 0o644))
	}
}

// sayOutcomes adds what each record came to, and what is in the logs, to the transcript.
func (x *simulation) sayOutcomes() {
	if !x.loud {
		return
	}
	for _, r := range x.records {
		outcome := "none"
		if e, ok := r.err.(*Error); ok {
			outcome = e.Outcome.String()
		}
		x.say("record %d: appended %v to partition %d, arrived %d times, told %d times, at last after %v: %+v, %v (%v)",
			r.index, r.in, r.partition, r.arrived, r.completed, r.doneAt.Sub(x.start), r.meta, r.err, outcome)
	}
	for _, t := range x.cluster.logs {
		for _, p := range t.partitions {
			for _, b := range p.batches {
				indexes := make([]int, len(b.records))
				for i, r := range b.records {
					indexes[i] = r.index
				}
				h := &b.header
				x.say("log of %s-%d (topic %v): at %d, marker %d, producer %d, epoch %d, sequence %d, times %d to %d, records %v",
					t.name, p.index, t.id, b.base, b.marker, h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.BaseTimestamp, h.MaxTimestamp, indexes)
			}
		}
	}
	x.say("%d epochs and ids given up", x.e.sender.idem.bumps)
}
