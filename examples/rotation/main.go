// Rotation replaces a client's key and certificate, and the authorities that it trusts, in their files, and the brokers' certificates with those of the
// new authority, while records are sent. None fails, and the old authority is out of use in the end.
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
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill"
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

// brokers serve TLS with what was last set, and want a certificate.
type brokers struct {
	cluster *quilltest.Cluster
	present atomic.Pointer[tls.Config]
}

func newBrokers(ca *quilltest.CA) (*brokers, error) {
	b := new(brokers)
	b.show(ca, ca)
	conf := ca.ServerConfig()
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return b.present.Load(), nil }
	cluster, err := quilltest.NewCluster(quilltest.Options{AutoCreate: true, TLS: conf})
	b.cluster = cluster
	return b, err
}

// show makes the brokers show a certificate of one authority, and accept clients of several, on new connections.
func (b *brokers) show(own *quilltest.CA, accepted ...*quilltest.CA) {
	conf := own.ServerConfig()
	conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, accepted[0].Pool()
	for _, ca := range accepted[1:] {
		conf.ClientCAs.AppendCertsFromPEM(ca.PEM())
	}
	b.present.Store(conf)
}

// restart ends the connections of all brokers, as a restart does.
func (b *brokers) restart() (err error) {
	for _, id := range b.cluster.NodeIDs() {
		err = errors.Join(err, b.cluster.Disconnect(id))
	}
	return err
}

func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "quill-rotation-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	before, after := quilltest.NewCA(), quilltest.NewCA()
	b, err := newBrokers(before)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	if err := write(dir, before, before); err != nil {
		return err
	}
	p, err := newProducer(b.cluster, dir)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"with the old authority", func() error { return nil }},
		{"client trusts both", func() error { return write(dir, before, before, after) }},
		{"brokers have the new one, and accept both", func() error { b.show(after, before, after); return b.restart() }},
		{"client has the new one", func() error { return write(dir, after, before, after) }},
		{"brokers accept the new one only", func() error { b.show(after, after); return b.restart() }},
		{"client trusts the new one only", func() error { return errors.Join(write(dir, after, after), b.restart()) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		for range 100 {
			if _, err := p.SendSync(ctx, quill.Record[string, string]{Topic: "orders", Value: step.name}); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		fmt.Fprintln(out, step.name+": 100 records sent")
	}
	return nil
}

// newProducer makes a producer whose material is in files. With a tls.Config of one's own, GetClientCertificate does the half of it.
func newProducer(c *quilltest.Cluster, dir string) (*quill.Producer[string, string], error) {
	cfg, err := quill.LoadProperties(strings.NewReader(`
security.protocol=SSL
ssl.keystore.type=PEM
ssl.keystore.location=` + filepath.ToSlash(filepath.Join(dir, "user.pem")) + `
ssl.truststore.type=PEM
ssl.truststore.location=` + filepath.ToSlash(filepath.Join(dir, "ca.pem")) + `
`))
	if err != nil {
		return nil, err
	}
	cfg.BootstrapServers = c.BootstrapServers()
	return quill.New(cfg, quill.String, quill.String)
}

// write replaces the client's files: a key and a certificate of one authority, and those that it trusts. A file is written beside the old one and
// renamed, so that nobody reads half of it.
func write(dir string, own *quilltest.CA, trusted ...*quilltest.CA) error {
	chain, key := quilltest.EncodePEM(own.Issue(quilltest.Certificate{Name: "client", Hosts: []string{}}))
	var authorities []byte
	for _, ca := range trusted {
		authorities = append(authorities, ca.PEM()...)
	}
	return errors.Join(replace(filepath.Join(dir, "user.pem"), append(key, chain...)), replace(filepath.Join(dir, "ca.pem"), authorities))
}

func replace(file string, text []byte) error {
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
