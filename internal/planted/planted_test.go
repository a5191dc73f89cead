package planted

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorder is a test that may fail.
type recorder struct {
	faults  []string
	cleanup []func()
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }

// ended returns what the test failed with.
func (r *recorder) ended() []string {
	for _, f := range r.cleanup {
		f()
	}
	return r.faults
}

var escapes = regexp.MustCompile("%..")

// encodings are what may print a secret, written without the package's own forms.
var encodings = map[string]func(secret string) string{
	"plain":             func(s string) string { return s },
	"quoted":            func(s string) string { return fmt.Sprintf("%q", s) },
	"base64":            func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, unpadded":  func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url":         func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"PLAIN's message":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + s)) },
	"basic":             func(s string) string { return base64.StdEncoding.EncodeToString([]byte("quill:" + s)) },
	"base64, in a text": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("a " + s + ", b")) },
	"hexadecimal":       func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEXADECIMAL":       func(s string) string { return fmt.Sprintf("%X", s) },
	"query":             func(s string) string { return url.Values{"secret": {s}}.Encode() },
	"path":              func(s string) string { return url.PathEscape(s) },
	"small escapes":     func(s string) string { return escapes.ReplaceAllStringFunc(url.QueryEscape(s), strings.ToLower) },
	"bytes":             func(s string) string { return fmt.Sprint([]byte(s)) },
	"Go's bytes":        func(s string) string { return fmt.Sprintf("%#v", []byte(s)) },
	"struct":            func(s string) string { return fmt.Sprintf("%+v", struct{ a, b any }{1, s}) },
}

// six are the secrets with their names.
var six = map[string]string{
	"password": Password, "token": Token, "client secret": ClientSecret, "pass phrase": PassPhrase, "header value": HeaderValue,
	"salted password": "\x00\xff\x10 salted \xfe\x80\x81=+/\n~",
}

func TestWhatIsPlantedOnPurposeIsFound(t *testing.T) {
	for name, secret := range six {
		for form, encode := range encodings {
			t.Run(name+", "+form, func(t *testing.T) {
				var r recorder
				w := NewWatch(&r, t.Output())
				w.Add("salted password", six["salted password"])
				w.Logger().Debug("connected", "user", "alice", "with", encode(secret))
				faults := r.ended()
				require.NotEmpty(t, faults)
				for _, fault := range faults {
					require.True(t, strings.HasPrefix(fault, "a secret is in the log: "+name), fault)
				}
			})
		}
	}
}

// keeper has a secret in the way of one whose author forgot about it.
type keeper struct {
	Name   string
	secret string
}

// said is an error that shows its cause only when it is unwrapped.
type said struct{ cause error }

func (said) Error() string { return "sorry" }

func (s said) Unwrap() error { return s.cause }

func TestValuesThatShowASecretAreFound(t *testing.T) {
	for name, value := range map[string]any{
		"field":             keeper{"alice", Password},
		"pointer":           &keeper{"alice", Password},
		"bytes":             struct{ Key []byte }{[]byte(Password)}, // JSON writes them in base64
		"map":               map[string]string{"password": Password},
		"error":             errors.New("wrong: " + Password),
		"cause of an error": said{errors.Join(nil, fmt.Errorf("not %q", Password))},
	} {
		t.Run(name, func(t *testing.T) {
			var r recorder
			NewWatch(&r, nil).Check("nothing", value)
			require.NotEmpty(t, r.ended())
		})
	}
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	var r recorder
	w := NewWatch(&r, nil)
	w.Add("salted password", six["salted password"])
	w.Logger().Debug("connected", "user", "alice", "password", "***")
	w.Check(keeper{"alice", "***"}, &keeper{"bob", ""}, errors.New("planted: wrong password"), nil, 1, []byte("key"))
	require.Empty(t, r.ended())
}

func TestShortSecretsAreRefused(t *testing.T) {
	require.Panics(t, func() { All().Add("password", "short") })
}
