package integration

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestQuickstartOnRealKafka runs the first example a reader meets against a real cluster.
func TestQuickstartOnRealKafka(t *testing.T) {
	c := threeNodes(t)
	topic := newTopic(t, c, "quickstart", 3)
	ctx := within(t, 2*time.Minute)
	cmd := exec.CommandContext(ctx, "go", "run", "./examples/quickstart", "-bootstrap", c.Bootstrap()[0])
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	require.Contains(t, string(out), "delivered 100000 of 100000 records")
	ends, err := c.EndOffsets(ctx, topic)
	require.NoError(t, err)
	var records int64
	for _, end := range ends {
		records += end
	}
	require.EqualValues(t, 100_000, records, "as many as the example tells, none twice")
}
