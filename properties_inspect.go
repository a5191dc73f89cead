package quill

import (
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/inspect"
)

// inspected lists the settings in force, s, with where each comes from, for Inspect. It is made once, by New: a Config may be
// changed afterwards.
func (r *resolver) inspected(s *settings) []inspect.Setting {
	list := make([]inspect.Setting, 0, len(propertyByName))
	for _, group := range properties {
		for i := range group.rows {
			row := &group.rows[i]
			value, source := row.inForce(r.c)
			if row.now != nil && row.now(s) != value {
				value, source = row.now(s), inspect.Derived
			}
			if written, ok := r.c.props.provided[row.name]; ok && source == inspect.Property {
				source = inspect.Provider
				if !row.isNumber() {
					value = written // what a provider has may be a secret wherever it stands
				}
			}
			list = append(list, inspect.Setting{Name: row.name, Value: row.displayed(value), Source: source, Field: row.field})
		}
	}
	return list
}

// millisText returns a duration as properties have it.
func millisText(d time.Duration) string { return strconv.FormatInt(ceilMillis(d), 10) }

// inForce returns the property's value as it is written in properties, and where it comes from.
func (row *property) inForce(c *Config) (value string, source inspect.Source) {
	def := row.def
	if def == "null" || def == `""` {
		def = ""
	}
	if row.value == nil {
		if text, given := c.props.kept[row.name]; given {
			return text.Reveal(), inspect.Property
		}
		if text, given := c.props.noEffect[row.name]; given {
			return text, inspect.Property
		}
		if row.name == nameSASLMechanism && c.SASL != nil {
			return c.SASL.Name(), inspect.Field
		}
		return def, inspect.Default
	}
	value, set := row.value.text(c)
	if set {
		source = inspect.Field
	} else {
		value, source = def, inspect.Default
	}
	if text, given := c.props.texts[row.name]; given {
		var again Config
		row.value.parse(&again, text)
		if then, still := row.value.text(&again); still == set && (!set || then == value) {
			source = inspect.Property
		}
	}
	return value, source
}

// isNumber reports whether the value is a number or a boolean, which is no secret.
func (row *property) isNumber() bool {
	switch row.typ {
	case "INT", "LONG", "SHORT", "DOUBLE", "BOOLEAN":
		return true
	}
	return false
}

// hidden stands for a secret.
const hidden = "***"

// displayed returns the value as Inspect shows it: hidden if it is a secret, without credentials if it is a URL.
func (row *property) displayed(value string) string {
	if row.shown(value) != value {
		return hidden
	}
	if strings.HasSuffix(row.name, ".url") {
		return withoutCredentials(value)
	}
	return value
}

// withoutCredentials returns a URL without user, password and query, which may be credentials.
func withoutCredentials(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	rest, _, query := strings.Cut(rest, "?")
	host, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = hidden + host[i:]
	}
	if query {
		path += "?" + hidden
	}
	return scheme + "://" + host + path
}
