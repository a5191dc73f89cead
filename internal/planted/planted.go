// Package planted finds secrets where they must not be. Tests plant texts that stand nowhere else as passwords, tokens and the like, and have
// logs, errors and all that fmt, JSON and slog make of values searched for them, in every form in which a program may print one: as
// it is, quoted, in base64, hexadecimal and URL encoding, and as the numbers of its bytes.
package planted

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// What tests plant. Each text has characters that the encodings write differently.
const (
	Password     = `pl4nted+p4ss/w0rd=&?1`
	Token        = `pl4nted.t0/k3n+~2==`
	ClientSecret = `pl4nted+cl13nt/s3cret=&?3`
	PassPhrase   = `pl4nted+k3y/phr4se=&?4` // #nosec G101 -- planted on purpose
	HeaderValue  = `pl4nted+h34der/v4lue=&?5`
)

// minLength is how long a secret must be: a shorter one is found by chance.
const minLength = 12

// Secrets are what is looked for. Its methods may be called concurrently.
type Secrets struct {
	mu sync.Mutex
	// +checklocks:mu
	needles map[string]string // by what they are: "password in base64"
}

// All returns the Secrets that tests plant. The sixth, SCRAM's salted password, comes by Add: it depends on the node's salt.
func All() *Secrets {
	s := &Secrets{needles: map[string]string{}}
	for name, text := range map[string]string{"password": Password, "token": Token, "client secret": ClientSecret, "pass phrase": PassPhrase, "header value": HeaderValue} {
		s.Add(name, text)
	}
	return s
}

// Add adds a secret, which may be binary. It panics if that is too short.
func (s *Secrets) Add(name, text string) {
	if len(text) < minLength {
		panic("planted: a secret of fewer than " + strconv.Itoa(minLength) + " bytes")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for form, needle := range Forms(text) {
		s.needles[name+form] = needle
	}
}

// Forms returns the forms in which a text is found, each by a name that follows the secret's own. Base64 has three, by where the text begins in what was
// encoded: PLAIN and HTTP's basic authentication put a user's name before it.
func Forms(text string) map[string]string {
	forms := map[string]string{
		"":                         text,
		" quoted":                  unquoted(strconv.Quote(text)),
		" quoted twice":            unquoted(strconv.Quote(unquoted(strconv.Quote(text)))), // an error's text in slog's
		" quoted in ASCII":         unquoted(strconv.QuoteToASCII(text)),
		" in hexadecimal":          hex.EncodeToString([]byte(text)),
		" in capital hexadecimal":  strings.ToUpper(hex.EncodeToString([]byte(text))),
		" in spaced hexadecimal":   fmt.Sprintf("% x", text),
		" in a URL's query":        url.QueryEscape(text),
		" in a URL's path":         url.PathEscape(text),
		" in small URL encoding":   smallEscapes(url.QueryEscape(text)),
		" as numbers of its bytes": unquoted(fmt.Sprint([]byte(text))),
		" as Go's bytes":           strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(text)), "[]byte{"), "}"),
	}
	if inJSON, err := json.Marshal(text); err == nil {
		forms[" in JSON"] = unquoted(string(inJSON))
	}
	for shift := range 3 {
		data := append(make([]byte, shift), text...)
		data = data[:len(data)/3*3] // whole groups: the last one depends on what follows
		skip := (shift*8 + 5) / 6   // characters that depend on what is before
		forms[fmt.Sprintf(" in base64 (%d)", shift)] = base64.StdEncoding.EncodeToString(data)[skip:]
		forms[fmt.Sprintf(" in base64url (%d)", shift)] = base64.URLEncoding.EncodeToString(data)[skip:]
	}
	return forms
}

// unquoted returns a text without its first and last character.
func unquoted(text string) string { return text[1 : len(text)-1] }

// smallEscapes writes the hexadecimal digits of URL encoding in small letters.
func smallEscapes(text string) string {
	parts := strings.Split(text, "%")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToLower(p[:2]) + p[2:]
	}
	return strings.Join(parts, "%")
}

// Find returns what of the secrets a text has.
func (s *Secrets) Find(text string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, needle := range s.needles {
		if strings.Contains(text, needle) {
			found = append(found, name)
		}
	}
	return found
}

// FindIn returns what of the secrets shows in a value, by how it was printed: by fmt with every verb, in JSON and by slog. Of an error the causes are looked at, too.
func (s *Secrets) FindIn(value any) (found []string) {
	for how, text := range prints(value) {
		for _, name := range s.Find(text) {
			found = append(found, fmt.Sprintf("%s of %T: %s", how, value, name))
		}
	}
	if err, ok := value.(error); ok {
		for _, cause := range causes(err) {
			found = append(found, s.FindIn(cause)...)
		}
	}
	return found
}

// prints returns all that is made of a value, by how.
func prints(value any) map[string]string {
	texts := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		texts[verb] = fmt.Sprintf(verb, value)
	}
	texts["%w"] = fmt.Errorf("no error: %w", asError(value)).Error()
	if text, err := json.Marshal(value); err == nil {
		texts["JSON"] = string(text)
	} else {
		texts["JSON's error"] = err.Error()
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "value", value)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "value", value)
	texts["slog"] = b.String()
	return texts
}

// asError returns an error that says what fmt makes of a value.
func asError(value any) error {
	if err, ok := value.(error); ok {
		return err
	}
	return fmt.Errorf("%v", value)
}

// causes returns the errors that an error wraps.
func causes(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	case interface{ Unwrap() error }:
		if cause := errors.Unwrap(err); cause != nil {
			return []error{cause}
		}
	}
	return nil
}

// T is what a Watch wants of a test.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(f func())
}

// Watch keeps all that is logged in a test, and fails the test at its end if a secret is in it.
type Watch struct {
	*Secrets
	t    T
	next io.Writer // may be nil

	mu sync.Mutex
	// +checklocks:mu
	text strings.Builder
}

// NewWatch returns a Watch for all secrets. What is written to it goes on to next, if there is one.
func NewWatch(t T, next io.Writer) *Watch {
	t.Helper()
	w := &Watch{Secrets: All(), t: t, next: next}
	t.Cleanup(func() {
		for _, name := range w.Find(w.String()) {
			t.Errorf("a secret is in the log: %s", name)
		}
	})
	return w
}

// Logger returns a logger of all levels.
func (w *Watch) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer.
func (w *Watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.next != nil {
		return w.next.Write(p)
	}
	return len(p), nil
}

// String returns what was written.
func (w *Watch) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Check fails the test if a secret shows in one of the values. It may not be called for what others use at the time: fmt reads all fields.
func (w *Watch) Check(values ...any) {
	w.t.Helper()
	for _, value := range values {
		for _, found := range w.FindIn(value) {
			w.t.Errorf("a secret shows: %s", found)
		}
	}
}
