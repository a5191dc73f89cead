package oauthbearer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

func TestTheSecretGoesInTheHeaderOrTheBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change           func(*ClientCredentials)
		user, pass, form string
	}{
		"as in Java":      {func(*ClientCredentials) {}, "id", planted.ClientSecret, "grant_type=client_credentials"},
		"trimmed":         {func(c *ClientCredentials) { c.ClientID, c.ClientSecret = " id ", sasl.NewSecret(" x\n") }, "id", "x", "grant_type=client_credentials"},
		"encoded":         {func(c *ClientCredentials) { c.URLEncode, c.Scope = true, "a b" }, "id", url.QueryEscape(planted.ClientSecret), "grant_type=client_credentials&scope=a+b"},
		"scope":           {func(c *ClientCredentials) { c.Scope = " api://x/.default a%20b c&d=ä " }, "id", planted.ClientSecret, "grant_type=client_credentials&scope=api://x/.default+a%20b+c%26d%3D%C3%A4"},
		"secret in body":  {func(c *ClientCredentials) { c.InBody = true }, "", "", "grant_type=client_credentials&client_id=id&client_secret=" + url.QueryEscape(planted.ClientSecret)},
		"scope of a jwt":  {func(c *ClientCredentials) { c.Assertion, c.Scope = fixedAssertion("a.b.c"), "x y" }, "", "", "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c&grant_type=client_credentials&client_id=id&scope=x+y"},
		"jwt without id":  {func(c *ClientCredentials) { c.Assertion, c.ClientID = fixedAssertion("a.b.c"), "" }, "", "", "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c&grant_type=client_credentials"},
		"secret unneeded": {func(c *ClientCredentials) { c.Assertion, c.ClientSecret = fixedAssertion("a.b.c"), sasl.Secret{} }, "", "", "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c&grant_type=client_credentials&client_id=id"},
	} {
		w := always(200, tokenAnswer("x.y.z"))
		client := secretly(w)
		c.change(client)
		token, err := client.Retrieve(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, "x.y.z", token.Reveal(), name)
		hides(t, client)
		user, pass, basic := w.seen[0].BasicAuth()
		require.Equal(t, c.user != "", basic, name)
		require.Equal(t, [3]string{c.user, c.pass, c.form}, [3]string{user, pass, w.forms[0]}, name)
		require.Equal(t, "application/json", w.seen[0].Header.Get("Accept"))
		require.Equal(t, "application/x-www-form-urlencoded", w.seen[0].Header.Get("Content-Type"))
		require.Equal(t, http.MethodPost, w.seen[0].Method)
	}
}

func TestJWTBearerSendsItsAssertion(t *testing.T) {
	t.Parallel()
	w := always(201, `{"id_token":" x.y.z "}`)
	j := &JWTBearer{Endpoint: Endpoint{URL: "https://idp.test/token", Client: w.client(), Scope: "s"}, Assertion: fixedAssertion("a.b.c")}
	token, err := j.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "x.y.z", token.Reveal())
	require.Equal(t, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c&scope=s", w.forms[0])
}

// Java's HttpJwtRetriever and Retry: the same statuses are final, and the rest is tried for sasl.login.retry.backoff.max.ms in all.
func TestWhatIsTriedAgainIsWhatJavaTriesAgain(t *testing.T) {
	finals := map[int]bool{400: true, 401: true, 402: true, 403: true, 404: true, 405: true, 406: true, 407: true, 409: true, 410: true, 411: true, 412: true, 413: true, 414: true, 415: true, 501: true, 505: true}
	for _, status := range []int{204, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 418, 425, 429, 500, 501, 502, 503, 504, 505, 507} {
		synctest.Test(t, func(t *testing.T) {
			w := always(status, "no")
			begun := time.Now()
			_, err := secretly(w).Retrieve(t.Context())
			var e *EndpointError
			require.ErrorAs(t, err, &e)
			require.Equal(t, status, e.Status)
			hides(t, err)
			if finals[status] {
				require.Len(t, w.seen, 1, status)
				require.Zero(t, time.Since(begun), status)
				return
			}
			require.Len(t, w.seen, 8, status) // after 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 and 10 s
			require.Equal(t, 10*time.Second, time.Since(begun), status)
			require.Equal(t, 8, e.Attempts)
		})
	}
}

func TestAnEndpointThatComesBackIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{answer: func(n int, _ *http.Request) (*http.Response, error) {
			switch n {
			case 1:
				return nil, errors.New("connection refused")
			case 2:
				return says(503, "busy"), nil
			case 3:
				return says(200, ""), nil
			}
			return says(200, tokenAnswer("x.y.z")), nil
		}}
		c := secretly(w)
		c.RetryBackoff, c.RetryBackoffMax = time.Second, time.Minute
		begun := time.Now()
		token, err := c.Retrieve(t.Context())
		require.NoError(t, err)
		require.Equal(t, "x.y.z", token.Reveal())
		require.Equal(t, 7*time.Second, time.Since(begun))
	})
}

// S9: a time-out of 10 s each for the connection and the rest, unless set.
func TestAnEndpointThatIsSilentIsGivenUp(t *testing.T) {
	for want, c := range map[time.Duration]Endpoint{20 * time.Second: {}, 3 * time.Second: {ConnectTimeout: time.Second, ReadTimeout: 2 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			w := &web{answer: func(_ int, r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}}
			c.URL, c.Client, c.RetryBackoffMax = "https://u:p@idp.test/token?key=k", w.client(), -1
			begun := time.Now()
			_, err := (&JWTBearer{Endpoint: c, Assertion: fixedAssertion("a.b.c")}).Retrieve(t.Context())
			require.EqualError(t, err, fmt.Sprintf("asking the token endpoint https://idp.test/token: no answer within %s", want))
			require.Equal(t, want, time.Since(begun))
		})
	}
}

// S9: https only, no redirects, 64 KiB. A URL's user, password and query are not shown.
func TestWhatAnEndpointMustNotDo(t *testing.T) {
	t.Parallel()
	large := `{"access_token":"x.y.z","pad":"` + strings.Repeat("x", 64<<10) + `"}`
	for name, c := range map[string]struct {
		url     string
		answers *web
		asked   int
		err     string
	}{
		"http":            {"http://u:p@idp.test/token?key=k", always(200, ""), 0, "the token endpoint http://idp.test/token is http, and secrets would go in the clear: use https, or set oauthbearer.Endpoint.AllowHTTP"},
		"ftp":             {"ftp://idp.test", always(200, ""), 0, `the token endpoint's URL begins with "ftp": only https is known`},
		"no host":         {"https:///x", always(200, ""), 0, "the token endpoint's URL is no URL with a host"},
		"not a URL":       {"https://idp.test/%zz", always(200, ""), 0, "the token endpoint's URL is no URL with a host"},
		"redirect":        {"https://idp.test/token", always(302, "", "Location", "http://evil.test/\u200bx"), 1, `token endpoint https://idp.test/token answered 302 Found: "a redirect to http://evil.test/\u200bx, which is not followed"`},
		"no URL":          {"https://idp.test/token", always(302, "", "Location", "http://evil.test/"+strings.Repeat("x", 1000)+"\n"), 1, `asking the token endpoint https://idp.test/token: failed to parse Location header "http://evil.test/` + strings.Repeat("x", 206) + "…"},
		"307 to a file":   {"https://idp.test/token", always(307, "", "Location", "file:///etc/passwd"), 1, `token endpoint https://idp.test/token answered 307 Temporary Redirect: "a redirect to file:///etc/passwd, which is not followed"`},
		"too long":        {"https://idp.test/token", always(200, large), 1, `token endpoint https://idp.test/token answered 200 OK: "an answer longer than 64 KiB"`},
		"no token":        {"https://idp.test/token", always(200, `{"token":"x.y.z"}`), 1, `token endpoint https://idp.test/token answered 200 OK: "no access_token in the answer"`},
		"not JSON":        {"https://idp.test/token", always(200, `<html>x.y.z</html>`), 1, `token endpoint https://idp.test/token answered 200 OK: "no access_token in the answer"`},
		"an error in 200": {"https://idp.test/token", always(200, `{"error":"invalid_client","error_description":"who?"}`), 1, `token endpoint https://idp.test/token answered 200 OK: "invalid_client": "who?"`},
		"RFC 6749":        {"https://idp.test/token", always(401, `{"error":"invalid_client","error_description":"AADSTS7000215:\nInvalid\u001b[31m secret"}`), 1, `token endpoint https://idp.test/token answered 401 Unauthorized: "invalid_client": "AADSTS7000215:\nInvalid\x1b[31m secret"`},
		"Okta":            {"https://idp.test/token", always(400, `{"errorCode":"E0000022","errorSummary":"no"}`), 1, `token endpoint https://idp.test/token answered 400 Bad Request: "E0000022": "no"`},
		"a page":          {"https://idp.test/token", always(404, "<html>"+strings.Repeat("ä", 500)), 1, `token endpoint https://idp.test/token answered 404 Not Found: "<html>` + strings.Repeat("ä", 125) + `"…`},
		"echoes":          {"https://idp.test/token", always(400, "id "+planted.ClientSecret+" "+url.QueryEscape(planted.ClientSecret)+" "+base64.StdEncoding.EncodeToString([]byte("id:"+planted.ClientSecret))), 1, `token endpoint https://idp.test/token answered 400 Bad Request: "id *** *** ***"`},
	} {
		client := secretly(c.answers)
		client.URL, client.RetryBackoffMax = c.url, -1
		_, err := client.Retrieve(t.Context())
		require.EqualError(t, err, c.err, name)
		hides(t, err, client)
		require.Len(t, c.answers.seen, c.asked, name)
	}
}

func TestHTTPIsAllowedByASetting(t *testing.T) {
	t.Parallel()
	c := secretly(always(200, tokenAnswer("x.y.z")))
	c.URL, c.AllowHTTP = "http://127.0.0.1:1/token", true
	_, err := c.Retrieve(t.Context())
	require.NoError(t, err)
}

func TestACertificateThatIsNotTrustedIsAskedOnce(t *testing.T) {
	t.Parallel()
	w := &web{answer: func(int, *http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	}}
	_, err := secretly(w).Retrieve(t.Context())
	require.EqualError(t, err, "asking the token endpoint https://idp.test/token: tls: failed to verify certificate: x509: certificate signed by unknown authority")
	require.Len(t, w.seen, 1)
}

func TestSecretsAreNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []*ClientCredentials{{}, {ClientID: "id"}, {ClientSecret: sasl.NewSecret("x")}, {ClientID: " ", ClientSecret: sasl.NewSecret("x")}} {
		_, err := c.Retrieve(t.Context())
		require.ErrorContains(t, err, "needs a client id and a client secret or an assertion")
	}
	_, err := (&JWTBearer{}).Retrieve(t.Context())
	require.ErrorContains(t, err, "needs an assertion")
}

func FuzzTokenAnswer(f *testing.F) {
	f.Add(200, []byte(tokenAnswer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjoxfQ.")))
	f.Add(400, []byte(`{"error":"x","error_description":"y"}`))
	f.Add(500, []byte("\xff<html>"))
	const longest = 2*4*foreign.Shown + 200 // a code and a text, of which each byte may take four characters to show
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		w := always(status, string(body))
		c := secretly(w)
		c.RetryBackoffMax = -1
		token, err := c.Retrieve(t.Context())
		if err != nil {
			hides(t, err)
			if len(err.Error()) > longest || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("%q", err)
			}
			return
		}
		if got, err := readJWT(token.Reveal(), "sub", "scope", true); err == nil && (got.subject == "" || got.expires.IsZero()) {
			t.Fatalf("%q: %+v", body, got)
		}
	})
}
