package null

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API keys that the cluster answers.
const (
	keyProduce            = 0
	keyMetadata           = 3
	keyAPIVersions        = 18
	keyInitProducerID     = 22
	keyAddPartitionsToTxn = 24
	keyEndTxn             = 26
)

// conn serves one connection: a goroutine that reads, counts and answers, and, once answers are to
// be held back, a second one that does the waiting.
type conn struct {
	c    *Cluster
	node *node
	in   *stream
	nc   net.Conn

	scratch  []byte                // encoded answer
	produced *kmsg.ProduceResponse // used again for every answer
	batch    [batchHeaderSize]byte
	verifier verifier

	wg   sync.WaitGroup
	late chan heldAnswer // nil: no answer was held back yet
}

type heldAnswer struct {
	due time.Time
	b   []byte
}

// heldAnswers is how many answers wait on one connection before the cluster stops reading it.
const heldAnswers = 256

func newConn(c *Cluster, n *node, nc *net.TCPConn) *conn {
	return &conn{c: c, node: n, nc: nc, in: newStream(nc), produced: kmsg.NewPtrProduceResponse()}
}

// run ends with the connection; the goroutine that holds answers back ends with ctx.
func (k *conn) run(ctx context.Context) error {
	for {
		size, err := k.in.next()
		if err != nil {
			return err
		}
		key, version, correlation := k.in.int16(), k.in.int16(), k.in.int32()
		k.in.stringBytes(false) // client id, never compact
		var answer kmsg.Response
		if key == keyProduce {
			answer = k.produce(version, size)
		} else {
			answer = k.other(key, version)
		}
		k.in.drop(k.in.left)
		if k.in.err != nil {
			return k.in.err
		}
		if answer != nil {
			if err := k.answer(ctx, correlation, answer); err != nil {
				return err
			}
		}
	}
}

// answer sends a response, now or later, never before one of an earlier request.
func (k *conn) answer(ctx context.Context, correlation int32, r kmsg.Response) error {
	b := binary.BigEndian.AppendUint32(append(k.scratch[:0], 0, 0, 0, 0), uint32(correlation))
	if r.IsFlexible() && r.Key() != keyAPIVersions {
		b = append(b, 0) // no tags in the header
	}
	b = r.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	k.scratch = b
	latency := time.Duration(k.c.latency.Load())
	if latency <= 0 && k.late == nil {
		_, err := k.nc.Write(b)
		return err
	}
	if k.late == nil {
		k.late = make(chan heldAnswer, heldAnswers)
		k.wg.Go(func() { k.holdBack(ctx) })
	}
	select {
	case k.late <- heldAnswer{time.Now().Add(latency), append([]byte(nil), b...)}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holdBack writes answers when they are due. A connection that can't be written is the reader's to notice.
func (k *conn) holdBack(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case a := <-k.late:
			timer.Reset(time.Until(a.due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			if _, err := k.nc.Write(a.b); err != nil {
				_ = k.nc.Close() // ends the reader, and with it ctx
			}
		case <-ctx.Done():
			return
		}
	}
}
