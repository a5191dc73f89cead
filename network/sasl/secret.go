package sasl

import (
	"fmt"
	"io"
	"log/slog"
)

// masked is what stands for a secret wherever one is printed.
const masked = "***"

// Secret is a text that must not be printed: a password, a token, the pass phrase of a key. It prints
// as *** under every verb of fmt, in JSON and other encodings, in log/slog, and in a panic. [Secret.Reveal]
// returns the text itself.
//
// The zero value is the empty secret. A Secret is immutable and may be copied and used concurrently.
// Two of them are not equal by == though their texts are, unless one is a copy of the other.
type Secret struct {
	// A pointer, and not a string with methods: fmt prints the unexported fields of a struct, and what
	// is left over by a format ("%!(EXTRA …)") or doesn't fit its verb (%w), without the methods. Of a
	// pointer it prints the address.
	text *string
}

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text. Keep it out of logs and errors.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns ***, also for the empty secret.
func (s Secret) String() string { return masked }

// Format writes *** whatever the verb and the flags are. It implements [fmt.Formatter].
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText returns ***, which is what JSON, XML and others then hold. It implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue returns ***. It implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }
