package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// set changes a flag for one test.
func set[T any](t *testing.T, flag *T, v T) {
	before := *flag
	*flag = v
	t.Cleanup(func() { *flag = before })
}

func TestServiceAnswersWithOffsets(t *testing.T) {
	set(t, listen, "localhost:0")
	set(t, demoRun, true)
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Contains(t, out.String(), `{"page": "/"}: 200 OK, {"partition": `)
	require.Contains(t, out.String(), `"offset": 1}`)
	require.Contains(t, out.String(), "no JSON: 400 Bad Request")
}

// announced sends the service's first line of output to the test.
type announced chan string

func (a announced) Write(p []byte) (int, error) {
	a <- string(p)
	return len(p), nil
}

func TestShutdownFinishesRequestsAndRecords(t *testing.T) {
	set(t, listen, "localhost:0")
	cluster := quilltest.Start(t, quilltest.Options{AutoCreate: true})
	slow := cluster.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, Delay: 300 * time.Millisecond})
	ctx, interrupt := context.WithCancel(t.Context())
	out, done := make(announced, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, quill.Config{BootstrapServers: cluster.BootstrapServers(), DialContext: cluster.DialContext}, out)
	}()
	url := strings.TrimSpace(strings.TrimPrefix(<-out, "serving "))

	answered := make(chan int, 1)
	go func() {
		res, err := http.Post(url+"?user=1", "application/json", strings.NewReader(`{}`))
		if err != nil {
			answered <- -1
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	require.NoError(t, slow.Wait(t.Context(), 1)) // the record is on its way
	interrupt()
	require.NoError(t, <-done)
	require.Equal(t, http.StatusOK, <-answered)
	require.EqualValues(t, 1, cluster.Appended("events"))
}

func TestShutdownEndsThePage(t *testing.T) {
	set(t, listen, "localhost:0")
	cluster := quilltest.Start(t, quilltest.Options{AutoCreate: true})
	ctx, interrupt := context.WithCancel(t.Context())
	out, done := make(announced, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, quill.Config{BootstrapServers: cluster.BootstrapServers(), DialContext: cluster.DialContext}, out)
	}()
	url := strings.TrimSpace(strings.TrimPrefix(<-out, "serving "))

	res, err := http.Get(strings.TrimSuffix(url, "events") + "debug/quill/events") // a page that follows
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	_, err = res.Body.Read(make([]byte, 100))
	require.NoError(t, err)
	interrupt()
	require.NoError(t, <-done, "Shutdown would wait for it until its time is over")
}
