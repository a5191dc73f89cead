package oauthbearer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// jwtOf makes a token with the claims; its signature is no signature.
func jwtOf(claims map[string]any) string {
	encode := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	return encode(map[string]any{"alg": "RS256"}) + "." + encode(claims) + ".c2lnbmVk"
}

// jwtFor returns a token of alice that is valid for life from now on. Its number sets it apart from others.
func jwtFor(life time.Duration, number int) string {
	now := time.Now()
	return jwtOf(map[string]any{"sub": "alice", "iat": now.Unix(), "exp": now.Add(life).Unix(), "n": number})
}

// issuer is a Retriever for tests.
type issuer struct {
	life  time.Duration // of its tokens
	delay time.Duration // of its answers

	mu    sync.Mutex
	down  error
	asked []time.Time
}

func (i *issuer) Retrieve(ctx context.Context) (sasl.Secret, error) {
	i.mu.Lock()
	i.asked = append(i.asked, time.Now())
	number, down := len(i.asked), i.down
	i.mu.Unlock()
	if i.delay > 0 && !sleep(ctx, i.delay) {
		return sasl.Secret{}, ctx.Err()
	}
	if down != nil {
		return sasl.Secret{}, down
	}
	return sasl.NewSecret(jwtFor(i.life, number)), nil
}

func (i *issuer) set(down error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

func (i *issuer) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

var errDown = errors.New("the endpoint is down")

// web answers requests, instead of the network, and keeps them.
type web struct {
	answer func(n int, r *http.Request) (*http.Response, error)

	mu    sync.Mutex
	seen  []*http.Request
	forms []string
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.seen = append(w.seen, r)
	w.forms = append(w.forms, string(body))
	n := len(w.seen)
	w.mu.Unlock()
	answer, err := w.answer(n, r)
	if answer != nil {
		answer.Request = r
	}
	return answer, err
}

func (w *web) client() *http.Client { return &http.Client{Transport: w} }

// says returns an answer.
func says(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// always answers each request alike.
func always(status int, body string, headers ...string) *web {
	return &web{answer: func(int, *http.Request) (*http.Response, error) { return says(status, body, headers...), nil }}
}

// tokenAnswer returns the answer of an endpoint that gives a token.
func tokenAnswer(token string) string {
	return `{"access_token":"` + token + `","token_type":"Bearer"}`
}

func secretly(w *web) *ClientCredentials {
	return &ClientCredentials{
		Endpoint: Endpoint{URL: "https://idp.test/token", Client: w.client()},
		ClientID: "id", ClientSecret: sasl.NewSecret(planted.ClientSecret),
	}
}

// hides fails the test if a value, an error or a text shows what is planted.
func hides(t *testing.T, values ...any) {
	t.Helper()
	planted.NewWatch(t, nil).Check(values...)
}

func reveal(t *testing.T, token sasl.Token) string {
	t.Helper()
	require.NotEmpty(t, token.Value.Reveal())
	return token.Value.Reveal()
}

// retrieved is a Retriever of a function.
type retrieved func() string

func (f retrieved) Retrieve(context.Context) (sasl.Secret, error) { return sasl.NewSecret(f()), nil }

// fixedAssertion is an Assertion that is always the same.
type fixedAssertion string

func (a fixedAssertion) Assert(context.Context) (sasl.Secret, error) {
	return sasl.NewSecret(string(a)), nil
}
