package quill

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// propertiesReader reads Java's .properties format, as java.util.Properties.load does: a line is a
// key, then '=', ':' or white space, then a value; '#' and '!' begin comments; a backslash at its end
// continues a line and elsewhere escapes a character; the last of equal keys counts.
type propertiesReader struct {
	rest   string
	line   int // number of the natural line that rest begins in
	values map[string]string
	faults []ConfigFault
}

// readProperties returns the keys and values in data, and a fault for each malformed line. It reads data as UTF-8
// if it is valid as such, otherwise as ISO-8859-1, which Java writes.
func readProperties(data []byte) (map[string]string, []ConfigFault) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := string(data)
	if !utf8.Valid(data) {
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		text = string(runes)
	}
	r := &propertiesReader{rest: text, line: 1, values: map[string]string{}}
	for r.rest != "" {
		r.readLine()
	}
	return r.values, r.faults
}

const blanks = " \t\f"

func (r *propertiesReader) readLine() {
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
		r.faults = append(r.faults, ConfigFault{Name: "line " + strconv.Itoa(start), Reason: err.Error(), Fix: `write \u and four hexadecimal digits, or \\ for a backslash`})
		return
	}
	r.values[name] = text
}

// naturalLine returns the text up to the next line end, \n, \r or \r\n, and moves behind it.
func (r *propertiesReader) naturalLine() string {
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

// meantFor returns a fix that names the unknown property of c that the user probably wrote for the property missing;
// other, if there is none.
func (c *Config) meantFor(missing, other string) string {
	for _, name := range c.props.unknown {
		if near, ok := nearestProperty(name); ok && near == missing {
			return clean(name) + " was given: is it that?"
		}
	}
	return other
}

// foreignPrefixes are the prefixes that other libraries put before Kafka's names; the longer ones come first.
var foreignPrefixes = []string{"spring.kafka.producer.properties.", "spring.kafka.properties.", "spring.kafka.producer.", "spring.kafka.", "kafka.producer.", "kafka.", "producer."}

// nearestProperty returns the known property that name was most likely meant to be, if one is close.
func nearestProperty(name string) (string, bool) {
	normal := strings.ToLower(strings.NewReplacer("_", ".", "-", ".").Replace(name))
	for _, prefix := range foreignPrefixes {
		if rest, ok := strings.CutPrefix(normal, prefix); ok {
			normal = rest
			break
		}
	}
	if len(normal) > 100 {
		return "", false
	}
	best, bestDistance := "", max(1, min(4, len(normal)/4))+1
	for _, known := range knownNames() {
		if d := editDistance(normal, known); d < bestDistance {
			best, bestDistance = known, d
		}
	}
	return best, best != ""
}

func knownNames() []string {
	var names []string
	for _, group := range properties {
		for _, row := range group.rows {
			names = append(names, row.name)
		}
	}
	slices.Sort(names)
	return names
}

// editDistance counts the bytes to insert, delete or replace, or neighbours to swap, to get from a to b.
func editDistance(a, b string) int {
	var older []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
		older, prev = prev, row
	}
	return prev[len(b)]
}

// parseInt parses an integer as Java does. unit is the unit that it counts, if it has a name.
func parseInt(text, typ, unit string) (int64, complaint) {
	bits := map[string]int{"SHORT": 16, "INT": 32, "LONG": 64}[typ]
	n, err := strconv.ParseInt(text, 10, bits)
	switch {
	case err == nil:
		return n, complaint{}
	case errors.Is(err, strconv.ErrRange) && strings.HasPrefix(text, "-"):
		return 0, complain("must be at least %d", int64(-1)<<(bits-1))
	case errors.Is(err, strconv.ErrRange):
		return 0, complain("must be at most %d", uint64(1)<<(bits-1)-1)
	}
	no := complaint{reason: "must be an integer"}
	if unit != "" {
		no.reason = "must be an integer (" + unit + ")"
	}
	if meant, ok := integerMeant(text, unit); ok {
		no.fix = fmt.Sprint("write ", meant)
	} else if text == "" {
		no.fix = "leave it out to have the default"
	}
	return 0, no
}

// integerMeant returns the integer that a malformed text probably stands for: one with a unit, with marks between the
// digits, or written as a fraction.
func integerMeant(text, unit string) (int64, bool) {
	plain := strings.NewReplacer("_", "", ",", "", "'", "", " ", "").Replace(text)
	if d, err := time.ParseDuration(plain); err == nil && unit == "milliseconds" && d%time.Millisecond == 0 {
		return d.Milliseconds(), true
	}
	factor := int64(1)
	if unit == "bytes" {
		for suffix, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} { // KB may be either
			if digits, ok := strings.CutSuffix(plain, suffix); ok {
				plain, factor = digits, size
			}
		}
	}
	x, err := strconv.ParseFloat(plain, 64)
	if x *= float64(factor); err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return 0, false
	}
	return int64(x), true
}

func parseBool(text string) (on bool, no complaint) {
	switch strings.ToLower(text) {
	case "true":
		return true, complaint{}
	case "false":
		return false, complaint{}
	case "yes", "on", "1", "enabled":
		no.fix = "write true"
	case "no", "off", "0", "disabled":
		no.fix = "write false"
	}
	no.reason = "must be true or false"
	return false, no
}
