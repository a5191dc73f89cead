package kerberos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// zone is a name service: what is not in it does not exist.
type zone struct{ canonical, addr, name map[string]string }

var errNoSuchHost = errors.New("no such host")

func look(in map[string]string, key string) (string, error) {
	if found, ok := in[key]; ok {
		return found, nil
	}
	return "", errNoSuchHost
}

func (z zone) LookupCNAME(_ context.Context, host string) (string, error) {
	return look(z.canonical, host)
}

func (z zone) LookupHost(_ context.Context, host string) ([]string, error) {
	found, err := look(z.addr, host)
	return []string{found}, err
}

func (z zone) LookupAddr(_ context.Context, addr string) ([]string, error) {
	found, err := look(z.name, addr)
	return []string{found}, err
}

func TestHostNamesAreThoseOfJava(t *testing.T) {
	z := zone{
		canonical: map[string]string{"b1": "b1.example.com.", "kafka": "lb.example.net.", "kafka.example.com": "lb.example.net.", "odd": "odd.a/b@c."},
		addr:      map[string]string{"lb.example.net": "192.0.2.1", "b1.example.com": "192.0.2.7"},
		name:      map[string]string{"192.0.2.1": "Node-1.example.net.", "192.0.2.9": "b9.example.com."},
	}
	for name, c := range map[string]struct {
		host                        string
		canonical, noRDNS, noChange bool
		want                        string
	}{
		"as it is":                        {host: "b2.example.com", want: "b2.example.com"},
		"in small letters, without a dot": {host: "B2.Example.com.", want: "b2.example.com"},
		"a short name is completed":       {host: "b1", want: "b1.example.com"},
		"but not replaced":                {host: "kafka", want: "kafka"},
		"nor made of what is no name":     {host: "odd", want: "odd"},
		"a name that nobody knows":        {host: "b3", want: "b3"},
		"krb5.conf forbids it":            {host: "b1", noChange: true, want: "b1"},
		"an alias":                        {host: "kafka.example.com", want: "kafka.example.com"},
		"an address":                      {host: "192.0.2.9", want: "b9.example.com"},
		"an address without a name":       {host: "192.0.2.8", want: "192.0.2.8"},
		"an alias, canonical":             {host: "kafka.example.com", canonical: true, want: "node-1.example.net"},
		"the same without rdns":           {host: "kafka.example.com", canonical: true, noRDNS: true, want: "lb.example.net"},
		"no name for the address":         {host: "b1", canonical: true, want: "b1.example.com"},
		"canonical, unknown":              {host: "b3", canonical: true, want: "b3"},
	} {
		t.Run(name, func(t *testing.T) {
			m := Keytab("alice", "", Options{CanonicalHosts: c.canonical})
			m.names = z
			cfg := config.New()
			cfg.LibDefaults.RDNS, cfg.LibDefaults.DNSCanonicalizeHostname = !c.noRDNS, !c.noChange
			require.Equal(t, c.want, m.hostOf(t.Context(), c.host, cfg))
		})
	}
}

func TestPrincipalsAreSplit(t *testing.T) {
	for principal, want := range map[string][2]string{
		"alice": {"alice", "DEFAULT"}, "alice@R": {"alice", "R"}, "a/host@R": {"a/host", "R"}, `a\@b`: {`a\@b`, "DEFAULT"}, "": {"", "DEFAULT"}, "@R": {"@R", "DEFAULT"},
	} {
		name, realm := splitPrincipal(principal, "DEFAULT")
		require.Equal(t, want, [2]string{name, realm}, principal)
	}
}

// silentKDC takes connections and answers nothing. It returns its krb5.conf, and a channel of the connections.
func silentKDC(t *testing.T) (file string, came <-chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	connections := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections <- c
		}
	}()
	file = filepath.Join(t.TempDir(), "krb5.conf")
	conf := fmt.Sprintf("[libdefaults]\n default_realm = R\n udp_preference_limit = 1\n[realms]\n R = {\n  kdc = %s\n }\n", l.Addr())
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	return file, connections
}

// A KDC that does not answer holds nobody longer than their context; one request at a time goes to it.
func TestContextEndsTheWaitForTheKDC(t *testing.T) {
	file, came := silentKDC(t)
	m := Password("alice", sasl.NewSecret(planted.Password), Options{ConfigFile: file})
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan error)
	go func() {
		_, _, err := m.Start(ctx, sasl.Peer{Host: "b", Port: 9092})
		first <- err
	}()
	kdc := <-came
	ended, end := context.WithCancel(t.Context())
	end()
	_, _, err := m.Start(ended, sasl.Peer{Host: "b", Port: 9092})
	require.ErrorIs(t, err, context.Canceled)
	cancel(errors.New("set-up took too long"))
	err = <-first
	require.EqualError(t, err, "GSSAPI: the KDC has not answered yet: set-up took too long")
	planted.NewWatch(t, nil).Check(m, err)
	require.NoError(t, kdc.Close())

	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	_, _, err = m.Start(t.Context(), sasl.Peer{Host: "b"})
	require.ErrorIs(t, err, errClosed)
	require.ErrorIs(t, m.Login(t.Context()), errClosed)
}

// Two authenticators with one time are one to a node, which refuses the second as a copy.
func TestNoTwoAuthenticatorsHaveOneTime(t *testing.T) {
	m := Keytab("alice", "k", Options{})
	before := m.now()
	for range 10_000 {
		now := m.now()
		require.True(t, now.After(before))
		require.Zero(t, now.Nanosecond()%1000)
		before = now
	}
	require.Less(t, time.Until(before), time.Second)
}

// gokrb5 cites the bytes of a damaged file in its errors.
func TestErrorsAboutFilesHoldNoKeys(t *testing.T) {
	keys := keytab.New()
	require.NoError(t, keys.AddEntry("alice", realm, "service", time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96))
	whole, err := keys.Marshal()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "k")
	damaged := 0
	for n := range whole {
		require.NoError(t, os.WriteFile(file, whole[:n], 0o600))
		if _, err := loadKeytab(file); err != nil {
			damaged++
			require.EqualError(t, err, "read keytab "+file+": it is damaged, or of another format")
		}
		_, err := fromCCache(file, config.New(), nil)
		require.EqualError(t, err, "read credential cache "+file+": it is damaged, or of another format")
	}
	require.Positive(t, damaged)
	require.NoError(t, os.WriteFile(file, whole, 0o600))
	_, err = loadKeytab(file)
	require.NoError(t, err)
}

// krb5.conf, keytabs and caches are files of some kilobytes: what has more, or is no file, is not read.
func TestFilesAreReadUpToABound(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, make([]byte, maxFile+1), 0o600))
	for _, name := range []string{file, dir, filepath.Join(dir, "none"), "/dev/zero"} {
		want := map[string]string{file: "is larger than 1 MiB", dir: "is not a regular file", "/dev/zero": "is not a regular file"}[name]
		if want == "" {
			want = "can't be read: no such file or directory"
		}
		_, err := loadConfig(name)
		require.EqualError(t, err, "read krb5.conf ("+name+"): "+want)
		_, err = loadKeytab(name)
		require.EqualError(t, err, "read keytab "+name+": "+want)
		_, err = fromCCache(name, config.New(), nil)
		require.EqualError(t, err, "read credential cache "+name+": "+want)
	}
}

// FuzzConfig: whatever krb5.conf holds is an error or a configuration.
func FuzzConfig(f *testing.F) {
	f.Add("[libdefaults]\n default_realm = R\n[realms]\n R = {\n  kdc = localhost\n }\n[domain_realm]\n .r = R\n")
	f.Add("[realms]\n R = {\n")
	f.Add("[libdefaults]\n permitted_enctypes = \n clockskew = x\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "krb5.conf")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		if cfg, err := loadConfig(file); (cfg == nil) == (err == nil) {
			t.Fatal(cfg, err)
		}
	})
}

func TestMechanismsPrintNoSecrets(t *testing.T) {
	m := Password("alice@R", sasl.NewSecret(planted.Password), Options{})
	planted.NewWatch(t, nil).Check(m, m.source)
	require.Equal(t, "GSSAPI of alice@R (password)", m.String())
	require.Equal(t, "GSSAPI", m.Name())
}

func TestCredentialCacheIsTheUsersOwn(t *testing.T) {
	t.Setenv("KRB5CCNAME", "")
	require.Contains(t, CredentialCache("", Options{}).String(), fmt.Sprintf("krb5cc_%d", os.Getuid()))
	t.Setenv("KRB5CCNAME", "FILE:/run/cache")
	require.Equal(t, "/run/cache", CredentialCache("", Options{}).source.cacheFile())
	require.Equal(t, "/else", CredentialCache("FILE:/else", Options{}).source.cacheFile())
	t.Setenv("KRB5_CONFIG", "/run/krb5.conf")
	require.Equal(t, "/run/krb5.conf", CredentialCache("", Options{}).configFile())
	require.Equal(t, "/else", CredentialCache("", Options{ConfigFile: "/else"}).configFile())
	t.Setenv("KRB5_CONFIG", "")
	require.Equal(t, "/etc/krb5.conf", CredentialCache("", Options{}).configFile())
}
