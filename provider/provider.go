// Package provider makes sources of configuration of the user's known to quill.ParseProperties and quill.LoadProperties: with
// config.providers, ${name:path:key} in a property stands for what the provider of that name has there (KIP-297). Kafka's own for
// files, directories and the environment need no registration.
//
// Java: org.apache.kafka.common.config.provider.
package provider

import (
	"fmt"

	"github.com/quill-kafka/quill/internal/provider"
)

// Provider has values for properties, such as secrets that should not stand in a file. Java: ConfigProvider.
type Provider interface {
	// Get returns the values of those of the keys that there are at path, which is empty in ${name:key}. It is called once for
	// each path, by ParseProperties and LoadProperties, and may block. Its error, which must not contain a value, becomes theirs.
	Get(path string, keys []string) (map[string]string, error)
}

// Register makes a provider known under the name that a property config.providers.NAME.class has for it: its Java class, or any
// other. newProvider gets the properties config.providers.NAME.param.*, without that prefix. Register is to be called before the
// properties are read, and panics if the name is Kafka's own or taken already. It may be called concurrently.
func Register(class string, newProvider func(params map[string]string) (Provider, error)) {
	if newProvider == nil {
		panic(fmt.Sprintf("provider: Register(%q): nil", class))
	}
	made := func(params map[string]string) (provider.Provider, error) { return newProvider(params) }
	if !provider.Register(class, made) {
		panic(fmt.Sprintf("provider: Register(%q): the name is Kafka's, or was registered before", class))
	}
}
