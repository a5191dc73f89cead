// Package jaas reads the value of Kafka's property sasl.jaas.config:
//
//	org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="secret";
//
// It accepts and refuses what Java's class JaasConfig does, and understands the same by it.
package jaas

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Entry is a login module with its options.
type Entry struct {
	Module  string // the Java class
	Flag    string // REQUIRED, REQUISITE, SUFFICIENT or OPTIONAL
	Options map[string]string
}

// String names the module only: options hold passwords.
func (e Entry) String() string { return e.Module }

// GoString is String, for %#v.
func (e Entry) GoString() string { return e.Module }

// Parse reads the login modules of text. Its errors say where in the text the fault is, by the option before it, and never quote an
// option's value.
func Parse(text string) ([]Entry, error) {
	t := newTokenizer(text)
	var entries []Entry
	for t.next() != end {
		e, err := parseEntry(t)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, errors.New("no login module is named")
	}
	return entries, nil
}

// ParseOne reads text, which must have one login module, as a client's must (Java's JaasContext).
func ParseOne(text string) (Entry, error) {
	entries, err := Parse(text)
	if err != nil {
		return Entry{}, err
	}
	if len(entries) != 1 {
		return Entry{}, fmt.Errorf("%d login modules are named, and there must be one", len(entries))
	}
	return entries[0], nil
}

func parseEntry(t *tokenizer) (Entry, error) {
	e := Entry{Module: t.text, Options: map[string]string{}}
	if t.next() == end {
		return Entry{}, errors.New("no control flag (required) after the login module")
	}
	if !t.said {
		return Entry{}, errors.New("no control flag (required) after the login module")
	}
	switch e.Flag = strings.ToUpper(t.text); e.Flag {
	case "REQUIRED", "REQUISITE", "SUFFICIENT", "OPTIONAL":
	default:
		return Entry{}, errors.New("the word after the login module is not a control flag: write required")
	}
	for t.next() != end && t.kind != ';' {
		if err := parseOption(t, e.Options); err != nil {
			return Entry{}, err
		}
	}
	if t.kind != ';' {
		return Entry{}, errors.New("no semicolon at the end")
	}
	if e.Module == "" {
		return Entry{}, errors.New("the login module has no name")
	}
	return e, nil
}

func parseOption(t *tokenizer, options map[string]string) error {
	key, named := t.text, t.said
	if t.next() != '=' {
		if !named {
			return errors.New("an option has no name: a quote or a semicolon may be missing before it")
		}
		return fmt.Errorf("no '=' after %s: a quote or a semicolon may be missing before it", quote(key, options))
	}
	switch t.next() {
	case end:
		return fmt.Errorf("no value for %s", quote(key, options))
	case number:
		return fmt.Errorf("the value of %s begins with a digit, '-' or '.', and has no quotes: put it in quotes", quote(key, options))
	}
	if !t.said {
		return fmt.Errorf("no value for %s: put it in quotes", quote(key, options))
	}
	options[key] = t.text
	return nil
}

// quote returns an option's name for an error. If a quote is missing, what is taken for a name may be the rest of a password, so that
// only names are shown that look like one of an option that comes first; otherwise the option before is named.
func quote(key string, options map[string]string) string {
	if known(key) {
		return strconv.Quote(key)
	}
	return fmt.Sprintf("the name of option %d", len(options)+1)
}

// known reports whether key is the name of an option of Kafka's login modules.
func known(key string) bool {
	switch key {
	case "username", "password", "tokenauth", "clientId", "clientSecret", "scope", "useKeyTab", "keyTab", "storeKey", "principal", "serviceName", "useTicketCache", "renewTGT", "ticketCache":
		return true
	}
	return utf8.ValidString(key) && (strings.HasPrefix(key, "extension_") || strings.HasPrefix(key, "unsecuredLogin") || strings.HasPrefix(key, "ssl.")) && len(key) < 64
}
