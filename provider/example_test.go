package provider_test

import (
	"fmt"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/provider"
)

// vault stands for a store of secrets.
type vault struct{ address string }

func (v vault) Get(path string, keys []string) (map[string]string, error) {
	values := make(map[string]string, len(keys))
	for _, key := range keys {
		values[key] = "the secret " + key + " of " + v.address + path
	}
	return values, nil
}

// A property names the provider by its class and gives it parameters; others take values from it.
func ExampleRegister() {
	provider.Register("com.example.Vault", func(params map[string]string) (provider.Provider, error) {
		return vault{params["address"]}, nil
	})
	_, err := quill.ParseProperties(map[string]string{
		"config.providers":                     "vault",
		"config.providers.vault.class":         "com.example.Vault",
		"config.providers.vault.param.address": "https://vault.example.com",
		"bootstrap.servers":                    "kafka.example.com:9093",
		"security.protocol":                    "SASL_SSL",
		"sasl.mechanism":                       "PLAIN",
		"sasl.jaas.config":                     `org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="${vault:/kafka:alice}";`,
	})
	fmt.Println(err)
}
