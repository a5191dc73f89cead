package quill

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/foreign"
)

// ConfigFault is one fault of a Config or a set of properties.
type ConfigFault struct {
	// Name is the Kafka property, or the place in the file, or the Config field that has no property.
	Name string
	// Field is the field of Config that it is about. It is empty for a fault of the properties
	// themselves, and where there is no field.
	Field string
	// Value is the value as it was written, "[hidden]" for secrets.
	Value string
	// Reason says what is wrong with it.
	Reason string
	// Fix says what to do, if that is not clear from the reason.
	Fix string
	// Unsupported is true when the value is legal in Kafka and this library cannot do it yet.
	Unsupported bool
}

// String returns the fault as one line.
func (f ConfigFault) String() string {
	var b strings.Builder
	b.WriteString(foreign.Plain(f.Name))
	if f.Field != "" {
		b.WriteString(" (Config." + f.Field + ")")
	}
	if f.Value != "" {
		b.WriteString("=")
		b.WriteString(foreign.Quote(f.Value))
	}
	b.WriteString(": ")
	b.WriteString(foreign.Plain(f.Reason))
	if f.Fix != "" {
		b.WriteString("; ")
		b.WriteString(f.Fix)
	}
	return b.String()
}

// ConfigError lists all faults of a configuration. errors.Is(err, errors.ErrUnsupported) is true if some of it is legal
// but not supported yet.
// Kafka: ConfigException, which names only the first fault.
type ConfigError struct {
	Faults []ConfigFault // at least one
}

// Error returns the faults in one line.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	text := strings.Join(lines, " | ")
	if len(lines) > 1 {
		return fmt.Sprintf("quill: invalid configuration, %d faults: %s", len(lines), text)
	}
	return "quill: invalid configuration: " + text
}

// Is reports whether target is errors.ErrUnsupported and one of the faults is Unsupported. It is for errors.Is.
func (e *ConfigError) Is(target error) bool {
	return target == errors.ErrUnsupported && slices.ContainsFunc(e.Faults, func(f ConfigFault) bool { return f.Unsupported })
}
