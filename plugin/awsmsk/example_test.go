package awsmsk_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/plugin/awsmsk"
)

// The settings for Amazon MSK with IAM; examples/clouds/msk-iam.properties says the same. The region is in the brokers' names, and
// credentials come from where the AWS SDK finds them.
func Example() {
	p, err := quill.New(quill.Config{
		BootstrapServers: []string{"b-1.demo.abc123.c2.kafka.eu-central-1.amazonaws.com:9098"},
		TLS:              &tls.Config{},
		SASL:             &awsmsk.Mechanism{},
	}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(context.Background())
}

func TestTheFileOfTheExamplesIsTaken(t *testing.T) {
	file, err := os.Open("../../examples/clouds/msk-iam.properties")
	require.NoError(t, err)
	defer file.Close()
	cfg, err := quill.LoadProperties(file)
	require.NoError(t, err)
	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network in tests") }
	p, err := quill.New(cfg, quill.String, quill.String)
	require.NoError(t, err)
	require.NoError(t, p.Close(t.Context()))
}
