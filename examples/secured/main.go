// Secured sends over TLS and logs in by SCRAM-SHA-512, to an in-memory cluster that wants both. Then it shows what a wrong password and a
// certificate of another authority look like.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/quilltest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	ca := quilltest.NewCA() // certificates without files and openssl
	cluster, err := quilltest.NewCluster(quilltest.Options{
		AutoCreate: true, TLS: ca.ServerConfig(), SASL: &quilltest.SASL{Users: map[string]string{"alice": "alice-secret"}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()

	// These are the settings for a secured cluster. Brokers with certificates of a public authority need no RootCAs: &tls.Config{}.
	cfg := quill.Config{
		BootstrapServers: cluster.BootstrapServers(),
		TLS:              &tls.Config{RootCAs: ca.Pool()},
		SASL:             sasl.ScramSHA512("alice", "alice-secret"),
	}
	if err := send(ctx, cfg, out); err != nil {
		return err
	}

	cfg.SASL = sasl.ScramSHA512("alice", "a guess")
	refused, ok := errors.AsType[*network.AuthenticationError](send(ctx, cfg, out))
	fmt.Fprintln(out, "wrong password:", refused)

	cfg.TLS = &tls.Config{RootCAs: quilltest.NewCA().Pool()}
	distrusted, alsoOK := errors.AsType[*network.TLSError](send(ctx, cfg, out))
	fmt.Fprintln(out, "another authority:", distrusted)
	if !ok || !alsoOK {
		return errors.New("a wrong setting did not fail as it should")
	}
	return nil
}

func send(ctx context.Context, cfg quill.Config, out io.Writer) (err error) {
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()
	m, err := p.SendSync(ctx, quill.Record[string, string]{Topic: "orders", Key: "customer 1", Value: "an order"})
	if err == nil {
		fmt.Fprintf(out, "written to %s-%d at offset %d\n", m.Topic, m.Partition, m.Offset)
	}
	return err
}
