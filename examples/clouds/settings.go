package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
)

// These are the settings of each cloud in Go; the file of the same name beside them says the same to Java and to quill.LoadProperties.
// Amazon MSK is in plugin/awsmsk, a module of its own: cfg.SASL = &awsmsk.Mechanism{}.

// confluentPlain returns what confluent-plain.properties says.
func confluentPlain() quill.Config {
	return quill.Config{
		BootstrapServers: []string{"pkc-00000.eu-central-1.aws.confluent.cloud:9092"},
		TLS:              &tls.Config{}, // trusts the authorities of the system
		SASL:             sasl.Plain(os.Getenv("CONFLUENT_API_KEY"), os.Getenv("CONFLUENT_API_SECRET")),
	}
}

// confluentOAuth returns what confluent-oauth.properties says.
func confluentOAuth() quill.Config {
	return quill.Config{
		BootstrapServers: []string{"pkc-00000.eu-central-1.aws.confluent.cloud:9092"},
		TLS:              &tls.Config{},
		SASL: &oauthbearer.Login{
			Retriever: &oauthbearer.ClientCredentials{
				Endpoint: oauthbearer.Endpoint{URL: "https://idp.example.com/oauth2/token", Scope: "kafka"},
				ClientID: os.Getenv("OAUTH_CLIENT_ID"), ClientSecret: sasl.NewSecret(os.Getenv("OAUTH_CLIENT_SECRET")),
			},
			Extensions: map[string]string{"logicalCluster": "lkc-00000", "identityPoolId": "pool-0000"},
		},
	}
}

// eventHubs returns what eventhubs.properties says.
func eventHubs() quill.Config {
	return quill.Config{
		BootstrapServers: []string{"NAMESPACE.servicebus.windows.net:9093"},
		TLS:              &tls.Config{},
		SASL:             sasl.Plain("$ConnectionString", os.Getenv("EVENTHUBS_CONNECTION_STRING")),
		Idempotence:      new(false),
	}
}

// eventHubsOAuth returns what eventhubs-oauth.properties says.
func eventHubsOAuth() quill.Config {
	return quill.Config{
		BootstrapServers: []string{"NAMESPACE.servicebus.windows.net:9093"},
		TLS:              &tls.Config{},
		SASL: &oauthbearer.Login{Retriever: &oauthbearer.ClientCredentials{
			Endpoint: oauthbearer.Endpoint{URL: "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token", Scope: "https://NAMESPACE.servicebus.windows.net/.default"},
			ClientID: os.Getenv("OAUTH_CLIENT_ID"), ClientSecret: sasl.NewSecret(os.Getenv("OAUTH_CLIENT_SECRET")),
		}},
		Idempotence: new(false),
	}
}

// strimziSCRAM returns what strimzi-scram.properties says. authority is what is in ca.crt, password what is in the user's Secret.
func strimziSCRAM(authority *x509.CertPool, password string) quill.Config {
	return quill.Config{
		BootstrapServers: []string{"my-cluster-kafka-bootstrap.kafka.svc:9093"},
		TLS:              &tls.Config{RootCAs: authority},
		SASL:             sasl.ScramSHA512("my-user", password),
	}
}

// strimziTLS returns what strimzi-mtls.properties says, but for the files: what they hold is read by the program, which replaces it in time by
// tls.Config.GetClientCertificate.
func strimziTLS(authority *x509.CertPool, user tls.Certificate) quill.Config {
	return quill.Config{
		BootstrapServers: []string{"my-cluster-kafka-bootstrap.kafka.svc:9093"},
		TLS:              &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{user}},
	}
}

// redpanda returns what redpanda.properties says.
func redpanda() quill.Config {
	return quill.Config{
		BootstrapServers: []string{"seed-00000.fra.prd.cloud.redpanda.com:9092"},
		TLS:              &tls.Config{},
		SASL:             sasl.ScramSHA256(os.Getenv("REDPANDA_USER"), os.Getenv("REDPANDA_PASSWORD")),
	}
}
