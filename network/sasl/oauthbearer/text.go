package oauthbearer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted is how much of a foreign text is shown.
const maxQuoted = 256

// cut returns foreign text as it may be put in quotes: short, and of printable characters. The caller quotes it.
func cut(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= maxQuoted {
		return s
	}
	end := maxQuoted
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
