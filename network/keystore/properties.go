package keystore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/network/sasl"
)

// FromProperties makes a Config of Kafka's ssl.* properties. get returns the text of a property, and whether it was given. The
// notes say what of the values has no effect in Go and was left out. The error has all faults, each an [*Error], joined:
// contradictions are refused as Java's DefaultSslEngineFactory refuses them. Nothing is read and nothing connects; see [Open].
func FromProperties(get func(property string) (text string, given bool)) (cfg Config, notes []string, err error) {
	p := &propertyReader{get: get}
	cfg.Own = p.ownStore()
	cfg.Trust = p.trustStore()
	cfg.MinVersion, cfg.MaxVersion = p.versions()
	cfg.CipherSuites = p.suites()
	p.fitSuites(&cfg)
	cfg.AnyHost = p.anyHost()
	p.engineFactory()
	return cfg, p.notes, errors.Join(p.faults...)
}

// propertyReader is the state of one FromProperties.
type propertyReader struct {
	get    func(string) (string, bool)
	faults []error
	notes  []string
}

func (p *propertyReader) fault(property, fix, format string, args ...any) {
	e := fail(fix, format, args...)
	e.Property = property
	p.faults = append(p.faults, e)
}

func (p *propertyReader) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *propertyReader) given(property string) bool {
	_, given := p.get(property)
	return given
}

// text returns the property, or def if it was not given.
func (p *propertyReader) text(property, def string) string {
	if text, given := p.get(property); given {
		return text
	}
	return def
}

func (p *propertyReader) secret(property string) sasl.Secret {
	return sasl.NewSecret(p.text(property, ""))
}

// location returns a path, and reports one that is empty.
func (p *propertyReader) location(property string) string {
	path, given := p.get(property)
	if given && path == "" {
		p.fault(property, "leave it out", "is empty")
	}
	return path
}

// storeType returns the type of a store. PEM has to be written so: Java takes "pem" for another format.
func (p *propertyReader) storeType(property string) string {
	typ := p.text(property, typeJKS)
	if typ != typePEM && strings.EqualFold(typ, typePEM) {
		p.fault(property, "write PEM", "%q is not known", typ)
	}
	return typ
}

const (
	keyGiven, chainGiven = "ssl.keystore.key", "ssl.keystore.certificate.chain"
	ownPassword          = "ssl.keystore.password" // #nosec G101 -- the name of a property
	trustGiven           = "ssl.truststore.certificates"
	trustPassword        = "ssl.truststore.password" // #nosec G101 -- the name of a property
)

// ownStore returns the key store, nil if there is none. Java: createKeystore.
func (p *propertyReader) ownStore() *Store {
	typ, path := p.storeType("ssl.keystore.type"), p.location("ssl.keystore.location")
	st := &Store{Type: typ, File: path, Password: p.secret(ownPassword), KeyPassword: p.secret("ssl.key.password"), PrivateKey: p.secret(keyGiven), Certificates: p.secret(chainGiven)}
	switch isPEM := typ == typePEM; {
	case p.given(keyGiven) && !isPEM:
		p.fault(keyGiven, "set ssl.keystore.type=PEM", "can be used with PEM only, and ssl.keystore.type is %q", typ)
	case p.given(keyGiven) && !p.given(chainGiven):
		p.fault(keyGiven, "set "+chainGiven, "is given without the certificate chain")
	case p.given(keyGiven) && p.given("ssl.keystore.location"):
		p.fault(keyGiven, "leave one of them out", "and ssl.keystore.location are both given")
	case p.given(chainGiven) && !p.given(keyGiven):
		p.fault(chainGiven, "set "+keyGiven, "is given without the private key")
	case isPEM && p.given(ownPassword) && (p.given(keyGiven) || path != ""):
		p.fault(ownPassword, "leave it out; the password of the key is ssl.key.password", "can't be used with PEM")
	case !p.given(keyGiven) && path == "" && p.given(ownPassword):
		p.fault(ownPassword, "set ssl.keystore.location", "is given without a key store")
	case path != "" && !isPEM && !p.given(ownPassword):
		p.fault("ssl.keystore.location", "set "+ownPassword, "is given without its password")
	}
	if path == "" && !p.given(keyGiven) {
		return nil
	}
	return st
}

// trustStore returns the trust store, nil if there is none. Java: createTruststore.
func (p *propertyReader) trustStore() *Store {
	typ, path := p.storeType("ssl.truststore.type"), p.location("ssl.truststore.location")
	st := &Store{Type: typ, File: path, Password: p.secret(trustPassword), Certificates: p.secret(trustGiven)}
	switch isPEM := typ == typePEM; {
	case p.given(trustGiven) && !isPEM:
		p.fault(trustGiven, "set ssl.truststore.type=PEM", "can be used with PEM only, and ssl.truststore.type is %q", typ)
	case p.given(trustGiven) && p.given("ssl.truststore.location"):
		p.fault(trustGiven, "leave one of them out", "and ssl.truststore.location are both given")
	case isPEM && p.given(trustPassword) && (p.given(trustGiven) || path != ""):
		p.fault(trustPassword, "leave it out", "can't be used with PEM")
	case !p.given(trustGiven) && path == "" && p.given(trustPassword):
		p.fault(trustPassword, "set ssl.truststore.location", "is given without a trust store")
	}
	if path == "" && !p.given(trustGiven) {
		return nil
	}
	return st
}

// list returns the elements of a list.
func (p *propertyReader) list(property, def string) []string {
	text := p.text(property, def)
	if text == "" {
		return nil
	}
	elements := strings.Split(text, ",")
	for i, e := range elements {
		if elements[i] = strings.TrimSpace(e); elements[i] == "" {
			p.fault(property, "remove the comma", "has an empty element")
			return nil
		}
	}
	return elements
}

// protocols are the names of Java for versions of TLS. Those below 1.2 are switched off in Java too
// (jdk.tls.disabledAlgorithms), whatever the property says.
var protocols = map[string]uint16{
	"SSLv2Hello": 0, "SSLv3": 0, "SSL": tls.VersionTLS13, "TLS": tls.VersionTLS13,
	"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

// versions returns the bounds of ssl.enabled.protocols, no higher than ssl.protocol.
func (p *propertyReader) versions() (least, greatest uint16) {
	const enabled, highest = "ssl.enabled.protocols", "ssl.protocol"
	limit, known := protocols[p.text(highest, "TLSv1.3")]
	if !known {
		p.fault(highest, "write TLSv1.3 or TLSv1.2", "must be one of TLS, TLSv1.2, TLSv1.3")
	}
	names := p.list(enabled, "TLSv1.2,TLSv1.3")
	if len(names) == 0 { // those of the engine
		names = []string{"TLSv1.2", "TLSv1.3"}
	}
	for _, name := range names {
		version, known := protocols[name]
		switch {
		case !known || name == "TLS" || name == "SSL":
			p.fault(enabled, "write TLSv1.2,TLSv1.3", "%q is no protocol", name)
			return 0, 0
		case version < tls.VersionTLS12:
			p.note("%s: %s is not secure and was left out, as Java's JDK does", enabled, name)
		case version <= limit:
			least, greatest = min(version, cmpZero(least, version)), max(version, greatest)
		}
	}
	if greatest == 0 && len(p.faults) == 0 {
		p.fault(enabled, "write TLSv1.2,TLSv1.3, and leave ssl.protocol out", "and ssl.protocol leave neither TLS 1.2 nor TLS 1.3")
	}
	return least, greatest
}

// cmpZero returns a, or b if a is zero.
func cmpZero(a, b uint16) uint16 {
	if a == 0 {
		return b
	}
	return a
}

const suitesProperty = "ssl.cipher.suites"

// suites returns the cipher suites that are named, of those that crypto/tls has.
func (p *propertyReader) suites() []uint16 {
	ids := map[string]uint16{}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ids[s.Name] = s.ID
	}
	var suites []uint16
	names := p.list(suitesProperty, "")
	for _, name := range names {
		id, known := ids[name]
		if !known {
			id, known = ids[strings.Replace(name, "SSL_", "TLS_", 1)] // how old Javas call some
		}
		switch {
		case known:
			suites = append(suites, id)
		case strings.HasPrefix(name, "TLS_") || strings.HasPrefix(name, "SSL_"):
			p.note("%s: %s is not there in Go and was left out", suitesProperty, name)
		default:
			p.fault(suitesProperty, "write names such as TLS_AES_256_GCM_SHA384", "%q is no cipher suite", name)
			return nil
		}
	}
	if len(names) > 0 && len(suites) == 0 && len(p.faults) == 0 {
		p.fault(suitesProperty, "add TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 or a suite of TLS 1.3", "names none that Go has")
	}
	return suites
}

// fitSuites narrows the versions to those that the suites are for: with suites of TLS 1.2 alone, TLS 1.3 can't be agreed on, and
// the other way round.
func (p *propertyReader) fitSuites(cfg *Config) {
	if len(cfg.CipherSuites) == 0 {
		return
	}
	modern := func(id uint16) bool { return id>>8 == 0x13 }
	any13 := slices.ContainsFunc(cfg.CipherSuites, modern)
	any12 := slices.ContainsFunc(cfg.CipherSuites, func(id uint16) bool { return !modern(id) })
	if !any13 {
		cfg.MaxVersion = min(cfg.MaxVersion, tls.VersionTLS12)
	}
	if !any12 {
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS13)
	}
	if cfg.MinVersion > cfg.MaxVersion && len(p.faults) == 0 {
		p.fault(suitesProperty, "name suites of the versions in ssl.enabled.protocols", "has none for the protocols that are enabled")
	}
}

// anyHost reports whether host names are not checked: only the empty text says so.
func (p *propertyReader) anyHost() bool {
	const property = "ssl.endpoint.identification.algorithm"
	text := p.text(property, "https")
	if text != "" && !strings.EqualFold(text, "https") {
		p.fault(property, "write https, or leave it out", "%q is not known", text)
	}
	return text == ""
}

// engineFactory refuses a class of the user's: what it would do is lost.
func (p *propertyReader) engineFactory() {
	const property = "ssl.engine.factory.class"
	switch text := p.text(property, ""); text {
	case "", "org.apache.kafka.common.security.ssl.DefaultSslEngineFactory", "org.apache.kafka.common.security.ssl.CommonNameLoggingSslEngineFactory":
	default:
		p.fault(property, "set Config.TLS to a *tls.Config that does the same, and remove the ssl.* properties", "names a Java class")
	}
}
