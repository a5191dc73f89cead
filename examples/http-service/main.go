// Http-service takes events over HTTP and answers when they are in the log:
//
//	curl -d '{"page": "/cart"}' 'localhost:8080/events?user=42'
//
// A page at http://localhost:8080/debug/quill/ shows what is inside the producer; a service that is reached from elsewhere mounts it
// on a listener of its own.
//
// On an interrupt it finishes the requests it has, then delivers what is buffered, within ten seconds. With -demo it sends itself some requests
// and stops.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/quill-kafka/quill/quillhttp"
)

var (
	listen  = flag.String("listen", "localhost:8080", "`address` to serve")
	demoRun = flag.Bool("demo", false, "send some requests and stop")
)

func main() { demo.Main(run) }

func run(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	cfg.MaxBlock, cfg.DeliveryTimeout, cfg.RequestTimeout = 2*time.Second, 5*time.Second, 3*time.Second // a caller is waiting: say no soon
	p, err := quill.New(cfg, quill.String, quill.Bytes)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return errors.Join(err, p.Close(context.Background())) // nothing was sent: there is nothing to wait for
	}
	mux := http.NewServeMux()
	mux.Handle("POST /events", events{p})
	pages, endPages := context.WithCancel(context.Background()) // a page that follows the producer is a request that does not end by itself
	defer endPages()
	mux.Handle("GET /debug/quill/", endingWith(pages, quillhttp.Handler(p)))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	srv.RegisterOnShutdown(endPages)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }() // ends with Shutdown
	fmt.Fprintf(out, "serving http://%s/events\n", l.Addr())

	if *demoRun {
		err = selfTest(ctx, "http://"+l.Addr().String()+"/events", out)
	} else {
		select {
		case <-ctx.Done():
		case err = <-served: // it could not go on
		}
	}
	// First no more requests, then no more records. ctx may have ended: that is why we stop.
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(last), p.Close(last))
}

// endingWith returns h with requests that end with ctx at the latest: Shutdown waits for requests, and ends none.
func endingWith(ctx context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		h.ServeHTTP(w, r.WithContext(own))
	})
}
