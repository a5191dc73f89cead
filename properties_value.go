package quill

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/javaprops"
)

// A propertyValue ties a property to a field of Config: it reads the property's text into the field, writes
// the field as text, and checks the field. Everything that is known about the field's default and
// range is in its propertyValue, and nowhere else.
type propertyValue interface {
	// parse sets the field, or returns why the text is refused.
	parse(c *Config, text string) complaint
	// text returns the field as property text; set is false while the field has its zero value.
	text(c *Config) (text string, set bool)
	// check returns why the field is refused, if it is.
	check(c *Config) complaint
	// kafka returns Java's type, default and valid values as Kafka documents them.
	kafka() (typ, def, valid string)
}

// complaint is the reason why a value is refused, and what to write instead where that is known. The zero
// complaint is none.
type complaint struct{ reason, fix string }

func complain(format string, args ...any) complaint {
	return complaint{reason: fmt.Sprintf(format, args...)}
}

func parseInt(text, typ, unit string) (int64, complaint) {
	n, no := javaprops.Int(text, typ, unit)
	return n, complaint{no.Reason, no.Fix}
}

func parseBool(text string) (bool, complaint) {
	on, no := javaprops.Bool(text)
	return on, complaint{no.Reason, no.Fix}
}

// maxDuration is the longest time: longer ones are cut to it, so that no deadline overflows.
const maxDuration = 100 * 365 * 24 * time.Hour

// millisValue is a duration that Kafka writes in milliseconds.
type millisValue struct {
	name string // the property's, if more than its row needs it
	at   func(*Config) *time.Duration
	typ  string // "INT" or "LONG"
	def  time.Duration
	min  int64 // in ms; noMin: Kafka sets no bound
	must bool  // less than 1 ms is refused although Kafka sets no bound: nothing could work
	ever bool  // negative is "never ends" rather than "none"
}

const noMin = math.MinInt64

func (m millisValue) max() int64 {
	if m.typ == "INT" {
		return math.MaxInt32
	}
	return math.MaxInt64
}

func (m millisValue) parse(c *Config, text string) complaint {
	n, no := parseInt(text, m.typ, "milliseconds")
	if no == (complaint{}) {
		no = m.checkMillis(n, func(n int64) string { return fmt.Sprint(n, " ms") })
	}
	if no != (complaint{}) {
		return no
	}
	field := m.at(c)
	switch {
	case n > int64(maxDuration/time.Millisecond):
		*field = maxDuration
	case n == 0 && m.ever:
		*field = time.Millisecond // zero and negative mean something else here
	case n > 0:
		*field = time.Duration(n) * time.Millisecond
	case m.def != 0:
		*field = -1
	}
	return complaint{}
}

func (m millisValue) text(c *Config) (string, bool) {
	d := *m.at(c)
	switch {
	case d < 0 && m.ever:
		return "-1", true
	case d < 0:
		return "0", m.def != 0
	}
	return strconv.FormatInt(ceilMillis(d), 10), d != 0
}

func (m millisValue) check(c *Config) complaint {
	d := *m.at(c)
	inWords := func(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
	switch {
	case d == 0, d < 0 && m.ever:
		return complaint{}
	case d > 0 && d < time.Microsecond: // nobody means that: a property's 5 became a field's 5
		return complaint{"is in nanoseconds, as a number without a unit is in Go",
			fmt.Sprintf("write %d*time.Millisecond", d.Nanoseconds())}
	case d > 0 && m.min > 0 && d < time.Duration(m.min)*time.Millisecond:
		return complain("must be at least %s", inWords(m.min))
	}
	return m.checkMillis(max(0, ceilMillis(d)), inWords)
}

// checkMillis checks n against the bounds. It writes them by inWords, in the form of the value.
func (m millisValue) checkMillis(n int64, inWords func(int64) string) complaint {
	switch {
	case m.must && n <= 0:
		return complain("must be at least 1 ms; 0 leaves no time for anything")
	case n < m.min:
		return complain("must be at least %s", inWords(m.min))
	case n > m.max():
		return complain("must be at most %s", inWords(m.max()))
	}
	return complaint{}
}

func (m millisValue) kafka() (typ, def, valid string) {
	return m.typ, strconv.FormatInt(m.def.Milliseconds(), 10), atLeast(m.min)
}

// get returns the field's duration, or the default.
func (m millisValue) get(c *Config) time.Duration {
	d := *m.at(c)
	switch {
	case d == 0:
		return m.def
	case d < 0 && m.ever:
		return maxDuration
	}
	return min(max(0, d), maxDuration)
}

func ceilMillis(d time.Duration) int64 {
	n := d.Milliseconds()
	if d > time.Duration(n)*time.Millisecond {
		n++
	}
	return n
}

// numberValue is a count or a size. Negative stands for none, unless low says that it means something.
type numberValue[T int | int64] struct {
	at       func(*Config) *T
	typ      string
	def      T
	min, max int64
	valid    string // if Kafka words the range otherwise
	unit     string // "bytes", or nothing
	low      bool   // numbers below zero mean themselves, and property 0 means -1
	must     bool   // with none nothing can be sent: the property may be 0, as in Kafka, a Config must not be negative
}

// noneByProperty is what the property 0 makes of a number that a Config must not have negative.
const noneByProperty = math.MinInt32

func (v numberValue[T]) parse(c *Config, text string) complaint {
	n, no := parseInt(text, v.typ, v.unit)
	if no == (complaint{}) {
		no = v.checkNumber(n)
	}
	if no != (complaint{}) {
		return no
	}
	switch {
	case n == 0 && v.must:
		n = noneByProperty
	case n == 0:
		n = -1
	}
	*v.at(c) = T(n)
	return complaint{}
}

func (v numberValue[T]) text(c *Config) (string, bool) {
	n := int64(*v.at(c))
	if !v.low {
		return strconv.FormatInt(max(0, n), 10), n != 0
	}
	return strconv.FormatInt(n, 10), n != 0
}

func (v numberValue[T]) check(c *Config) complaint {
	n := int64(*v.at(c))
	switch {
	case n == 0:
		return complaint{}
	case n < 0 && v.must && n != noneByProperty:
		return complain("must not be negative: no record would fit")
	case !v.low:
		n = max(0, n)
	}
	return v.checkNumber(n)
}

func (v numberValue[T]) checkNumber(n int64) complaint {
	switch limit := min(v.max, maxOf(v.typ)); {
	case n < v.min:
		return complain("must be at least %d", v.min)
	case n > limit:
		return complain("must be at most %d", limit)
	}
	return complaint{}
}

func (v numberValue[T]) kafka() (typ, def, valid string) {
	valid = v.valid
	if valid == "" {
		valid = atLeast(v.min)
	}
	return v.typ, strconv.FormatInt(int64(v.def), 10), valid
}

func (v numberValue[T]) get(c *Config) T {
	switch n := *v.at(c); {
	case n == 0:
		return v.def
	case v.low:
		return n
	default:
		return max(0, n)
	}
}

// levelValue is a compression level; nil is the default. extra is one more legal number.
type levelValue struct {
	at              func(*Config) **int
	def             int
	min, max, extra int
	valid           string
}

func (l levelValue) parse(c *Config, text string) complaint {
	n, no := parseInt(text, "INT", "")
	if no == (complaint{}) {
		no = l.checkLevel(int(n))
	}
	if no == (complaint{}) {
		*l.at(c) = new(int(n))
	}
	return no
}

func (l levelValue) text(c *Config) (string, bool) {
	if p := *l.at(c); p != nil {
		return strconv.Itoa(*p), true
	}
	return "", false
}

func (l levelValue) check(c *Config) complaint {
	if p := *l.at(c); p != nil {
		return l.checkLevel(*p)
	}
	return complaint{}
}

func (l levelValue) checkLevel(n int) complaint {
	switch {
	case n == l.extra || n >= l.min && n <= l.max:
		return complaint{}
	case l.extra < l.min:
		return complain("must be %d to %d, or %d", l.min, l.max, l.extra)
	}
	return complain("must be %d to %d", l.min, l.max)
}

func (l levelValue) kafka() (typ, def, valid string) { return "INT", strconv.Itoa(l.def), l.valid }

// toggleValue is a boolean whose default is true.
type toggleValue struct{ at func(*Config) **bool }

func (t toggleValue) parse(c *Config, text string) complaint {
	on, no := parseBool(text)
	if no == (complaint{}) {
		*t.at(c) = &on
	}
	return no
}

func (t toggleValue) text(c *Config) (string, bool) {
	return strconv.FormatBool(t.get(c)), *t.at(c) != nil
}

func (t toggleValue) check(*Config) complaint { return complaint{} }

func (t toggleValue) kafka() (typ, def, valid string) { return "BOOLEAN", "true", "" }

// get reports whether it is on.
func (t toggleValue) get(c *Config) bool {
	on := *t.at(c)
	return on == nil || *on
}

// flagValue is a boolean whose default is false.
type flagValue struct{ at func(*Config) *bool }

func (f flagValue) parse(c *Config, text string) complaint {
	on, no := parseBool(text)
	if no == (complaint{}) {
		*f.at(c) = on
	}
	return no
}

func (f flagValue) text(c *Config) (string, bool) {
	return strconv.FormatBool(*f.at(c)), *f.at(c)
}

func (f flagValue) check(*Config) complaint { return complaint{} }

func (f flagValue) kafka() (typ, def, valid string) { return "BOOLEAN", "false", "" }

// choiceWord is one of the texts of a choice.
type choiceWord[T comparable] struct {
	text  string
	value T
}

// choiceValue is one of a few words, in Kafka's order; the first word of a value is the one written.
type choiceValue[T comparable] struct {
	at     func(*Config) *T
	def    string
	folded bool // upper and lower case are the same
	words  []choiceWord[T]
}

func (v choiceValue[T]) parse(c *Config, text string) complaint {
	no := v.unknown()
	for _, w := range v.words {
		switch same := strings.EqualFold(text, w.text); {
		case text == w.text || v.folded && same:
			*v.at(c) = w.value
			return complaint{}
		case same:
			no.fix = "write " + w.text
		}
	}
	return no
}

func (v choiceValue[T]) unknown() complaint {
	return complain("must be one of %s", strings.Join(v.names(), ", "))
}

func (v choiceValue[T]) text(c *Config) (string, bool) {
	var unset T
	current := *v.at(c)
	for _, w := range v.words {
		if w.value == current {
			return w.text, current != unset
		}
	}
	return fmt.Sprint(current), true
}

func (v choiceValue[T]) check(c *Config) complaint {
	if slices.ContainsFunc(v.words, func(w choiceWord[T]) bool { return w.value == *v.at(c) }) {
		return complaint{}
	}
	return v.unknown()
}

func (v choiceValue[T]) names() []string {
	var names []string
	for _, w := range v.words {
		names = append(names, w.text)
	}
	return slices.Compact(names)
}

func (v choiceValue[T]) kafka() (typ, def, valid string) {
	valid = "[" + strings.Join(v.names(), ", ") + "]"
	if v.folded {
		valid = "(case insensitive) " + valid
	}
	return "STRING", v.def, valid
}

// textValue is a string. given, if there is one, records that the property was there.
type textValue struct {
	at       func(*Config) *string
	typ, def string
	valid    string
	nonEmpty bool
	given    func(*Config) *bool
}

func (t textValue) parse(c *Config, text string) complaint {
	if t.nonEmpty && text == "" {
		return complaint{"must not be empty", "leave it out to have none"}
	}
	*t.at(c) = text
	if t.given != nil {
		*t.given(c) = true
	}
	return t.check(c)
}

func (t textValue) text(c *Config) (string, bool) {
	s := *t.at(c)
	return s, s != "" || t.given != nil && *t.given(c)
}

func (t textValue) check(c *Config) complaint {
	switch s := *t.at(c); {
	case len(s) > math.MaxInt16:
		return complain("must not be longer than %d bytes", math.MaxInt16)
	case t.nonEmpty && s != "" && trimJava(s) == "":
		return complaint{"must not be blank", "leave it empty to have none"}
	}
	return complaint{}
}

func (t textValue) kafka() (typ, def, valid string) { return t.typ, t.def, t.valid }

// listValue is a text that lists something, separated by commas.
type listValue struct{ textValue }

func (l listValue) parse(c *Config, text string) complaint {
	if no := checkList(text); no != (complaint{}) {
		return no
	}
	return l.textValue.parse(c, text)
}

// classValue is the name of a Java class.
type classValue struct{ textValue }

func (v classValue) parse(c *Config, text string) complaint {
	if no := checkClass(text); no != (complaint{}) {
		return no
	}
	return v.textValue.parse(c, text)
}

// serversValue is bootstrap.servers.
type serversValue struct{}

func (serversValue) parse(c *Config, text string) complaint {
	if text == "" {
		return complaint{"is empty", "name one or more host:port, separated by commas"}
	}
	list := strings.Split(text, ",")
	for i, s := range list {
		list[i] = trimJava(s)
	}
	c.BootstrapServers = list
	return complaint{}
}

func (serversValue) text(c *Config) (string, bool) {
	return strings.Join(c.BootstrapServers, ","), len(c.BootstrapServers) > 0
}

// check accepts all addresses: resolver.bootstrap checks them, because it may report several faults.
func (serversValue) check(*Config) complaint { return complaint{} }

func (serversValue) kafka() (typ, def, valid string) {
	return "LIST", "(required)", "non-empty list, no empty element"
}

func maxOf(typ string) int64 {
	if typ == "INT" {
		return math.MaxInt32
	}
	return math.MaxInt64
}

// atLeast returns a lower bound as Kafka writes it.
func atLeast(n int64) string {
	if n == noMin {
		return ""
	}
	return fmt.Sprintf("[%d,...]", n)
}

// trimJava returns s without the characters that Java's String.trim cuts.
func trimJava(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}
