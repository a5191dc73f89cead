package quill

import (
	"fmt"
	"sync"

	"github.com/quill-kafka/quill/internal/provider"
)

// ConfigProvider has values for properties, such as secrets that should not stand in a file (KIP-297). Kafka: ConfigProvider.
type ConfigProvider interface {
	// Get returns the values of those of the keys that there are at path, which is empty in ${name:key}. It is called once for
	// each path, by ParseProperties and LoadProperties, and may block. Its error, which must not contain a value, becomes theirs.
	Get(path string, keys []string) (map[string]string, error)
}

var configProviders sync.Map // of func(map[string]string) (ConfigProvider, error), by class

// RegisterConfigProvider makes a provider of the user's known to ParseProperties and LoadProperties, under the name that a
// property config.providers.NAME.class has for it: its Java class, or any other. newProvider gets the properties
// config.providers.NAME.param.*, without that prefix. It is to be called before the properties are read, and panics if the name is
// Kafka's own or taken already. It may be called concurrently.
func RegisterConfigProvider(class string, newProvider func(params map[string]string) (ConfigProvider, error)) {
	if newProvider == nil || provider.Kafka[class] != nil {
		panic(fmt.Sprintf("quill: RegisterConfigProvider(%q): nil, or a name of Kafka's", class))
	}
	if _, taken := configProviders.LoadOrStore(class, newProvider); taken {
		panic(fmt.Sprintf("quill: RegisterConfigProvider(%q) called twice", class))
	}
}

// configProviderOf returns what makes a provider of the class, nil if it is not known.
func configProviderOf(class string) provider.Factory {
	registered, ok := configProviders.Load(class)
	if !ok {
		return provider.Kafka[class]
	}
	newProvider := registered.(func(map[string]string) (ConfigProvider, error))
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
