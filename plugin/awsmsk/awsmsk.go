// Package awsmsk lets a producer authenticate to Amazon MSK by IAM: the mechanism AWS_MSK_IAM. A program links it in by
//
//	import _ "github.com/quill-kafka/quill/plugin/awsmsk"
//
// and the properties of the Java client work as they are:
//
//	security.protocol=SASL_SSL
//	sasl.mechanism=AWS_MSK_IAM
//	sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;
//	sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler
//
// In Go, Config.SASL is a [Mechanism]. It is a module of its own, so that the producer does not depend on the AWS SDK.
package awsmsk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/quill-kafka/quill/network/sasl"
)

// Mechanism is AWS_MSK_IAM (Java: aws-msk-iam-auth). Its fields must not change once it is in use. Its methods may be called
// concurrently.
type Mechanism struct {
	// Credentials returns what requests are signed with. If nil, the SDK's chain is asked: environment, files of
	// configuration, containers, instances. It is asked for each connection, and should keep what it got, as aws.CredentialsCache
	// does; the default does.
	Credentials aws.CredentialsProvider `json:"-"`
	// Region is that of the cluster. If empty, it is found in the node's name, and if that has none, it is the SDK's.
	Region string

	chain chain
}

const (
	version   = "2020_10_22"
	service   = "kafka-cluster"
	action    = "kafka-cluster:Connect"
	lifetime  = 15 * time.Minute // of a signature, as in Java
	userAgent = "quill"

	// emptyHash is the SHA-256 of a request without a body.
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Name returns AWS_MSK_IAM. With Start it implements [sasl.Mechanism].
func (m *Mechanism) Name() string { return "AWS_MSK_IAM" }

// Format writes the name whatever the verb is: providers of the SDK print their secrets. It implements [fmt.Formatter].
func (m *Mechanism) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.Name()) }

// Start asks for credentials, which may block until ctx ends, and signs a request for the node.
func (m *Mechanism) Start(ctx context.Context, peer sasl.Peer) (sasl.Session, []byte, error) {
	provider, region := m.Credentials, m.Region
	if region == "" {
		region = regionOf(peer.Host)
	}
	if provider == nil || region == "" {
		own, err := m.chain.load(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("AWS_MSK_IAM: AWS configuration: %w", err)
		}
		if provider == nil {
			provider = own.Credentials
		}
		if region == "" {
			region = own.Region
		}
	}
	if region == "" {
		return nil, nil, fmt.Errorf("AWS_MSK_IAM: no region in the name of node %q; set Mechanism.Region, or AWS_REGION", peer.Host)
	}
	credentials, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("AWS_MSK_IAM: AWS credentials: %w", err)
	}
	payload, err := sign(ctx, credentials, peer.Host, region, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("AWS_MSK_IAM: %w", err)
	}
	return session{}, payload, nil
}

// sign returns the message that shows a node who connects: a presigned GET of its host, as the members of a JSON object.
func sign(ctx context.Context, credentials aws.Credentials, host, region string, now time.Time) ([]byte, error) {
	query := url.Values{"Action": {action}, "X-Amz-Expires": {strconv.Itoa(int(lifetime.Seconds()))}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "kafka", Host: hostOf(host), Path: "/", RawQuery: query.Encode()}).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("the node's name %q cannot be signed", host)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, credentials, request, emptyHash, service, region, now.UTC())
	if err != nil {
		return nil, errors.New("signing failed") // the SDK's error may hold the request
	}
	u, err := url.Parse(signed)
	if err != nil {
		return nil, errors.New("the signed request is malformed")
	}
	members := map[string]string{"version": version, "host": host, "user-agent": userAgent}
	for name, values := range u.Query() {
		members[strings.ToLower(name)] = values[0]
	}
	return json.Marshal(members)
}

// hostOf returns a host as it stands in a URL.
func hostOf(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// session waits for the one answer of the node.
type session struct{}

// Next reads the node's answer, which has the id of the request. An empty one is a refusal, as in Java.
func (session) Next(_ context.Context, challenge []byte) ([]byte, bool, error) {
	if len(challenge) == 0 {
		return nil, false, errors.New("AWS_MSK_IAM: the node answers nothing: it refuses the credentials")
	}
	var answer struct {
		Version string `json:"version"`
		ID      string `json:"request-id"`
	}
	if json.Unmarshal(challenge, &answer) != nil || answer.Version != version {
		return nil, false, errors.New("AWS_MSK_IAM: the node's answer is not of version " + version)
	}
	return nil, true, nil
}
