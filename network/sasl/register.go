package sasl

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Settings are what Kafka's properties say about a mechanism. A [Builder] makes it of them.
type Settings struct {
	// Mechanism is the value of sasl.mechanism.
	Mechanism string

	// Module is the login module that sasl.jaas.config names, a Java class; empty without that property.
	// Options are what it says besides.
	Module  string
	Options map[string]Secret

	// Property returns the value of a property whose name begins with "sasl.": as it was given, checked by
	// Kafka's rules, or else Kafka's default; empty for a default of null. Secrets such as sasl.jaas.config are
	// among them.
	Property func(name string) string

	// Logger is the producer's. It is not nil.
	Logger *slog.Logger
}

// Option returns an option of the login module, empty if it is not there.
func (s Settings) Option(name string) string { return s.Options[name].Reveal() }

// SettingError is why a mechanism can't be made of Settings.
type SettingError struct {
	Property string // the property at fault: "sasl.jaas.config"
	Reason   string // what is wrong, without any secret
	Fix      string // what to write instead; may be empty
}

// Error returns the three in one line.
func (e *SettingError) Error() string {
	if e.Fix == "" {
		return e.Property + ": " + e.Reason
	}
	return e.Property + ": " + e.Reason + "; " + e.Fix
}

// A Builder makes a mechanism of what properties say. It does not block, neither reads files nor speaks to anybody, and
// its error says which property is at fault: a [*SettingError]. If the mechanism has a method Close, the
// producer calls it at its own end.
type Builder func(Settings) (Mechanism, error)

var registry = struct {
	sync.Mutex
	// +checklocks:Mutex
	builders map[string]Builder
}{builders: map[string]Builder{}}

// Register makes a mechanism known by its name, as sasl.mechanism has it, so that properties can choose it. A package that
// implements one calls it in its init function, and a program imports the package for that effect:
//
//	import _ "github.com/quill-kafka/quill/plugin/kerberos"
//
// Mechanisms of this library cannot be replaced. Like sql.Register, it panics if build is nil, or if the name is known
// already. It may be called concurrently.
func Register(mechanism string, build Builder) {
	registry.Lock()
	defer registry.Unlock()
	if build == nil {
		panic("sasl: Register with a nil Builder for " + mechanism)
	}
	if registry.builders[mechanism] != nil || slices.Contains([]string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}, mechanism) {
		panic(fmt.Sprintf("sasl: Register: the mechanism %q is known already", mechanism))
	}
	registry.builders[mechanism] = build
}

// Registered returns the Builder of a mechanism, nil if none is registered. It may be called concurrently.
func Registered(mechanism string) Builder {
	registry.Lock()
	defer registry.Unlock()
	return registry.builders[mechanism]
}

// Mechanisms returns the names of the mechanisms that are registered, sorted. It may be called concurrently.
func Mechanisms() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.builders))
}
