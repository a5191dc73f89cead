package quill

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/protocol"
)

// What the simulator has to do. A schedule is drawn from a seed up front, as a list of events
// each of which makes sense by itself, so that a failing one can be cut down event by event.

// simSchedule is one run: a configuration, and what happens when.
type simSchedule struct {
	// Note says, for those kept in testdata, what they found.
	Note   string     `json:"note,omitempty"`
	Config simConfig  `json:"config"`
	Events []simEvent `json:"events"`
}

// simConfig is what stays the same during a run. Times are in milliseconds if not said otherwise.
type simConfig struct {
	Seed uint64 `json:"seed"` // of latencies and jitters

	Idempotent bool           `json:"idempotent"`
	Acks       int16          `json:"acks"`
	InFlight   int            `json:"inFlight"`
	Codec      compress.Codec `json:"codec"`
	Batch      int            `json:"batch"`
	Buffer     int64          `json:"buffer"`
	MaxRequest int            `json:"maxRequest"`
	Linger     int            `json:"linger"`
	Request    int            `json:"request"`
	Delivery   int            `json:"delivery"`
	Backoff    int            `json:"backoff"`
	MaxBlock   int            `json:"maxBlock"`
	Retries    int            `json:"retries"` // 0: no limit

	Nodes      int   `json:"nodes"`
	Partitions []int `json:"partitions"` // by topic
	MaxBytes   []int `json:"maxBytes"`   // largest batch, by topic; 0: any
	AppendTime []int `json:"appendTime"` // 1: log append time, by topic
	// What the nodes are: see simCluster.
	Produce        int16 `json:"produce"` // highest version
	RefuseUnknown  bool  `json:"refuseUnknown"`
	NameDuplicates bool  `json:"nameDuplicates"`
	FirstEpoch     int16 `json:"firstEpoch"`
	Wrap           bool  `json:"wrap"` // sequences begin just below 2^31

	Latency  int `json:"latency"`  // of one hop at most, in microseconds
	Turn     int `json:"turn"`     // from the bell to the sender's turn at most, in microseconds
	Replicas int `json:"replicas"` // until acks=all is satisfied at most, in microseconds

	Txn *simTxnConfig `json:"txn,omitempty"` // nil: not transactional
}

func (c *simConfig) patient() bool { return c.Delivery >= 60_000 && c.Retries == 0 }

// leavesTime reports whether delivery.timeout.ms leaves a record the time to join a transaction and be
// written when nothing is wrong.
func (c *simConfig) leavesTime() bool {
	return c.Delivery*1000 >= c.Linger*1000+2*(4*(c.Latency+c.Turn)+c.Replicas)
}

// simKind is what an event does.
type simKind uint8

const (
	simSend       simKind = iota // topic, mode, key or partition, size, flags, count
	simFlush                     //
	simClose                     // 1: forced after that many ms (arg 1)
	simFault                     // see simFaultKind: node, kind, number, times, skip, partition
	simMove                      // topic, partition, node, 1: what is not acknowledged is cut off
	simStop                      // node, ms, 1: in good order (else half of the time)
	simFreeze                    // node, ms
	simCut                       // node, ms
	simHangUp                    // node, 1: what arrived is still handled
	simRecreate                  // topic, partitions, ms without it
	simGrow                      // topic, partitions
	simForget                    // topic, partition, 1: and its records
	simForbid                    // topic (or -1: the cluster), ms
	simShrink                    // topic, ms: too few replicas in sync
	simLag                       // node, ms, ms: its metadata are old, for so long
	simTighten                   // topic, percent: its largest batch gets smaller
	simHalt                      // ms: the producer's process does not run
	simDoze                      // ms: callbacks don't run
	simHog                       // percent, ms: others have the memory
	simDelay                     // as simFault: Produce requests are late
	simChange                    // topic, simSetting, value: what its nodes refuse from now on
	simTxnInit                   // the calls about transactions
	simTxnBegin                  //
	simTxnOffsets                //
	simTxnCommit                 //
	simTxnAbort                  //
	simTxnFault                  // as simFault, but the last is an API: see simTxnAPIs
	simTxnMove                   // 1: the group's coordinator, node
	simTxnFence                  // another producer takes the transactional id
	simTxnUpgrade                // transaction.version becomes 2, where that is known
)

var simKindNames = [...]string{"send", "flush", "close", "fault", "move", "stop", "freeze", "cut", "hangup", "recreate", "grow", "forget",
	"forbid", "shrink", "lag", "tighten", "halt", "doze", "hog", "delay", "change",
	"init", "begin", "offsets", "commit", "abort", "txn-fault", "txn-move", "fence", "upgrade"}

// simFaultKind is what goes wrong with a request.
type simFaultKind int

const (
	faultDeaf        simFaultKind = iota // it and all later ones of its connection get lost
	faultMute                            // its answer and all later ones
	faultCutBefore                       // the connection is cut before it is handled
	faultCutAfter                        // after
	faultDelay                           // handled this many ms later
	faultAnswerDelay                     // answered this many ms later
	faultError                           // refused, with an error
	faultErrorAfter                      // handled, and then answered with an error
	faultThrottle                        // its answer throttles for this many ms
	faultStall                           // written in two parts, this many ms apart
	faultTorn                            // written in part, then the connection is cut
	faultOmit                            // the partition is missing from the answer
	faultMetadata                        // Metadata fails: error, or without a leader
	faultInit                            // InitProducerId fails with an error
	faultKinds
)

// Faults of what is asked of coordinators.
const (
	faultTxnError      = faultKinds + iota // refused, with an error
	faultTxnErrorAfter                     // carried out, and then answered with an error
)

var simFaultNames = [...]string{"deaf", "mute", "cut-before", "cut-after", "delay", "answer-delay", "error", "error-after", "throttle", "stall", "torn",
	"omit", "metadata", "init", "txn-error", "txn-error-after"}

// Errors that brokers answer without having appended any batch, good or bad.
var simErrors = []protocol.ErrorCode{protocol.NotLeaderOrFollower, protocol.NotEnoughReplicas, protocol.UnknownTopicOrPartition, protocol.KafkaStorageError,
	protocol.LeaderNotAvailable, protocol.CorruptMessage, protocol.RequestTimedOut, protocol.ThrottlingQuotaExceeded, protocol.FencedLeaderEpoch,
	protocol.TopicAuthorizationFailed, protocol.InvalidProducerEpoch, protocol.PolicyViolation, protocol.UnknownServerError}

// Errors that they answer although they have.
var simErrorsAfter = []protocol.ErrorCode{protocol.RequestTimedOut, protocol.NotEnoughReplicasAfterAppend, protocol.NotLeaderOrFollower,
	protocol.UnknownTopicOrPartition, protocol.KafkaStorageError, protocol.UnknownServerError}

var simInitErrors = []protocol.ErrorCode{protocol.CoordinatorLoadInProgress, protocol.NotCoordinator, protocol.RequestTimedOut, protocol.UnknownServerError,
	protocol.ClusterAuthorizationFailed, protocol.CoordinatorNotAvailable}

var simMetadataErrors = []protocol.ErrorCode{protocol.LeaderNotAvailable, protocol.UnknownTopicOrPartition, protocol.None, simLeftOut}

// simLeftOut stands for a topic that was asked for and that the answer does not mention.
const simLeftOut protocol.ErrorCode = -100

// simSetting is a setting of a topic that decides which batches its nodes take. Nodes change their minds: what
// they refuse today they may have taken yesterday.
type simSetting int

const (
	setMaxBytes  simSetting = iota // max.message.bytes; 0: any size
	setMaxAge                      // message.timestamp.before.max.ms; 0: any age
	setCompacted                   // cleanup.policy: 1 for compact, which takes no records without a key
	setPlainOnly                   // 1: no codec, as where a node of an older release leads
	simSettings
)

// simEvent is one event. Its arguments are taken modulo what there is when it happens.
type simEvent struct {
	At   int // milliseconds from the start
	Kind simKind
	Args [6]int
}

// flags of a sent record.
const (
	sendFuture  = 1 << iota // with a future instead of a callback
	sendUrgent              // does not linger
	sendSilent              // with neither
	sendPoison              // refused by the broker, for itself (KIP-467)
	sendNested              // its callback sends another record
	sendOldTime             // an hour ago
	sendNewTime             // in half an hour
	sendInTurn              // by the goroutine that makes the calls about transactions, after what was called before
)

func (e simEvent) String() string {
	args := strings.Trim(fmt.Sprint(e.Args), "[]")
	if e.Kind == simFault || e.Kind == simDelay {
		args = fmt.Sprintf("node %d %s %d, %d times after %d, partition %d", e.Args[0], simFaultNames[e.Args[1]], e.Args[2], e.Args[3], e.Args[4], e.Args[5]-1)
	}
	if e.Kind == simTxnFault {
		args = fmt.Sprintf("node %d %s %d, %d times after %d, %v", e.Args[0], simFaultNames[e.Args[1]], e.Args[2], e.Args[3], e.Args[4], simTxnAPIs[e.Args[5]-1])
	}
	return fmt.Sprintf("%s %s", simKindNames[e.Kind], args)
}

// MarshalJSON writes an event as a line of text: "120 send 0 1 2 3 4 5".
func (e simEvent) MarshalJSON() ([]byte, error) {
	return json.Marshal(fmt.Sprintf("%d %s %s", e.At, simKindNames[e.Kind], strings.Trim(fmt.Sprint(e.Args), "[]")))
}

// UnmarshalJSON reads it.
func (e *simEvent) UnmarshalJSON(text []byte) error {
	var line, kind string
	if err := json.Unmarshal(text, &line); err != nil {
		return err
	}
	a := &e.Args
	if _, err := fmt.Sscan(line, &e.At, &kind, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	at := slices.Index(simKindNames[:], kind)
	if at < 0 {
		return fmt.Errorf("%q: no such kind", line)
	}
	e.Kind = simKind(at)
	return nil
}

// drawSchedule returns the schedule of a seed.
func drawSchedule(seed uint64) *simSchedule {
	r := rand.New(rand.NewPCG(seed, 4))
	s := &simSchedule{Config: drawSimConfig(r, seed)}
	themes := simThemes[r.IntN(len(simThemes))]
	late := r.IntN(15) == 0
	if late {
		themes = s.Config.makeLate(r)
	}
	at, n := 0, 15+r.IntN(60)
	gap := oneOf(r, 3, 15, 60)
	if late {
		gap = 100
	} else if slices.Contains(themes, simForget) {
		gap = oneOf(r, gap, 300)
	}
	for range n {
		at += r.IntN(gap)
		kind := simSend
		if r.IntN(2) == 0 {
			kind = themes[r.IntN(len(themes))]
		}
		if kind == simForget && r.IntN(2) == 0 {
			at += int(remembered.Milliseconds()) + 2*s.Config.Request
		}
		if kind == simChange && r.IntN(3) > 0 {
			s.Events = append(s.Events, drawChange(r, at, &s.Config)...)
			continue
		}
		e := drawSimEvent(r, at, kind, &s.Config)
		if kind == simRecreate && r.IntN(2) == 0 { // with answers about the topic before on their way
			s.Events = append(s.Events, simEvent{at, simMove, [6]int{e.Args[0], e.Args[1], 1 + r.IntN(s.Config.Nodes)}},
				simEvent{at, simFault, [6]int{0, int(faultAnswerDelay), 20 + r.IntN(s.Config.Request), 2, 0, 0}},
				simEvent{at, simSend, [6]int{e.Args[0], 2, e.Args[1], 20, sendFuture, 2}})
			at += 1 + r.IntN(30)
			e.At = at
		}
		s.Events = append(s.Events, e)
		if kind == simForget { // what comes next shows what the producer took for granted
			s.Events = append(s.Events, simEvent{at, simFault, [6]int{0, int(faultError), r.IntN(4), 1, 0, 1 + e.Args[1]}},
				simEvent{at, simSend, [6]int{e.Args[0], 2, e.Args[1], 8 + r.IntN(400), 0, 4}})
		}
	}
	if r.IntN(6) == 0 {
		s.Events = append(s.Events, simEvent{at + r.IntN(50), simClose, [6]int{r.IntN(2), r.IntN(300)}})
		for range r.IntN(4) {
			s.Events = append(s.Events, drawSimEvent(r, at+r.IntN(200), simSend, &s.Config))
		}
	}
	slices.SortStableFunc(s.Events, func(a, b simEvent) int { return a.At - b.At })
	return s
}

// drawChange returns a change of mind at the worst of times: batches are written, their answers get lost, the nodes
// are restarted in good order, and then the topic's settings refuse one of the batches. Some day they may be
// what they were.
func drawChange(r *rand.Rand, at int, c *simConfig) (events []simEvent) {
	add := func(kind simKind, args ...int) {
		e := simEvent{At: at, Kind: kind}
		copy(e.Args[:], args)
		events = append(events, e)
	}
	topic, partition, setting := r.IntN(len(c.Partitions)), r.IntN(4), simSetting(r.IntN(int(simSettings)))
	add(simSend, topic, 3, partition, 20, sendFuture|sendUrgent, 1)
	at += 50 + r.IntN(100)
	add(simFault, 0, int(oneOf(r, faultMute, faultMute, faultCutAfter, faultAnswerDelay)), 20+r.IntN(c.Request), 1+r.IntN(3), 0, 0)
	sends := 2 + r.IntN(3)
	refused := oneOf(r, sends-1, sends-1, r.IntN(sends))
	for i := range sends {
		mode, size, flags := 3, 20, sendUrgent|oneOf(r, 0, sendFuture)
		if i == refused {
			mode, size, flags = 2, 250, flags|sendOldTime
		}
		add(simSend, topic, mode, partition, size, flags, 1)
		at += r.IntN(4)
	}
	at += r.IntN(60)
	for n := range c.Nodes {
		add(simStop, 1+n, 1+r.IntN(30), oneOf(r, 1, 1, 0))
		at += r.IntN(40)
	}
	value := [simSettings]int{setMaxBytes: 200, setMaxAge: 60_000, setCompacted: 1, setPlainOnly: 1}[setting]
	add(simChange, topic, int(setting), value)
	if r.IntN(2) == 0 {
		at += r.IntN(oneOf(r, 50, 1000))
		add(simChange, topic, int(setting), 0)
	}
	return events
}

// makeLate lets requests be handled just about when the producer has given them up.
func (c *simConfig) makeLate(r *rand.Rand) []simKind {
	c.Request, c.Backoff, c.Partitions, c.Nodes = 100, oneOf(r, 5, 50, 100), []int{1}, oneOf(r, 1, 2)
	c.Delivery = c.Request + c.Linger + oneOf(r, 10, 50, 100, 500)
	return []simKind{simDelay}
}

// simThemes are mixtures of events besides sends: a schedule with everything at once shows less.
var simThemes = [][]simKind{
	{simFault},
	{simFault, simFault, simFault, simMove, simHangUp},
	{simMove, simMove, simLag, simFault, simStop},
	{simStop, simFreeze, simCut, simHangUp, simFault},
	{simFreeze, simFault, simMove, simHalt},
	{simRecreate, simFault, simMove, simGrow},
	{simForget, simFlush, simFault, simSend, simSend},
	{simForbid, simShrink, simFault, simFault},
	{simTighten, simFault, simMove},
	{simChange},
	{simChange, simFault, simStop, simFreeze},
	{simHog, simDoze, simFlush, simFault},
	{simFlush, simFault},
	{simFault, simFault, simMove, simStop, simFreeze, simCut, simHangUp, simRecreate, simGrow, simForget, simForbid, simShrink, simLag, simTighten, simChange, simHalt,
		simDoze, simHog, simFlush},
}

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func drawSimConfig(r *rand.Rand, seed uint64) simConfig {
	c := simConfig{
		Seed: seed, Idempotent: r.IntN(5) > 0, Acks: -1, InFlight: oneOf(r, 1, 2, 3, 5, 5, 5), Batch: oneOf(r, 1, 300, 500, 500, 1000, 4000),
		Linger: oneOf(r, 0, 0, 5, 50), Request: oneOf(r, 100, 300, 1000, 3000), Backoff: oneOf(r, 5, 10, 100), MaxBlock: oneOf(r, 50, 500, 60_000),
		Nodes: oneOf(r, 1, 2, 3, 3), Produce: oneOf[int16](r, 13, 13, 13, 13, 11, 9, 7, 7),
		Latency: oneOf(r, 0, 200, 2000, 20_000), Turn: oneOf(r, 0, 0, 100, 3000), Replicas: oneOf(r, 0, 1000, 20_000),
		Delivery: 120_000, MaxRequest: 1 << 20, FirstEpoch: 0, Wrap: r.IntN(6) == 0,
	}
	if !c.Idempotent {
		c.Acks = oneOf[int16](r, -1, 1, 0)
	}
	if r.IntN(2) == 0 {
		c.Delivery = c.Request + c.Linger + oneOf(r, 10, 100, 500, 3000)
	}
	if r.IntN(12) == 0 {
		c.Retries = 1 + r.IntN(4)
	}
	if r.IntN(3) == 0 {
		c.Codec = oneOf(r, compress.Gzip, compress.Snappy, compress.LZ4)
	}
	if r.IntN(4) == 0 {
		c.MaxRequest = 2500
	}
	c.Buffer = int64(max(c.Batch, 600)) * int64(oneOf(r, 4, 8, 8, 12))
	c.Buffer = max(c.Buffer, 4000)
	if r.IntN(8) == 0 {
		c.FirstEpoch = 32766
	}
	if c.Produce == 7 { // brokers before 2.5, and 1.0 (whose highest was 5)
		switch r.IntN(3) {
		case 0:
			c.RefuseUnknown = true
		case 1:
			c.RefuseUnknown, c.NameDuplicates, c.Produce = true, true, 5
		}
	}
	for range 1 + r.IntN(3) {
		c.Partitions = append(c.Partitions, 1+r.IntN(3))
		c.MaxBytes = append(c.MaxBytes, oneOf(r, 0, 0, 250, 400))
		c.AppendTime = append(c.AppendTime, r.IntN(2))
	}
	return c
}

func drawSimEvent(r *rand.Rand, at int, kind simKind, c *simConfig) simEvent {
	e := simEvent{At: at, Kind: kind}
	ms := func() int { return 1 + r.IntN(oneOf(r, 30, 300, 3000)) }
	topic, partition, node := r.IntN(len(c.Partitions)), r.IntN(4), 1+r.IntN(c.Nodes)
	switch kind {
	case simSend:
		flags := oneOf(r, 0, 0, 0, sendFuture, sendFuture, sendFuture|sendUrgent, sendSilent, sendNested)
		flags |= oneOf(r, 0, 0, 0, 0, 0, 0, 0, sendOldTime, sendNewTime)
		if r.IntN(40) == 0 {
			flags |= sendPoison
		}
		e.Args = [6]int{topic, r.IntN(3), partition, oneOf(r, 8+r.IntN(30), 8+r.IntN(200), 8+r.IntN(200), 8+r.IntN(1500)), flags, oneOf(r, 1, 1, 1, 2, 4, 10)}
	case simFault:
		f := simFaultKind(r.IntN(int(faultKinds)))
		number := ms()
		switch f {
		case faultError:
			number = r.IntN(len(simErrors))
		case faultErrorAfter:
			number = r.IntN(len(simErrorsAfter))
		case faultInit:
			number = r.IntN(len(simInitErrors))
		case faultMetadata:
			number = r.IntN(len(simMetadataErrors))
		}
		e.Args = [6]int{r.IntN(c.Nodes + 1), int(f), number, oneOf(r, 1, 1, 2, 4), r.IntN(4), oneOf(r, 0, 0, 1+partition)}
	case simDelay:
		e.Args = [6]int{0, int(oneOf(r, faultDelay, faultDelay, faultAnswerDelay)), 60 + r.IntN(oneOf(r, 100, 500)), oneOf(r, 1, 1, 2), r.IntN(3), 1}
	case simMove:
		e.Args = [6]int{topic, partition, node, r.IntN(2)}
	case simStop, simFreeze, simCut:
		e.Args = [6]int{node, ms()}
	case simHangUp:
		e.Args = [6]int{node, r.IntN(2)}
	case simRecreate:
		e.Args = [6]int{topic, 1 + r.IntN(3), oneOf(r, 0, 0, ms())}
	case simGrow:
		e.Args = [6]int{topic, 1 + r.IntN(5)}
	case simForget:
		e.Args = [6]int{topic, partition, r.IntN(2)}
	case simForbid:
		e.Args = [6]int{r.IntN(len(c.Partitions)+1) - 1, ms()}
	case simShrink:
		e.Args = [6]int{topic, ms()}
	case simLag:
		e.Args = [6]int{node, ms(), ms()}
	case simTighten:
		e.Args = [6]int{topic, 30 + r.IntN(70)}
	case simChange:
		e.Args = [6]int{topic, r.IntN(int(simSettings)), 1}
		switch simSetting(e.Args[1]) {
		case setMaxBytes:
			e.Args[2] = 110 + r.IntN(oneOf(r, 50, 300))
		case setMaxAge:
			e.Args[2] = oneOf(r, 1+r.IntN(100), 60_000, 60_000)
		}
	case simHalt, simDoze:
		e.Args = [6]int{ms()}
	case simHog:
		e.Args = [6]int{10 + r.IntN(90), ms()}
	}
	return e
}

// Schedules with transactions. They are drawn apart from the others, by seeds of their own.

const simTransactionalID = "sim"

// simTxnConfig is what transactional runs have besides.
type simTxnConfig struct {
	Release int   `json:"release"` // in simReleases
	Level   int16 `json:"level"`   // transaction.version, to begin with
	Timeout int   `json:"timeout"` // transaction.timeout.ms
	Markers int   `json:"markers"` // until one is written at most, in microseconds
}

// mayEnd reports whether a lost answer may end the producer: without KIP-360 nothing protects the next
// transaction from what comes late.
func (c *simTxnConfig) mayEnd() bool { return simReleases[c.Release].number < 205 }

// simRelease is a release of Kafka: the highest versions of what nodes serve.
type simRelease struct {
	number                                                                                 int // major*100+minor
	produce, metadata, initID, find, addPartitions, addOffsets, end, offsetCommit, feature int16
}

var simReleases = []simRelease{
	{201, 7, 7, 1, 2, 1, 1, 1, 2, 0},
	{205, 8, 9, 3, 3, 1, 1, 1, 3, 0},
	{208, 9, 11, 4, 3, 3, 3, 3, 3, 0},
	{306, 9, 12, 4, 4, 4, 3, 3, 3, 0},
	{309, 11, 12, 5, 6, 5, 4, 4, 4, 0},
	{400, 12, 13, 5, 6, 5, 4, 5, 5, 2},
	{404, 13, 13, 5, 6, 5, 4, 5, 6, 2},
}

func (r *simRelease) highest(key protocol.APIKey) int16 {
	switch key {
	case protocol.Produce:
		return r.produce
	case protocol.Metadata:
		return r.metadata
	case protocol.InitProducerID:
		return r.initID
	case protocol.FindCoordinator:
		return r.find
	case protocol.AddPartitionsToTxn:
		return r.addPartitions
	case protocol.AddOffsetsToTxn:
		return r.addOffsets
	case protocol.EndTxn:
		return r.end
	}
	return r.offsetCommit
}

// Errors with which coordinators refuse requests of all kinds.
var simTxnErrors = []protocol.ErrorCode{protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable,
	protocol.ConcurrentTransactions}

// Those with which an end is refused that was carried out before; None: as usual. And those in the place
// of a coordinator, which fail a transaction whose end is not in doubt.
var (
	simTxnRepeatedEndErrors = []protocol.ErrorCode{protocol.None, protocol.TransactionAbortable, protocol.None, protocol.UnknownProducerID}
	simTxnFindErrors        = []protocol.ErrorCode{protocol.CoordinatorNotAvailable, protocol.CoordinatorNotAvailable, protocol.GroupAuthorizationFailed, protocol.TransactionAbortable}
)

// Errors that they answer although they did it: their log was not replicated in time, or they lost it.
var simTxnErrorsAfter = []protocol.ErrorCode{protocol.CoordinatorNotAvailable, protocol.NotCoordinator}

var simTxnThemes = [][]simKind{
	{simTxnFault},
	{simTxnFault, simTxnFault, simTxnMove, simHangUp},
	{simTxnFault, simTxnMove, simStop},
	{simTxnFault, simFault, simMove},
	{simFault, simFault, simFault, simMove, simHangUp},
	{simStop, simFreeze, simCut, simHangUp, simTxnFault},
	{simRecreate, simTxnFault, simMove, simGrow},
	{simTxnFence, simTxnFault, simFault},
	{simChange, simTxnFault, simFault, simStop, simHangUp},
	{simTxnUpgrade, simTxnFault, simHangUp},
	{simFlush, simDoze, simHalt, simTxnFault, simHog},
	{simFault, simTxnFault, simTxnFault, simTxnMove, simMove, simStop, simFreeze, simCut, simHangUp, simGrow, simShrink, simLag, simTighten, simHalt, simDoze, simHog, simFlush},
}

// drawTxnSchedule returns the transactional schedule of a seed.
func drawTxnSchedule(seed uint64) *simSchedule {
	r := rand.New(rand.NewPCG(seed, 6))
	s := &simSchedule{Config: drawSimConfig(r, seed)}
	c := &s.Config
	c.makeTransactional(r)
	themes := simTxnThemes[r.IntN(len(simTxnThemes))]
	if r.IntN(3) == 0 { // requests are handled just about when they have been given up
		c.Request, c.Backoff = 100, oneOf(r, 5, 50, 100)
		themes = []simKind{simTxnFault}
		if r.IntN(2) == 0 { // and records expire on the wire
			c.Delivery, c.InFlight, c.MaxBlock = c.Request+c.Linger+oneOf(r, 10, 50, 100), oneOf(r, 1, 1, 2), 60_000
			themes = []simKind{simTxnFault, simDelay}
		}
	}
	at, gap := 0, oneOf(r, 3, 15, 60, 200)
	trouble := oneOf(r, 0, 3, 6, 12)
	event := func(kind simKind) {
		at += r.IntN(gap)
		s.Events = append(s.Events, drawTxnEvent(r, at, kind, c))
	}
	disturb := func() {
		if r.IntN(24) < trouble*2 {
			event(themes[r.IntN(len(themes))])
		}
	}
	for range 1 + r.IntN(7) {
		event(simTxnBegin)
		for range r.IntN(8) {
			disturb()
			event(oneOf(r, simSend, simSend, simSend, simSend, simTxnOffsets))
		}
		disturb()
		event(oneOf(r, simTxnCommit, simTxnCommit, simTxnCommit, simTxnAbort))
		disturb()
	}
	if r.IntN(4) == 0 {
		for range r.IntN(4) {
			event(oneOf(r, simTxnBegin, simSend, simTxnOffsets, simTxnCommit))
		}
		s.Events = append(s.Events, simEvent{at + r.IntN(50), simClose, [6]int{oneOf(r, 0, 0, 1), r.IntN(300)}})
		event(oneOf(r, simSend, simTxnCommit, simTxnAbort))
	}
	slices.SortStableFunc(s.Events, func(a, b simEvent) int { return a.At - b.At })
	return s
}

func (c *simConfig) makeTransactional(r *rand.Rand) {
	c.Idempotent, c.Acks, c.Retries, c.Wrap, c.NameDuplicates, c.Codec = true, -1, 0, false, false, compress.None
	t := &simTxnConfig{Release: oneOf(r, 0, 1, 2, 3, 4, 4, 5, 6, 6, 6), Timeout: oneOf(r, 300, 2000, 60_000, 60_000, 60_000), Markers: oneOf(r, 0, 1000, 20_000, 200_000)}
	release := &simReleases[t.Release]
	if t.Level = release.feature; r.IntN(6) == 0 {
		t.Level = 0
	}
	c.Txn, c.Produce, c.RefuseUnknown = t, release.produce, release.number < 205
	c.FirstEpoch = oneOf[int16](r, 0, 0, 0, 0, 0, 0, 32760, 32764, 32766)
	c.Batch = oneOf(r, 1, 300, 500, 1000)
	c.MaxBlock = oneOf(r, 50, 500, 60_000, 60_000)
}

func drawTxnEvent(r *rand.Rand, at int, kind simKind, c *simConfig) simEvent {
	e := drawSimEvent(r, at, kind, c)
	switch kind {
	case simSend:
		if r.IntN(4) > 0 {
			e.Args[4] |= sendInTurn
		}
		e.Args[5] = min(e.Args[5], 4)
	case simTxnMove:
		e.Args = [6]int{r.IntN(3) / 2, 1 + r.IntN(c.Nodes)}
	case simTxnFault:
		api := 1 + r.IntN(len(simTxnAPIs))
		if r.IntN(3) == 0 {
			api = 1 + slices.Index(simTxnAPIs, protocol.EndTxn)
		}
		f := oneOf(r, faultDeaf, faultMute, faultCutBefore, faultCutAfter, faultDelay, faultDelay, faultAnswerDelay, faultAnswerDelay, faultThrottle, faultTxnError, faultTxnErrorAfter)
		number := 1 + r.IntN(oneOf(r, 30, 300))
		switch f {
		case faultDelay, faultAnswerDelay:
			number = oneOf(r, number, c.Request-20+r.IntN(oneOf(r, 100, 500)))
		case faultTxnError, faultTxnErrorAfter:
			number = r.IntN(4)
		}
		e.Args = [6]int{0, int(f), number, oneOf(r, 1, 1, 1, 2), r.IntN(3), api}
	}
	return e
}
