package testkit

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// ErrOwn is the failure of a plug-in, or the cause of a context's end.
var ErrOwn = errors.New("own error")

// Greet returns a greeting of a server that speaks something else.
func Greet(text string) func(int32) []byte { return func(int32) []byte { return []byte(text) } }

// CutOffAll cuts all nodes off the network.
func CutOffAll(c *quilltest.Cluster) {
	for _, id := range c.NodeIDs() {
		_ = c.CutOffNode(id)
	}
}

// NullSerializer makes null of everything.
var NullSerializer = quill.SerializerFunc[string](func([]byte, string, *quill.Headers, string) ([]byte, error) { return nil, nil })

// SendFunc sends with a callback and waits for that; it must come exactly once.
func SendFunc[K, V any](t *testing.T, p *quill.Producer[K, V], r quill.Record[K, V]) (m quill.RecordMetadata, err error) {
	t.Helper()
	told := make(chan struct{})
	p.SendFunc(t.Context(), r, func(got quill.RecordMetadata, failure error) {
		m, err = got, failure
		close(told) // a second time would panic, and that be logged
	})
	<-told
	return m, err
}

// Acknowledged is an interceptor that keeps what is reported to it.
type Acknowledged struct {
	mu   sync.Mutex
	Told []acknowledgement
}

type acknowledgement struct {
	M       quill.RecordMetadata
	headers quill.Headers
	Err     error
}

func (*Acknowledged) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}

func (a *Acknowledged) OnAcknowledgement(m quill.RecordMetadata, headers quill.Headers, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Told = append(a.Told, acknowledgement{m, headers, err})
}

// Take returns the one acknowledgement that came since the last time.
func (a *Acknowledged) Take(t *testing.T) acknowledgement {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(t, a.Told, 1)
	one := a.Told[0]
	a.Told = nil
	return one
}

// LogText is a log that tests read.
type LogText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *LogText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *LogText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines returns the log's lines that hold the text.
func (l *LogText) Lines(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Logger writes to l.
func (l *LogText) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Loud returns the lines that are warnings or errors.
func (l *LogText) Loud() []string { return append(l.Lines("level=WARN"), l.Lines("level=ERROR")...) }
