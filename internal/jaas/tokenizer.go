package jaas

import "strings"

// A tokenizer cuts text as java.io.StreamTokenizer does with the settings of Kafka's JaasConfig: comments of both kinds, and '-', '_' and '$' in
// words. Its oddities are kept, because strings that Java accepts are to be accepted here with the same meaning: a quoted text ends at the end of
// its line, a number is no value, a single '/' begins a comment, and an octal escape is a character.
type tokenizer struct {
	in     []rune
	at     int
	peeked rune // the character that the next token begins with; needChar if it has not been read

	kind rune   // of the current token: end, word, number, or the character itself, also the quote of a quoted text
	text string // of a word and of a quoted text
	said bool   // whether there is a text: it may be empty
}

// The kinds of tokens that are no characters, and what stands for "no character".
const (
	end      rune = -1
	number   rune = -2
	word     rune = -3
	needChar rune = -4
)

func newTokenizer(text string) *tokenizer {
	return &tokenizer{in: []rune(text), peeked: needChar}
}

// read returns the next character, end if there is none.
func (t *tokenizer) read() rune {
	if t.at == len(t.in) {
		return end
	}
	t.at++
	return t.in[t.at-1]
}

// next reads a token and returns its kind.
func (t *tokenizer) next() rune {
	t.text, t.said = "", false
	for {
		c := t.skipSpace()
		switch {
		case c == end:
			t.kind = end
			return end
		case isDigit(c): // '-' and '.' too, though words may have them further on
			t.kind = t.number(c)
		case isLetter(c):
			t.kind = t.word(c)
		case c == '"' || c == '\'':
			t.kind = t.quoted(c)
		case c == '/':
			if t.comment() {
				t.kind = end // a comment that does not end hides all that follows
				return end
			}
			continue
		default:
			t.kind = c
		}
		return t.kind
	}
}

// skipSpace returns the first character that is not space.
func (t *tokenizer) skipSpace() rune {
	c := t.peeked
	t.peeked = needChar
	if c < 0 {
		c = t.read()
	}
	for c >= 0 && c <= ' ' {
		c = t.read()
	}
	return c
}

// number reads a number, whose value JaasConfig has no use for, or a '-' that begins none.
func (t *tokenizer) number(c rune) rune {
	if c == '-' {
		if c = t.read(); c != '.' && (c < '0' || c > '9') {
			t.peeked = c
			return '-'
		}
	}
	for dot := false; c >= '0' && c <= '9' || c == '.' && !dot; c = t.read() {
		dot = dot || c == '.'
	}
	t.peeked = c
	return number
}

func (t *tokenizer) word(c rune) rune {
	var b strings.Builder
	for isLetter(c) || isDigit(c) {
		b.WriteRune(c)
		c = t.read()
	}
	t.peeked = c
	t.text, t.said = b.String(), true
	return word
}

// quoted reads up to the quote. The end of the line ends it too, and so does the end of the text: Java does not complain.
func (t *tokenizer) quoted(quote rune) rune {
	var b strings.Builder
	c := t.read()
	for c != end && c != quote && c != '\n' && c != '\r' {
		if c == '\\' {
			c = t.escape(&b)
			continue
		}
		b.WriteRune(c)
		c = t.read()
	}
	t.peeked = c
	if c == quote {
		t.peeked = needChar
	}
	t.text, t.said = b.String(), true
	return quote
}

// escape reads what follows a backslash, and returns the character after it.
func (t *tokenizer) escape(b *strings.Builder) rune {
	c := t.read()
	if isOctal(c) {
		return t.octal(c, b)
	}
	switch c {
	case 'a':
		c = '\a'
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'v':
		c = '\v'
	case end:
		c = 0xffff // what Java makes of its -1
	}
	b.WriteRune(c)
	return t.read()
}

// octal reads \0 to \377, and returns the character after it.
func (t *tokenizer) octal(first rune, b *strings.Builder) rune {
	value, digits := first-'0', 1
	c := t.read()
	for isOctal(c) && (digits == 1 || digits == 2 && first <= '3') {
		value, digits = value<<3+c-'0', digits+1
		c = t.read()
	}
	b.WriteRune(value)
	return c
}

// comment skips what follows a '/'. It reports whether the text ended within a /* comment.
func (t *tokenizer) comment() (ended bool) {
	c := t.read()
	if c == '*' {
		return t.blockComment()
	}
	if c == '/' || c >= 0 { // JaasConfig leaves '/' a comment character, so that one is enough
		for c = t.read(); c != '\n' && c != '\r' && c != end; {
			c = t.read()
		}
	}
	t.peeked = c
	return false
}

// blockComment skips up to the "*/". As in Java, the character after a line's end is never taken for its end.
func (t *tokenizer) blockComment() (ended bool) {
	var before rune
	for {
		c := t.read()
		if c == '/' && before == '*' {
			return false
		}
		if c == '\r' {
			if c = t.read(); c == '\n' {
				c = t.read()
			}
		} else if c == '\n' {
			c = t.read()
		}
		if c == end {
			return true
		}
		before = c
	}
}

func isDigit(c rune) bool { return c >= '0' && c <= '9' || c == '.' || c == '-' }

func isOctal(c rune) bool { return c >= '0' && c <= '7' }

// isLetter reports whether a word may begin with c. 128 to 159 are no letters in Java, and no space.
func isLetter(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 160
}
