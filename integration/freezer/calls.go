package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
)

// limit is what each call has: max.block.ms of those about transactions, the deadline of Flush and Close. It is less than
// the process stands still.
const limit = time.Second

// call is one that waits for the answer to a request.
type call struct {
	waits protocol.APIKey // for the answer to this request, which is written before the process stops
	txn   bool
	open  bool // records are sent when the call begins; otherwise they are acknowledged before
	make  func(c *caller) error
}

var calls = map[string]call{
	"flush":  {waits: protocol.Produce, open: true, make: (*caller).flush},
	"close":  {waits: protocol.Produce, open: true, make: (*caller).close},
	"commit": {waits: protocol.EndTxn, txn: true, make: (*caller).commit},
	"abort":  {waits: protocol.EndTxn, txn: true, make: (*caller).abort},
	// The answer that comes is not the one to EndTxn, which has yet to be sent.
	"commit-records": {waits: protocol.Produce, txn: true, open: true, make: (*caller).commit},
	"close-commit":   {waits: protocol.EndTxn, txn: true, make: (*caller).closeWhileCommitting},
}

// caller makes one call.
type caller struct {
	call
	producer *quill.Producer[string, string]
	topic    string
	written  chan struct{} // closed when the request is
}

// run gets ready for the call and makes it when told to. The process stops itself as soon as the request is written, so
// that nothing depends on how fast the machine is.
func (c call) run(cfg quill.Config, topic, name string, records int) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	cfg.MaxBlock = limit
	if c.txn {
		cfg.TransactionalID = name
	}
	w := &watch{api: c.waits, written: make(chan struct{})}
	cfg.DialContext = w.dial
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	x := &caller{call: c, producer: p, topic: topic, written: w.written}
	if err := x.prepare(name, records); err != nil {
		return err
	}
	fmt.Println("ready")
	<-told
	w.arm()
	go func() { // ends when the call has written its request
		<-w.written
		time.Sleep(10 * time.Millisecond) // whatever waits for the answer has begun to
		fmt.Println("written")
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}()
	if c.open { // one record, so that it leaves in one request
		x.send(name + "-open")
	}
	fmt.Println("call ended:", c.make(x))
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.Close(closing)
}

// prepare brings the producer where the call may begin.
func (c *caller) prepare(name string, records int) error {
	ctx := context.Background()
	if c.txn {
		err := c.producer.InitTransactions(ctx)
		for errors.Is(err, quill.ErrTimeout) { // a coordinator that was never needed before takes its time
			err = c.producer.InitTransactions(ctx)
		}
		if err := cmp.Or(err, c.producer.BeginTransaction()); err != nil {
			return err
		}
	}
	for i := range records {
		c.send(fmt.Sprintf("%s-%d", name, i))
	}
	return c.producer.Flush(ctx)
}

// send sends a record and prints what its callback is told, each time that it is.
func (c *caller) send(value string) {
	c.producer.SendFunc(context.Background(), quill.Record[string, string]{Topic: c.topic, Value: value}, func(_ quill.RecordMetadata, err error) {
		if err != nil {
			fmt.Printf("%s failed: %v\n", value, err)
		} else {
			fmt.Printf("%s acknowledged\n", value)
		}
	})
}

func (c *caller) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return c.producer.Flush(ctx)
}

func (c *caller) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return c.producer.Close(ctx)
}

// commit commits. If something has yet to be sent when its time is over it says so, and is asked again for the outcome.
func (c *caller) commit() error {
	err := c.producer.CommitTransaction(context.Background())
	for c.open && errors.Is(err, quill.ErrTimeout) && !errors.Is(err, quill.ErrAbortable) {
		fmt.Println("call again:", err)
		err = c.producer.CommitTransaction(context.Background())
	}
	return err
}

func (c *caller) abort() error { return c.producer.AbortTransaction(context.Background()) }

// closeWhileCommitting closes the producer while another goroutine waits for the end of a transaction.
func (c *caller) closeWhileCommitting() error {
	committed := make(chan error, 1)
	go func() { committed <- c.producer.CommitTransaction(context.Background()) }() // ends when the commit has
	<-c.written
	return errors.Join(c.close(), <-committed)
}

// watch tells when a request of a kind has been written.
type watch struct {
	api     protocol.APIKey
	written chan struct{}

	mu sync.Mutex
	// +checklocks:mu
	armed bool
}

// arm begins to look: what was written before does not count.
func (w *watch) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = true
}

// saw notes that a request is written.
func (w *watch) saw(api protocol.APIKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed && api == w.api {
		w.armed = false
		close(w.written)
	}
}

func (w *watch) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &watched{Conn: nc, watch: w}, nil
}

// watched follows the frames that are written: a length of four bytes, then as many, of which the first two are the API key.
type watched struct {
	net.Conn
	watch *watch
	begin []byte // of the frame, up to its API key
	left  int    // bytes of the frame that are not written yet
}

// Write implements net.Conn. One goroutine at a time writes.
func (c *watched) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.follow(b[:n])
	return n, err
}

func (c *watched) follow(b []byte) {
	const head = 4 + 2
	for len(b) > 0 {
		if need := head - len(c.begin); need > 0 {
			part := b[:min(need, len(b))]
			c.begin, b = append(c.begin, part...), b[len(part):]
			if len(c.begin) == head {
				c.left = int(binary.BigEndian.Uint32(c.begin)) - 2
			}
			continue
		}
		part := min(c.left, len(b))
		c.left, b = c.left-part, b[part:]
		if c.left == 0 {
			c.watch.saw(protocol.APIKey(binary.BigEndian.Uint16(c.begin[4:])))
			c.begin = c.begin[:0]
		}
	}
}
