package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
)

// scramUser has a name and a password that have to be quoted, and the text of a .properties file that quotes them.
type scramUser struct{ name, password, mechanism, jaas string }

// scramUsers quote in all ways that JAAS has, below what .properties files want: there each backslash is two, and a line may go on.
var scramUsers = []scramUser{
	{"double", `p'a"s\s;`, "SCRAM-SHA-256", `username="double" password="p'a\\"s\\\\s;"`},
	{"single", `it's "5 = 5" # no`, "SCRAM-SHA-512", `username='single' \` + "\n" + `    password='it\\'s "5 = 5" # no'`},
	{"a,b=c", "tab\tand é, ü", "SCRAM-SHA-512", `username="a,b=c" password="tab\\tand \u00e9, \\374"`},
	{"bare", "w0rd_-.$x", "SCRAM-SHA-256", `username=bare password=w0rd_-.$x`},
}

// testScramFiles logs in with each file by Kafka's own producer and by quill, and with another password by both.
func (n *secureNode) testScramFiles(t *testing.T) {
	for i, u := range scramUsers {
		n.addUser(t, u.name, u.password)
		topic := newTopic(t, n.Cluster, "scram-"+strings.NewReplacer(",", "", "=", "").Replace(u.name), 1)
		addr := n.ListenerAddr(n.Node(1), "SASLPLAIN")
		file := filepath.Join(t.TempDir(), "client.properties")
		text := "bootstrap.servers : " + addr + "\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=" + u.mechanism + "\n" +
			"sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required " + u.jaas + ";\n"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		ctx := within(t, time.Minute)
		if i == 0 { // it takes a JVM of its own; others have the file's text read by the one that is there
			require.NoError(t, n.ConsoleProducer(ctx, addr, topic, file, strings.NewReader("from Java\n")))
		} else {
			attempts, err := n.AttemptWithJava(ctx, []string{text}, "send "+topic)
			require.NoError(t, err)
			require.Empty(t, attempts[0].Text)
		}
		require.NoError(t, sendByFile(ctx, t, file, topic, "from Go"), u.name)
		require.Equal(t, []string{"from Java", "from Go"}, values(t, n.Cluster, topic), u.name)

		n.addUser(t, u.name, "another password")
		attempts, err := n.AttemptWithJava(ctx, []string{text}, "send "+topic)
		require.NoError(t, err)
		require.Equal(t, "SaslAuthenticationException", attempts[0].Error, "Java: %s", attempts[0].Text)
		err = sendByFile(ctx, t, file, topic, "never")
		require.ErrorIs(t, err, quill.ErrAuthentication, u.name)
		require.NotContains(t, err.Error(), u.password)
	}
}
