package keystore

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/readfile"
)

// A Source keeps the material of a [Config] and reads its files again when they change. Connections that are there go on
// with what they began with; new ones get the new material.
//
// A file that can't be used leaves what was read before in force, and is logged once. Its methods may be called concurrently.
type Source struct {
	cfg        Config
	own, trust *watched // nil if there is none
	logger     *slog.Logger
	current    atomic.Pointer[tls.Config]

	// turn is a lock that a wait for can be ended: who sends holds it. It guards the fields of own and trust.
	turn chan struct{}
}

// WatchInterval is how often Watch looks at the files.
const WatchInterval = 10 * time.Second

// Open reads the stores of the configuration. It returns all faults of both stores, each an [*Error], joined.
func Open(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg, logger: slog.New(slog.DiscardHandler), turn: make(chan struct{}, 1)}
	var errs []error
	if cfg.Own != nil {
		s.own = &watched{store: cfg.Own, properties: ownProperties, keys: true}
		errs = append(errs, s.own.read())
	}
	if cfg.Trust != nil {
		s.trust = &watched{store: cfg.Trust, properties: trustProperties}
		errs = append(errs, s.trust.read())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.publish()
	return s, nil
}

// SetLogger says where reloads and their failures are logged, and logs what was found remarkable by Open. It is to be called
// before the other methods, at most once.
func (s *Source) SetLogger(l *slog.Logger) {
	s.logger = l
	for _, w := range []*watched{s.own, s.trust} {
		if w != nil {
			w.logRemarks(l)
		}
	}
}

// Files reports whether anything is read from files.
func (s *Source) Files() bool {
	return s.own != nil && s.own.store.File != "" || s.trust != nil && s.trust.store.File != ""
}

// TLS looks whether the files have changed, reads them if so, and returns the configuration for a new connection. Others
// have the same one: who wants to change it clones it. TLS waits while another call reads the files; its only error is that of a context that ends meanwhile.
func (s *Source) TLS(ctx context.Context) (*tls.Config, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	return s.current.Load(), nil
}

// Watch looks at the files each WatchInterval, so that a new one is read, and a broken one reported, before a connection
// needs it. It returns when done is closed.
func (s *Source) Watch(done <-chan struct{}) {
	if !s.Files() {
		return
	}
	ticker := time.NewTicker(WatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = s.refresh(context.Background()) // its only error is that of a context
		case <-done:
			return
		}
	}
}

// refresh reads the files that have changed.
func (s *Source) refresh(ctx context.Context) error {
	if !s.Files() {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	renewed := false
	for _, w := range []*watched{s.own, s.trust} {
		if w != nil && w.store.File != "" && w.reload(s.logger) {
			renewed = true
		}
	}
	if renewed {
		s.publish()
	}
	return nil
}

// publish makes a new configuration of what was read.
func (s *Source) publish() {
	var m material
	if s.own != nil {
		m.own = s.own.certs
	}
	if s.trust != nil {
		m.roots = x509.NewCertPool()
		for _, c := range s.trust.anchors {
			m.roots.AddCert(c)
		}
	}
	s.current.Store(s.cfg.tlsConfig(m))
}

// watched is a store with what was last read of it. But for store, properties and keys, all is guarded by Source.turn.
type watched struct {
	store      *Store
	properties properties
	keys       bool // a key store

	certs   []tls.Certificate   // of a key store
	anchors []*x509.Certificate // of a trust store
	skipped []string            // what was left out

	seen  readfile.Seen     // the file when it was last read, whether that succeeded or not
	sum   [sha256.Size]byte // of what was read
	fault string            // why the file could not be used last time, "" if it could
}

// maxStore bounds the size of a store: Java's own trust store has about 150 KB.
const maxStore = 16 << 20

// reload reads the file if it has changed, and reports whether there is new material. It logs a fault once, and the end of it.
func (w *watched) reload(logger *slog.Logger) bool {
	if w.seen.Unchanged(w.store.File) {
		return false
	}
	before := w.sum
	err := w.read()
	file := slog.String("file", w.store.File)
	switch {
	case err != nil && err.Error() != w.fault:
		w.fault = err.Error()
		logger.Error("key or trust material can't be read again: what was read before stays in force", file, slog.String("err", w.fault))
	case err != nil:
	case w.sum != before:
		w.fault = ""
		logger.Info("key or trust material was read again", file)
		w.logRemarks(logger)
		return true
	case w.fault != "":
		w.fault = ""
		logger.Info("key or trust material is as it was", file)
	}
	return false
}

// read reads the store. On an error the material stays as it was, and so does sum.
func (w *watched) read() error {
	data, err := w.content()
	if err == nil {
		sum := sha256.Sum256(data)
		if sum == w.sum {
			return nil
		}
		if err = w.use(data); err == nil {
			w.sum = sum
			return nil
		}
	}
	fault, ok := errors.AsType[*Error](err)
	if !ok {
		fault = &Error{Reason: fmt.Sprintf("can't be read: %v", err), Err: err}
	}
	located := *fault // a decoder may return the same error twice
	located.Property, located.File = w.properties.location, w.store.File
	if located.File == "" {
		located.Property = w.properties.inline
	}
	return &located
}

// use takes the material from the content of the store.
func (w *watched) use(data []byte) error {
	c, err := w.store.decode(data, w.keys)
	if err != nil {
		return err
	}
	if w.keys {
		if len(c.Skipped) > 0 && len(c.Keys) > 0 && len(c.Keys[0].Certificates) == 0 {
			return fail("", "holds no certificate that can be used: %s", c.Skipped[0])
		}
		certs, err := c.certificates()
		if err != nil {
			return err
		}
		w.certs = certs
	} else {
		anchors, err := c.anchors()
		if err != nil {
			return err
		}
		w.anchors = anchors
	}
	w.skipped = c.Skipped
	return nil
}

// content returns what the store holds, and notes which file that was.
func (w *watched) content() ([]byte, error) {
	if w.store.File == "" {
		return w.store.text(), nil
	}
	var data []byte
	var err error
	data, w.seen, err = readfile.Read(w.store.File, maxStore)
	_, large := errors.AsType[readfile.TooLargeError](err)
	switch {
	case err == nil:
		return data, nil
	case large:
		return nil, fail("is this the right file?", "%v", err)
	case errors.Is(err, readfile.ErrNotRegular):
		return nil, fail("name a file", "%v", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, &Error{Reason: err.Error(), Fix: "may this process read it?", Err: err}
	}
	return nil, &Error{Reason: err.Error(), Err: err}
}

// logRemarks logs what of the material is left out, or out of date.
func (w *watched) logRemarks(logger *slog.Logger) {
	where := slog.String("file", w.store.File)
	for _, what := range w.skipped[:min(len(w.skipped), 5)] {
		logger.Warn("a certificate can't be used and was left out", where, slog.String("reason", what))
	}
	for _, cert := range w.certs {
		if wrong := validity(cert.Leaf, time.Now()); wrong != "" {
			logger.Warn("the client's own certificate is not valid now: nodes will refuse it", where, slog.String("certificate", name(cert.Leaf)), slog.String("validity", wrong))
		}
	}
}
