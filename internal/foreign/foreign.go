// Package foreign makes text of others, such as brokers, token endpoints, certificates and plug-ins, fit for errors and logs:
// on one line, without characters that a terminal obeys, as long as a reader wants it, and recognisable.
//
// There is one rule: what is not printable (strconv.IsPrint: control characters, line ends, marks that turn the direction of
// writing) and what is not UTF-8 is escaped as Go escapes it, and a text that is cut ends with "…".
package foreign

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// Shown is how many bytes of one text are shown.
	Shown = 256
	// ShownOfMany is how many bytes are shown of a text that consists of several, each of which is cut by itself.
	ShownOfMany = 4 * Shown
)

// Quote returns s in quotes, escaped, and cut after Shown bytes.
func Quote(s string) string {
	if len(s) <= Shown {
		return strconv.Quote(s)
	}
	return strconv.Quote(Cut(s, Shown)) + "…"
}

// Plain is like Quote without the quotes, for a text that is a sentence of its own.
func Plain(s string) string { return plain(s, Shown) }

// PlainOfMany is like Plain, and cuts after ShownOfMany bytes.
func PlainOfMany(s string) string { return plain(s, ShownOfMany) }

func plain(s string, limit int) string {
	cut := Cut(s, limit)
	if len(cut) == len(s) && !strings.ContainsFunc(s, escaped) {
		return s
	}
	var b strings.Builder
	for i, r := range cut {
		switch {
		case !escaped(r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(cut[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, cut[i])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	if len(cut) < len(s) {
		b.WriteString("…")
	}
	return b.String()
}

// escaped reports whether a character, or what stands for a byte that is none, is shown by an escape.
func escaped(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }

// Cut returns at most limit bytes of s, whole characters, in memory of their own if s is longer.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > max(0, limit-utf8.UTFMax) && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end])
}
