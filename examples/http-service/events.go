package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/quill-kafka/quill"
)

// maxEvent bounds what one request may send.
const maxEvent = 256 << 10

// events is the handler. Any number of requests share one producer: their records travel in the same batches.
type events struct {
	p *quill.Producer[string, []byte]
}

func (e events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil || !json.Valid(body) {
		http.Error(w, "the body must be JSON of at most 256 KiB", http.StatusBadRequest)
		return
	}
	m, err := e.p.SendSync(r.Context(), quill.Record[string, []byte]{Topic: "events", Key: r.FormValue("user"), Value: body})
	if err != nil {
		http.Error(w, err.Error(), status(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"partition": %d, "offset": %d}`+"\n", m.Partition, m.Offset)
}

// status tells the client what to do: correct the event, or send it again later. An event that may have been written can then come twice.
func status(err error) int {
	switch {
	case errors.Is(err, quill.ErrRecordTooLarge), errors.Is(err, quill.ErrInvalidRecord):
		return http.StatusUnprocessableEntity
	case errors.Is(err, quill.ErrTimeout):
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

// selfTest posts some events, good and bad.
func selfTest(ctx context.Context, url string, out io.Writer) error {
	for _, body := range []string{`{"page": "/"}`, `{"page": "/cart"}`, `no JSON`} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"?user=42", strings.NewReader(body))
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, %s", body, res.Status, answer)
	}
	return nil
}
