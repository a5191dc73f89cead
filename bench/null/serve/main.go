// Command serve runs a null cluster for producers of any kind until it is interrupted, then prints
// what it counted as one line of JSON.
//
//	go run ./null/serve -port 29092 -control 127.0.0.1:29000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quill-kafka/quill/bench/null"
)

func main() {
	o := null.Options{}
	flag.IntVar(&o.Nodes, "nodes", 3, "number of nodes")
	flag.IntVar(&o.Port, "port", 29092, "port of the first node; the others follow")
	flag.DurationVar(&o.Latency, "latency", 0, "how long every answer is held back")
	flag.BoolVar(&o.TLS, "tls", false, "TLS 1.3 with AES-128-GCM; the authority is served at /ca of the control, for the peers' -tls")
	flag.BoolVar(&o.Verify, "verify", false, "check CRC-32C and record counts, decompress a sample")
	control := flag.String("control", "127.0.0.1:29000", "loopback address of the HTTP control")
	flag.Func("topics", "name:partitions,... (default t12:12,t1000:1000,t1:1)", func(s string) (err error) {
		o.Topics, err = parseTopics(s)
		return err
	})
	flag.Parse()
	if err := serve(o, *control); err != nil {
		log.Fatal(err)
	}
}

func serve(o null.Options, control string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := null.Start(o)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", control)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	if !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return errors.Join(fmt.Errorf("%s is not a loopback address", control), ln.Close(), c.Close())
	}
	srv := &http.Server{Handler: c.Handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	log.Printf("nodes %s, control http://%s", strings.Join(c.Addrs(), ","), ln.Addr())
	select {
	case <-ctx.Done():
		err = srv.Close()
	case err = <-ended:
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(c.Stats()), c.Close())
}

func parseTopics(s string) (topics []null.Topic, err error) {
	for part := range strings.SplitSeq(s, ",") {
		name, n, _ := strings.Cut(part, ":")
		partitions, err := strconv.Atoi(n)
		if err != nil || partitions < 1 || name == "" {
			return nil, fmt.Errorf("%q is not name:partitions", part)
		}
		topics = append(topics, null.Topic{Name: name, Partitions: partitions})
	}
	return topics, nil
}
