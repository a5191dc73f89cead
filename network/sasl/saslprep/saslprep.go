package saslprep

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Prepare returns text as a "query" of RFC 3454 §7: characters that Unicode 3.2 doesn't have yet are
// left as they are. Printable ASCII never changes. The error says which rule text breaks, and never
// cites it. It may be called concurrently, and doesn't block.
func Prepare(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("saslprep: the text is not valid UTF-8")
	}
	if printableASCII(text) {
		return text, nil
	}
	t := loadTables()
	prepared := t.normalize(t.mapped(text))
	if slices.ContainsFunc(prepared, t.prohibited.has) {
		return "", errors.New("saslprep: the text has a character that is prohibited (RFC 4013 §2.3)")
	}
	if !t.directed(prepared) {
		return "", errors.New("saslprep: the text mixes characters that are written from right to left with others (RFC 3454 §6)")
	}
	return string(prepared), nil
}

func printableASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// mapped is RFC 4013 §2.1: what is invisible goes, and every space is the space. U+200B is both; it goes.
func (t *tables) mapped(text string) []rune {
	var mapped []rune
	for _, r := range text {
		switch {
		case t.nothing.has(r):
		case t.spaces.has(r):
			mapped = append(mapped, ' ')
		default:
			mapped = append(mapped, r)
		}
	}
	return mapped
}

// directed is RFC 3454 §6: a text with a character of right-to-left scripts begins and ends with one, and has none of left-to-right
// scripts.
func (t *tables) directed(text []rune) bool {
	if !slices.ContainsFunc(text, t.rightToLeft.has) {
		return true
	}
	return !slices.ContainsFunc(text, t.leftToRight.has) && t.rightToLeft.has(text[0]) && t.rightToLeft.has(text[len(text)-1])
}

// normalize is NFKC: decompose, sort the marks, compose.
func (t *tables) normalize(text []rune) []rune {
	var parts []rune
	for _, r := range text {
		parts = t.appendDecomposed(parts, r)
	}
	t.sortMarks(parts)
	return t.compose(parts)
}

// Hangul syllables are composed of a lead, a vowel and perhaps a tail, by arithmetic (Unicode §3.12).
const (
	syllable, lead, vowel, tail = 0xAC00, 0x1100, 0x1161, 0x11A7 // the tail's base is one before the first
	leads, vowels, tails        = 19, 21, 28
	syllables                   = leads * vowels * tails
)

func (t *tables) appendDecomposed(parts []rune, r rune) []rune {
	if i := r - syllable; i >= 0 && i < syllables {
		parts = append(parts, lead+i/(vowels*tails), vowel+i%(vowels*tails)/tails)
		if last := i % tails; last > 0 {
			parts = append(parts, tail+last)
		}
		return parts
	}
	if decomposed, ok := t.decomposed[r]; ok {
		return append(parts, []rune(decomposed)...)
	}
	return append(parts, r)
}

// sortMarks brings the marks behind each base into the order of their classes.
func (t *tables) sortMarks(parts []rune) {
	for from := 0; from < len(parts); from++ {
		to := from
		for to < len(parts) && t.class[parts[to]] != 0 {
			to++
		}
		slices.SortStableFunc(parts[from:to], func(a, b rune) int { return t.class[a] - t.class[b] })
		from = to
	}
}

// compose joins marks with the base before them, unless another mark of the same class, or a base, stands between.
func (t *tables) compose(parts []rune) []rune {
	var text []rune
	base, class := -1, 0 // the last base in text, and the class of the last mark that was kept behind it
	for _, r := range parts {
		own := t.class[r]
		if base >= 0 && (base == len(text)-1 || class < own) {
			if composed, ok := t.pair(text[base], r); ok {
				text[base] = composed
				continue
			}
		}
		text = append(text, r)
		if class = own; own == 0 {
			base = len(text) - 1
		}
	}
	return text
}

// pair composes two characters.
func (t *tables) pair(a, b rune) (rune, bool) {
	if l, v := a-lead, b-vowel; l >= 0 && l < leads && v >= 0 && v < vowels {
		return syllable + (l*vowels+v)*tails, true
	}
	if s, last := a-syllable, b-tail; s >= 0 && s < syllables && s%tails == 0 && last > 0 && last < tails {
		return a + last, true
	}
	composed, ok := t.composed[[2]rune{a, b}]
	return composed, ok
}
