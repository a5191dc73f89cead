package config

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/quilltest"
)

const kafkaModules = "org.apache.kafka.common.security."

// token returns one of alice for a cluster that looks at no signature.
func token(life time.Duration) string {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	now := time.Now()
	return part(map[string]string{"alg": "RS256"}) + "." + part(map[string]any{"sub": "alice", "iat": now.Unix(), "exp": now.Add(life).Unix()}) + ".c2ln"
}

// checkToken reads a token as a node does that trusts all.
func checkToken(text string, extensions map[string]string) (string, time.Time, error) {
	parts := strings.Split(text, ".")
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || extensions["logicalCluster"] != "lkc-1" {
		return "", time.Time{}, errors.New("no such token")
	}
	var claims struct {
		Sub string
		Exp float64
	}
	err = json.Unmarshal(data, &claims)
	return claims.Sub, time.Unix(int64(claims.Exp), 0), err
}

func securedCluster() *quilltest.SASL {
	return &quilltest.SASL{Users: map[string]string{"alice": `p'a"s\s;`}, CheckToken: checkToken}
}

// A .properties file drives a producer from end to end. The password has characters that JAAS and properties escape.
func TestAFileOfPropertiesLogsIn(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	user := ` required \` + "\n" + `  username="alice" password="p'a\\"s\\\\s;" ;`
	for mechanism, login := range map[string]string{
		"PLAIN":         kafkaModules + "plain.PlainLoginModule" + user,
		"SCRAM-SHA-256": kafkaModules + "scram.ScramLoginModule" + user,
		"SCRAM-SHA-512": kafkaModules + "scram.ScramLoginModule" + user,
		"OAUTHBEARER": kafkaModules + `oauthbearer.OAuthBearerLoginModule required extension_logicalCluster="lkc-1";
sasl.login.callback.handler.class=` + kafkaModules + `oauthbearer.OAuthBearerLoginCallbackHandler
sasl.oauthbearer.token.endpoint.url=file://` + tokenFile,
	} {
		t.Run(mechanism, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{SASL: securedCluster()}, func(t *testing.T, c *quilltest.Cluster) {
				require.NoError(t, os.WriteFile(tokenFile, []byte(token(time.Hour)), 0o600))
				c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
				var log bytes.Buffer
				config, err := quill.LoadProperties(strings.NewReader("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=" + mechanism + "\nsasl.jaas.config=" + login + "\n"))
				require.NoError(t, err)
				config.BootstrapServers, config.DialContext = c.BootstrapServers(), c.DialContext
				config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				p, err := quill.New(config, quill.String, quill.String)
				require.NoError(t, err)
				_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "v"})
				require.NoError(t, err)
				require.NoError(t, p.Close(context.Background())) // and the timer for the next token ends, or the bubble would not
				require.NotContains(t, log.String(), `p'a`)
				require.NotContains(t, fmt.Sprintf("%+v %#v", config, config), `p'a`)
			})
		})
	}
}

// closing is a mechanism that counts its ends.
type closing struct {
	sasl.Mechanism
	closed int
}

func (c *closing) Close() error {
	c.closed++
	return nil
}

func TestCloseClosesTheMechanism(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{SASL: securedCluster()}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		config := testkit.Config(c)
		m := &closing{Mechanism: sasl.ScramSHA512("alice", `p'a"s\s;`)}
		config.SASL = m
		p, err := quill.New(config, quill.String, quill.String)
		require.NoError(t, err)
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "v"})
		require.NoError(t, err)
		require.Zero(t, m.closed)
		require.NoError(t, p.Close(t.Context()))
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, 1, m.closed)
	})
}
