package quill

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/quill-kafka/quill/internal/login"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/stretchr/testify/require"
)

// Types and ranges are those of testdata/kafka-producer-configs.tsv, which Kafka itself printed.
func TestPropertiesOfSASLHaveJavasTypesAndRanges(t *testing.T) {
	for name, values := range map[string]string{ // accepted | refused
		"sasl.login.refresh.buffer.seconds":               "0 3600 +7|-1 3601 x 1.5 40000",
		"sasl.login.refresh.min.period.seconds":           "0 900|-1 901",
		"sasl.login.refresh.window.factor":                "0.5 1.0 1 .8|0.49 1.01 x NaN",
		"sasl.login.refresh.window.jitter":                "0 0.0 0.25|-0.01 0.26",
		"sasl.login.connect.timeout.ms":                   "0 2147483647|2147483648 x",
		"sasl.login.retry.backoff.ms":                     "0 9223372036854775807|9223372036854775808 1s",
		"sasl.oauthbearer.assertion.algorithm":            "RS256 es256|HS256 none",
		"sasl.oauthbearer.assertion.claim.exp.seconds":    "0 86400|-1 86401",
		"sasl.oauthbearer.assertion.claim.nbf.seconds":    "0 3600|-1 3601",
		"sasl.oauthbearer.assertion.claim.jti.include":    "true FALSE|yes",
		"sasl.oauthbearer.header.urlencode":               "TRUE false|1",
		"sasl.oauthbearer.clock.skew.seconds":             "-1 30|x",
		"sasl.kerberos.ticket.renew.jitter":               "0.5 -3|x",
		"sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": "5|x",
		"sasl.oauthbearer.allow.unverified.issuer":        "true|x",
		"sasl.mechanism":                                  "PLAIN anything|",
	} {
		accepted, refused, _ := strings.Cut(values, "|")
		for text := range strings.FieldsSeq(accepted) {
			_, err := ParseProperties(map[string]string{name: text})
			require.NoError(t, err, "%s=%s", name, text)
		}
		for text := range strings.FieldsSeq(refused) {
			_, err := ParseProperties(map[string]string{name: text})
			require.Equal(t, []string{name}, faultNames(t, err), "%s=%s", name, text)
		}
	}
}

const clientFile = `
security.protocol = SASL_SSL
sasl.mechanism = OAUTHBEARER
sasl.login.callback.handler.class = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler
sasl.oauthbearer.token.endpoint.url = https://idp.test/token
sasl.oauthbearer.client.credentials.client.secret = s3cr3t-1
sasl.oauthbearer.expected.issuer = x
sasl.jaas.config = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
  clientId="id" clientSecret="s3cr3t-2" extension_logicalCluster="lkc-1" ;
`

// S11: the secrets of a properties file are not in what a Config shows.
func TestPropertiesOfSASLAreKeptAndNotShown(t *testing.T) {
	c, err := LoadProperties(strings.NewReader(strings.Replace(clientFile, "SASL_SSL", "PLAINTEXT", 1)))
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"sasl.mechanism": "OAUTHBEARER", "sasl.jaas.config": "[hidden]",
		"sasl.oauthbearer.client.credentials.client.secret": "[hidden]", "sasl.oauthbearer.expected.issuer": "x",
		"sasl.login.callback.handler.class":   "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
		"sasl.oauthbearer.token.endpoint.url": "https://idp.test/token",
	}, c.Properties())
	c.BootstrapServers = []string{"a:1"}
	s, err := c.resolve()
	require.NoError(t, err)
	for _, v := range []any{c, &c, c.Properties(), s.clientInfo(), s} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(verb, v), "s3cr3t", verb)
		}
	}
	require.Nil(t, s.security.sasl, "PLAINTEXT stays plaintext, whatever is given besides")
	c, err = LoadProperties(strings.NewReader(clientFile))
	require.NoError(t, err)
	c.BootstrapServers = []string{"a:1"}
	s, err = c.resolve()
	require.NoError(t, err)
	login := s.security.sasl.(*oauthbearer.Login)
	require.NotNil(t, s.security.tls)
	require.Equal(t, "lkc-1", login.Extensions["logicalCluster"])
	require.Equal(t, "s3cr3t-1", login.Retriever.(*oauthbearer.ClientCredentials).ClientSecret.Reveal(), "the property comes first")
	require.Equal(t, "id", login.Retriever.(*oauthbearer.ClientCredentials).ClientID)
	require.InDelta(t, 0.8, login.Refresh.WindowFactor, 0)
	require.NotContains(t, fmt.Sprintf("%+v %#v", s, login), "s3cr3t")
	c.SASL = sasl.Plain("own", "x")
	s, err = c.resolve()
	require.NoError(t, err)
	require.Equal(t, "PLAIN", s.security.sasl.Name(), "what is set in Go comes first")
}

// Each property of SASL is read by something, or says that it isn't.
func TestEachPropertyOfSASLIsReadOrSaysThatItIsNot(t *testing.T) {
	read := map[string]bool{}
	keep := func(name string) string { read[name] = true; return new(Config).keptText(name) }
	for _, props := range []map[string]string{
		{"sasl.mechanism": "PLAIN", "sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password="b";`},
		{"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url": "https://idp.test"},
		{"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url": "https://idp.test", "sasl.oauthbearer.assertion.claim.iss": "i", "sasl.oauthbearer.assertion.private.key.file": "/k"},
	} {
		if _, given := props["sasl.jaas.config"]; !given {
			props["sasl.jaas.config"] = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=a clientSecret=b;"
		}
		c := mustParse(t, props)
		property := func(name string) string {
			if _, given := props[name]; given {
				read[name] = true
				return props[name]
			}
			return keep(name)
		}
		_, err := login.Mechanism(sasl.Settings{Mechanism: c.keptText("sasl.mechanism"), Property: property, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
	}
	read["sasl.mechanism"] = true
	for _, row := range saslProperties {
		plugin := strings.Contains(row.help, "For plugin/kerberos.")
		require.Equal(t, row.status == statusSupported && !plugin, read[row.name], row.name)
		delete(read, row.name)
	}
	require.Empty(t, read, "not in the table")
}

// loggerGiven is what the last mechanism X-LOGS was given.
var loggerGiven *slog.Logger

func init() {
	sasl.Register("X-LOGS", func(s sasl.Settings) (sasl.Mechanism, error) {
		loggerGiven = s.Logger
		return sasl.Plain("u", "p"), nil
	})
}

// What a mechanism logs stands among the producer's own lines, and a handler that panics harms no connection.
func TestAMechanismOfPropertiesLogsAsItsProducer(t *testing.T) {
	c := mustParse(t, map[string]string{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "X-LOGS", "client.id": "orders"})
	var log strings.Builder
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, err := c.resolve()
	require.NoError(t, err)
	loggerGiven.Info("a token was refreshed")
	require.Contains(t, log.String(), `msg="a token was refreshed" client_id=orders`)
	c.Logger = slog.New(panickingHandler{})
	_, err = c.resolve()
	require.NoError(t, err)
	require.NotPanics(t, func() { loggerGiven.Info("a token was refreshed") })
}

// A mechanism that can't be made does not hide the faults of other settings, nor they its own.
func TestFaultsOfAMechanismStandAmongTheOthers(t *testing.T) {
	c := mustParse(t, map[string]string{"bootstrap.servers": "a", "security.protocol": "SASL_SSL", "sasl.mechanism": "X-NONE"})
	before := clientIDs.Load()
	_, err := c.resolve()
	require.ErrorContains(t, err, "bootstrap.servers")
	require.ErrorContains(t, err, "sasl.mechanism")
	require.Equal(t, before, clientIDs.Load(), "no number is taken for a producer that is not made")
}

type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("broken pipe") }
func (h panickingHandler) WithAttrs([]slog.Attr) slog.Handler      { return h }
func (h panickingHandler) WithGroup(string) slog.Handler           { return h }
