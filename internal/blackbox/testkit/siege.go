package testkit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Identity makes every node answer InitProducerId so.
func (x *Siege) Identity(tell func(m *message.InitProducerIDResponse)) *quilltest.Injection {
	return x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.InitProducerID}, Times: -1,
		Edit: func(_ *quilltest.Request, response any) { tell(response.(*message.InitProducerIDResponse)) }})
}

// Lie makes every node say so every time.
func (x *Siege) Lie(tell func(m *message.MetadataResponse)) *quilltest.Injection {
	return x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Times: -1,
		Edit: func(_ *quilltest.Request, response any) { tell(response.(*message.MetadataResponse)) }})
}

// Impatient gives a configuration short times.
func Impatient(cfg *quill.Config) {
	cfg.MaxBlock, cfg.RequestTimeout, cfg.DeliveryTimeout = 10*time.Second, 2*time.Second, 10*time.Second
}

// Claim makes the next times answers about partition 0 (negative: all) say something else. tell gets
// the partition's entry, which is the answer's only one.
func (x *Siege) Claim(times int, tell func(p *message.PartitionProduceResponse, m *message.ProduceResponse)) *quilltest.Injection {
	return x.Produce(quilltest.Fault{Topic: "t", Partitions: []int32{0}, Times: times, Edit: func(_ *quilltest.Request, response any) {
		m := response.(*message.ProduceResponse)
		tell(&m.Responses[0].PartitionResponses[0], m)
	}})
}

// HeapInUse returns the memory that something refers to.
func HeapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the first leaves what sync.Pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Siege is a lab that also counts connections and keeps the log. Node 1, which leads partition 0, is
// the hostile one.
type Siege struct {
	*Lab
	Told LogText

	mu sync.Mutex
	// +checklocks:mu
	dials []string // addresses, in the order of connecting
}

// Besiege runs a test in a siege, with changes to the producer's configuration.
func Besiege(t *testing.T, opts quilltest.Options, change func(*quill.Config), test func(x *Siege)) {
	t.Helper()
	x := &Siege{}
	InLab(t, opts, func(cfg *quill.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&x.Told, &slog.HandlerOptions{Level: slog.LevelDebug}))
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			x.mu.Lock()
			x.dials = append(x.dials, addr)
			x.mu.Unlock()
			return dial(ctx, network, addr)
		}
		if change != nil {
			change(cfg)
		}
	}, func(l *Lab) {
		x.Lab = l
		test(x)
		RequireHarmless(t, x.Told.String())
	})
}

// RequireHarmless refuses text that a terminal or a log reader would be fooled by.
func RequireHarmless(t *testing.T, text string) {
	t.Helper()
	at := bytes.IndexFunc([]byte(text), func(r rune) bool { return r != '\n' && unicode.IsControl(r) })
	require.Negative(t, at, "control character in %q", text[max(0, at-80):min(len(text), max(0, at)+80)])
}

// Dialled returns how many connections were tried, to the nodes named or to all.
func (x *Siege) Dialled(nodes ...int32) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, addr := range x.dials {
		if len(nodes) == 0 || slices.ContainsFunc(nodes, func(id int32) bool { return x.C.NodeAddr(id) == addr }) {
			n++
		}
	}
	return n
}

// RequireBetween holds a number of requests or connections to both of its bounds: not asked in a loop, but to the end.
func RequireBetween(t require.TestingT, n, least, most int, why ...any) {
	if t, ok := t.(interface{ Helper() }); ok {
		t.Helper()
	}
	require.GreaterOrEqual(t, n, least, why...)
	require.LessOrEqual(t, n, most, why...)
}

// Elsewhere sends to partition 1, whose node is sane, every 10 ms until the future is done. None of
// these sends may take long.
func (x *Siege) Elsewhere(until quill.Future) {
	x.Helper()
	for i := 0; !until.Done(); i++ {
		start := time.Now()
		x.Deliver(1, fmt.Sprint(i))
		require.LessOrEqual(x, time.Since(start), 10*time.Millisecond)
		time.Sleep(10 * time.Millisecond)
	}
}

// Asks counts the requests for a producer id.
func (x *Siege) Asks() int64 { return x.C.RequestCount(protocol.InitProducerID) }

// Lend gives the producer in the siege, and others that are opened until the injection is removed, one id.
func (x *Siege) Lend(epoch int16) *quilltest.Injection {
	return x.Identity(func(m *message.InitProducerIDResponse) { m.ProducerID, m.ProducerEpoch = 4711, epoch })
}

// Sharing opens another producer, which gets what lend lends.
func (x *Siege) Sharing() *quill.Producer[string, string] {
	cfg := Config(x.C)
	cfg.BatchSize, cfg.Linger = -1, -1
	return Open(x.T, cfg)
}

// WithoutEndpoints takes the nodes' addresses out of all answers to Produce, as a broker does that does not
// have the new leader as alive in its own cache.
func (x *Siege) WithoutEndpoints() *quilltest.Injection {
	return x.Produce(quilltest.Fault{Topic: "t", Times: -1, Edit: func(_ *quilltest.Request, response any) {
		response.(*message.ProduceResponse).NodeEndpoints = nil
	}})
}
