package quill

import (
	"errors"
	"log/slog"
	"math"

	"github.com/quill-kafka/quill/network/keystore"
)

const (
	maxInt32 = math.MaxInt32
	maxInt64 = math.MaxInt64

	anyList = "list, no null/empty elements; may be empty"
)

// The properties of TLS have no fields in Config: a program in Go sets Config.TLS. Their texts are kept, and New reads the
// stores that they name.

var sslProperties = []property{
	keptRow("ssl.cipher.suites", "LIST", `""`, anyList, importanceLow, "Cipher suites allowed, under Java's names. Those that Go lacks are left out and logged; suites of one version of TLS alone rule out the other. Of TLS 1.3 Go offers all three: one that is not named ends the connection."),
	keptRow("ssl.enabled.protocols", "LIST", "TLSv1.2,TLSv1.3", anyList, importanceMedium, "TLS versions allowed. TLSv1 and TLSv1.1 are left out and logged; the JDK switches them off too."),
	keptRow(nameEndpointIdentification, "STRING", "https", "", importanceLow, "`https` compares the host name with the broker's certificate. The empty text switches that off, and nothing else: the chain is checked all the same."),
	keptRow("ssl.engine.factory.class", "CLASS", "null", "", importanceLow, "Java class that makes TLS engines. Kafka's own are understood; others are refused: set `Config.TLS`."),
	keptRow("ssl.key.password", "PASSWORD", "null", "", importanceHigh, "Password of the private key. If not given, that of the key store."),
	unusedRow("ssl.keymanager.algorithm", "STRING", "SunX509", "", importanceLow, "names a part of the JVM; crypto/tls chooses the certificate", "Key manager of the JVM."),
	keptRow("ssl.keystore.certificate.chain", "PASSWORD", "null", "", importanceHigh, "Own certificate chain as PEM text (KIP-651), in any order."),
	keptRow("ssl.keystore.key", "PASSWORD", "null", "", importanceHigh, "Own private key as PEM text: PKCS#8, encrypted (PBES2, PBES1) or not, PKCS#1, SEC 1."),
	keptRow("ssl.keystore.location", "STRING", "null", "", importanceHigh, "File with the own certificate and key; with PEM both in one file. It is read again when it changes."),
	keptRow("ssl.keystore.password", "PASSWORD", "null", "", importanceHigh, "Password of that file, if it is JKS or PKCS12."),
	keptRow("ssl.keystore.type", "STRING", "JKS", "", importanceMedium, "Format of that file: JKS, PKCS12 or PEM. JKS and PKCS12 stand for each other; PKCS12 needs an import of plugin/keystore."),
	keptRow("ssl.protocol", "STRING", "TLSv1.3", "", importanceMedium, "Highest TLS version: TLSv1.3 or TLSv1.2."),
	unusedRow("ssl.provider", "STRING", "null", "", importanceMedium, "names a part of the JVM; TLS is that of crypto/tls", "TLS provider of the JVM."),
	unusedRow("ssl.secure.random.implementation", "STRING", "null", "", importanceLow, "names a part of the JVM; random numbers are those of crypto/rand", "Random number generator of the JVM."),
	unusedRow("ssl.trustmanager.algorithm", "STRING", "PKIX", "", importanceLow, "names a part of the JVM; crypto/x509 checks certificates", "Trust manager of the JVM."),
	keptRow("ssl.truststore.certificates", "PASSWORD", "null", "", importanceHigh, "Trusted certificates as PEM text."),
	keptRow("ssl.truststore.location", "STRING", "null", "", importanceHigh, "File with the trusted certificates; without one, those of the operating system. It is read again when it changes."),
	keptRow("ssl.truststore.password", "PASSWORD", "null", "", importanceHigh, "Password of that file, if it is JKS or PKCS12."),
	keptRow("ssl.truststore.type", "STRING", "JKS", "", importanceMedium, "Format of that file: JKS, PKCS12 or PEM. JKS and PKCS12 stand for each other; PKCS12 needs an import of plugin/keystore."),
}

// givenTLS returns the first of the ssl.* properties that are given and not Kafka's default, nil if there is none.
func (p *givenProperties) givenTLS() *property {
	for i := range sslProperties {
		row := &sslProperties[i]
		if text, given := p.kept[row.name]; given && !row.isDefault(text.Reveal()) {
			return row
		}
	}
	return nil
}

// tlsOfText returns the source of the settings of TLS that the properties describe; nil if there is a fault.
func (r *resolver) tlsOfText() *keystore.Source {
	source, notes, faults := r.c.tlsOfProperties()
	r.faults = append(r.faults, faults...)
	for _, what := range notes {
		r.note(slog.LevelWarn, "a value of a property of TLS was left out", slog.String("reason", what))
	}
	if text, given := r.c.props.kept[nameEndpointIdentification]; given && text.IsZero() {
		r.note(slog.LevelWarn, "host names are not checked: ssl.endpoint.identification.algorithm is empty, so any node with a certificate of a trusted authority will do")
	}
	return source
}

// tlsOfProperties reads the stores that the ssl.* properties name. It returns what of the values has no effect, for the log, and all
// faults.
func (c *Config) tlsOfProperties() (source *keystore.Source, notes []string, faults []ConfigFault) {
	cfg, notes, err := keystore.FromProperties(func(name string) (string, bool) {
		text, given := c.props.kept[name]
		return text.Reveal(), given
	})
	if err == nil {
		source, err = keystore.Open(cfg)
	}
	for _, e := range joined(err) {
		fault, ok := errors.AsType[*keystore.Error](e)
		if !ok {
			fault = &keystore.Error{Property: nameSecurityProtocol, Reason: e.Error()}
		}
		row := propertyByName[fault.Property]
		faults = append(faults, ConfigFault{Name: row.name, Value: row.shown(c.props.kept[row.name].Reveal()), Reason: fault.Reason, Fix: fault.Fix})
	}
	return source, notes, faults
}

// joined returns the errors that errors.Join made one of.
func joined(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
