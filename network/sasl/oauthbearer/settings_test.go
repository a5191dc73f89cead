package oauthbearer

import (
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// kafkaDefaults are those properties that Kafka gives a default.
var kafkaDefaults = map[string]string{
	"sasl.login.refresh.buffer.seconds": "300", "sasl.login.refresh.min.period.seconds": "60", "sasl.login.refresh.window.factor": "0.8", "sasl.login.refresh.window.jitter": "0.05",
	"sasl.login.retry.backoff.max.ms": "10000", "sasl.login.retry.backoff.ms": "100",
	"sasl.oauthbearer.assertion.algorithm": "RS256", "sasl.oauthbearer.assertion.claim.exp.seconds": "300", "sasl.oauthbearer.assertion.claim.jti.include": "false", "sasl.oauthbearer.assertion.claim.nbf.seconds": "60",
	"sasl.oauthbearer.header.urlencode": "false", propRetriever: kafkaClasses + "DefaultJwtRetriever", propValidator: kafkaClasses + "DefaultJwtValidator",
	"sasl.oauthbearer.scope.claim.name": "scope", "sasl.oauthbearer.sub.claim.name": "sub",
}

func settings(options map[string]string, props ...string) sasl.Settings {
	all := map[string]string{}
	for i := 0; i < len(props); i += 2 {
		all[props[i]] = props[i+1]
	}
	s := sasl.Settings{Mechanism: "OAUTHBEARER", Options: map[string]sasl.Secret{}, Logger: slog.New(slog.DiscardHandler), Property: func(name string) string {
		if v, given := all[name]; given {
			return v
		}
		return kafkaDefaults[name]
	}}
	for name, value := range options {
		s.Options[name] = sasl.NewSecret(value)
	}
	return s
}

const idp = "https://idp.test/token"

func TestPropertiesChooseTheRetriever(t *testing.T) {
	t.Parallel()
	endpoint := Endpoint{URL: idp, RetryBackoff: 100 * time.Millisecond, RetryBackoffMax: 10 * time.Second}
	id := map[string]string{"clientId": " id ", "clientSecret": "s3cr3t", "scope": "from options"}
	for name, c := range map[string]struct {
		s    sasl.Settings
		want Retriever
	}{
		"file":                  {settings(nil, propEndpoint, "file:///var/token"), &File{Path: "/var/token"}},
		"file of one slash":     {settings(nil, propEndpoint, "file:/var/token"), &File{Path: "/var/token"}},
		"file by class":         {settings(nil, propEndpoint, "file:///var/token", propRetriever, kafkaClasses+"FileJwtRetriever"), &File{Path: "/var/token"}},
		"secret in options":     {settings(id, propEndpoint, idp), &ClientCredentials{Endpoint: scoped(endpoint, "from options"), ClientID: "id"}},
		"old name of the class": {settings(id, propEndpoint, idp, propHandler, kafkaClasses+"secured.OAuthBearerLoginCallbackHandler"), &ClientCredentials{Endpoint: scoped(endpoint, "from options"), ClientID: "id"}},
		"properties come first": {settings(id, propEndpoint, idp, propClientID, "other", propSecret, "s3cr3t", propScope, "s", "sasl.oauthbearer.header.urlencode", "true"), &ClientCredentials{Endpoint: scoped(endpoint, "s"), ClientID: "other", URLEncode: true}},
		"assertion by its issuer": {settings(id, propEndpoint, idp, propAssertion+"claim.iss", "i", propAssertion+"private.key.file", "/key", propAssertion+"claim.exp.seconds", "0"), &ClientCredentials{
			Endpoint: scoped(endpoint, "from options"), ClientID: "id", Assertion: &SignedAssertion{Algorithm: "RS256", KeyFile: "/key", Issuer: "i", Expires: -time.Second, NotBefore: time.Minute}}},
		"assertion by its file": {settings(nil, propEndpoint, idp, propAssertion+"file", "/a"), &ClientCredentials{Endpoint: endpoint, Assertion: &AssertionFile{Path: "/a"}}},
		"jwt-bearer": {settings(nil, propEndpoint, idp, propRetriever, kafkaClasses+"JwtBearerJwtRetriever", propScope, "s", propAssertion+"private.key.file", "/key", propAssertion+"algorithm", "es256",
			propAssertion+"claim.sub", "sub", propAssertion+"claim.aud", "aud", propAssertion+"claim.jti.include", "TRUE", propAssertion+"template.file", "/t", "sasl.login.connect.timeout.ms", "5000", "sasl.login.read.timeout.ms", "7", "sasl.login.retry.backoff.ms", "0"), &JWTBearer{
			Endpoint:  Endpoint{URL: idp, Scope: "s", ConnectTimeout: 5 * time.Second, ReadTimeout: 7 * time.Millisecond, RetryBackoff: -time.Millisecond, RetryBackoffMax: 10 * time.Second},
			Assertion: &SignedAssertion{Algorithm: "es256", KeyFile: "/key", Subject: "sub", Audience: "aud", ID: true, TemplateFile: "/t", Expires: 5 * time.Minute, NotBefore: time.Minute}}},
	} {
		l, err := FromSettings(c.s)
		require.NoError(t, err, name)
		if got, ok := l.Retriever.(*ClientCredentials); ok && !got.ClientSecret.IsZero() {
			require.Equal(t, "s3cr3t", got.ClientSecret.Reveal(), name)
			got.ClientSecret = sasl.Secret{}
		}
		require.Equal(t, c.want, l.Retriever, name)
		require.Equal(t, Refresh{WindowFactor: 0.8, WindowJitter: 0.05, MinPeriod: time.Minute, Buffer: 5 * time.Minute}, l.Refresh, name)
	}
}

func scoped(e Endpoint, scope string) Endpoint {
	e.Scope = scope
	return e
}

func TestZeroesOfTheRefreshMeanNone(t *testing.T) {
	t.Parallel()
	l, err := FromSettings(settings(nil, propEndpoint, "file:/t", "sasl.login.refresh.window.jitter", "0.0", "sasl.login.refresh.min.period.seconds", "0", "sasl.login.refresh.buffer.seconds", "0", "sasl.login.refresh.window.factor", "0.5"))
	require.NoError(t, err)
	now := time.Unix(1000, 0)
	require.Equal(t, 5*time.Second, l.Refresh.at(now, now, now.Add(10*time.Second), 0.999).Sub(now))
}

// What OAuthBearerUnsecuredLoginCallbackHandler does in Java.
func TestUnsecuredTokensAreMadeOfOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := FromSettings(settings(map[string]string{
			"unsecuredLoginStringClaim_sub": `al"ice`, "unsecuredLoginNumberClaim_n": "1.5", "unsecuredLoginListClaim_scope": "|a|b", "unsecuredLoginListClaim_none": "",
			"unsecuredLoginLifetimeSeconds": "100", "unsecuredLoginExtension_traceId": "7", "extension_other": "not of this kind",
		}))
		require.NoError(t, err)
		token, err := l.Token(t.Context())
		require.NoError(t, err)
		require.NoError(t, l.Close())
		require.Equal(t, map[string]string{"traceId": "7"}, token.Extensions)
		header, payload, _ := opened(t, token.Value, nil)
		now := float64(time.Now().Unix())
		require.Equal(t, map[string]any{"alg": "none"}, header)
		require.Equal(t, map[string]any{"sub": `al"ice`, "n": 1.5, "scope": []any{"a", "b"}, "none": []any{}, "iat": now, "exp": now + 100}, payload)
		require.Equal(t, byte('.'), token.Value.Reveal()[len(token.Value.Reveal())-1])
	})
}

func TestSettingsThatCannotWorkSaySo(t *testing.T) {
	t.Parallel()
	id := map[string]string{"clientId": "id", "clientSecret": "s3cr3t"}
	for _, c := range []struct {
		s   sasl.Settings
		err string
	}{
		{settings(nil), "sasl.oauthbearer.token.endpoint.url: is needed to get a token; name the token endpoint of the identity provider, or a file: URL"},
		{settings(nil, propEndpoint, idp), "sasl.oauthbearer.client.credentials.client.id: is needed to ask for a token; set it, or give the login module the option clientId"},
		{settings(map[string]string{"clientId": "id"}, propEndpoint, idp), "sasl.oauthbearer.client.credentials.client.secret: is needed to ask for a token; set it, or give the login module the option clientSecret, or use an assertion (sasl.oauthbearer.assertion.claim.iss)"},
		{settings(id, propEndpoint, "ftp://idp.test"), `sasl.oauthbearer.token.endpoint.url: begins with "ftp": only https and file are known`},
		{settings(id, propEndpoint, "file://host/x"), "sasl.oauthbearer.token.endpoint.url: names a host: the file has to be on this machine; write file:///path/of/token"},
		{settings(id, propEndpoint, idp, propRetriever, kafkaClasses+"FileJwtRetriever"), "sasl.oauthbearer.token.endpoint.url: is not the URL of a file; write file:/path/of/token"},
		{settings(id, propEndpoint, idp, propRetriever, "com.example.Retriever"), `sasl.oauthbearer.jwt.retriever.class: "com.example.Retriever" is a Java class that this library has no counterpart of; make an oauthbearer.Login with a Retriever that does the same, and set Config.SASL to it`},
		{settings(id, propEndpoint, idp, propValidator, "com.example.V"), `sasl.oauthbearer.jwt.validator.class: "com.example.V" is a Java class that this library has no counterpart of; remove it, or make an oauthbearer.Login with a Retriever that checks the token, and set Config.SASL to it`},
		{settings(id, propEndpoint, idp, propHandler, "io.strimzi.kafka.oauth.client.JaasClientOauthLoginCallbackHandler"), `sasl.login.callback.handler.class: "io.strimzi.kafka.oauth.client.JaasClientOauthLoginCallbackHandler" is a Java class that this library has no counterpart of; make an oauthbearer.Login with a Retriever that does the same, and set Config.SASL to it`},
		{settings(nil, propEndpoint, idp, propRetriever, kafkaClasses+"JwtBearerJwtRetriever"), "sasl.oauthbearer.assertion.private.key.file: is needed to make assertions; name the PEM file of the key, or a finished assertion by sasl.oauthbearer.assertion.file"},
		{settings(id, propEndpoint, idp, "sasl.login.retry.backoff.ms", "-1"), "sasl.login.retry.backoff.ms: must not be negative"},
		{settings(map[string]string{"clientId": "id", "clientSecret": "s3cr3t", "ssl.truststore.password": "s3cr3t"}, propEndpoint, idp), "sasl.jaas.config: option ssl.truststore.password: is given without a trust store; set ssl.truststore.location"},
		{settings(map[string]string{"extension_auth": "s3cr3t"}, propEndpoint, "file:/t"), `sasl.jaas.config: an option that begins with extension_: the extension name "auth" is reserved for the token`},
		{settings(map[string]string{"unsecuredLoginNumberClaim_x": "s3cr3t"}), `sasl.jaas.config: option "unsecuredLoginNumberClaim_x" is not a number`},
		{settings(map[string]string{"unsecuredLoginStringClaim_exp": "1"}), "sasl.jaas.config: the claim exp of an unsecured token is made of the time; remove the option"},
		{settings(map[string]string{"unsecuredLoginLifetimeSeconds": "-1", "unsecuredLoginStringClaim_sub": "a"}), "sasl.jaas.config: option unsecuredLoginLifetimeSeconds is not a number of seconds above 0"},
		{settings(nil, propHandler, unsecuredClass), `sasl.jaas.config: an unsecured token needs a name, and the login module has no option for it; add the option unsecuredLoginStringClaim_sub="name", or for a signed token set sasl.login.callback.handler.class to org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler`},
	} {
		_, err := FromSettings(c.s)
		require.EqualError(t, err, c.err)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}

// As in JaasOptionsUtils of Java, the endpoint's own authority is an option of the login module.
func TestTheEndpointIsTrustedByOptions(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, tokenAnswer("x.y.z"))
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	id := map[string]string{"clientId": "id", "clientSecret": "s3cr3t"}
	l, err := FromSettings(settings(id, propEndpoint, server.URL))
	require.NoError(t, err)
	_, err = l.Retriever.Retrieve(t.Context())
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	id["ssl.truststore.type"], id["ssl.truststore.location"] = "PEM", ca
	l, err = FromSettings(settings(id, propEndpoint, server.URL))
	require.NoError(t, err)
	for range 2 {
		token, err := l.Retriever.Retrieve(t.Context())
		require.NoError(t, err)
		require.Equal(t, "x.y.z", token.Reveal())
	}
	id["ssl.truststore.location"] = ca + ".none"
	l, err = FromSettings(settings(id, propEndpoint, server.URL))
	require.NoError(t, err)
	l.Retriever.(*ClientCredentials).RetryBackoffMax = -1
	_, err = l.Retriever.Retrieve(t.Context())
	require.ErrorContains(t, err, "TLS settings for the token endpoint")
	require.ErrorContains(t, err, "no such file")
}
