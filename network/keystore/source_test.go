package keystore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network/sasl"
)

// logLines is a log without times.
type logLines struct {
	mu sync.Mutex
	// +checklocks:mu
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since the last call.
func (l *logLines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func (l *logLines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// pemSource returns a source on two PEM files in dir.
func pemSource(t testing.TB, dir string) (*Source, *logLines) {
	t.Helper()
	s, err := Open(Config{
		Own:   &Store{Type: "PEM", File: filepath.Join(dir, "own.pem")},
		Trust: &Store{Type: "PEM", File: filepath.Join(dir, "trust.pem")},
	})
	require.NoError(t, err)
	log := new(logLines)
	s.SetLogger(log.logger())
	return s, log
}

func config(t testing.TB, s *Source) *tls.Config {
	t.Helper()
	c, err := s.TLS(t.Context())
	require.NoError(t, err)
	return c
}

// ownName returns the subject of the certificate that new connections show.
func ownName(t testing.TB, s *Source) string {
	t.Helper()
	return config(t, s).Certificates[0].Leaf.Subject.CommonName
}

// S5: certificate, key and trusted authorities are replaced, and the old authority withdrawn, without a restart.
func TestNewMaterialCountsFromTheNextConnectionOn(t *testing.T) {
	dir := t.TempDir()
	ca1, ca2 := newIdentity(t, nil, nil), newIdentity(t, nil, nil)
	client1, client2 := newIdentity(t, ca1, nil), newIdentity(t, ca2, nil)
	node := func(ca, other *identity) *tls.Config {
		clients := x509.NewCertPool()
		clients.AddCert(other.cert)
		return &tls.Config{Certificates: []tls.Certificate{newIdentity(t, ca, nil).tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	}
	old, renewed := node(ca1, ca1), node(ca2, ca2)
	write(t, filepath.Join(dir, "own.pem"), client1.keyPEM(t)+client1.pem())
	write(t, filepath.Join(dir, "trust.pem"), ca1.pem())
	s, log := pemSource(t, dir)

	clientErr, nodeErr := handshake(t, config(t, s), old)
	require.NoError(t, clientErr)
	require.NoError(t, nodeErr)
	clientErr, _ = handshake(t, config(t, s), renewed)
	require.ErrorAs(t, clientErr, new(x509.UnknownAuthorityError))

	write(t, filepath.Join(dir, "own.pem"), client2.keyPEM(t)+client2.pem())
	write(t, filepath.Join(dir, "trust.pem"), ca2.pem())
	clientErr, nodeErr = handshake(t, config(t, s), renewed)
	require.NoError(t, clientErr)
	require.NoError(t, nodeErr)
	clientErr, _ = handshake(t, config(t, s), old)
	require.ErrorAs(t, clientErr, new(x509.UnknownAuthorityError), "the authority that was withdrawn is not trusted any more")
	require.Equal(t, 2, strings.Count(log.take(), "was read again"))
}

// A file is replaced in each of the ways in which that is done.
func TestEveryWayOfReplacingAFileIsNoticed(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	long := func(c *x509.Certificate) { c.Subject.Organization = []string{strings.Repeat("o", 40)} }
	first, second := newIdentity(t, ca, nil), newIdentity(t, ca, long)
	for name, replace := range map[string]func(t *testing.T, dir, path, text string){
		"written over": func(t *testing.T, _, path, text string) { write(t, path, text) },
		"renamed over": func(t *testing.T, dir, path, text string) {
			write(t, filepath.Join(dir, "new"), text)
			require.NoError(t, os.Rename(filepath.Join(dir, "new"), path))
		},
		"removed and made": func(t *testing.T, _, path, text string) {
			require.NoError(t, os.Remove(path))
			write(t, path, text)
		},
		"same time, other size": func(t *testing.T, _, path, text string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			write(t, path, text)
			require.NoError(t, os.Chtimes(path, time.Time{}, info.ModTime()))
		},
		"same time and size, other file": func(t *testing.T, dir, path, text string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			write(t, filepath.Join(dir, "new"), text)
			require.NoError(t, os.Chtimes(filepath.Join(dir, "new"), time.Time{}, info.ModTime()))
			require.NoError(t, os.Rename(filepath.Join(dir, "new"), path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "own.pem")
			write(t, path, first.keyPEM(t)+first.pem())
			write(t, filepath.Join(dir, "trust.pem"), ca.pem())
			aged := time.Now().Add(-time.Hour) // otherwise it would be read again in any case
			require.NoError(t, os.Chtimes(path, time.Time{}, aged))
			s, _ := pemSource(t, dir)
			require.True(t, s.own.seen.Unchanged(path))
			require.Equal(t, first.cert.Subject.CommonName, ownName(t, s))
			replace(t, dir, path, second.keyPEM(t)+second.pem())
			require.Equal(t, second.cert.Subject.CommonName, ownName(t, s))
		})
	}
}

// Kubernetes mounts a secret as own.pem -> ..data/own.pem and ..data -> ..2026_1, and swaps ..data.
func TestSwappedLinkToADirectoryIsNoticed(t *testing.T) {
	dir := t.TempDir()
	ca := newIdentity(t, nil, nil)
	ids := []*identity{newIdentity(t, ca, nil), newIdentity(t, ca, nil)}
	aged := time.Now().Add(-time.Hour)
	for i, version := range []string{"..2026_1", "..2026_2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		for file, text := range map[string]string{"own.pem": ids[i].keyPEM(t) + ids[i].pem(), "trust.pem": ca.pem()} {
			write(t, filepath.Join(dir, version, file), text)
			require.NoError(t, os.Chtimes(filepath.Join(dir, version, file), time.Time{}, aged))
		}
	}
	require.NoError(t, os.Symlink("..2026_1", filepath.Join(dir, "..data")))
	for _, file := range []string{"own.pem", "trust.pem"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)))
	}
	s, log := pemSource(t, dir)
	require.Equal(t, ids[0].cert.Subject.CommonName, ownName(t, s))
	require.NoError(t, os.Symlink("..2026_2", filepath.Join(dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	require.Equal(t, ids[1].cert.Subject.CommonName, ownName(t, s))
	require.Equal(t, 1, strings.Count(log.take(), "was read again"), "the trust store is another file with the same content")
}

// An unchanged file is not read: it costs a stat.
func TestUnchangedFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	ca := newIdentity(t, nil, nil)
	write(t, filepath.Join(dir, "own.pem"), ca.keyPEM(t)+ca.pem())
	write(t, filepath.Join(dir, "trust.pem"), ca.pem())
	for _, file := range []string{"own.pem", "trust.pem"} {
		require.NoError(t, os.Chtimes(filepath.Join(dir, file), time.Time{}, time.Now().Add(-time.Hour)))
	}
	s, _ := pemSource(t, dir)
	before := s.current.Load()
	seen := s.own.seen
	ownName(t, s)
	require.Same(t, before, s.current.Load())
	require.Same(t, before, config(t, s), "who changes it clones it: network and oauthbearer do")
	require.Equal(t, seen, s.own.seen)
	require.True(t, s.own.seen.Unchanged(filepath.Join(dir, "own.pem")))
}

// A broken file keeps what was read before in force, and is reported once; so is its end.
func TestBrokenFileKeepsTheOldMaterialAndLogsOnce(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own.pem")
	ca := newIdentity(t, nil, nil)
	first, second := newIdentity(t, ca, nil), newIdentity(t, ca, nil)
	good := first.keyPEM(t) + first.pem()
	write(t, own, good)
	write(t, filepath.Join(dir, "trust.pem"), ca.pem())
	s, log := pemSource(t, dir)
	for _, bad := range []struct {
		name, want string
		do         func()
	}{
		{"cut off", "has no END line", func() { write(t, own, good[:len(good)-20]) }},
		{"empty", "is empty", func() { write(t, own, "") }},
		{"not a key", "holds no PEM block", func() { write(t, own, "hello") }},
		{"key of another", "fits none of the certificates", func() { write(t, own, second.keyPEM(t)+first.pem()) }},
		{"removed", "no such file", func() { require.NoError(t, os.Remove(own)) }},
		{"a directory", "is not a regular file", func() { require.NoError(t, os.Mkdir(own, 0o700)) }},
	} {
		bad.do()
		for range 3 {
			require.Equal(t, first.cert.Subject.CommonName, ownName(t, s), bad.name)
		}
		lines := log.take()
		require.Equal(t, 1, strings.Count(lines, "\n"), "%s: %s", bad.name, lines)
		require.Contains(t, lines, bad.want)
		require.Contains(t, lines, "level=ERROR")
	}
	require.NoError(t, os.Remove(own))
	write(t, own, good)
	require.Equal(t, first.cert.Subject.CommonName, ownName(t, s))
	require.Contains(t, log.take(), "is as it was")
	write(t, own, second.keyPEM(t)+second.pem())
	require.Equal(t, second.cert.Subject.CommonName, ownName(t, s))
	require.Contains(t, log.take(), "was read again")
}

// Watch notices a change without a connection, and ends with its context.
func TestWatchReadsWithoutAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca := newIdentity(t, nil, nil)
		client := newIdentity(t, ca, nil)
		write(t, filepath.Join(dir, "own.pem"), ca.keyPEM(t)+ca.pem())
		write(t, filepath.Join(dir, "trust.pem"), ca.pem())
		s, log := pemSource(t, dir)
		done, ended := make(chan struct{}), make(chan struct{})
		go func() { // ends with done
			s.Watch(done)
			close(ended)
		}()
		time.Sleep(WatchInterval + time.Second)
		synctest.Wait()
		require.Empty(t, log.take())
		write(t, filepath.Join(dir, "own.pem"), client.keyPEM(t)+client.pem())
		time.Sleep(WatchInterval)
		synctest.Wait()
		require.Contains(t, log.take(), "was read again")
		require.Equal(t, client.cert.Subject.CommonName, s.current.Load().Certificates[0].Leaf.Subject.CommonName)
		close(done)
		<-ended
	})
}

// A file system that hangs holds up no connection for longer than its own context.
func TestWaitForAnotherReaderEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca := newIdentity(t, nil, nil)
		write(t, filepath.Join(dir, "own.pem"), ca.keyPEM(t)+ca.pem())
		write(t, filepath.Join(dir, "trust.pem"), ca.pem())
		s, _ := pemSource(t, dir)
		s.turn <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.TLS(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-s.turn
	})
}

// Both stores' faults are reported at once.
func TestOpenReportsBothStores(t *testing.T) {
	_, err := Open(Config{Own: &Store{Type: "PEM", File: "none-1"}, Trust: &Store{Type: "PEM", File: "none-2"}})
	requireFault(t, err, `ssl.keystore.location "none-1"`, `ssl.truststore.location "none-2"`)
}

func TestInlineMaterialIsNamedByItsProperty(t *testing.T) {
	ca := newIdentity(t, nil, nil)
	st := &Store{Type: "PEM", PrivateKey: sasl.NewSecret(ca.keyPEM(t)), Certificates: sasl.NewSecret(ca.pem())}
	s, err := Open(Config{Own: st, Trust: &Store{Type: "PEM", Certificates: sasl.NewSecret(ca.pem())}})
	require.NoError(t, err)
	require.False(t, s.Files())
	require.Equal(t, ca.cert.Subject.CommonName, ownName(t, s))
	_, err = Open(Config{Trust: &Store{Type: "PEM", Certificates: sasl.NewSecret("changeit")}})
	requireFault(t, err, "ssl.truststore.certificates: holds no PEM block")
}

func TestExpiredOwnCertificateIsNamedInTheLog(t *testing.T) {
	dir := t.TempDir()
	ca := newIdentity(t, nil, nil)
	over := newIdentity(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) })
	write(t, filepath.Join(dir, "own.pem"), over.keyPEM(t)+over.pem())
	write(t, filepath.Join(dir, "trust.pem"), ca.pem())
	_, log := pemSource(t, dir)
	lines := log.take()
	require.Contains(t, lines, "ended at 2001-02-03T04:05:06Z")
	require.Contains(t, lines, over.cert.Subject.CommonName)
}
