// Package quillhttp shows what is inside a producer as a page, for people who look for a cause.
//
//	mux.Handle("/debug/quill/", quillhttp.Handler(p))
//
// The page is one document that needs nothing from elsewhere, and follows the producer live. It can't change anything, and shows
// neither records nor secrets. It does show topics, addresses of nodes and settings, so mount it on a
// listener of its own on loopback, or behind the same authentication as net/http/pprof. See docs/inspection.md.
//
// It is the only package of this module that serves HTTP; the producer itself imports none of it.
package quillhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/metrics"
)

// Producer is what a page needs of a producer: quill.Producer has it, and quillmock's.
type Producer interface {
	Inspect(ctx context.Context) inspect.Snapshot
	Metrics() metrics.Snapshot
}

const (
	// every is the time between two events.
	every = time.Second
	// maxStreams is how many pages may follow a producer at a time.
	maxStreams = 16
)

// Handler returns a handler that shows p. It answers GET and HEAD by the last part of the path, and so may be mounted at any path that ends in a slash:
//
//   - nothing: the page
//   - inspect.json: p.Inspect
//   - metrics.json: p.Metrics under Java's names, with what has no value left out
//   - events: what the page follows, as server-sent events, one a second
//
// At most 16 pages follow at a time; the next one gets 503 and tries again. They share one look at the producer a second, and a
// stream ends with its request's context. http.Server.Shutdown waits for requests and ends none, so the program has to: see
// examples/http-service. The handler starts no goroutine, and may be called concurrently.
func Handler(p Producer) http.Handler { return &handler{producer: p} }

// handler is the http.Handler of one producer.
type handler struct {
	producer Producer

	mu sync.Mutex
	// +checklocks:mu
	streams int
	// +checklocks:mu
	last []byte // the last event
	// +checklocks:mu
	lastAt time.Time
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page can only be read", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		http.Error(w, "not for pages of other sites", http.StatusForbidden)
		return
	}
	switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:] {
	case "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		write(w, r, page)
	case "inspect.json":
		h.json(w, r, h.producer.Inspect(r.Context()))
	case "metrics.json":
		h.json(w, r, numbers(h.producer.Metrics()))
	case "events":
		h.events(w, r)
	default:
		http.NotFound(w, r)
	}
}

// protect sets the headers that keep the page from loading, and being loaded by, anything else.
func protect(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
}

// write writes a whole answer, or for HEAD its length.
func write(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who asked may be gone
	}
}

func (h *handler) json(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "the producer's state can't be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	write(w, r, body)
}

// events sends an event a second until the request ends, or a write fails.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d pages follow this producer already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	defer h.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx passes it on at once
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		event := h.event(r.Context())
		_ = control.SetWriteDeadline(time.Now().Add(10 * every)) // one that does not read must not stay; without deadlines it does, until it is gone
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// enter counts a stream in, if there may be one more.
func (h *handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams >= maxStreams {
		return false
	}
	h.streams++
	return true
}

func (h *handler) leave() {
	h.mu.Lock()
	h.streams--
	h.mu.Unlock()
}

// event returns the present event, which all streams share. Only one of them looks at the producer at a time; the others get the
// event before, or nothing if there is none yet.
func (h *handler) event(ctx context.Context) []byte {
	h.mu.Lock()
	if now := time.Now(); now.Sub(h.lastAt) >= every*9/10 {
		h.lastAt = now
		h.mu.Unlock()
		next := encode(viewOf(h.producer.Inspect(context.WithoutCancel(ctx)), h.producer.Metrics())) // others wait for it, too
		h.mu.Lock()
		h.last = next
	}
	defer h.mu.Unlock()
	return h.last
}

// encode returns a view as an event.
func encode(v view) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(`{}`) // it has no value that JSON has not
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "retry: 5000\ndata: %s\n\n", text)
	return b.Bytes()
}
