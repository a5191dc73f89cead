package kafkaharness

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Attempt is what Kafka's own producer said to one of its calls.
type Attempt struct {
	Error string // simple name of the exception's class; empty if the call worked
	Text  string
	Took  time.Duration
}

// AttemptWithJava makes the calls of Kafka's own producer, each when the one before has ended, and returns what came of each: init,
// begin, "send TOPIC", "offsets GROUP TOPIC", commit, abort. Settings are the producer's, "key=value" as a .properties file has them.
func (c *Cluster) AttemptWithJava(ctx context.Context, settings []string, steps ...string) ([]Attempt, error) {
	rows, err := c.helper.Call(ctx, "attempt", append([]string{strings.Join(settings, "\n")}, steps...)...)
	var attempts []Attempt
	for _, row := range rows {
		ms, err := strconv.Atoi(row[2])
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, Attempt{Error: row[0], Text: row[1], Took: time.Duration(ms) * time.Millisecond})
	}
	return attempts, err
}
