package quill

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/javaprops"
	"github.com/quill-kafka/quill/internal/provider"
)

// ParseProperties makes a Config from Kafka's property names, "linger.ms" and the like. It checks
// each value by itself and reports all faults at once as a *ConfigError; New checks how
// they go together. A 0 becomes the negative number that Config uses for it.
//
// Properties that only mean something in a JVM are accepted; names that Kafka does not have are too,
// as in Java. New logs both. Properties of TLS and SASL, which have no fields, are kept in
// the Config: New reads the stores that those of TLS name, and makes a mechanism of those of SASL unless Config.SASL is set; their
// secrets are not shown again. Fields without a property, such as Logger, are for the caller to set afterwards.
//
// A value may have variables, ${name:path:key}, for the providers that config.providers names (KIP-297): Kafka's own for files,
// directories and the environment under their class names, and those of package provider. Nothing is read from elsewhere
// without config.providers.
func ParseProperties(props map[string]string) (Config, error) {
	var c Config
	faults := c.parse(props)
	if len(faults) > 0 {
		return Config{}, &ConfigError{Faults: faults}
	}
	return c, nil
}

// LoadProperties reads a file in Java's .properties format, all of it, up to 1 MiB, and makes a Config
// from it like ParseProperties. Text that is not UTF-8 is taken for ISO-8859-1. Malformed lines are
// reported together with malformed values.
func LoadProperties(r io.Reader) (Config, error) {
	const limit = 1 << 20
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return Config{}, fmt.Errorf("quill: reading properties: %w", err)
	}
	if len(data) > limit {
		return Config{}, &ConfigError{Faults: []ConfigFault{{Name: "properties", Reason: "longer than 1 MiB",
			Fix: "is this the right file?"}}}
	}
	props, malformed := javaprops.Read(data)
	var c Config
	var faults []ConfigFault
	for _, f := range malformed {
		faults = append(faults, ConfigFault{Name: "line " + strconv.Itoa(f.Line), Reason: f.Reason, Fix: f.Fix})
	}
	faults = append(faults, c.parse(props)...)
	if len(faults) > 0 {
		return Config{}, &ConfigError{Faults: faults}
	}
	return c, nil
}

// parse sets the fields of c from the properties, in the order of their names, and returns the faults.
func (c *Config) parse(given map[string]string) []ConfigFault {
	props, missing, unresolved := provider.Resolve(given, configProviderOf)
	if len(unresolved) > 0 { // without the values the other properties can't be judged
		faults := make([]ConfigFault, len(unresolved))
		for i, f := range unresolved {
			faults[i] = ConfigFault{Name: f.Name, Value: f.Value, Reason: f.Reason, Fix: f.Fix}
		}
		return faults
	}
	c.props.missing = missing
	for name, written := range given {
		if props[name] != written {
			c.props.provided = put(c.props.provided, name, written)
		}
	}
	faults := c.parseResolved(props)
	for i, f := range faults {
		if written := given[f.Name]; written != props[f.Name] {
			faults[i].Value = written // where the value came from may hold secrets
		}
	}
	return faults
}

// put puts a value into a map, which it makes if it is nil.
func put(m map[string]string, name, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[name] = value
	return m
}

// parseResolved is parse for properties that have their values.
func (c *Config) parseResolved(props map[string]string) []ConfigFault {
	var faults []ConfigFault
	c.props.all = make(map[string]string, len(props))
	for _, name := range slices.Sorted(maps.Keys(props)) {
		row, ok := propertyByName[name]
		if name == provider.List || strings.HasPrefix(name, provider.Prefix) {
			if no := checkList(trimJava(props[name])); ok && no != (complaint{}) {
				faults = append(faults, row.fault(props[name], no))
			}
			c.props.all[name] = hiddenIf(strings.Contains(name, ".param."), props[name])
			continue // they have had their effect
		}
		if !ok {
			c.props.all[name] = props[name]
			c.props.unknown = append(c.props.unknown, name)
			continue
		}
		c.props.all[name] = row.shown(props[name])
		text := trimJava(props[name])
		if row.kept {
			if no := row.checkKept(text); no != (complaint{}) {
				faults = append(faults, row.fault(text, no))
				continue
			}
			if row.status == statusSupported {
				c.props.keep(name, text)
				continue
			}
		}
		if row.value != nil {
			if no := row.value.parse(c, text); no != (complaint{}) {
				faults = append(faults, row.fault(text, no))
			}
			c.props.texts = put(c.props.texts, name, text)
			continue
		}
		if row.isDefault(text) {
			continue
		}
		if row.typ == "LIST" {
			if no := checkList(text); no != (complaint{}) {
				faults = append(faults, row.fault(text, no))
			}
		}
		c.props.noEffect = put(c.props.noEffect, name, row.shown(text))
	}
	return faults
}

// Properties returns the fields that are set as Kafka properties, for logs and for another client.
// ParseProperties makes the same Config of them again, except for fields without a property.
// Durations are rounded up to milliseconds. Secrets read "[hidden]".
func (c Config) Properties() map[string]string {
	props := map[string]string{}
	for _, group := range properties {
		for _, row := range group.rows {
			if row.value == nil {
				continue
			}
			if text, set := row.value.text(&c); set {
				props[row.name] = row.shown(text)
			}
		}
	}
	for name, text := range c.props.kept {
		props[name] = propertyByName[name].shown(text.Reveal())
	}
	maps.Copy(props, c.props.noEffect)
	return props
}

// Warnings returns the properties and fields that are set and have no effect: names that Kafka does not have, variables
// without a value, and what only means something in a JVM. They are no errors, as in Java, and New logs them; a test or a check at the
// start can fail on them. Unsupported is set for those that Kafka has. The Value of a name that Kafka does not have is left out, because it
// may be a secret.
func (c Config) Warnings() []ConfigFault {
	var faults []ConfigFault
	for u := range c.unused {
		f := ConfigFault{Name: u.name, Value: u.value, Reason: u.reason, Unsupported: u.level == slog.LevelInfo}
		switch {
		case u.near != "":
			f.Fix = "did you mean " + u.near + "?"
		case u.counterpart != "":
			f.Fix = "use " + u.counterpart
		}
		faults = append(faults, f)
	}
	return faults
}

// logUnused logs the properties and fields that are set and have no effect: one line for each,
// once in a producer's life. Kafka: "These configurations were supplied but are not used yet".
func (c Config) logUnused(l *slog.Logger) {
	for u := range c.unused {
		attrs := []slog.Attr{slog.String("property", u.name)}
		switch {
		case u.near != "":
			attrs = append(attrs, slog.String("did_you_mean", u.near))
		case u.level == slog.LevelInfo:
			attrs = append(attrs, slog.String("reason", u.reason))
			if u.counterpart != "" {
				attrs = append(attrs, slog.String("counterpart", u.counterpart))
			}
		}
		l.LogAttrs(context.Background(), u.level, u.message, attrs...)
	}
}

// unusedProperty is a property or field that is set and has no effect.
type unusedProperty struct {
	name, value string
	level       slog.Level
	message     string // of the log line
	reason      string
	near        string // the name that it was most likely meant to be, if one is close
	counterpart string // what does the same here as the Java class that it names, if something does
}

// unused walks the properties and fields that are set and have no effect.
func (c Config) unused(yield func(unusedProperty) bool) {
	for _, name := range c.props.unknown {
		near, _ := nearestProperty(name)
		if !yield(unusedProperty{name: foreign.Plain(name), near: near, level: slog.LevelWarn,
			message: "property was supplied but isn't a known config", reason: "not a property of Kafka's producer"}) {
			return
		}
	}
	for _, variable := range c.props.missing {
		if !yield(unusedProperty{name: foreign.Plain(variable), level: slog.LevelWarn,
			message: "a variable in a property has no value and stays as it is",
			reason:  "a variable without a value, which stays as it is"}) {
			return
		}
	}
	for _, group := range properties {
		for _, row := range group.rows {
			value, given := c.props.noEffect[row.name]
			if row.status == statusNoEffect && row.value != nil {
				value, given = row.value.text(&c)
			}
			if given && !yield(unusedProperty{name: row.name, value: row.shown(value), level: slog.LevelInfo,
				message: "property has no effect", reason: row.note, counterpart: counterpart(c.props.noEffect[row.name])}) {
				return
			}
		}
	}
}

func (row *property) fault(text string, no complaint) ConfigFault {
	return ConfigFault{Name: row.name, Value: row.shown(text), Reason: no.reason, Fix: no.fix}
}

// written returns the value as the user wrote it: the property's text, if the field still has the value parsed
// from it, else the field's value in Go.
func (row *property) written(c *Config) string {
	if row.kept {
		return c.props.kept[row.name].Reveal()
	}
	current, set := row.value.text(c)
	if !set {
		return ""
	}
	if text, given := c.props.texts[row.name]; given {
		var again Config
		row.value.parse(&again, text)
		if then, _ := row.value.text(&again); then == current {
			return text
		}
	}
	field := reflect.ValueOf(c).Elem().FieldByName(row.field)
	switch field.Kind() {
	case reflect.Pointer:
		field = field.Elem()
	case reflect.Interface, reflect.Slice:
		return current
	case reflect.Int64:
		if d, ok := field.Interface().(time.Duration); ok && d < 0 && d > -time.Microsecond {
			return strconv.FormatInt(int64(d), 10) // a number that says "none", and no time
		}
	}
	return fmt.Sprint(field.Interface())
}

// isDefault reports whether the text of a property without a field is Kafka's default.
func (row *property) isDefault(text string) bool {
	switch row.def {
	case "null", `""`:
		return text == ""
	}
	return text == row.def
}

// shown returns the text as it may appear in logs and errors: "[hidden]" for secrets.
func (row *property) shown(text string) string {
	return hiddenIf(row.typ == "PASSWORD" || strings.Contains(row.name, "password"), text)
}

func hiddenIf(secret bool, text string) string {
	if secret && text != "" {
		return "[hidden]"
	}
	return text
}

// meantFor returns a fix that names the unknown property of c that the user probably wrote for the property missing;
// other, if there is none.
func (c *Config) meantFor(missing, other string) string {
	for _, name := range c.props.unknown {
		if near, ok := nearestProperty(name); ok && near == missing {
			return foreign.Plain(name) + " was given: is it that?"
		}
	}
	return other
}

// nearestProperty returns the known property that name was most likely meant to be, if one is close.
func nearestProperty(name string) (string, bool) { return javaprops.Nearest(name, knownNames()) }

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

// counterparts maps Java classes to the values of this library that do the same.
var counterparts = map[string]string{
	"org.apache.kafka.common.serialization.BooleanSerializer":     "quill.Bool",
	"org.apache.kafka.common.serialization.ByteArraySerializer":   "quill.Bytes",
	"org.apache.kafka.common.serialization.ByteBufferSerializer":  "quill.Bytes",
	"org.apache.kafka.common.serialization.BytesSerializer":       "quill.Bytes",
	"org.apache.kafka.common.serialization.DoubleSerializer":      "quill.Float64",
	"org.apache.kafka.common.serialization.FloatSerializer":       "quill.Float32",
	"org.apache.kafka.common.serialization.IntegerSerializer":     "quill.Int32",
	"org.apache.kafka.common.serialization.LongSerializer":        "quill.Int64",
	"org.apache.kafka.common.serialization.ShortSerializer":       "quill.Int16",
	"org.apache.kafka.common.serialization.StringSerializer":      "quill.String",
	"org.apache.kafka.common.serialization.UUIDSerializer":        "quill.UUID",
	"org.apache.kafka.common.serialization.VoidSerializer":        "quill.Void",
	"org.springframework.kafka.support.serializer.JsonSerializer": "quill.JSON",
	"io.confluent.kafka.serializers.KafkaJsonSerializer":          "quill.JSON",
	"org.apache.kafka.clients.producer.RoundRobinPartitioner":     "new(quill.RoundRobinPartitioner)",
	"org.apache.kafka.clients.producer.UniformStickyPartitioner":  "new(quill.StickyPartitioner)",
	builtinPartitioner: "",
}

// builtinPartitioner is the class that Java used without a partitioner.class; Java 4.0 removed it.
const builtinPartitioner = "org.apache.kafka.clients.producer.internals.DefaultPartitioner"

// counterpart returns the value of this library that does what the Java class does, "" if there is none.
func counterpart(class string) string { return counterparts[strings.TrimSpace(class)] }

// partitionerInstead returns the advice for a partitioner.class.
func partitionerInstead(class string) string {
	switch same := counterpart(class); {
	case class == builtinPartitioner:
		return "remove it: the built-in partitioner does the same"
	case same != "":
		return "set Config.Partitioner to " + same + ", which does the same"
	}
	return "set Config.Partitioner to its counterpart in Go, or remove it to have the built-in partitioner"
}

// configProviderOf returns what makes a provider of the class, nil if it is not known.
func configProviderOf(class string) provider.Factory {
	if own := provider.Kafka[class]; own != nil {
		return own
	}
	newProvider := provider.Registered(class)
	if newProvider == nil {
		return nil
	}
	return func(params map[string]string) (p provider.Provider, err error) {
		fault := guard(func() error {
			p, err = newProvider(params)
			return nil
		})
		if fault != nil {
			return nil, fault
		}
		return guardedProvider{p}, err
	}
}

// guardedProvider turns a panic in a provider of the user's into an error.
type guardedProvider struct{ provider.Provider }

func (g guardedProvider) Get(path string, keys []string) (values map[string]string, err error) {
	fault := guard(func() error {
		values, err = g.Provider.Get(path, keys)
		return nil
	})
	if fault != nil {
		return nil, fault
	}
	return values, err
}
