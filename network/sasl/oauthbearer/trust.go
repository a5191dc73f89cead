package oauthbearer

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"

	"github.com/quill-kafka/quill/network/keystore"
)

// tls returns how connections to the endpoint are secured, as the options of the login module say that begin with "ssl.": nil if there
// are none. Java: JaasOptionsUtils.createSSLSocketFactory; the properties ssl.* are for brokers.
func (r *reader) tls() func(context.Context) (*tls.Config, error) {
	given := false
	for name := range r.Options {
		given = given || strings.HasPrefix(name, "ssl.")
	}
	if !given {
		return nil
	}
	cfg, _, err := keystore.FromProperties(func(name string) (string, bool) {
		v, given := r.Options[name]
		return v.Reveal(), given
	})
	if err != nil {
		r.fail(propJAAS, "", "option %v", err)
	}
	return (&material{cfg: cfg}).config
}

// material is keys and certificates whose files are first read when a token is first asked for.
type material struct {
	cfg keystore.Config

	mu sync.Mutex // held while files are read
	// +checklocks:mu
	source *keystore.Source
}

func (m *material) config(ctx context.Context) (*tls.Config, error) {
	m.mu.Lock()
	if m.source == nil {
		source, err := keystore.Open(m.cfg)
		if err != nil {
			m.mu.Unlock()
			return nil, err
		}
		m.source = source
	}
	source := m.source
	m.mu.Unlock()
	return source.TLS(ctx)
}
