package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/internal/login"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/plugin/kerberos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kerberized is a broker that lets in whom its KDC knows.
type kerberized struct {
	*kafkaharness.KDC
	cluster *kafkaharness.Cluster
	addr    string
	options kerberos.Options
}

// sessionLife is the broker's connections.max.reauth.ms.
const sessionLife = 5 * time.Second

func startKerberized(t *testing.T) *kerberized {
	tools := kafkaharness.Require(t)
	ctx := within(t, 3*time.Minute)
	kdc, err := kafkaharness.StartKDC(ctx)
	kafkaharness.RequireFound(t, err)
	t.Cleanup(func() { require.NoError(t, kdc.Close()) })
	keytab, err := kdc.Keytab(ctx, "kafka/localhost")
	require.NoError(t, err)
	cluster, err := kafkaharness.Start(ctx, tools, kafkaharness.Options{
		Flags: []string{"-Djava.security.krb5.conf=" + kdc.ConfigFile()},
		Listeners: []kafkaharness.Listener{{Name: "KRB", Protocol: "SASL_PLAINTEXT", Properties: map[string]string{
			"sasl.enabled.mechanisms":    "GSSAPI",
			"sasl.kerberos.service.name": "kafka",
			"gssapi.sasl.jaas.config": fmt.Sprintf(`com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true keyTab="%s" principal="kafka/localhost@%s";`,
				keytab, kafkaharness.Realm),
			"gssapi.connections.max.reauth.ms": strconv.FormatInt(sessionLife.Milliseconds(), 10),
		}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	cluster.ReportFailure(t)
	return &kerberized{kdc, cluster, cluster.ListenerAddr(cluster.Node(1), "KRB"), kerberos.Options{ConfigFile: kdc.ConfigFile()}}
}

// authenticate authenticates a connection, and asks something that only a client may that is known.
func (k *kerberized) authenticate(ctx context.Context, m sasl.Mechanism) (lifetime time.Duration, err error) {
	conn, lifetime, err := k.dial(ctx, m)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return lifetime, ask(conn, kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse())
}

// dial returns a connection that is authenticated.
func (k *kerberized) dial(ctx context.Context, m sasl.Mechanism) (conn net.Conn, lifetime time.Duration, err error) {
	if conn, err = new(net.Dialer).DialContext(ctx, "tcp", k.addr); err != nil {
		return nil, 0, err
	}
	if err = conn.SetDeadline(time.Now().Add(30 * time.Second)); err == nil {
		lifetime, err = k.login(ctx, conn, m)
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	return conn, lifetime, conn.SetDeadline(time.Time{})
}

// login is the part of package network.
func (k *kerberized) login(ctx context.Context, conn net.Conn, m sasl.Mechanism) (lifetime time.Duration, err error) {
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, m.Name()
	answer := kmsg.NewPtrSASLHandshakeResponse()
	if err := ask(conn, hello, answer); err != nil || answer.ErrorCode != 0 {
		return 0, fmt.Errorf("handshake: %d %v %w", answer.ErrorCode, answer.SupportedMechanisms, err)
	}
	host, port, err := net.SplitHostPort(k.addr)
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	session, token, err := m.Start(ctx, sasl.Peer{Host: host, Port: number, Node: 1})
	for done := false; err == nil; {
		step := kmsg.NewPtrSASLAuthenticateRequest()
		step.Version, step.SASLAuthBytes = 1, token
		reply := kmsg.NewPtrSASLAuthenticateResponse()
		if err = ask(conn, step, reply); err != nil {
			break
		}
		if reply.ErrorCode != 0 {
			return 0, fmt.Errorf("code %d: %s", reply.ErrorCode, *reply.ErrorMessage)
		}
		if done {
			return time.Duration(reply.SessionLifetimeMillis) * time.Millisecond, nil
		}
		token, done, err = session.Next(ctx, reply.SASLAuthBytes)
	}
	return 0, err
}

// ask sends a request and reads its answer. The versions used here have no flexible headers.
func ask(conn net.Conn, request kmsg.Request, answer kmsg.Response) error {
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("kerberos-test")).AppendRequest(nil, request, 1)); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	body := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<20))
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	if len(body) < 4 {
		return errors.New("an answer without a correlation id")
	}
	answer.SetVersion(request.GetVersion())
	return answer.ReadFrom(body[4:])
}

// TestKerberos authenticates to a broker of Kafka with tickets of a real KDC: from a keytab, by a password, out of a credential
// cache; with tickets that end, keys that change, and a KDC that is away. And it looks at what is said when something is wrong.
func TestKerberos(t *testing.T) {
	k := startKerberized(t)
	keytab, err := k.Keytab(t.Context(), "alice")
	require.NoError(t, err)
	require.NoError(t, k.Admin(t.Context(), "addprinc -pw s3cret-of-bob bob"))

	for name, open := range map[string]func(t *testing.T) *kerberos.Mechanism{
		"keytab": func(*testing.T) *kerberos.Mechanism { return kerberos.Keytab("alice", keytab, k.options) },
		"keytab, with a realm": func(*testing.T) *kerberos.Mechanism {
			return kerberos.Keytab("alice@"+kafkaharness.Realm, keytab, k.options)
		},
		"password": func(*testing.T) *kerberos.Mechanism {
			return kerberos.Password("bob", sasl.NewSecret("s3cret-of-bob"), k.options)
		},
		"credential cache": func(t *testing.T) *kerberos.Mechanism {
			return kerberos.CredentialCache(k.cache(t, "alice", keytab), k.options)
		},
		"cache named as MIT does": func(t *testing.T) *kerberos.Mechanism {
			return kerberos.CredentialCache("FILE:"+k.cache(t, "alice", keytab), k.options)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t)
			defer m.Close()
			ctx := within(t, time.Minute)
			require.NoError(t, m.Login(ctx))
			for range 3 { // with one ticket
				lifetime, err := k.authenticate(ctx, m)
				require.NoError(t, err)
				require.Equal(t, sessionLife, lifetime)
			}
		})
	}
	t.Run("properties of Java's client", func(t *testing.T) { k.properties(t, keytab) })
	t.Run("records", func(t *testing.T) { k.records(t, keytab) })
	t.Run("many at once", func(t *testing.T) { k.manyAtOnce(t, keytab) })
	t.Run("a ticket that ends is replaced", func(t *testing.T) { k.ticketEnds(t) })
	t.Run("a keytab that is replaced", func(t *testing.T) { k.keytabIsReplaced(t) })
	t.Run("the KDC is away", func(t *testing.T) { k.away(t, keytab) })
	t.Run("what is wrong is said", func(t *testing.T) { k.wrong(t, keytab) })
	log, err := os.ReadFile(k.cluster.Node(1).LogFile())
	require.NoError(t, err)
	require.Contains(t, string(log), "authenticationID=alice@KAFKA.TEST; authorizationID=alice@KAFKA.TEST")
	require.Contains(t, string(log), "authenticationID=bob@KAFKA.TEST; authorizationID=bob@KAFKA.TEST")
}

func (k *kerberized) cache(t *testing.T, principal, keytab string) string {
	file, err := k.Kinit(t.Context(), principal, keytab)
	require.NoError(t, err)
	return file
}

// properties makes the mechanism of what a file for Java's client has.
func (k *kerberized) properties(t *testing.T, keytab string) {
	t.Setenv("KRB5_CONFIG", k.ConfigFile()) // Java has a system property for it
	values := map[string]string{
		"sasl.mechanism":             "GSSAPI",
		"sasl.kerberos.service.name": "kafka",
		"sasl.jaas.config":           fmt.Sprintf(`com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true keyTab="%s" principal="alice@%s";`, keytab, kafkaharness.Realm),
	}
	m, err := login.Mechanism(sasl.Settings{Mechanism: "GSSAPI", Property: func(name string) string { return values[name] }, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = k.authenticate(within(t, time.Minute), m)
	require.NoError(t, err)
	require.NoError(t, m.(io.Closer).Close())
}

// records sends with a producer for longer than two sessions last (KIP-368): none fails, and none changes its place.
func (k *kerberized) records(t *testing.T, keytab string) {
	topic := newTopic(t, k.cluster, "kerberos", 1)
	m := kerberos.Keytab("alice", keytab, k.options)
	defer m.Close()
	p, err := quill.New(quill.Config{BootstrapServers: []string{k.addr}, SASL: m}, quill.String, quill.String)
	require.NoError(t, err)
	ctx := within(t, time.Minute)
	sent := 0
	for begin := time.Now(); time.Since(begin) < 2*sessionLife+sessionLife/2; time.Sleep(5 * time.Millisecond) {
		p.SendFunc(ctx, quill.Record[string, string]{Topic: topic, Value: strconv.Itoa(sent)}, func(_ quill.RecordMetadata, err error) { assert.NoError(t, err) })
		sent++
	}
	require.NoError(t, p.Close(ctx))
	records, err := k.cluster.Records(ctx, topic)
	require.NoError(t, err)
	require.Len(t, records, sent)
	for i, r := range records {
		require.Equal(t, strconv.Itoa(i), string(r.Value))
	}
}

// manyAtOnce: no two authenticators are alike, so that the broker takes none for a copy.
func (k *kerberized) manyAtOnce(t *testing.T, keytab string) {
	m := kerberos.Keytab("alice", keytab, k.options)
	defer m.Close()
	ctx := within(t, time.Minute)
	errs := make(chan error)
	for range 50 {
		go func() {
			_, err := k.authenticate(ctx, m)
			errs <- err
		}()
	}
	for range 50 {
		require.NoError(t, <-errs)
	}
}

func (k *kerberized) ticketEnds(t *testing.T) {
	keytab, err := k.Keytab(t.Context(), "shortly", "-maxlife", `"3 seconds"`)
	require.NoError(t, err)
	m := kerberos.Keytab("shortly", keytab, k.options)
	defer m.Close()
	ctx := within(t, time.Minute)
	for begin := time.Now(); time.Since(begin) < 8*time.Second; time.Sleep(500 * time.Millisecond) {
		_, err := k.authenticate(ctx, m)
		require.NoError(t, err, "after %v", time.Since(begin))
	}
}

func (k *kerberized) keytabIsReplaced(t *testing.T) {
	ctx := within(t, time.Minute)
	keytab, err := k.Keytab(ctx, "rotated")
	require.NoError(t, err)
	m := kerberos.Keytab("rotated", keytab, k.options)
	defer m.Close()
	_, err = k.authenticate(ctx, m)
	require.NoError(t, err)
	whole, err := os.ReadFile(keytab)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(keytab, whole[:len(whole)/2], 0o600))
	_, err = k.authenticate(ctx, m)
	require.NoError(t, err, "a damaged one leaves the tickets of the one before")

	require.NoError(t, os.Remove(keytab))
	require.NoError(t, k.Admin(ctx, "ktadd -k "+keytab+" rotated")) // with new keys; the old ones are void
	_, err = k.authenticate(ctx, m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(keytab, whole, 0o600))
	fresh := kerberos.Keytab("rotated", keytab, k.options)
	defer fresh.Close()
	require.ErrorContains(t, fresh.Login(ctx), "the password or the keytab's key is wrong", "the old keys are void indeed")
}

func (k *kerberized) away(t *testing.T, keytab string) {
	ctx := within(t, time.Minute)
	m := kerberos.Keytab("alice", keytab, k.options)
	defer m.Close()
	_, err := k.authenticate(ctx, m)
	require.NoError(t, err)
	require.NoError(t, k.Stop())
	defer func() { require.NoError(t, k.Restart(ctx)) }()
	_, err = k.authenticate(ctx, m)
	require.NoError(t, err, "there is a ticket for this node")
	fresh := kerberos.Keytab("alice", keytab, k.options)
	defer fresh.Close()
	_, err = k.authenticate(ctx, fresh)
	require.ErrorContains(t, err, "can it be reached?")
	require.ErrorContains(t, err, "connection refused")
}

func (k *kerberized) wrong(t *testing.T, keytab string) {
	damaged := filepath.Join(t.TempDir(), "damaged")
	require.NoError(t, os.WriteFile(damaged, []byte{5, 2, 0, 0, 0, 90, 0, 1}, 0o600))
	service, noConf := k.options, k.options
	service.ServiceName, noConf.ConfigFile = "kafkaa", filepath.Join(t.TempDir(), "none.conf")
	for name, c := range map[string]struct {
		m    *kerberos.Mechanism
		says []string
	}{
		"an unknown principal":  {kerberos.Password("carol", sasl.NewSecret("s3cret"), k.options), []string{"get a ticket for carol (password)", "KDC_ERR_C_PRINCIPAL_UNKNOWN", "the KDC does not know this principal"}},
		"a wrong password":      {kerberos.Password("bob", sasl.NewSecret("s3cret"), k.options), []string{"the password or the keytab's key is wrong"}},
		"another's keytab":      {kerberos.Keytab("bob", keytab, k.options), []string{"the keytab has no key of this principal"}},
		"no keytab":             {kerberos.Keytab("alice", keytab+"x", k.options), []string{"read keytab " + keytab + "x: can't be read", "no such file"}},
		"a damaged keytab":      {kerberos.Keytab("alice", damaged, k.options), []string{"read keytab " + damaged + ": it is damaged, or of another format"}},
		"a damaged cache":       {kerberos.CredentialCache(damaged, k.options), []string{"read credential cache " + damaged, "it is damaged"}},
		"a cache elsewhere":     {kerberos.CredentialCache("KEYRING:persistent:0", k.options), []string{"only caches in files are supported"}},
		"no cache":              {kerberos.CredentialCache(damaged+"x", k.options), []string{"read credential cache", "no such file"}},
		"another service":       {kerberos.Keytab("alice", keytab, service), []string{`get a ticket for the service "kafkaa/localhost"`, "KDC_ERR_S_PRINCIPAL_UNKNOWN", "are sasl.kerberos.service.name and the host in the address right?"}},
		"no krb5.conf":          {kerberos.Keytab("alice", keytab, noConf), []string{"read krb5.conf (" + noConf.ConfigFile + ")"}},
		"no principal":          {kerberos.Keytab("", keytab, k.options), []string{"needs a name and a realm"}},
		"a realm without a KDC": {kerberos.Keytab("alice@ELSEWHERE", keytab, k.options), []string{"get a ticket for alice@ELSEWHERE", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			defer c.m.Close()
			begin := time.Now()
			_, err := k.authenticate(within(t, time.Minute), c.m)
			t.Logf("after %v: %v", time.Since(begin).Round(time.Millisecond), err)
			for _, text := range c.says {
				require.ErrorContains(t, err, text)
			}
			require.NotContains(t, err.Error(), "s3cret")
			require.Less(t, time.Since(begin), 20*time.Second)
		})
	}
}
