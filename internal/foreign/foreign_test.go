package foreign

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// kinds are texts of each kind that must not reach a terminal or a log as they are, and what is shown of them.
var kinds = map[string]struct{ text, shown string }{
	"a sentence":            {`it's "fine" \ é 日本`, `it's "fine" \ é 日本`},
	"line ends":             {"a\r\nb\u2028c\u0085d", `a\r\nb\u2028c\u0085d`},
	"control characters":    {"a\x00b\tc\x7fd", `a\x00b\tc\x7fd`},
	"a terminal's escapes":  {"\x1b[31mred\x1b]0;title\x07\u009b1m", `\x1b[31mred\x1b]0;title\a\u009b1m`},
	"marks of direction":    {"\u202eback\u2066\u200b\ufeff", `\u202eback\u2066\u200b\ufeff`},
	"what is not UTF-8":     {"a\xffb\xc3", `a\xffb\xc3`},
	"a stand-in, as itself": {"a\ufffdb", `a` + "\ufffd" + `b`},
	"surrogates":            {"\xed\xa0\x80", `\xed\xa0\x80`},
	"private characters":    {"\ue000", `\ue000`},
	"nothing":               {"", ""},
}

// S12.
func TestEachKindIsShownOnOneLineByOneRule(t *testing.T) {
	for name, c := range kinds {
		require.Equal(t, c.shown, Plain(c.text), name)
		require.Equal(t, c.shown, PlainOfMany(c.text), name)
		if !strings.ContainsAny(c.text, `"\`) {
			require.Equal(t, `"`+c.shown+`"`, Quote(c.text), name)
		}
	}
	require.Equal(t, `"say \"x\" \\"`, Quote(`say "x" \`))
}

func TestLongTextsAreCutBetweenCharacters(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	require.Equal(t, a(256), Plain(a(256)))
	require.Equal(t, a(256)+"…", Plain(a(257)))
	require.Equal(t, a(255)+"…", Plain(a(255)+"é"))
	require.Equal(t, `"`+a(256)+`"`, Quote(a(256)))
	require.Equal(t, `"`+a(255)+`"…`, Quote(a(255)+"é"))
	require.Equal(t, a(1024), PlainOfMany(a(1024)))
	require.Equal(t, a(1023)+"…", PlainOfMany(a(1023)+"日"))
	require.Len(t, Cut(strings.Repeat("\x80", 1000), 256), 252, "what is no text is cut near the limit")
	require.Equal(t, "ab", Cut("ab", 2))
	require.Empty(t, Cut("é", 1))
	require.Empty(t, Cut("x", 0))
}

func FuzzShownTextIsHarmless(f *testing.F) {
	for _, c := range kinds {
		f.Add(c.text)
		f.Add(strings.Repeat(c.text, 200))
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range []string{Plain(s), PlainOfMany(s), Quote(s)} {
			require.True(t, utf8.ValidString(shown))
			require.False(t, strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u2028' }), "%q", shown)
			require.LessOrEqual(t, len(shown), ShownOfMany*10+10)
		}
	})
}
