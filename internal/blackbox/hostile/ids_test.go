package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// H61, H66, H67: no producer id is to be had. Records expire and say why; the question is repeated
// with pauses, until there is a better answer.
func TestWithoutAProducerIDRecordsExpireAndTellWhy(t *testing.T) {
	for _, row := range []struct {
		name string
		tell func(m *message.InitProducerIDResponse)
		code protocol.ErrorCode
	}{
		{"H61 id -1", func(m *message.InitProducerIDResponse) { m.ProducerID = -1 }, protocol.UnknownServerError},
		{"H61 epoch -1", func(m *message.InitProducerIDResponse) { m.ProducerEpoch = -1 }, protocol.UnknownServerError},
		{"H61 id -2^63", func(m *message.InitProducerIDResponse) { m.ProducerID = math.MinInt64 }, protocol.UnknownServerError},
		{"H66 concurrent transactions", func(m *message.InitProducerIDResponse) { m.ErrorCode = protocol.ConcurrentTransactions }, protocol.ConcurrentTransactions},
		{"H67 every node sends us to another", func(m *message.InitProducerIDResponse) { m.ErrorCode = protocol.NotCoordinator }, protocol.NotCoordinator},
	} {
		t.Run(row.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
				lie := x.Identity(row.tell)
				start := time.Now()
				e := x.Failure(x.Send(0, "a"))
				require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
				require.ErrorIs(x, e, row.code)
				require.Equal(x, quill.NotSent, e.Outcome)
				require.InDelta(x, 10, time.Since(start).Seconds(), 0.1)
				testkit.RequireBetween(x, int(lie.Hits()), 8, 20)
				lie.Remove()
				time.Sleep(2 * time.Second)
				require.EqualValues(x, 0, x.Deliver(0, "b"))
			})
		})
	}
}

// H61: the last epoch there is. The first bump needs another id.
func TestTheLastEpochIsAsGoodAsAny(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		lie := x.Identity(func(m *message.InitProducerIDResponse) { m.ProducerEpoch = math.MaxInt16 })
		x.Deliver(0, "a")
		require.EqualValues(x, 1, lie.Hits())
		lie.Remove()
		require.NoError(x, x.C.ForgetProducers("t", 0))
		x.Deliver(0, "b")
		x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.OutOfOrderSequenceNumber})
		x.Deliver(0, "c")
		require.Equal(x, []string{"a@32767:0", "b@32767:1", "c@0:0"}, x.Stored(0))
	})
}

// H62: two producers are given the same id and epoch. They can't both be right; neither of them may
// hang, spin or lose a record that was acknowledged with an offset of its own.
func TestTwoProducersWithOneIDEndInTime(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		x.Identity(func(m *message.InitProducerIDResponse) { m.ProducerID, m.ProducerEpoch = 4711, 3 })
		for i := range 8 {
			x.Deliver(0, fmt.Sprint("old", i))
		}
		cfg := testkit.Config(x.C)
		testkit.Impatient(&cfg)
		cfg.BatchSize, cfg.Linger = -1, -1
		second := testkit.Open(x.T, cfg)
		before := x.C.RequestCount(protocol.Produce)
		told := map[int64]string{}
		for i := range 8 {
			for name, p := range map[string]*quill.Producer[string, string]{"old": x.P, "new": second} {
				value := fmt.Sprint(name, 100+i)
				start := time.Now()
				m, err := p.SendSync(x.Context(), testkit.OnPartition(0, testkit.Rec("t", "k", value)))
				require.LessOrEqual(x, time.Since(start), 10*time.Second)
				switch _, ok := errors.AsType[*quill.Error](err); {
				case err == nil && m.Offset >= 0:
					require.NotContains(x, told, m.Offset, "%s and %s", told[m.Offset], value)
					told[m.Offset] = value
				case err != nil:
					require.True(x, ok)
				}
			}
		}
		testkit.RequireBetween(x, int(x.C.RequestCount(protocol.Produce)-before), 16, 16*20)
		for offset, value := range told {
			require.Equal(x, value, string(testkit.Logged(x.T, x.C, "t", 0)[offset].Value))
		}
		testkit.CloseProducer(x.T, second)
	})
}

// All nodes move house before any of them had a producer id to give. Nothing can be sent that would
// notice, so the search for the id must.
func TestTheProducerIDIsFoundWhenAllNodesMoved(t *testing.T) {
	var service atomic.Value // a name that always leads to node 1
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
		dial := cfg.DialContext
		service.Store(cfg.BootstrapServers[0])
		cfg.BootstrapServers = []string{"kafka.test:9092"}
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "kafka.test:9092" {
				addr = service.Load().(string)
			}
			return dial(ctx, network, addr)
		}
	}, func(x *testkit.Siege) {
		lie := x.Identity(func(m *message.InitProducerIDResponse) { m.ErrorCode = protocol.CoordinatorLoadInProgress })
		f := x.Send(0, "a")
		time.Sleep(10 * time.Second)
		for _, id := range x.C.NodeIDs() {
			require.NoError(x, x.C.RelocateNode(id))
		}
		service.Store(x.C.NodeAddr(1))
		lie.Remove()
		testkit.Within(x.T, 0, 5*time.Second, func() { x.Delivered(f) })
	})
}

// Every node is somewhere else than the cluster says: no node is connected to in a loop.
func TestWrongAddressesOfAllNodesAreNoLoop(t *testing.T) {
	for _, idempotent := range []bool{true, false} {
		t.Run(fmt.Sprintf("idempotent=%v", idempotent), func(t *testing.T) {
			var wrong atomic.Bool
			wrong.Store(true)
			advertise := func(_ int32, host string, port int32) (string, int32) {
				if wrong.Load() {
					return "192.0.2.77", port
				}
				return host, port
			}
			testkit.Besiege(t, quilltest.Options{Advertise: advertise}, func(cfg *quill.Config) {
				testkit.Impatient(cfg)
				cfg.Idempotence = &idempotent
			}, func(x *testkit.Siege) {
				f, g := x.Send(0, "a"), x.Send(1, "b")
				for _, f := range []quill.Future{f, g} {
					e := x.Failure(f)
					require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
					require.Equal(x, quill.NotSent, e.Outcome)
				}
				testkit.RequireBetween(x, x.Dialled(), 40, 120, "in ten seconds: 20 for each of three nodes and three bootstrap servers")
				testkit.RequireBetween(x, int(x.C.RequestCount(protocol.Metadata)), 5, 25)
				wrong.Store(false)
				testkit.Within(x.T, 0, 3*time.Second, func() { x.Deliver(0, "c") })
			})
		})
	}
}
