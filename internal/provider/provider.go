// Package provider puts values from elsewhere into the values of properties: ${name:path:key} stands for what the provider of
// that name has under path and key (KIP-297). Java: ConfigTransformer and the providers of org.apache.kafka.common.config.provider.
//
// Only a provider that the properties name themselves, in config.providers, is asked: without that nothing is read from files
// or the environment, whatever the values say.
package provider

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Provider has the values of keys.
type Provider interface {
	// Get returns the values of those of the keys that it has.
	Get(path string, keys []string) (map[string]string, error)
}

// Factory makes a provider with the parameters config.providers.NAME.param.*, without that prefix.
type Factory func(params map[string]string) (Provider, error)

// Fault is a property that can't be resolved.
type Fault struct{ Name, Value, Reason, Fix string }

// List is the property that names the providers; what begins with Prefix is about one of them.
const (
	List   = "config.providers"
	Prefix = List + "."
)

// Kafka is Kafka's own providers, by class.
var Kafka = map[string]Factory{
	"org.apache.kafka.common.config.provider.FileConfigProvider":      newFile,
	"org.apache.kafka.common.config.provider.DirectoryConfigProvider": newDirectory,
	"org.apache.kafka.common.config.provider.EnvVarConfigProvider":    newEnv,
}

var registered sync.Map // of Factory, by class

// Register makes a provider of the user's known, and returns false if the class is Kafka's or registered already.
func Register(class string, f Factory) bool {
	if Kafka[class] != nil {
		return false
	}
	_, taken := registered.LoadOrStore(class, f)
	return !taken
}

// Registered returns what makes a provider of the user's, nil if none was registered under this class.
func Registered(class string) Factory {
	f, _ := registered.Load(class)
	made, _ := f.(Factory)
	return made
}

// variable is Java's: ${provider:[path:]key}.
var variable = regexp.MustCompile(`\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}`)

// place is where a provider is asked for values.
type place struct{ provider, path string }

// resolver is the state of one Resolve.
type resolver struct {
	props     map[string]string
	providers map[string]Provider
	found     map[place]map[string]string
	faults    []Fault
	missing   []string
}

// Resolve returns a copy of the properties with all variables replaced, those of them that a provider does not have, and a
// fault for each provider that can't be made or fails. As in Java, a variable stays as it is if its provider is not in
// config.providers, and if the provider does not have its key. A value that comes from a provider is not looked at again.
func Resolve(props map[string]string, factory func(class string) Factory) (resolved map[string]string, missing []string, faults []Fault) {
	r := &resolver{props: props, providers: map[string]Provider{}, found: map[place]map[string]string{}}
	if props[List] == "" {
		return props, nil, nil
	}
	r.makeProviders(factory)
	r.ask()
	if len(r.faults) > 0 {
		return props, nil, r.faults
	}
	resolved = maps.Clone(props)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		resolved[name] = variable.ReplaceAllStringFunc(props[name], func(text string) string { return r.replace(name, text) })
	}
	return resolved, r.missing, nil
}

// makeProviders makes the providers of config.providers. One without a class is left out, as in Java.
func (r *resolver) makeProviders(factory func(class string) Factory) {
	for name := range strings.SplitSeq(r.props[List], ",") {
		name = strings.TrimSpace(name)
		property := Prefix + name + ".class"
		class, given := r.props[property]
		if !given {
			continue
		}
		class = strings.TrimSpace(class)
		make := factory(class)
		if make == nil {
			r.faults = append(r.faults, Fault{property, class, "names a class that is not known", "use Kafka's FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider, or register a provider in Go under this name with provider.Register"})
			continue
		}
		params := map[string]string{}
		for key, value := range r.props {
			if param, ok := strings.CutPrefix(key, Prefix+name+".param."); ok && param != "" {
				params[param] = value
			}
		}
		p, err := make(params)
		if err != nil {
			r.faults = append(r.faults, Fault{property, class, fmt.Sprintf("the provider %q can't be made: %v", name, err), "see its config.providers." + name + ".param.* properties"})
			continue
		}
		r.providers[name] = p
	}
}

// ask asks each provider once for all keys of a path.
func (r *resolver) ask() {
	keys := map[place][]string{}
	user := map[place]string{} // the first property that needs the place
	for _, name := range slices.Sorted(maps.Keys(r.props)) {
		for _, m := range variable.FindAllStringSubmatch(r.props[name], -1) {
			at := place{m[1], m[2]}
			if r.providers[at.provider] == nil {
				continue
			}
			if user[at] == "" {
				user[at] = name
			}
			if !slices.Contains(keys[at], m[3]) {
				keys[at] = append(keys[at], m[3])
			}
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(keys), func(a, b place) int { return strings.Compare(user[a], user[b]) }) {
		values, err := r.providers[at.provider].Get(at.path, keys[at])
		if err != nil {
			r.faults = append(r.faults, Fault{Name: user[at], Reason: fmt.Sprintf("the provider %q has no value: %v", at.provider, err)})
		}
		r.found[at] = values
	}
}

// replace returns the value of one variable of a property, or its text.
func (r *resolver) replace(name, text string) string {
	m := variable.FindStringSubmatch(text)
	if r.providers[m[1]] == nil {
		return text
	}
	value, ok := r.found[place{m[1], m[2]}][m[3]]
	if !ok {
		r.missing = append(r.missing, name+"="+text)
		return text
	}
	return value
}
