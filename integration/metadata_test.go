package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quill-kafka/quill"
)

// TestANewLeaderWithoutAnAddressIsAskedAbout starts a producer while a node is down. The node comes up and becomes the
// leader, and the answers of the one before name it without its address, as they do while the broker does not have it
// as alive in its own cache (KIP-951). It logs how long the record took, some 100 ms on a quiet machine; what it judges
// is that nothing waited for metadata.max.age.ms. TestALeaderWhoseAddressNobodyTellsIsFoundWithinASecond has the second,
// in virtual time.
func TestANewLeaderWithoutAnAddressIsAskedAbout(t *testing.T) {
	c := threeNodes(t)
	ctx := within(t, 5*time.Minute)
	topic := newTopic(t, c, "unheard-leader", 1)
	require.NoError(t, c.MoveLeader(ctx, topic, 0, 1))
	require.NoError(t, c.Node(2).Stop())
	var stripped atomic.Int64
	p := newProducer(t, quill.Config{BootstrapServers: c.Bootstrap(), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &withoutEndpoints{Conn: conn, stripped: &stripped, versions: map[int32]int16{}}, nil
	}})
	record := quill.Record[[]byte, []byte]{Topic: topic, Value: []byte("v")}
	_, err := p.SendSync(ctx, record)
	require.NoError(t, err)
	require.NoError(t, c.Node(2).Restart(ctx))
	require.NoError(t, c.WaitInSync(ctx, topic))
	require.NoError(t, c.MoveLeader(ctx, topic, 0, 2))
	begin := time.Now()
	_, err = p.SendSync(ctx, record)
	require.NoError(t, err)
	took := time.Since(begin)
	t.Logf("found in %v, after %d answers without an address", took.Round(time.Millisecond), stripped.Load())
	require.Positive(t, stripped.Load(), "an answer named a leader")
	require.Less(t, took, time.Minute, "metadata.max.age.ms is five")
}

// withoutEndpoints is a connection that takes the nodes' addresses out of the answers to Produce.
type withoutEndpoints struct {
	net.Conn
	stripped *atomic.Int64

	mu sync.Mutex
	// +checklocks:mu
	versions map[int32]int16 // of the Produce requests without an answer, by correlation id
	sent     []byte          // of a request that is not whole yet
	answer   []byte          // what is left of one for the reader
}

// Write implements net.Conn.
func (w *withoutEndpoints) Write(b []byte) (int, error) {
	w.sent = append(w.sent, b...)
	for len(w.sent) >= 12 {
		size := 4 + int(binary.BigEndian.Uint32(w.sent))
		if len(w.sent) < size {
			break
		}
		if key := binary.BigEndian.Uint16(w.sent[4:]); key == uint16(kmsg.Produce) {
			w.mu.Lock()
			w.versions[int32(binary.BigEndian.Uint32(w.sent[8:]))] = int16(binary.BigEndian.Uint16(w.sent[6:]))
			w.mu.Unlock()
		}
		w.sent = slices.Clone(w.sent[size:])
	}
	return w.Conn.Write(b)
}

// Read implements net.Conn.
func (w *withoutEndpoints) Read(b []byte) (int, error) {
	if len(w.answer) == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.answer)
	w.answer = w.answer[n:]
	return n, nil
}

// next reads one answer.
func (w *withoutEndpoints) next() error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(w.Conn, head); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(w.Conn, body); err != nil {
		return err
	}
	id := int32(binary.BigEndian.Uint32(body))
	w.mu.Lock()
	version, produce := w.versions[id]
	delete(w.versions, id)
	w.mu.Unlock()
	if produce && version >= 10 { // behind the correlation id: no tags
		answer := kmsg.NewPtrProduceResponse()
		answer.SetVersion(version)
		if err := answer.ReadFrom(body[5:]); err != nil {
			return err
		}
		if len(answer.Brokers) > 0 {
			answer.Brokers = nil
			w.stripped.Add(1)
		}
		body = answer.AppendTo(body[:5:5])
	}
	w.answer = append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	return nil
}

// TestFirstSendsToNewTopicsBesideFranz sends to one new topic every 3 ms, all of which exist, with quill and with
// franz-go in turn, and logs how long the first record of each took, and how much of that quill's waited for metadata
// (the serializer runs behind that). It measures, and judges only that all arrive: what it logs is for quiet
// machines. A node answers the requests of one connection one after the other, and Produce waits for replicas. A single round
// says little: on one and the same cluster each pass of the first eight or so is faster than the one before.
func TestFirstSendsToNewTopicsBesideFranz(t *testing.T) {
	const topics, rounds = 200, 8 // an even number of rounds, so that each is first as often
	c := threeNodes(t)
	ctx := within(t, 5*time.Minute)
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint("first-", i)
		require.NoError(t, c.CreateTopicUnready(ctx, names[i], 1))
	}
	t.Cleanup(func() {
		for _, name := range names {
			if err := c.DeleteTopic(context.Background(), name); err != nil {
				t.Log(err)
			}
		}
	})
	for _, name := range names {
		require.NoError(t, c.WaitInSync(ctx, name))
	}
	var looked []time.Duration // how long quill's waited for metadata
	quills := func() []time.Duration {
		var mu sync.Mutex
		begin := map[string]time.Time{}
		looked = nil
		value := quill.SerializerFunc[[]byte](func(_ []byte, topic string, _ *quill.Headers, v []byte) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			looked = append(looked, time.Since(begin[topic]).Round(100*time.Microsecond))
			return v, nil
		})
		p, err := quill.New(quill.Config{BootstrapServers: c.Bootstrap()}, quill.Bytes, value)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Close(ctx)) }()
		took := firstSends(names, func(topic string) error {
			mu.Lock()
			begin[topic] = time.Now()
			mu.Unlock()
			_, err := p.SendSync(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte("v")})
			return err
		}, t.Error)
		slices.Sort(looked)
		return took
	}
	franzs := func() []time.Duration {
		f, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.ProducerLinger(0))
		require.NoError(t, err)
		defer f.Close()
		return firstSends(names, func(topic string) error {
			return f.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr()
		}, t.Error)
	}
	// The nodes make their logs, and their compilers are busy for some thousand requests: whoever comes later finds faster
	// nodes. So both have had two passes before it counts, and who is first changes from round to round.
	for pass, who := range []func() []time.Duration{franzs, quills, quills, franzs} {
		took := who()
		t.Logf("warming up, pass %d (%s): %v", pass, []string{"franz-go", "quill", "quill", "franz-go"}[pass], spread(took))
	}
	var ratios [3][]float64 // quill's by franz-go's: p50, p90, max
	for round := range rounds {
		var mine, its []time.Duration
		first := "quill"
		if round%2 == 0 {
			mine, its = quills(), franzs()
		} else {
			first, its, mine = "franz-go", franzs(), quills()
		}
		t.Logf("round %d, %d topics, %s first: quill %v (metadata %v); franz-go %v", round, topics, first, spread(mine), spread(looked), spread(its))
		for i, m := range spread(mine) {
			ratios[i] = append(ratios[i], float64(m)/float64(spread(its)[i]))
		}
	}
	for i, what := range []string{"p50", "p90", "max"} {
		slices.Sort(ratios[i])
		t.Logf("%s, quill by franz-go, median of %d rounds: %.2f (%.2f to %.2f)", what, rounds, (ratios[i][rounds/2-1]+ratios[i][rounds/2])/2, ratios[i][0], ratios[i][rounds-1])
	}
}

// spread is the median, the ninth tenth and the largest of what is in order.
func spread(took []time.Duration) [3]time.Duration {
	n := len(took)
	return [3]time.Duration{took[n/2], took[n*9/10], took[n-1]}
}

// firstSends sends one record to each topic, a new one every 3 ms, and returns how long each took, in order.
func firstSends(topics []string, send func(topic string) error, failed func(...any)) []time.Duration {
	took := make([]time.Duration, len(topics))
	var wg sync.WaitGroup
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	for i, topic := range topics {
		wg.Go(func() {
			begin := time.Now()
			if err := send(topic); err != nil {
				failed(topic, err)
			}
			took[i] = time.Since(begin).Round(100 * time.Microsecond)
		})
		<-pace.C
	}
	wg.Wait()
	slices.Sort(took)
	return took
}
