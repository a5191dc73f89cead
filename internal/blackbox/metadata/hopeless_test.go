package metadata_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// A partition without a leader, or one that is not there, is asked for with growing pauses. Those are its own: a leader
// change of another partition is followed as fast as without it, where brokers do not name new leaders. Nor does
// each such change make requests without pauses.
func TestVainAskingForOnePartitionDelaysNoOther(t *testing.T) {
	keepSending := func(x *testkit.Lab, stop chan struct{}, topic string, partition int32) {
		for {
			select {
			case <-stop:
				return
			default:
				x.P.SendFunc(x.Context(), testkit.OnPartition(partition, testkit.Rec(topic, "", "v")), nil)
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	for name, disturb := range map[string]func(x *testkit.Lab, stop chan struct{}){
		"calm":                        func(*testkit.Lab, chan struct{}) {},
		"a partition that is missing": func(x *testkit.Lab, stop chan struct{}) { keepSending(x, stop, "t", 9) },
		"partitions without a leader": func(x *testkit.Lab, stop chan struct{}) {
			leader, _, err := x.C.Leader("lonely", 0)
			require.NoError(x, err)
			require.NoError(x, x.C.StopNode(leader))
			keepSending(x, stop, "lonely", 0)
		},
	} {
		testkit.InLab(t, quilltest.Options{Nodes: 4, Release: "3.0"}, func(cfg *quill.Config) { cfg.MetadataMaxAge = time.Hour }, func(x *testkit.Lab) {
			x.C.MustCreateTopic("lonely", 1, quilltest.TopicConfig{Replicas: 1})
			x.Deliver(0, "a")
			stop := make(chan struct{})
			var disturbing sync.WaitGroup
			defer disturbing.Wait()
			defer close(stop)
			disturbing.Go(func() { disturb(x, stop) })
			time.Sleep(20 * time.Second)
			before, start := x.C.RequestCount(protocol.Metadata), time.Now()
			for i := range 20 {
				leader, _, err := x.C.Leader("t", 0)
				require.NoError(x, err)
				most := 10 * time.Millisecond
				if i%4 == 3 { // a node that is gone, not a leader that has moved
					most = 130 * time.Millisecond // after retry.backoff.ms
					require.NoError(x, x.C.StopNode(leader))
				} else {
					for next := leader%4 + 1; x.C.MoveLeader("t", 0, next) != nil; {
						next = next%4 + 1 // that node is down
					}
				}
				moved := time.Now()
				x.Deliver(0, fmt.Sprint(i))
				require.LessOrEqual(x, time.Since(moved), most, "%s, move %d", name, i)
				if i%4 == 3 {
					require.NoError(x, x.C.StartNode(leader))
				}
				time.Sleep(3*time.Second + time.Duration(i)*37*time.Millisecond)
			}
			asked := x.C.RequestCount(protocol.Metadata) - before
			x.Log(name, asked, "requests in", time.Since(start))
			require.GreaterOrEqual(x, asked, int64(20), name)
			require.LessOrEqual(x, asked, int64(20*9), name)
			_ = x.CloseNow() // it gives up what has no leader
		})
	}
}

// What is wrong with one topic ends no producer, whatever the code is: others are sent to, and this one when the answer changes.
func TestNoErrorOfATopicIsFatal(t *testing.T) {
	for code := protocol.ErrorCode(-1); code <= 140; code++ {
		if code == protocol.None {
			continue
		}
		t.Run(code.Name(), func(t *testing.T) {
			testkit.InLab(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.MaxBlock = 2 * time.Second }, func(x *testkit.Lab) {
				x.C.MustCreateTopic("u", 1, quilltest.TopicConfig{})
				refusing := x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "u", Err: code, Times: -1})
				_, sent := x.P.SendSync(x.Context(), testkit.Rec("u", "k", "v"))
				_, looked := x.P.PartitionsFor(x.Context(), "u")
				for _, err := range []error{sent, looked} {
					require.NotErrorIs(x, err, quill.ErrFatal)
				}
				x.Deliver(0, "a")
				refusing.Remove()
				time.Sleep(3 * time.Second)
				testkit.SendOK(x.T, x.P, "u")
			})
		})
	}
}
