// Package javaprops reads Java's .properties format, as java.util.Properties.load does: a line is a key, then '=', ':'
// or white space, then a value; '#' and '!' begin comments; a backslash at its end continues a line and elsewhere
// escapes a character; the last of equal keys counts. It also reads single values as Kafka's ConfigDef does, and says
// which known name a mistaken one stands for.
package javaprops

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Fault is a malformed line.
type Fault struct {
	Line        int // the number of the natural line that it begins in, from 1
	Reason, Fix string
}

// reader is the state of one Read.
type reader struct {
	rest   string
	line   int // number of the natural line that rest begins in
	values map[string]string
	faults []Fault
}

// Read returns the keys and values in data, and a fault for each malformed line. It reads data as UTF-8 if it is
// valid as such, otherwise as ISO-8859-1, which Java writes.
func Read(data []byte) (map[string]string, []Fault) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := string(data)
	if !utf8.Valid(data) {
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		text = string(runes)
	}
	r := &reader{rest: text, line: 1, values: map[string]string{}}
	for r.rest != "" {
		r.readLine()
	}
	return r.values, r.faults
}

const blanks = " \t\f"

func (r *reader) readLine() {
	start := r.line
	line := strings.TrimLeft(r.naturalLine(), blanks)
	if line == "" || line == `\` || line[0] == '#' || line[0] == '!' {
		return // a line with only a backslash is not continued, as in Java
	}
	for continued(line) {
		line = line[:len(line)-1] + strings.TrimLeft(r.naturalLine(), blanks)
	}
	key, value := splitProperty(line)
	name, err := unescape(key)
	text, err2 := unescape(value)
	if err = cmp.Or(err, err2); err != nil {
		r.faults = append(r.faults, Fault{Line: start, Reason: err.Error(), Fix: `write \u and four hexadecimal digits, or \\ for a backslash`})
		return
	}
	r.values[name] = text
}

// naturalLine returns the text up to the next line end, \n, \r or \r\n, and moves behind it.
func (r *reader) naturalLine() string {
	r.line++
	end := strings.IndexAny(r.rest, "\r\n")
	if end < 0 {
		line := r.rest
		r.rest = ""
		return line
	}
	line := r.rest[:end]
	if strings.HasPrefix(r.rest[end:], "\r\n") {
		end++
	}
	r.rest = r.rest[end+1:]
	return line
}

// continued reports whether the line ends in a backslash that no backslash escapes.
func continued(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitProperty cuts a line at the first separator that is not escaped.
func splitProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
		} else if strings.IndexByte("=:"+blanks, line[i]) >= 0 {
			end = i
			break
		}
	}
	value = strings.TrimLeft(line[end:], blanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	return line[:end], value
}

// unescape replaces \t, \n, \r, \f and \uXXXX; before any other character a backslash is dropped.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			break
		}
		if s[i] != 'u' {
			b.WriteByte(unescapeByte(s[i]))
			continue
		}
		r, err := hexRune(s[i+1:])
		if err != nil {
			return "", err
		}
		i += 4
		if utf16.IsSurrogate(r) && strings.HasPrefix(s[i+1:], `\u`) {
			if low, err := hexRune(s[i+3:]); err == nil && utf16.DecodeRune(r, low) != utf8.RuneError {
				r = utf16.DecodeRune(r, low)
				i += 6
			}
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

func unescapeByte(c byte) byte {
	switch c {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	}
	return c
}

func hexRune(s string) (rune, error) {
	digits := s[:min(4, len(s))]
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || len(digits) < 4 {
		return 0, fmt.Errorf(`malformed \uxxxx escape`)
	}
	return rune(n), nil
}
