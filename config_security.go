package quill

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"

	"github.com/quill-kafka/quill/network/keystore"
	"github.com/quill-kafka/quill/network/sasl"
)

// security is how connections are secured: by exactly what is configured, never by less.
type security struct {
	tls    func(ctx context.Context) (*tls.Config, error) // nil: plaintext
	stores *keystore.Source                               // what tls comes from, if properties name it
	sasl   sasl.Mechanism                                 // nil: none
}

// protocols names the security protocol of what is used.
var protocols = map[bool]map[bool]SecurityProtocol{ // by TLS and SASL
	false: {false: plaintext, true: SASLPlaintext},
	true:  {false: SSL, true: SASLSSL},
}

// transport resolves whether connections use TLS, and with which settings, and returns the protocol. A SecurityProtocol that is not
// set follows from what is set beside it; one that is set is taken at its word.
func (r *resolver) transport(s *security) SecurityProtocol {
	c := r.c
	p := c.SecurityProtocol
	if _, written := c.props.all[nameSecurityProtocol]; p == plaintext && !written {
		p = protocols[c.TLS != nil][c.SASL != nil]
	}
	withTLS, withSASL := p == SSL || p == SASLSSL, p == SASLPlaintext || p == SASLSSL
	switch {
	case c.TLS != nil && !withTLS:
		r.fault(nameSecurityProtocol, "does not use TLS, and Config.TLS is set",
			"set it to "+protocols[true][withSASL].String()+", or leave one of them out")
	case c.SASL != nil && !withSASL:
		r.fault(nameSecurityProtocol, "does not use SASL, and Config.SASL is set",
			"set it to "+protocols[withTLS][true].String()+", or leave one of them out")
	}
	if given := c.props.givenTLS(); given != nil && c.TLS != nil {
		r.faults = append(r.faults, ConfigFault{Name: given.name, Field: "TLS",
			Value: given.shown(c.props.kept[given.name].Reveal()), Reason: "and Config.TLS are both set", Fix: "leave one of them out"})
	} else if given != nil && !withTLS {
		// Java ignores them too, and says so among the properties that are not used.
		r.note(slog.LevelWarn, "properties of TLS have no effect: connections are plaintext; is security.protocol=SSL meant?",
			slog.String("property", given.name))
	}
	if withTLS {
		r.secure(s)
	}
	return p
}

// authentication resolves the mechanism of SASL. One that properties name gets the producer's logger.
func (r *resolver) authentication(s *settings, p SecurityProtocol) {
	if s.security.sasl = r.c.SASL; s.security.sasl == nil && (p == SASLPlaintext || p == SASLSSL) {
		s.security.sasl = r.mechanism(s.logger)
	}
	if s.security.sasl != nil && p != SSL && p != SASLSSL {
		r.bareCredentials(s.security.sasl.Name())
	}
}

// mechanism makes the mechanism that the properties name; nil if it can't be made.
func (r *resolver) mechanism(l *slog.Logger) sasl.Mechanism {
	if len(r.c.props.kept) == 0 {
		r.fault(nameSecurityProtocol, "needs a SASL mechanism", "set Config.SASL, as to sasl.Plain, or sasl.mechanism and sasl.jaas.config")
		return nil
	}
	m, err := r.c.mechanismOfProperties(l)
	if wrong, ok := errors.AsType[*sasl.SettingError](err); ok {
		r.fault(wrong.Property, wrong.Reason, wrong.Fix)
	} else if err != nil {
		r.fault(nameSASLMechanism, err.Error(), "")
	}
	if err != nil {
		return nil
	}
	return m
}

// secure sets where the configuration of new TLS connections comes from: Config.TLS, or the properties. Without either, the
// system's authorities are trusted.
func (r *resolver) secure(s *security) {
	if r.c.TLS == nil {
		if s.stores = r.tlsOfText(); s.stores != nil {
			s.tls = s.stores.TLS
		}
		return
	}
	conf := r.c.TLS.Clone()
	if conf.InsecureSkipVerify && conf.VerifyConnection == nil && conf.VerifyPeerCertificate == nil {
		r.note(slog.LevelWarn, "Config.TLS has InsecureSkipVerify: any server is taken for a broker, whatever its certificate")
	}
	s.tls = func(context.Context) (*tls.Config, error) { return conf, nil }
}

// bareCredentials warns of mechanisms that show their credentials to whoever listens. Java allows them.
func (r *resolver) bareCredentials(mechanism string) {
	if mechanism == "PLAIN" || mechanism == "OAUTHBEARER" {
		r.note(slog.LevelWarn, "SASL sends credentials in the clear: without TLS whoever listens can use them",
			slog.String("mechanism", mechanism),
			slog.String("instead", "security.protocol SASL_SSL, or SCRAM"))
	}
}
