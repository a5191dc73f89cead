package quillhttp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/metrics"
	"github.com/quill-kafka/quill/quillhttp"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/quill-kafka/quill/quilltest/quillmock"
	"github.com/stretchr/testify/require"
)

var (
	_ quillhttp.Producer = (*quill.Producer[string, int])(nil)
	_ quillhttp.Producer = (*quillmock.Producer[string, int])(nil)
)

// counted is a producer that counts how often it is looked at.
type counted struct{ looks atomic.Int64 }

func (c *counted) Inspect(context.Context) inspect.Snapshot {
	c.looks.Add(1)
	return inspect.Snapshot{Taken: time.Now(), ClientID: "shop", Partitions: []inspect.Partition{{Topic: "t", Leader: 1, Queued: 2, Waits: "x"}, {Topic: "u", Leader: -1}}}
}

func (c *counted) Metrics() metrics.Snapshot { return metrics.Snapshot{} }

// get asks the handler.
func get(h http.Handler, method, path string, change func(r *http.Request)) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

// TestThePageIsOneDocumentThatMayLoadNothing, wherever it is mounted.
func TestThePageIsOneDocumentThatMayLoadNothing(t *testing.T) {
	h := quillhttp.Handler(new(counted))
	for _, path := range []string{"/", "/debug/quill/", "/a/b/c/"} {
		res := get(h, http.MethodGet, path, nil)
		require.Equal(t, 200, res.StatusCode)
		policy := res.Header.Get("Content-Security-Policy")
		require.True(t, strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-"), policy)
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		text := body(t, res)
		require.NotContains(t, text, "{{")
		require.NotContains(t, text, "innerHTML")
		for _, foreign := range []string{`src="http`, `href="http`, "url(", "@import", "//cdn"} {
			require.NotContains(t, text, foreign)
		}
	}
}

// TestThePageCanOnlyBeRead: no other method, no other path, and nothing for scripts of other sites.
func TestThePageCanOnlyBeRead(t *testing.T) {
	h := quillhttp.Handler(new(counted))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, http.MethodTrace} {
		res := get(h, method, "/inspect.json", nil)
		require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, method)
		require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	}
	require.Equal(t, http.StatusNotFound, get(h, http.MethodGet, "/debug/quill/other", nil).StatusCode)
	foreign := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "no-cors")
	}
	require.Equal(t, http.StatusForbidden, get(h, http.MethodGet, "/inspect.json", foreign).StatusCode)
	head := get(h, http.MethodHead, "/", nil)
	require.Empty(t, body(t, head))
	require.NotEqual(t, "0", head.Header.Get("Content-Length"))
	require.Equal(t, 200, get(h, http.MethodHead, "/events", nil).StatusCode)
}

// TestJSONIsWhatTheProducerHas: of a producer that has not sent anything, whose averages are NaN, too.
func TestJSONIsWhatTheProducerHas(t *testing.T) {
	c := quilltest.Start(t, quilltest.Options{Pipes: true, AutoCreate: true})
	p, err := quill.New(quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext, ClientID: "shop"}, quill.String, quill.String)
	require.NoError(t, err)
	h := quillhttp.Handler(p)
	for range 2 {
		var s inspect.Snapshot
		require.NoError(t, json.Unmarshal([]byte(body(t, get(h, http.MethodGet, "/inspect.json", nil))), &s))
		require.Equal(t, "shop", s.ClientID)
		var m []struct {
			Name  string
			Value any
		}
		require.NoError(t, json.Unmarshal([]byte(body(t, get(h, http.MethodGet, "/metrics.json", nil))), &m))
		require.Greater(t, len(m), 40)
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "s3cr3t"})
		require.NoError(t, err)
	}
	require.NotContains(t, body(t, get(h, http.MethodGet, "/inspect.json", nil)), "s3cr3t")
	require.NoError(t, p.Close(t.Context()))
	require.Contains(t, body(t, get(h, http.MethodGet, "/inspect.json", nil)), `"state":"closed"`)
}

// stream follows the events until ctx ends; lines get what is sent.
type stream struct {
	header http.Header
	lines  chan string
	status int
}

func (s *stream) Header() http.Header    { return s.header }
func (s *stream) WriteHeader(status int) { s.status = status }
func (s *stream) Flush()                 {}
func (s *stream) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if after, ok := strings.CutPrefix(line, "data: "); ok {
			s.lines <- after
		}
	}
	return len(p), nil
}

// TestStreamsShareOneLookASecondAndEndWithTheirRequests: sixteen at a time, the next has to wait.
func TestStreamsShareOneLookASecondAndEndWithTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(counted)
		h := quillhttp.Handler(p)
		ctx, cancel := context.WithCancel(t.Context())
		lines := make(chan string, 1000)
		ended := make(chan bool, 16)
		for range 16 {
			go func() {
				h.ServeHTTP(&stream{header: http.Header{}, lines: lines}, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
				ended <- true
			}()
		}
		synctest.Wait()
		full := get(h, http.MethodGet, "/events", nil)
		require.Equal(t, http.StatusServiceUnavailable, full.StatusCode)
		require.Equal(t, "5", full.Header.Get("Retry-After"))
		time.Sleep(10*time.Second + time.Millisecond)
		require.InDelta(t, 11, p.looks.Load(), 1)
		require.Greater(t, len(lines), 100)
		var v struct {
			ClientID   string `json:"clientId"`
			Partitions struct {
				Names  []string       `json:"names"`
				Topic  []int          `json:"topic"`
				Leader []int          `json:"leader"`
				Queued []int          `json:"queued"`
				Waits  map[int]string `json:"waits"`
			} `json:"partitions"`
		}
		require.NoError(t, json.Unmarshal([]byte(<-lines), &v))
		require.Equal(t, "shop", v.ClientID)
		require.Equal(t, []string{"t", "u"}, v.Partitions.Names)
		require.Equal(t, []int{0, 1}, v.Partitions.Topic)
		require.Equal(t, []int{1, -1}, v.Partitions.Leader)
		require.Equal(t, []int{2, 0}, v.Partitions.Queued)
		require.Equal(t, map[int]string{0: "x"}, v.Partitions.Waits)
		cancel()
		for range 16 {
			<-ended
		}
		looks := p.looks.Load()
		time.Sleep(time.Minute)
		require.Equal(t, looks, p.looks.Load(), "nobody follows")
	})
}

// TestEventsGoOverHTTP: each is flushed when it is there.
func TestEventsGoOverHTTP(t *testing.T) {
	server := httptest.NewServer(quillhttp.Handler(new(counted)))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	require.True(t, lines.Scan())
	require.Equal(t, "retry: 5000", lines.Text())
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), `"clientId":"shop"`)
	cancel()
}
