package errors_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A batch that expires before it could leave says why: what those before it run into, or what keeps the node from
// taking more. Those before may have expired first.
func TestABatchThatNeverLeftSaysWhy(t *testing.T) {
	for _, c := range []struct {
		fault quilltest.Fault
		code  protocol.ErrorCode
		says  string
	}{
		{quilltest.Fault{Err: protocol.NotEnoughReplicas}, protocol.NotEnoughReplicas, "NOT_ENOUGH_REPLICAS"},
		{quilltest.Fault{Err: protocol.NotLeaderOrFollower}, protocol.NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER"},
		{quilltest.Fault{DropRequest: true}, 0, "request timed out"},
		{quilltest.Fault{AnswerDelay: 29 * time.Second}, 0, "node 1 is unanswered after 16s"},
		{quilltest.Fault{Throttle: 3 * time.Minute}, 0, "node 1 asks to be left alone for 2m15s more (a quota)"},
	} {
		testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, cluster *quilltest.Cluster) {
			cluster.MustCreateTopic("t", 1, quilltest.TopicConfig{})
			cfg := testkit.Config(cluster)
			cfg.BatchSize, cfg.DeliveryTimeout = 100, 45*time.Second
			p := testkit.Open(t, cfg)
			c.fault.APIs, c.fault.Times = []protocol.APIKey{protocol.Produce}, -1
			fault := cluster.Inject(c.fault)
			var sent []quill.Future
			for i := range 12 {
				sent = append(sent, p.Send(t.Context(), testkit.Rec("t", "", strings.Repeat("x", 50))))
				if i == 8 {
					time.Sleep(5 * time.Second) // the last three expire when the others have
				}
			}
			for _, i := range []int{7, 8, 11} {
				_, err := sent[i].Wait(t.Context())
				e, ok := errors.AsType[*quill.Error](err)
				require.True(t, ok, c.says)
				require.ErrorIs(t, err, quill.ErrDeliveryTimeout)
				require.Equal(t, quill.NotSent, e.Outcome)
				require.ErrorContains(t, err, "1 record expired after 45s (delivery.timeout.ms) before being sent")
				require.Error(t, e.Cause, c.says)
				code, _ := errors.AsType[protocol.ErrorCode](err)
				require.Equal(t, c.code, code, err)
				if i != 11 {
					require.ErrorContains(t, err, c.says)
				}
			}
			fault.Remove()
			time.Sleep(3 * time.Minute)
			testkit.SendOK(t, p, "t")
			testkit.CloseProducer(t, p)
		})
	}
}
