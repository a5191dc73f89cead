// Clouds sends a record in the way of each cloud, once with the settings in Go (settings.go) and once with the .properties file beside them, to an in-memory
// cluster that wants the same login and has TLS. Only addresses and authorities are replaced: in the files by lines behind theirs.
package main

import (
	"context"
	"crypto/tls"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/quill-kafka/quill/quilltest"
)

//go:embed *.properties
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// environment is what the files and settings expect there.
var environment = map[string]string{
	"CONFLUENT_API_KEY": "key", "CONFLUENT_API_SECRET": "api-secret", "EVENTHUBS_CONNECTION_STRING": "Endpoint=sb://NAMESPACE/;SharedAccessKey=c2VjcmV0",
	"OAUTH_CLIENT_ID": "client", "OAUTH_CLIENT_SECRET": "oauth-secret", "REDPANDA_USER": "panda", "REDPANDA_PASSWORD": "panda-secret",
}

func run(ctx context.Context, out io.Writer) (err error) {
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	r, err := newRig()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, way := range []struct {
		file   string
		mutual bool // the cluster wants a certificate and no login
		inGo   quill.Config
	}{
		{"confluent-plain", false, confluentPlain()},
		{"confluent-oauth", false, confluentOAuth()},
		{"eventhubs", false, eventHubs()},
		{"eventhubs-oauth", false, eventHubsOAuth()},
		{"strimzi-scram", false, strimziSCRAM(r.ca.Pool(), "strimzi-secret")},
		{"strimzi-mtls", true, strimziTLS(r.ca.Pool(), r.user)},
		{"redpanda", false, redpanda()},
	} {
		fromFile, err := r.load(way.file, way.mutual)
		if err != nil {
			return fmt.Errorf("%s.properties: %w", way.file, err)
		}
		for how, cfg := range map[string]quill.Config{"in Go": r.local(way.inGo, way.mutual), "by file": fromFile} {
			if err := send(ctx, cfg, way.file); err != nil {
				return fmt.Errorf("%s, %s: %w", way.file, how, err)
			}
		}
		fmt.Fprintf(out, "%s: sent in Go and by file\n", way.file)
	}
	return nil
}

// rig stands for the clouds: two clusters, of which one wants a login and the other a certificate, a token endpoint, and the directory of a Secret.
type rig struct {
	ca              *quilltest.CA
	user            tls.Certificate
	logins, mutuals *quilltest.Cluster
	idp             *http.Server
	tokens          string // the endpoint's URL
	dir             string
}

func newRig() (*rig, error) {
	r := &rig{ca: quilltest.NewCA()}
	r.user = r.ca.Issue(quilltest.Certificate{Name: "my-user", Hosts: []string{}})
	var err error
	r.logins, err = quilltest.NewCluster(quilltest.Options{AutoCreate: true, TLS: r.ca.ServerConfig(), SASL: &quilltest.SASL{
		Users: map[string]string{
			"key": "api-secret", "$ConnectionString": environment["EVENTHUBS_CONNECTION_STRING"], "my-user": "strimzi-secret", "panda": "panda-secret",
		},
		CheckToken: func(token string, _ map[string]string) (string, time.Time, error) {
			if token != r.token() {
				return "", time.Time{}, errors.New("not the provider's token")
			}
			return "client", time.Time{}, nil
		},
	}})
	if err != nil {
		return nil, err
	}
	mutual := r.ca.ServerConfig()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, r.ca.Pool()
	if r.mutuals, err = quilltest.NewCluster(quilltest.Options{AutoCreate: true, TLS: mutual}); err != nil {
		return nil, errors.Join(err, r.logins.Close())
	}
	if err := errors.Join(r.writeSecret(), r.serveTokens()); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) close() error {
	err := errors.Join(r.logins.Close(), r.mutuals.Close(), os.RemoveAll(r.dir))
	if r.idp != nil {
		err = errors.Join(err, r.idp.Close())
	}
	return err
}

// writeSecret writes what Kubernetes mounts.
func (r *rig) writeSecret() (err error) {
	if r.dir, err = os.MkdirTemp("", "quill-clouds-"); err != nil {
		return err
	}
	chain, key := quilltest.EncodePEM(r.user)
	for name, text := range map[string][]byte{"ca.crt": r.ca.PEM(), "user.pem": append(key, chain...), "password": []byte("strimzi-secret")} {
		err = errors.Join(err, os.WriteFile(filepath.Join(r.dir, name), text, 0o600))
	}
	return err
}

// token returns the one that the provider gives: unsigned, since nobody checks a signature here.
func (r *rig) token() string {
	part := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	return part(`{"alg":"RS256"}`) + "." + part(`{"sub":"client","iat":1700000000,"exp":4000000000}`) + ".c2ln"
}

// serveTokens starts the token endpoint.
func (r *rig) serveTokens() error {
	ln, err := tls.Listen("tcp", "localhost:0", r.ca.ServerConfig())
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	r.tokens = "https://localhost:" + port + "/token"
	r.idp = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if id, secret, _ := req.BasicAuth(); id != environment["OAUTH_CLIENT_ID"] || secret != environment["OAUTH_CLIENT_SECRET"] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer"}`, r.token())
	})}
	go func() { _ = r.idp.Serve(ln) }() // until close
	return nil
}

// cluster returns the one that wants what a way has.
func (r *rig) cluster(mutual bool) *quilltest.Cluster {
	if mutual {
		return r.mutuals
	}
	return r.logins
}

// local turns settings in Go to the clusters here.
func (r *rig) local(cfg quill.Config, mutual bool) quill.Config {
	cfg.BootstrapServers = r.cluster(mutual).BootstrapServers()
	cfg.TLS.RootCAs = r.ca.Pool()
	if login, ok := cfg.SASL.(*oauthbearer.Login); ok {
		endpoint := &login.Retriever.(*oauthbearer.ClientCredentials).Endpoint
		endpoint.URL = r.tokens
		endpoint.TLS = func(context.Context) (*tls.Config, error) { return cfg.TLS, nil }
	}
	return cfg
}

// load reads a file, with lines behind it that name the clusters here: of two lines about one property the last counts.
func (r *rig) load(name string, mutual bool) (quill.Config, error) {
	text, err := files.ReadFile(name + ".properties")
	if err != nil {
		return quill.Config{}, err
	}
	ca := filepath.ToSlash(filepath.Join(r.dir, "ca.crt"))
	here := strings.NewReplacer("/etc/kafka/cluster-ca", filepath.ToSlash(r.dir), "/etc/kafka/user", filepath.ToSlash(r.dir),
		"OAuthBearerLoginModule required", `OAuthBearerLoginModule required ssl.truststore.type="PEM" ssl.truststore.location="`+ca+`"`).Replace(string(text))
	here += "\nbootstrap.servers=" + strings.Join(r.cluster(mutual).BootstrapServers(), ",") + "\nssl.truststore.type=PEM\nssl.truststore.location=" + ca + "\n"
	if strings.Contains(here, "sasl.oauthbearer.token.endpoint.url") {
		here += "sasl.oauthbearer.token.endpoint.url=" + r.tokens + "\n"
	}
	return quill.LoadProperties(strings.NewReader(here))
}

func send(ctx context.Context, cfg quill.Config, topic string) (err error) {
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, p.Close(last))
	}()
	_, err = p.SendSync(ctx, quill.Record[string, string]{Topic: topic, Key: "customer 1", Value: "an order"})
	return err
}
