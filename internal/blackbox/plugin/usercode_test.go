package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// Code of the user's that runs on the producer's own goroutines: the dialer and its connections, the handler of the log,
// and plug-ins' Close. A panic in it ends no process, the end of its goroutine (t.FailNow does that) no sender.

var errFromUser = errors.New("what the user's code panicked with")

// misdeeds are what user's code may do besides returning.
var misdeeds = map[string]func(){
	"panic":  func() { panicOfTheUser(errFromUser) },
	"Goexit": runtime.Goexit,
}

func panicOfTheUser(v any) { panic(v) }

// requireMisdeed checks that err says what the user's code did, and where.
func requireMisdeed(t *testing.T, err error, deed, where string) {
	t.Helper()
	require.ErrorContains(t, err, where)
	if deed == "Goexit" {
		require.ErrorContains(t, err, "ended the goroutine")
		return
	}
	require.ErrorIs(t, err, errFromUser)
	fault, ok := errors.AsType[*quill.PanicError](err)
	require.True(t, ok)
	require.Contains(t, string(fault.Stack), "panicOfTheUser")
}

// A dialer that panics, ends its goroutine or returns nothing fails to connect, and is called again.
func TestADialerThatDoesNotReturnFailsToConnect(t *testing.T) {
	for deed, do := range misdeeds {
		t.Run(deed, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				cfg := testkit.Config(c)
				var log testkit.LogText
				cfg.Logger, cfg.MaxBlock = log.Logger(), 5*time.Second
				var broken atomic.Bool
				cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if broken.Load() {
						do()
					}
					return c.DialContext(ctx, network, addr)
				}
				broken.Store(true)
				p := testkit.Open(t, cfg)
				_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
				require.ErrorIs(t, err, quill.ErrTimeout)
				requireMisdeed(t, err, deed, "DialContext")
				lines := log.Lines("DialContext")
				require.NotEmpty(t, lines)
				require.Len(t, log.Lines("usercode_test.go"), 1, "where it was, once")
				broken.Store(false)
				testkit.SendOK(t, p, "t")
				testkit.CloseProducer(t, p)
			})
		})
	}
}

func TestADialerThatReturnsNothingFailsToConnect(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.MaxBlock = 5 * time.Second
		cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		p := testkit.Open(t, cfg)
		_, err := p.SendSync(t.Context(), testkit.Rec("t", "k", "v"))
		require.ErrorContains(t, err, "DialContext returned neither a connection nor an error")
		testkit.CloseProducer(t, p)
	})
}

// brokenConn is a connection that does a misdeed once in one of its methods.
type brokenConn struct {
	net.Conn
	at func(method string)
}

func (x brokenConn) Read(b []byte) (int, error)  { x.at("Read"); return x.Conn.Read(b) }
func (x brokenConn) Write(b []byte) (int, error) { x.at("Write"); return x.Conn.Write(b) }
func (x brokenConn) Close() error                { err := x.Conn.Close(); x.at("Close"); return err }
func (x brokenConn) SetDeadline(d time.Time) error {
	x.at("SetDeadline")
	return x.Conn.SetDeadline(d)
}
func (x brokenConn) SetReadDeadline(d time.Time) error {
	x.at("SetReadDeadline")
	return x.Conn.SetReadDeadline(d)
}

// A connection whose methods panic or end the goroutine is one that broke: records are sent again over the next.
func TestAConnectionThatPanicsIsOneThatBroke(t *testing.T) {
	for deed, do := range misdeeds {
		for _, method := range []string{"Read", "Write", "Close", "SetDeadline", "SetReadDeadline"} {
			for call := range 4 {
				t.Run(fmt.Sprint(deed, method, call), func(t *testing.T) {
					testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
						c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
						cfg := testkit.Config(c)
						dial := cfg.DialContext
						var calls atomic.Int64
						cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
							nc, err := dial(ctx, network, addr)
							return brokenConn{nc, func(at string) {
								if at == method && calls.Add(1) == int64(call+1) {
									do()
								}
							}}, err
						}
						p := testkit.Open(t, cfg)
						for range 3 {
							testkit.SendOK(t, p, "t")
							require.NoError(t, c.Disconnect(1))
							time.Sleep(time.Second)
						}
						require.Len(t, testkit.Logged(t, c, "t", 0), 3)
						testkit.CloseProducer(t, p)
					})
				})
			}
		}
	}
}

// brokenLog is a handler that does a misdeed in one of its methods, each time or, where it is derived, once.
type brokenLog struct {
	at    func(method string)
	lines *atomic.Int64
}

func (x brokenLog) Enabled(context.Context, slog.Level) bool { x.at("Enabled"); return true }
func (x brokenLog) Handle(context.Context, slog.Record) error {
	x.lines.Add(1)
	x.at("Handle")
	return nil
}
func (x brokenLog) WithAttrs([]slog.Attr) slog.Handler { x.at("WithAttrs"); return x }
func (x brokenLog) WithGroup(string) slog.Handler      { x.at("WithGroup"); return x }

// standardError returns a function that returns what was written to it since.
func standardError(t *testing.T) (told func() string) {
	was := os.Stderr
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	os.Stderr = file
	t.Cleanup(func() {
		os.Stderr = was
		require.NoError(t, file.Close())
	})
	return func() string {
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(text)
	}
}

// A handler of the log that panics or ends the goroutine costs the line, and no record.
func TestALogHandlerThatPanicsCostsTheLineOnly(t *testing.T) {
	for deed, do := range misdeeds {
		for _, method := range []string{"Enabled", "Handle", "WithAttrs"} {
			t.Run(deed+method, func(t *testing.T) {
				told := standardError(t)
				testkit.Bubble(t, quilltest.Options{Nodes: 1}, func(t *testing.T, c *quilltest.Cluster) {
					c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
					cfg := testkit.Config(c)
					var lines atomic.Int64
					cfg.Logger = slog.New(brokenLog{func(at string) {
						if at == method {
							do()
						}
					}, &lines})
					var p *quill.Producer[string, string]
					var opening sync.WaitGroup
					opening.Go(func() { p = testkit.Open(t, cfg) })
					opening.Wait()
					testkit.SendOK(t, p, "t")
					require.NoError(t, c.StopNode(1))
					f := p.Send(t.Context(), testkit.Rec("t", "k", "v"))
					time.Sleep(20 * time.Second)
					require.NoError(t, c.StartNode(1))
					_, err := f.Wait(t.Context())
					require.NoError(t, err)
					p.SendFunc(t.Context(), testkit.Rec("t", "k", "v"), func(quill.RecordMetadata, error) { panic("in a callback, which is logged") })
					require.NoError(t, p.Flush(t.Context()))
					testkit.CloseProducer(t, p)
					require.Equal(t, method != "Enabled", lines.Load() > 10)
					text := told()
					require.Equal(t, 1, strings.Count(text, "did not return from "+method), text)
					require.Contains(t, text, "usercode_test.go", "where it was")
				})
			})
		}
	}
}

// closeMisdeed is an interceptor and a partitioner whose Close does not return.
type closeMisdeed struct{ do func() }

func (closeMisdeed) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}
func (closeMisdeed) Partition(quill.PartitionInput) (int32, error) { return 0, nil }
func (x closeMisdeed) Close() error                                { x.do(); return nil }

// A plug-in whose Close panics or ends the goroutine is named by Close, and those after it are closed all the same.
func TestAPluginWhoseCloseDoesNotReturnIsNamed(t *testing.T) {
	for deed, do := range misdeeds {
		for _, place := range []string{"interceptor", "partitioner"} {
			t.Run(deed+" "+place, func(t *testing.T) {
				testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
					cfg := testkit.Config(c)
					var behind testkit.Closer
					x, plain := closeMisdeed{do}, closeMisdeed{func() {}}
					interceptors := []quill.Interceptor[string, string]{x, &behind}
					if place == "partitioner" {
						cfg.Partitioner, interceptors[0] = x, plain
					}
					p, err := quill.New(cfg, quill.String, quill.String, interceptors...)
					require.NoError(t, err)
					err = p.Close(t.Context())
					requireMisdeed(t, err, deed, "close "+place)
					require.EqualValues(t, 1, behind.Closed.Load())
					synctest.Wait()
				})
			})
		}
	}
}
