// Package demo is what the examples share: they run on an in-memory cluster, or on the brokers named by -bootstrap.
package demo

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

// Main is the main function of an example: it hands run a configuration for the cluster, and a context that an interrupt ends. An example with
// flags of its own defines them before.
func Main(run func(ctx context.Context, cfg quill.Config, out io.Writer) error) {
	bootstrap := flag.String("bootstrap", "", "brokers as `host:port,…`; if empty, an in-memory cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := Run(ctx, *bootstrap, os.Stdout, run)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// Run calls run with a configuration for the brokers, or for an in-memory cluster that lives as long as run.
func Run(ctx context.Context, bootstrap string, out io.Writer, run func(ctx context.Context, cfg quill.Config, out io.Writer) error) error {
	if bootstrap != "" {
		return run(ctx, quill.Config{BootstrapServers: strings.Split(bootstrap, ",")}, out)
	}
	cluster, err := quilltest.NewCluster(quilltest.Options{AutoCreate: true, DefaultPartitions: 6, Retain: -1})
	if err != nil {
		return err
	}
	cfg := quill.Config{BootstrapServers: cluster.BootstrapServers(), DialContext: cluster.DialContext}
	return errors.Join(run(ctx, cfg, out), cluster.Close())
}
