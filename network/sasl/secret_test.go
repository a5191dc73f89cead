package sasl

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/planted"
)

// secretText is a secret with letters, a percent sign and a byte that hex, base64 and URLs write differently.
const secretText = "Pl4nted%s/ä+secret"

// secrets are secretText and what all tests plant.
var secrets = func() *planted.Secrets {
	s := planted.All()
	s.Add("secret", secretText)
	s.Add("secret as runes", fmt.Sprintf("%x", []rune(secretText)))
	return s
}()

// leaks returns what of the secrets is found in text; "" if nothing is.
func leaks(text string) string { return strings.Join(secrets.Find(text), ", ") }

// holder has secrets where fmt can call their methods and where it can't.
type holder struct {
	Exported Secret
	hidden   Secret
	Pointer  *Secret
	pointer  *Secret
	list     []Secret
	byName   map[string]Secret
	any      any
}

func newHolder() holder {
	s := NewSecret(secretText)
	return holder{s, s, &s, &s, []Secret{s}, map[string]Secret{"k": s}, s}
}

func TestLeaksFindsEverySpelling(t *testing.T) {
	for _, verb := range []string{"%s", "%q", "%x", "%X", "%v", "%d"} {
		require.NotEmpty(t, leaks(fmt.Sprintf("text "+verb+" text", []byte(secretText))), verb)
	}
	require.NotEmpty(t, leaks(url.QueryEscape(secretText)))
	require.NotEmpty(t, leaks(base64.RawURLEncoding.EncodeToString([]byte(secretText))))
	type text string
	require.NotEmpty(t, leaks(fmt.Sprintf("%v", struct{ hidden text }{secretText})))
	require.Empty(t, leaks("nothing planted here"))
}

func TestSecretIsMaskedUnderEveryVerb(t *testing.T) {
	s := NewSecret(secretText)
	for verb := 'A'; verb <= 'z'; verb++ {
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".3", "-#20.1", "+#"} {
			format := "%" + flags + string(verb)
			if letter := verb <= 'Z' || verb >= 'a'; letter && verb != 'T' && verb != 'p' && verb != 'w' {
				require.Equal(t, "***", fmt.Sprintf(format, s), format)
			}
			for _, v := range []any{s, &s, []Secret{s}, map[Secret]Secret{s: s}, newHolder(), new(newHolder()), []any{s, newHolder()}, error(&holderError{newHolder()})} {
				require.Empty(t, leaks(fmt.Sprintf(format, v)), "%s of %T", format, v)
			}
		}
	}
	require.Equal(t, "*** ***", fmt.Sprint(s, &s))
	require.Equal(t, "***", fmt.Sprint(Secret{}))
	require.Contains(t, fmt.Sprintf("%#v", newHolder()), "Exported:***")
}

// holderError is an error that prints its fields.
type holderError struct{ holder holder }

func (e *holderError) Error() string { return fmt.Sprintf("%+v %#v", e.holder, e) }

func TestSecretIsMaskedInWrongFormats(t *testing.T) {
	s := NewSecret(secretText)
	operands := map[string][]any{"no verb": {s}, "%d %d": {1, s, s}, "%*d": {s, 1}, "%.*d": {s, 1}, "%[3]v": {s}, "%w": {s}, "%!": {s}, "%": {s}, "%z": {s}}
	for format, list := range operands { // vet and staticcheck would find these as constants
		require.Empty(t, leaks(fmt.Sprintf(format, list...)), format)
		require.Empty(t, leaks(fmt.Errorf(format, list...).Error()), format)
	}
}

// element is a struct that encoding/xml takes.
type element struct{ Exported, hidden Secret }

func TestSecretIsMaskedInEncodings(t *testing.T) {
	s := NewSecret(secretText)
	data, err := json.Marshal(map[string]any{"secret": s, "pointer": &s, "holder": newHolder(), "keys": map[Secret]Secret{s: s}})
	require.NoError(t, err)
	require.Empty(t, leaks(string(data)))
	require.Contains(t, string(data), `"secret":"***"`)
	data, err = xml.Marshal(element{s, s})
	require.NoError(t, err)
	require.Empty(t, leaks(string(data)))
	require.Contains(t, string(data), "<Exported>***</Exported>")
	var out bytes.Buffer
	require.Error(t, gob.NewEncoder(&out).Encode(struct{ Exported Secret }{s}), "gob has no way to mask it, and must not send it")
	require.Empty(t, leaks(out.String()))
	out.Reset()
	page := template.Must(template.New("").Parse(`<p title="{{.Exported}}">{{.Exported}} {{.}}</p><script>x = {{.Exported}}</script><a href="?q={{.Exported}}">`))
	require.NoError(t, page.Execute(&out, newHolder()))
	require.Empty(t, leaks(out.String()))
}

func TestSecretIsMaskedInLogs(t *testing.T) {
	s := NewSecret(secretText)
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		log := slog.New(handler(&out)).With("with", s)
		log.Error("text", "secret", s, "pointer", &s, "holder", newHolder(), "err", &holderError{newHolder()}, slog.Group("group", "secret", s), "list", []Secret{s})
		require.Empty(t, leaks(out.String()), out.String())
		require.Equal(t, 3, strings.Count(out.String(), `secret=***`)+strings.Count(out.String(), `"secret":"***"`)+strings.Count(out.String(), `with=***`)+strings.Count(out.String(), `"with":"***"`))
	}
}

// TestSecretIsMaskedInPanics reads what the runtime prints of a panic that ends the process.
func TestSecretIsMaskedInPanics(t *testing.T) {
	s := NewSecret(secretText)
	causes := map[string]any{"secret": s, "pointer": &s, "struct": newHolder(), "error": &holderError{newHolder()}, "text": fmt.Sprint(s)}
	if cause, ok := causes[os.Getenv("QUILL_PANIC_WITH")]; ok {
		panic(cause)
	}
	for name := range causes {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSecretIsMaskedInPanics$")
		child.Env = append(os.Environ(), "QUILL_PANIC_WITH="+name)
		out, err := child.CombinedOutput()
		require.Error(t, err, "it panicked")
		require.Contains(t, string(out), "panic: ", name)
		require.Empty(t, leaks(string(out)), "%s: %s", name, out)
	}
}

func TestSecretRevealsItsText(t *testing.T) {
	require.Equal(t, secretText, NewSecret(secretText).Reveal())
	require.False(t, NewSecret(secretText).IsZero())
	require.Empty(t, Secret{}.Reveal())
	require.Empty(t, NewSecret("").Reveal())
	require.True(t, NewSecret("").IsZero())
	require.Equal(t, Secret{}, NewSecret(""), "the empty secret is the zero value")
	require.Equal(t, newHolder(), newHolder(), "reflect.DeepEqual sees the texts")
	require.NotEqual(t, NewSecret("a"), NewSecret("b"))
}
