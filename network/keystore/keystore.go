package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/quill-kafka/quill/network/sasl"
)

// Contents is what a key store or a trust store holds.
type Contents struct {
	Keys    []Key
	Trusted []*x509.Certificate // in the order of the file
	// Skipped says what of the store can't be used and was left out, such as a certificate that crypto/x509 refuses. It
	// goes to the log.
	Skipped []string
}

// Key is a private key with its certificates. It prints without the key, under every verb of fmt and in JSON.
type Key struct {
	Alias        string              // the name of the entry, may be empty
	Private      crypto.Signer       `json:"-"`
	Certificates []*x509.Certificate // in any order; the one of the key may be among others
}

// Format writes the alias and the number of certificates for every verb: fmt would print an Ed25519 key byte by byte. It
// implements [fmt.Formatter].
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{Alias:%q Certificates:%d}", k.Alias, len(k.Certificates))
}

// A Decoder reads a store of one format. keyPassword is the password of the keys within it, the store's own if the user
// gave none; it is empty for a trust store, whose private keys are not wanted. Its error must not contain any of the
// store's content; it may be an [*Error] with Reason and Fix. A Decoder may be called concurrently.
type Decoder func(data []byte, password, keyPassword sasl.Secret) (Contents, error)

var registry = struct {
	sync.Mutex
	// +checklocks:Mutex
	decoders map[string]Decoder
}{decoders: map[string]Decoder{typeJKS: decodeJKS}}

// The types of stores that Kafka documents.
const (
	typePEM    = "PEM"
	typeJKS    = "JKS"
	typePKCS12 = "PKCS12"
)

// Register adds a format, under the name that ssl.keystore.type and ssl.truststore.type have for it, in any case. It is to
// be called from the init function of a package that implements the format. Like sql.Register, it panics if the decoder is
// nil or the format is there already. It may be called concurrently.
func Register(format string, decoder Decoder) {
	name := strings.ToUpper(format)
	registry.Lock()
	defer registry.Unlock()
	if decoder == nil {
		panic("keystore: Register with a nil decoder for " + format)
	}
	if registry.decoders[name] != nil || name == typePEM {
		panic("keystore: Register called twice for " + format)
	}
	registry.decoders[name] = decoder
}

func decoderFor(name string) Decoder {
	registry.Lock()
	defer registry.Unlock()
	return registry.decoders[name]
}

// Formats returns the names of the formats that can be read, sorted. It may be called concurrently.
func Formats() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.decoders))
}

// Error is why a store can't be used. Its text never contains what the store holds.
type Error struct {
	Property string // the Kafka property that it is about, such as "ssl.keystore.location"
	File     string // the path, empty for inline text
	Reason   string
	Fix      string // what to do about it, may be empty
	Err      error  // the error of the operating system, if that is the reason
}

// Error returns property, file, reason and fix in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Property)
	if e.File != "" {
		fmt.Fprintf(&b, " %q", e.File)
	}
	b.WriteString(": " + e.Reason)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

func fail(fix, format string, args ...any) *Error {
	return &Error{Reason: fmt.Sprintf(format, args...), Fix: fix}
}

// decode reads a store of the type that the user named. As in Java, JKS and PKCS12 stand for each other: what the file
// holds decides (JDK: keystore.type.compat, the "dual format" key stores).
func (st *Store) decode(data []byte, keys bool) (Contents, error) {
	name, holds := strings.ToUpper(st.Type), sniff(data)
	if name == "" {
		name = typeJKS
	}
	binary := name == typeJKS || name == typePKCS12
	switch {
	case len(data) == 0:
		return Contents{}, fail("", "is empty")
	case name == typePEM && holds != "" && holds != typePEM:
		return Contents{}, fail("set the type to "+holds, "is a %s file, and its type is set to PEM", holds)
	case name == typePEM:
		return decodePEM(string(data), keys, st.KeyPassword)
	case binary && holds == typePEM || binary && holds == "":
		return Contents{}, notBinary(holds, name)
	case binary:
		name = holds
	}
	decoder := decoderFor(name)
	if decoder == nil {
		return Contents{}, noDecoder(name)
	}
	var keyPassword sasl.Secret
	if keys {
		keyPassword = cmpSecret(st.KeyPassword, st.Password)
	}
	return decoder(data, st.Password, keyPassword)
}

// cmpSecret returns the first of the two that is not empty.
func cmpSecret(a, b sasl.Secret) sasl.Secret {
	if a.IsZero() {
		return b
	}
	return a
}

func notBinary(holds, name string) error {
	if holds == typePEM {
		return fail("set the type to PEM", "is a PEM file, and its type is set to %s", name)
	}
	return fail("is this the right file?", "is neither a JKS nor a PKCS12 file")
}

func noDecoder(name string) error {
	switch name {
	case typePKCS12:
		return fail(`add import _ "github.com/quill-kafka/quill/plugin/keystore", or turn the file into PEM with openssl pkcs12`,
			"is a PKCS12 file, and what reads those is not linked in")
	case typeJCEKS:
		return fail("turn it into PKCS12 with keytool -importkeystore -deststoretype PKCS12", "is a JCEKS file, which can't be read")
	}
	return fail("use PEM, JKS or PKCS12", "the type %q is not known", printable(name))
}

const typeJCEKS = "JCEKS"

// sniff returns the type of a store by its first bytes, "" if they are of none. A PEM text may begin with anything.
func sniff(data []byte) string {
	switch {
	case len(data) < 4:
		return ""
	case string(data[:4]) == "\xfe\xed\xfe\xed":
		return typeJKS
	case string(data[:4]) == "\xce\xce\xce\xce":
		return typeJCEKS
	case data[0] == 0x30 && data[1] >= 0x80: // a SEQUENCE of more than 127 bytes
		return typePKCS12
	case bytes.Contains(data, []byte(beginning)):
		return typePEM
	}
	return ""
}
