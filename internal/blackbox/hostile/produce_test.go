package hostile_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// What a node may say about batches, and did not do.

// says is a claim of an error that did not happen: the batch is in the log.
func saysError(code protocol.ErrorCode) func(*message.PartitionProduceResponse, *message.ProduceResponse) {
	return func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
		p.ErrorCode, p.BaseOffset = code, -1
	}
}

// producedLies are answered once, about a batch that was appended at offset 1.
var produceLies = []struct {
	name     string
	tell     func(p *message.PartitionProduceResponse, m *message.ProduceResponse)
	offset   int64 // of the record, as its outcome says
	attempts int
}{
	{"H46 partitions and topics nobody wrote to", func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) {
		t := &m.Responses[0]
		for _, index := range []int32{-1, 1, 99, math.MaxInt32} {
			t.PartitionResponses = append(t.PartitionResponses, message.PartitionProduceResponse{Index: index, ErrorCode: protocol.InvalidRecord})
		}
		m.Responses = append(m.Responses, message.TopicProduceResponse{Name: "stranger", TopicID: protocol.UUID{9}, PartitionResponses: t.PartitionResponses})
	}, 1, 1},
	{"H47 nothing about our partition", func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) { m.Responses = nil }, 1, 2},
	{"H47 another partition instead", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.Index = 1 }, 1, 2},
	{"H47 another topic instead", func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) {
		m.Responses[0].TopicID[0] ^= 1
	}, 1, 2},
	{"H48 twice, success first", func(p *message.PartitionProduceResponse, m *message.ProduceResponse) {
		second := *p
		second.ErrorCode, second.BaseOffset = protocol.InvalidRecord, -1
		m.Responses[0].PartitionResponses = append(m.Responses[0].PartitionResponses, second)
	}, 1, 1},
	{"H49 base offset -1", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.BaseOffset = -1 }, -1, 1},
	{"H49 base offset -2^63", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.BaseOffset = math.MinInt64 }, -1, 1},
	{"H50 base offset 2^63-1", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.BaseOffset = math.MaxInt64 }, math.MaxInt64, 1},
	{"H51 log append time -2", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.LogAppendTimeMs = -2 }, 1, 1},
	{"H53 throttle time -1", func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) { m.ThrottleTimeMs = -1 }, 1, 1},
	{"H54 a leader that does not exist", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
		p.ErrorCode, p.CurrentLeader = protocol.NotLeaderOrFollower, message.LeaderIDAndEpoch{LeaderID: 99, LeaderEpoch: 1000}
	}, 1, 2},
	{"H54 the node itself", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
		p.ErrorCode, p.CurrentLeader = protocol.NotLeaderOrFollower, message.LeaderIDAndEpoch{LeaderID: 1}
	}, 1, 2},
	{"H54 leader -2147483648", func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
		p.ErrorCode, p.CurrentLeader = protocol.NotLeaderOrFollower, message.LeaderIDAndEpoch{LeaderID: math.MinInt32, LeaderEpoch: math.MaxInt32}
	}, 1, 2},
	{"H57 duplicate of a batch sent once", saysError(protocol.DuplicateSequenceNumber), -1, 1},
}

func TestLiesAboutOneBatchLoseAndDoubleNothing(t *testing.T) {
	for _, l := range produceLies {
		t.Run(l.name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
				x.Deliver(0, "a")
				x.Claim(1, l.tell)
				at := time.Now()
				m, err := x.Send(0, "b").Wait(x.Context())
				require.NoError(x, err)
				require.Equal(x, l.offset, m.Offset)
				require.WithinDuration(x, at, m.Timestamp, time.Second)
				require.Less(x, time.Since(at), time.Second)
				require.EqualValues(x, 2, x.Deliver(0, "c"))
				require.Equal(x, []string{"a@0:0", "b@0:1", "c@0:2"}, x.Stored(0))
				require.Len(x, x.Wire(0), 2+l.attempts)
			})
		})
	}
}

// H48: of two verdicts the first counts, and the record has one outcome. Its numbers, said to be free, are not: the
// next record is acknowledged as a copy of it, which does not pass for success.
func TestOfTwoVerdictsTheFirstCounts(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		x.Claim(1, func(p *message.PartitionProduceResponse, m *message.ProduceResponse) {
			second := *p
			p.ErrorCode, p.BaseOffset = protocol.InvalidRecord, -1
			m.Responses[0].PartitionResponses = append(m.Responses[0].PartitionResponses, second)
		})
		_, err := testkit.SendFunc(x.T, x.P, testkit.OnPartition(0, testkit.Rec("t", "k", "b")))
		require.ErrorIs(x, err, protocol.InvalidRecord)
		time.Sleep(time.Millisecond)
		require.Equal(x, quill.MaybeWritten, x.Failure(x.Send(0, "c")).Outcome)
		x.Deliver(0, "d")
		require.Equal(x, []string{"a@0:0", "b@0:1", "d@0:0"}, x.Stored(0))
	})
}

// H50: the second record's offset would be 2^63.
func TestOffsetsThatOverflowAreUnknown(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 1000, time.Second }, func(x *testkit.Siege) {
		x.Claim(1, func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) { p.BaseOffset = math.MaxInt64 })
		a, b := x.Send(0, "a"), x.Send(0, "b")
		require.Equal(x, int64(math.MaxInt64), x.Delivered(a))
		require.EqualValues(x, -1, x.Delivered(b))
	})
}

// H52, M6: absurd lists of the records to blame.
func TestAbsurdRecordErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("\x1b[31m\x00\r\nlevel=ERROR msg=forged ", 1<<20/32)
	for name, blame := range map[string][]message.BatchIndexAndErrorMessage{
		"index -1":        {{BatchIndex: -1}},
		"index too large": {{BatchIndex: 2}, {BatchIndex: math.MaxInt32}},
		"10^6 entries":    make([]message.BatchIndexAndErrorMessage, 1_000_000),
		"10^6 indexes":    numberedBlame(1_000_000),
		"message of 1 MB": {{BatchIndex: 0, BatchIndexErrorMessage: &long}, {BatchIndex: 1, BatchIndexErrorMessage: &long}},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.BatchSize, cfg.Linger = 1000, time.Second }, func(x *testkit.Siege) {
				x.Deliver(0, "a")
				claim := x.Claim(-1, func(p *message.PartitionProduceResponse, _ *message.ProduceResponse) {
					p.ErrorCode, p.BaseOffset, p.RecordErrors, p.ErrorMessage = protocol.InvalidRecord, -1, blame, &long
				})
				before := testkit.HeapInUse()
				var kept []quill.Future
				var errs []error
				for range 2 {
					a, b := x.Send(0, "b"), x.Send(0, "c")
					for _, f := range []quill.Future{a, b} {
						_, err := f.Wait(x.Context())
						kept, errs = append(kept, f), append(errs, err)
					}
				}
				require.GreaterOrEqual(x, claim.Hits(), int64(2))
				claim.Remove()
				require.NoError(x, x.C.Disconnect(1)) // the node's buffer goes with the connection
				x.Deliver(0, "d")
				require.Less(x, testkit.HeapInUse(), before+1<<20, "what was told is not kept (M6)")
				for i, err := range errs {
					require.True(x, kept[i].Done())
					e, ok := errors.AsType[*quill.Error](err)
					require.True(x, ok)
					require.True(x, errors.Is(e, quill.ErrInvalidRecord) || errors.Is(e, quill.ErrBatchRejected))
					require.ErrorIs(x, e, protocol.InvalidRecord)
					require.Less(x, len(e.Error()), 4<<10)
					testkit.RequireHarmless(x.T, e.Error())
				}
			})
		})
	}
}

func numberedBlame(n int32) (blame []message.BatchIndexAndErrorMessage) {
	for i := range n {
		blame = append(blame, message.BatchIndexAndErrorMessage{BatchIndex: i})
	}
	return blame
}

// H53: a node that wants to be left alone for 25 days is left alone for five minutes.
func TestAnAbsurdThrottleTimeIsCutAndTold(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) { cfg.DeliveryTimeout = 10 * time.Minute }, func(x *testkit.Siege) {
		x.Claim(1, func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) {
			m.ThrottleTimeMs = math.MaxInt32
		})
		x.Deliver(0, "a")
		start := time.Now()
		b := x.Send(0, "b")
		for range 10 {
			x.Deliver(1, "elsewhere")
		}
		require.Zero(x, time.Since(start))
		x.Delivered(b)
		require.Equal(x, 5*time.Minute, time.Since(start))
		require.Equal(x, 1, strings.Count(x.Told.String(), "node asks for an absurd throttle time"))
	})
}

// H54: every answer names a leader that does not exist, or the node itself.
func TestNonsenseAboutLeadersForEverIsNoLoop(t *testing.T) {
	for _, leader := range []message.LeaderIDAndEpoch{{LeaderID: 99, LeaderEpoch: 1000}, {LeaderID: 1}, {LeaderID: 1, LeaderEpoch: -1}, {LeaderID: -1, LeaderEpoch: -1}} {
		t.Run(fmt.Sprint(leader), func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
				claim := x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Times: -1, Err: protocol.NotLeaderOrFollower, Edit: func(_ *quilltest.Request, response any) {
					response.(*message.ProduceResponse).Responses[0].PartitionResponses[0].CurrentLeader = leader
				}})
				b := x.Send(0, "b")
				x.Elsewhere(b)
				e := x.Failure(b)
				require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
				require.ErrorIs(x, e, protocol.NotLeaderOrFollower)
				testkit.RequireBetween(x, int(claim.Hits()), 8, 20, "a retry per back-off")
				testkit.RequireBetween(x, int(x.C.RequestCount(protocol.Metadata)), int(claim.Hits())-1, 25, "each of these answers is a reason to ask")
				claim.Remove()
				x.Deliver(0, "c")
			})
		})
	}
}

// H55: the leader has really moved, and the answer has a wrong address of the new one. One that can
// be no address does not count; any other is tried, and metadata put it right.
func TestWrongAddressesOfANewLeaderAreOvercome(t *testing.T) {
	for _, evil := range []message.NodeEndpoint{
		{NodeID: 2}, {NodeID: 2, Host: "a\nb", Port: 9092}, {NodeID: 2, Host: "\x1b[31m", Port: 9092}, {NodeID: 2, Host: "192.0.2.2", Port: -1},
		{NodeID: 2, Host: "169.254.169.254", Port: 80}, {NodeID: 2, Host: "localhost", Port: 1}, {NodeID: -1, Host: "192.0.2.2", Port: 9092}, {NodeID: 77, Host: "192.0.2.2", Port: 9092},
	} {
		t.Run(fmt.Sprintf("%d %q %d", evil.NodeID, evil.Host, evil.Port), func(t *testing.T) {
			testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
				x.Deliver(0, "a")
				require.NoError(x, x.C.MoveLeader("t", 0, 2))
				x.Claim(1, func(_ *message.PartitionProduceResponse, m *message.ProduceResponse) {
					m.NodeEndpoints = []message.NodeEndpoint{evil}
				})
				start := time.Now()
				require.EqualValues(x, 1, x.Deliver(0, "b"))
				require.Less(x, time.Since(start), 2*time.Second)
				require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
				testkit.RequireBetween(x, x.Dialled(), 3, 12, "a bootstrap server and both leaders")
			})
		})
	}
}

// H56: an unknown code may mean anything, so the record may be in the log; sending it again
// would be a guess.
func TestAnUnknownCodeMeansMaybeWritten(t *testing.T) {
	for _, code := range []protocol.ErrorCode{9999, -7, math.MaxInt16} {
		testkit.Besiege(t, quilltest.Options{}, nil, func(x *testkit.Siege) {
			x.Deliver(0, "a")
			x.Claim(1, saysError(code))
			e := x.Failure(x.Send(0, "b"))
			require.Equal(x, code, e.Code)
			require.ErrorIs(x, e, code)
			require.False(x, e.Retriable())
			require.False(x, e.Fatal())
			require.Equal(x, 1, e.Attempts)
			require.Equal(x, quill.MaybeWritten, e.Outcome)
			x.Deliver(0, "c")
			require.Equal(x, []string{"a@0:0", "b@0:1", "c@1:0"}, x.Stored(0), "what was written is neither lost nor taken for the next")
		})
	}
}

// H59: every batch is out of order, always. At first that is believed, once per back-off and new
// epoch; the deadline ends it.
func TestOutOfOrderForEverEndsAtTheDeadline(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, func(cfg *quill.Config) {
		testkit.Impatient(cfg)
		cfg.DeliveryTimeout = 20 * time.Second
	}, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		claim := x.Produce(quilltest.Fault{Nodes: []int32{1}, Err: protocol.OutOfOrderSequenceNumber, Times: -1})
		start := time.Now()
		b, c := x.Send(0, "b"), x.Send(0, "c")
		x.Elsewhere(b)
		for _, f := range []quill.Future{b, c} {
			e := x.Failure(f)
			require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
			require.ErrorIs(x, e, protocol.OutOfOrderSequenceNumber)
		}
		require.InDelta(x, 20, time.Since(start).Seconds(), 0.2)
		testkit.RequireBetween(x, int(claim.Hits()), 15, 60, "two batches, a retry of each per back-off")
		epochs := map[int16]bool{}
		for _, w := range x.Wire(0) {
			epochs[w.Header.ProducerEpoch] = true
		}
		testkit.RequireBetween(x, len(epochs), 10, 30, "at most one epoch per back-off")
		claim.Remove()
		x.Deliver(0, "d")
		for _, r := range testkit.Logged(x.T, x.C, "t", 0)[1:] {
			require.Equal(x, "d", string(r.Value))
		}
	})
}

// H60: two nodes, each of which says that the other leads, under the epoch that is known.
func TestPingPongBetweenTwoNodesIsNoLoop(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		claim := x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Times: -1, Err: protocol.NotLeaderOrFollower, Edit: func(r *quilltest.Request, response any) {
			m := response.(*message.ProduceResponse)
			m.Responses[0].PartitionResponses[0].CurrentLeader = message.LeaderIDAndEpoch{LeaderID: 3 - r.Node}
		}})
		lie := x.Lie(onTopic(func(t *message.MetadataResponseTopic) {
			t.Partitions[0].LeaderID = 1 + int32(x.C.RequestCount(protocol.Metadata))%2
		}))
		b := x.Send(0, "b")
		e := x.Failure(b)
		require.ErrorIs(x, e, quill.ErrDeliveryTimeout)
		require.ErrorIs(x, e, protocol.NotLeaderOrFollower)
		testkit.RequireBetween(x, int(claim.Hits()), 8, 20)
		testkit.RequireBetween(x, int(lie.Hits()), 8, 25)
		claim.Remove()
		lie.Remove()
		time.Sleep(2 * time.Second)
		x.Deliver(0, "c")
	})
}

// The same with an epoch that rises each time: then there is no back-off, but one retry per answer.
func TestPingPongWithRisingEpochsGoesRoundWithTheAnswers(t *testing.T) {
	testkit.Besiege(t, quilltest.Options{}, testkit.Impatient, func(x *testkit.Siege) {
		x.Deliver(0, "a")
		epoch := int32(0)
		claim := x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Times: 100, AnswerDelay: 10 * time.Millisecond, Err: protocol.NotLeaderOrFollower,
			Edit: func(r *quilltest.Request, response any) {
				epoch++
				m := response.(*message.ProduceResponse)
				m.Responses[0].PartitionResponses[0].CurrentLeader = message.LeaderIDAndEpoch{LeaderID: 3 - r.Node, LeaderEpoch: epoch}
			}})
		start := time.Now()
		require.EqualValues(x, 1, x.Deliver(0, "b"))
		require.EqualValues(x, 100, claim.Hits())
		require.GreaterOrEqual(x, time.Since(start), time.Second)
		require.Equal(x, []string{"a@0:0", "b@0:1"}, x.Stored(0))
	})
}
