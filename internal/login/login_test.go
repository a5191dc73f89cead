package login

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"testing"

	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
	"github.com/stretchr/testify/require"
)

// made returns what the properties make.
func made(mechanism, jaas string, props ...string) (sasl.Mechanism, error) {
	all := map[string]string{propJAAS: jaas}
	for i := 0; i < len(props); i += 2 {
		all[props[i]] = props[i+1]
	}
	return Mechanism(sasl.Settings{Mechanism: mechanism, Logger: slog.New(slog.DiscardHandler), Property: func(name string) string { return all[name] }})
}

const (
	plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule required "
	scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule required "
	oauthModule = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
	krb5Module  = "com.sun.security.auth.module.Krb5LoginModule required "
	alice       = `username="alice" password="s3cr3t";`
)

func TestPlainAndScramTakeNameAndPassword(t *testing.T) {
	t.Parallel()
	m, err := made("PLAIN", plainModule+alice)
	require.NoError(t, err)
	_, initial, err := m.Start(t.Context(), sasl.Peer{})
	require.NoError(t, err)
	require.Equal(t, "\x00alice\x00s3cr3t", string(initial))

	for name, hash := range map[string]crypto.Hash{"SCRAM-SHA-256": crypto.SHA256, "SCRAM-SHA-512": crypto.SHA512} {
		for jaas, token := range map[string]bool{
			scramModule + alice: false, plainModule + alice: false, "kafkashaded." + scramModule + alice: false,
			scramModule + `tokenauth="true" ` + alice: true, scramModule + `tokenauth=TRUE ` + alice: true, scramModule + `tokenauth=yes ` + alice: false,
		} {
			m, err := made(name, jaas, propLogin, kafka+"authenticator.DefaultLogin")
			require.NoError(t, err, jaas)
			s, ok := m.(*sasl.Scram)
			require.True(t, ok)
			require.Equal(t, hash, s.Hash)
			c, err := s.Credentials(t.Context(), sasl.Peer{})
			require.NoError(t, err)
			require.Equal(t, [3]any{"alice", "s3cr3t", token}, [3]any{c.Username, c.Password.Reveal(), c.DelegationToken}, jaas)
		}
	}
}

func TestOAuthBearerIsALogin(t *testing.T) {
	t.Parallel()
	m, err := made("OAUTHBEARER", oauthModule+`clientId="id" clientSecret="s3cr3t" extension_logicalCluster="lkc-1";`,
		"sasl.oauthbearer.token.endpoint.url", "https://idp.test/token",
		propLoginHandler, kafka+"oauthbearer.OAuthBearerLoginCallbackHandler",
		propLogin, kafka+"oauthbearer.internals.OAuthBearerRefreshingLogin")
	require.NoError(t, err)
	login, ok := m.(*oauthbearer.Login)
	require.True(t, ok)
	require.Equal(t, map[string]string{"logicalCluster": "lkc-1"}, login.Extensions)
}

func TestWhatCannotBeMadeSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mechanism, jaas string
		props           []string
		err             string
	}{
		{"PLAIN", "", nil, "sasl.jaas.config: is needed for PLAIN; a file that java.security.auth.login.config names is not read; set it to a login module with its options"},
		{"PLAIN", plainModule + `username="alice";`, nil, `sasl.jaas.config: the login module has no option password; add password="…" before the semicolon`},
		{"PLAIN", plainModule + `username="alice" password="s3cr3t"`, nil, `sasl.jaas.config: no semicolon at the end; write: login.Module required option="value" …;`},
		{"PLAIN", oauthModule + ";", nil, `sasl.jaas.config: the login module "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule" is for OAUTHBEARER, and sasl.mechanism is PLAIN`},
		{"PLAIN", "com.example.VaultLoginModule required;", nil, `sasl.jaas.config: "com.example.VaultLoginModule" is a Java class that this library has no counterpart of; use one of Kafka's login modules, or set Config.SASL to a mechanism that does the same`},
		{"PLAIN", "com.sun.security.auth.module.JndiLoginModule required;", nil, `sasl.jaas.config: "com.sun.security.auth.module.JndiLoginModule" is not allowed, as in Java`},
		{"PLAIN", plainModule + alice, []string{propClientHandler, "com.example.Handler"}, `sasl.client.callback.handler.class: "com.example.Handler" is a Java class that this library has no counterpart of; remove it, and set Config.SASL to sasl.PlainFrom with a func that returns the credentials`},
		{"SCRAM-SHA-256", scramModule + alice, []string{propLoginHandler, "com.example.Handler"}, `sasl.login.callback.handler.class: "com.example.Handler" is a Java class that this library has no counterpart of; remove it, and set Config.SASL to a sasl.Scram whose Credentials return them`},
		{"OAUTHBEARER", oauthModule + ";", []string{propLogin, "com.example.Login"}, `sasl.login.class: "com.example.Login" is a Java class that this library has no counterpart of; remove it, and set Config.SASL to sasl.OAuthBearer with a func that returns the token`},
		{"GSSAPI", krb5Module + ";", nil, `sasl.mechanism: GSSAPI needs a module that is not linked in; add import _ "github.com/quill-kafka/quill/plugin/kerberos" to the program`},
		{"AWS_MSK_IAM", "", nil, `sasl.mechanism: AWS_MSK_IAM needs a module that is not linked in; add import _ "github.com/quill-kafka/quill/plugin/awsmsk" to the program`},
		{"plain", plainModule + alice, nil, "sasl.mechanism: names of mechanisms are written in capitals; write PLAIN"},
		{"DIGEST-MD5", "", nil, "sasl.mechanism: is not a mechanism that is known here; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI or AWS_MSK_IAM, or set Config.SASL"},
	} {
		_, err := made(c.mechanism, c.jaas, c.props...)
		require.EqualError(t, err, c.err)
		var e *sasl.SettingError
		require.ErrorAs(t, err, &e)
	}
}

// custom is a mechanism of a plug-in.
type custom struct {
	sasl.Mechanism
	settings sasl.Settings
}

func (custom) Name() string { return "X-CUSTOM" }

func (custom) Start(context.Context, sasl.Peer) (sasl.Session, []byte, error) { return nil, nil, nil }

func init() {
	sasl.Register("X-CUSTOM", func(s sasl.Settings) (sasl.Mechanism, error) { return custom{settings: s}, nil })
}

func TestARegisteredMechanismGetsPropertiesAndOptions(t *testing.T) {
	t.Parallel()
	m, err := made("X-CUSTOM", `com.example.Module required user="bob" key="s3cr3t";`, propClientHandler, "com.example.Handler")
	require.NoError(t, err)
	got := m.(custom).settings
	require.Equal(t, "com.example.Module", got.Module)
	require.Equal(t, "bob", got.Option("user"))
	require.Equal(t, "s3cr3t", got.Option("key"))
	require.Equal(t, "com.example.Handler", got.Property(propClientHandler))
	require.NotContains(t, fmt.Sprintf("%+v %#v", got.Options, got.Options), "s3cr3t")
	_, err = made("X-CUSTOM", "")
	require.NoError(t, err, "a plug-in may need no login module")
	require.Contains(t, sasl.Mechanisms(), "X-CUSTOM")
	require.Panics(t, func() { sasl.Register("X-CUSTOM", func(sasl.Settings) (sasl.Mechanism, error) { return nil, nil }) })
	require.Panics(t, func() { sasl.Register("PLAIN", func(sasl.Settings) (sasl.Mechanism, error) { return nil, nil }) })
	require.Panics(t, func() { sasl.Register("X-OTHER", nil) })
}
