package oauthbearer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/network/sasl"
)

// maxAnswer bounds what is read of an endpoint's answer.
const maxAnswer = 64 << 10

// Endpoint is the token endpoint of an identity provider, and how it is asked: Java's HttpJwtRetriever.
type Endpoint struct {
	// URL is where tokens are asked for. It must be https, unless AllowHTTP.
	// Kafka: sasl.oauthbearer.token.endpoint.url.
	URL string
	// AllowHTTP allows an http URL, over which secrets and tokens go in the clear: for tests. It stands for Java's
	// system property org.apache.kafka.sasl.oauthbearer.allowed.urls.
	AllowHTTP bool
	// Scope is what is asked for; if empty, nothing. Kafka: sasl.oauthbearer.scope.
	Scope string

	// ConnectTimeout and ReadTimeout bound an attempt: making the connection, and the rest.
	// Kafka: sasl.login.connect.timeout.ms, sasl.login.read.timeout.ms. If zero or negative, 10s each;
	// Java has no bound.
	ConnectTimeout, ReadTimeout time.Duration
	// RetryBackoff is the pause after the first attempt that failed; it doubles with each one. After RetryBackoffMax
	// in all there are no more attempts. An answer that says that the request is wrong (400, 401, 403 and the like, as in Java) and
	// a certificate that is not trusted are not asked about again.
	// Kafka: sasl.login.retry.backoff.ms, sasl.login.retry.backoff.max.ms. If zero, 100ms and 10s; if negative, none.
	RetryBackoff, RetryBackoffMax time.Duration

	// TLS is asked for the settings of each connection; nil stands for Go's defaults. A Client with a Transport of its
	// own does not ask.
	TLS func(context.Context) (*tls.Config, error)
	// Client makes the requests, if not nil. Redirects are never followed, whatever it says: a token endpoint has no
	// reason for them, and they would carry secrets elsewhere.
	Client *http.Client
}

// EndpointError is an answer of a token endpoint that is no token.
type EndpointError struct {
	URL      string // without user, password and query
	Status   int    // of HTTP
	Code     string // the endpoint's own: "invalid_client" (RFC 6749 §5.2); as it came, at most 4 KiB, as Text
	Text     string // the endpoint's own words, or the whole of a short answer; Error quotes and cuts it
	Attempts int
}

// Error names the endpoint, the status and the endpoint's own words in quotes.
func (e *EndpointError) Error() string {
	s := fmt.Sprintf("token endpoint %s answered %d %s", e.URL, e.Status, http.StatusText(e.Status))
	switch {
	case e.Code != "" && e.Text != "":
		s += fmt.Sprintf(": %s: %s", foreign.Quote(e.Code), foreign.Quote(e.Text))
	case e.Code+e.Text != "":
		s += fmt.Sprintf(": %s", foreign.Quote(e.Code+e.Text))
	}
	if e.Attempts > 1 {
		s += fmt.Sprintf(" (attempt %d)", e.Attempts)
	}
	return s
}

// final are the statuses that Java does not ask about again.
var final = []int{400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 501, 505}

// request is what is posted: the form's fields, already encoded, and user and password for the header.
type request struct {
	form    string
	user    string
	pass    sasl.Secret
	basic   bool
	secrets []string // what an answer may echo and an error must not show
}

// check returns why the endpoint cannot be asked at all.
func (e *Endpoint) check() (*url.URL, error) {
	u, err := url.Parse(e.URL)
	switch {
	case e.URL == "":
		return nil, errors.New("the token endpoint has no URL: set sasl.oauthbearer.token.endpoint.url")
	case err != nil || u.Host == "":
		return nil, errors.New("the token endpoint's URL is no URL with a host") // the parser's error quotes it
	case u.Scheme == "https", u.Scheme == "http" && e.AllowHTTP:
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("the token endpoint %s is http, and secrets would go in the clear: use https, or set oauthbearer.Endpoint.AllowHTTP", shownURL(u))
	}
	return nil, fmt.Errorf("the token endpoint's URL begins with %s: only https is known", foreign.Quote(u.Scheme))
}

// shownURL returns a URL without what may be secret.
func shownURL(u *url.URL) string {
	return foreign.Plain((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
}

// post asks the endpoint for a token, and again while that may help.
func (e *Endpoint) post(ctx context.Context, r request) (sasl.Secret, error) {
	u, err := e.check()
	if err != nil {
		return sasl.Secret{}, err
	}
	client := e.client()
	waits, end := retries(e.RetryBackoff, e.RetryBackoffMax), time.Now().Add(orDefault(e.RetryBackoffMax, 10*time.Second))
	for attempt := 1; ; attempt++ {
		token, err := e.attempt(ctx, client, u, r, attempt)
		if err == nil {
			return token, nil
		}
		pause := min(waits.Next(attempt-1, backoff.Exact), time.Until(end))
		if isFinal(err) || ctx.Err() != nil || pause <= 0 {
			return sasl.Secret{}, err
		}
		if !sleep(ctx, pause) {
			return sasl.Secret{}, err
		}
	}
}

// client returns a client that follows no redirects and keeps no connections: a token is asked for once in a long while.
func (e *Endpoint) client() *http.Client {
	c := http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: e.connectTimeout()}).DialContext,
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true,
	}}
	if e.Client != nil {
		c = *e.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

func (e *Endpoint) connectTimeout() time.Duration {
	if e.ConnectTimeout > 0 {
		return e.ConnectTimeout
	}
	return 10 * time.Second
}

func (e *Endpoint) readTimeout() time.Duration {
	if e.ReadTimeout > 0 {
		return e.ReadTimeout
	}
	return 10 * time.Second
}

// attempt makes one request.
func (e *Endpoint) attempt(ctx context.Context, client *http.Client, u *url.URL, r request, number int) (sasl.Secret, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.connectTimeout()+e.readTimeout(), fmt.Errorf("no answer within %s", e.connectTimeout()+e.readTimeout()))
	defer cancel()
	if own, ok := client.Transport.(*http.Transport); ok && e.Client == nil && e.TLS != nil {
		config, err := e.TLS(ctx)
		if err != nil {
			return sasl.Secret{}, fmt.Errorf("TLS settings for the token endpoint: %w", err)
		}
		own.TLSClientConfig = config.Clone()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(r.form))
	if err != nil {
		return sasl.Secret{}, errors.New("the token endpoint's URL cannot be used in a request")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r.basic {
		req.SetBasicAuth(r.user, r.pass.Reveal())
	}
	answer, err := client.Do(req)
	if err != nil {
		return sasl.Secret{}, unreachable(ctx, u, err, number)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return sasl.Secret{}, unreachable(ctx, u, err, number)
	}
	return readAnswer(u, answer, body, r, number)
}

// unreachable says that no answer came. The client's own error would quote the URL.
func unreachable(ctx context.Context, u *url.URL, err error, number int) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	err = shortError{err} // what net/http says may quote the peer at any length
	if number > 1 {
		return fmt.Errorf("asking the token endpoint %s, attempt %d: %w", shownURL(u), number, err)
	}
	return fmt.Errorf("asking the token endpoint %s: %w", shownURL(u), err)
}

// shortError shows no more of an error than may be shown of a foreign text.
type shortError struct{ err error }

func (e shortError) Error() string { return foreign.Plain(e.err.Error()) }
func (e shortError) Unwrap() error { return e.err }

// readAnswer finds the token in an answer.
func readAnswer(u *url.URL, answer *http.Response, body []byte, r request, number int) (sasl.Secret, error) {
	fault := &EndpointError{URL: shownURL(u), Status: answer.StatusCode, Attempts: number}
	if len(body) > maxAnswer {
		fault.Text = "an answer longer than 64 KiB"
		return sasl.Secret{}, fault
	}
	var fields map[string]any
	notJSON := json.Unmarshal(body, &fields) != nil
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusCreated {
		for _, name := range []string{"access_token", "id_token"} {
			if token, _ := fields[name].(string); strings.TrimSpace(token) != "" {
				return sasl.NewSecret(strings.TrimSpace(token)), nil
			}
		}
		fault.Text = "no access_token in the answer" // which is not shown: part of it may be a token
		if len(body) > 0 {
			return sasl.Secret{}, finalError{withCode(fault, fields, r)}
		}
		return sasl.Secret{}, fault
	}
	if to := answer.Header.Get("Location"); to != "" {
		fault.Text = "a redirect to " + redacted(to, r) + ", which is not followed"
		return sasl.Secret{}, finalError{fault}
	}
	if withCode(fault, fields, r); notJSON || fault.Code == "" {
		fault.Text = redacted(string(body), r)
	}
	return sasl.Secret{}, fault
}

// withCode takes over the error that an endpoint names (RFC 6749 §5.2; errorCode is Okta's).
func withCode(fault *EndpointError, fields map[string]any, r request) *EndpointError {
	for _, names := range [][2]string{{"error", "error_description"}, {"errorCode", "errorSummary"}} {
		if code, _ := fields[names[0]].(string); code != "" {
			text, _ := fields[names[1]].(string)
			fault.Code, fault.Text = redacted(code, r), redacted(text, r)
			break
		}
	}
	return fault
}

// maxKept is how much of an endpoint's text an error keeps.
const maxKept = 4 << 10

// redacted returns an endpoint's text without the secrets that were sent to it, and cut.
func redacted(text string, r request) string {
	for _, secret := range r.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return foreign.Cut(strings.TrimSpace(text), maxKept)
}

// finalError is an error that another attempt would not mend, whatever the status is.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// isFinal reports whether an attempt is not to be made again.
func isFinal(err error) bool {
	if _, ok := errors.AsType[finalError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	e, ok := errors.AsType[*EndpointError](err)
	return ok && slices.Contains(final, e.Status)
}

// sleep waits; it returns false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
