package quill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type textRecord = Record[string, string]

// tap is an interceptor that appends its name to the value and writes down what happens to it.
type tap struct {
	name      string
	calls     *[]string
	sendErr   error
	sendPanic any
	ackPanic  any
	configErr error
	closeErr  error
	info      ClientInfo
}

func (i *tap) note(format string, args ...any) {
	*i.calls = append(*i.calls, i.name+": "+fmt.Sprintf(format, args...))
}

func (i *tap) OnSend(_ context.Context, r textRecord) (textRecord, error) {
	i.note("send %s", r.Value)
	r.Value += i.name
	r.Headers.Add(i.name, nil)
	if i.sendPanic != nil {
		panic(i.sendPanic)
	}
	return r, i.sendErr
}

func (i *tap) OnAcknowledgement(m RecordMetadata, headers Headers, err error) {
	i.note("ack %s-%d@%d %d headers %v", m.Topic, m.Partition, m.Offset, len(headers), err)
	if i.ackPanic != nil {
		panic(i.ackPanic)
	}
}

func (i *tap) Configure(info ClientInfo) error {
	i.note("configure")
	i.info = info
	return i.configErr
}

func (i *tap) Close() error {
	i.note("close")
	return i.closeErr
}

// sendOnly has OnSend and nothing else.
type sendOnly struct{ tap *tap }

func (i sendOnly) OnSend(ctx context.Context, r textRecord) (textRecord, error) {
	return i.tap.OnSend(ctx, r)
}

func newTaps(names string) (taps []*tap, calls *[]string) {
	calls = new([]string)
	for _, name := range names {
		taps = append(taps, &tap{name: string(name), calls: calls})
	}
	return taps, calls
}

func newChain(t *testing.T, log *bytes.Buffer, taps ...*tap) *interceptorChain[string, string] {
	var list []Interceptor[string, string]
	for _, i := range taps {
		list = append(list, i)
	}
	info := ClientInfo{ClientID: "producer-1", Logger: slog.New(slog.DiscardHandler)}
	if log != nil {
		info.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	c, err := newInterceptorChain(list, info)
	require.NoError(t, err)
	if len(taps) > 0 {
		*taps[0].calls = nil // without the configuring
	}
	return c
}

func TestInterceptorsRunInOrder(t *testing.T) {
	taps, calls := newTaps("abc")
	c := newChain(t, nil, taps...)
	r, _ := c.onSend(t.Context(), textRecord{Topic: "t", Value: "v"})
	require.Equal(t, "vabc", r.Value)
	require.Len(t, r.Headers, 3)
	c.onAcknowledgement(nil, RecordMetadata{Topic: "t", Partition: 1, Offset: 9}, r.Headers, nil)
	require.NoError(t, c.close(closeApart))
	require.Equal(t, []string{
		"a: send v", "b: send va", "c: send vab",
		"a: ack t-1@9 3 headers <nil>", "b: ack t-1@9 3 headers <nil>", "c: ack t-1@9 3 headers <nil>",
		"a: close", "b: close", "c: close",
	}, *calls)
}

func TestFaultyInterceptorIsSkipped(t *testing.T) {
	for name, spoil := range map[string]func(i *tap){
		"error": func(i *tap) { i.sendErr = errPlugin },
		"panic": func(i *tap) { i.sendPanic = errPlugin },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			taps, calls := newTaps("abc")
			spoil(taps[1])
			c := newChain(t, &log, taps...)
			r, _ := c.onSend(t.Context(), textRecord{Topic: "orders", Partition: Partition(4), Value: "v"})
			require.Equal(t, "vac", r.Value)
			require.Equal(t, Headers{{Key: "a"}, {Key: "c"}}, r.Headers)
			require.Equal(t, []string{"a: send v", "b: send va", "c: send va"}, *calls)
			for _, want := range []string{
				"level=WARN", `msg="interceptor failed"`, "interceptor=*quill.tap", "method=OnSend",
				"topic=orders", "partition=4", "faults=1", errPlugin.Error(),
			} {
				require.Contains(t, log.String(), want)
			}
			require.Equal(t, name == "panic", strings.Contains(log.String(), "stack="))
		})
	}
}

func TestInterceptorFaultsDoNotFloodTheLog(t *testing.T) {
	var log bytes.Buffer
	taps, _ := newTaps("a")
	taps[0].sendErr = errPlugin
	c := newChain(t, &log, taps...)
	for range 1000 {
		c.onSend(t.Context(), textRecord{Topic: "t"})
	}
	require.Equal(t, 10, strings.Count(log.String(), "\n"), "1, 2, 4 ... 512")
	require.Contains(t, log.String(), "partition=-1")
}

func TestInterceptorsDoNotShareHeaderMemory(t *testing.T) {
	shared := make(Headers, 0, 10) // the caller sends many records with it
	taps, _ := newTaps("a")
	c := newChain(t, nil, taps...)
	first, _ := c.onSend(t.Context(), textRecord{Topic: "t", Headers: shared})
	taps[0].name = "b"
	second, _ := c.onSend(t.Context(), textRecord{Topic: "t", Headers: shared})
	require.Equal(t, Headers{{Key: "a"}}, first.Headers)
	require.Equal(t, Headers{{Key: "b"}}, second.Headers)
	require.Empty(t, shared)
}

func TestFaultyAcknowledgementIsIsolated(t *testing.T) {
	var log bytes.Buffer
	taps, calls := newTaps("ab")
	taps[0].ackPanic = "broken"
	c := newChain(t, &log, taps...)
	c.onAcknowledgement(nil, RecordMetadata{Topic: "t", Partition: 2, Offset: -1}, nil, errPlugin)
	require.Len(t, *calls, 2)
	for _, want := range []string{"method=OnAcknowledgement", "topic=t", "partition=2", "panic: broken"} {
		require.Contains(t, log.String(), want)
	}
}

func TestFailedSendTellsTopicAndPartition(t *testing.T) {
	taps, calls := newTaps("a")
	c := newChain(t, nil, taps...)
	c.onSendError(failedRecord(-1, nil), errPlugin)
	c.onSendError(failedRecord(3, Headers{{Key: "h"}}), errPlugin)
	require.Equal(t, []string{
		"a: ack t--1@-1 0 headers plug-in failed",
		"a: ack t-3@-1 1 headers plug-in failed",
	}, *calls)
}

func TestOnlyAcknowledgementInterceptorsAreAcknowledged(t *testing.T) {
	taps, calls := newTaps("ab")
	info := ClientInfo{Logger: slog.New(slog.DiscardHandler)}
	c, err := newInterceptorChain([]Interceptor[string, string]{sendOnly{taps[0]}}, info)
	require.NoError(t, err)
	require.False(t, c.hasAcknowledgement())
	c.onAcknowledgement(nil, RecordMetadata{}, nil, nil)
	c.onSendError(failedRecord(0, nil), errPlugin)
	require.NoError(t, c.close(closeApart))
	require.Empty(t, *calls)

	c, err = newInterceptorChain([]Interceptor[string, string]{sendOnly{taps[0]}, taps[1]}, info)
	require.NoError(t, err)
	require.True(t, c.hasAcknowledgement())
	*calls = nil
	c.onSendError(failedRecord(0, nil), errPlugin)
	require.Len(t, *calls, 1)
}

func TestEmptyChainDoesNothing(t *testing.T) {
	var none *interceptorChain[string, string]
	for _, c := range []*interceptorChain[string, string]{none, newChain(t, nil)} {
		r := textRecord{Topic: "t", Value: "v"}
		same, _ := c.onSend(t.Context(), r)
		require.Equal(t, r, same)
		require.False(t, c.hasAcknowledgement())
		c.onAcknowledgement(nil, RecordMetadata{}, nil, nil)
		c.onSendError(failedRecord(0, nil), nil)
		require.NoError(t, c.close(closeApart))
		ctx := t.Context()
		require.Zero(t, testing.AllocsPerRun(100, func() {
			r, _ = c.onSend(ctx, r)
			c.onSendError(failedRecord(0, nil), nil)
		}))
	}
}

func TestInterceptorsAreConfiguredWithTheClient(t *testing.T) {
	taps, _ := newTaps("ab")
	newChain(t, nil, taps...)
	require.Equal(t, "producer-1", taps[0].info.ClientID)
	require.NotNil(t, taps[1].info.Logger)
}

func TestFailingConfigureClosesTheOthers(t *testing.T) {
	taps, calls := newTaps("abc")
	taps[1].configErr = errPlugin
	_, err := newInterceptorChain([]Interceptor[string, string]{taps[0], taps[1], taps[2]}, ClientInfo{})
	require.ErrorIs(t, err, errPlugin)
	require.ErrorContains(t, err, "interceptor 1 (*quill.tap)")
	require.Equal(t, []string{"a: configure", "b: configure", "a: close", "b: close"}, *calls)

	*calls = nil
	_, err = newInterceptorChain([]Interceptor[string, string]{taps[0], nil}, ClientInfo{})
	require.ErrorContains(t, err, "interceptor 1 is nil")
	require.Equal(t, []string{"a: configure", "a: close"}, *calls)
}

func TestCloseReachesEveryInterceptorAndTellsTheFirstError(t *testing.T) {
	taps, calls := newTaps("abc")
	taps[1].closeErr, taps[2].closeErr = errPlugin, errors.New("later")
	c := newChain(t, nil, taps...)
	err := c.close(closeApart)
	require.ErrorIs(t, err, errPlugin)
	require.NotContains(t, err.Error(), "later")
	require.Len(t, *calls, 3)
}

type panicCloser struct{ RoundRobinPartitioner }

func (*panicCloser) Configure(ClientInfo) error { panic("configure") }
func (*panicCloser) Close() error               { panic(errPlugin) }

func TestPanicsOfPluginsAreErrors(t *testing.T) {
	p := new(panicCloser)
	require.ErrorContains(t, configurePlugin(p, ClientInfo{}), "panic: configure")
	require.ErrorIs(t, closePlugin(p), errPlugin)
	require.NoError(t, configurePlugin(new(RoundRobinPartitioner), ClientInfo{}))
	require.NoError(t, closePlugin(new(RoundRobinPartitioner)))
}

// failedRecord returns a record that failed in Send.
func failedRecord(partition int32, headers Headers) *outgoing {
	r := &outgoing{chosen: partition}
	r.record.Topic, r.record.Headers = "t", headers
	return r
}
