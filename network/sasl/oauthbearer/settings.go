package oauthbearer

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/network/sasl"
)

// The properties and options that are read here.
const (
	propEndpoint   = "sasl.oauthbearer.token.endpoint.url"
	propRetriever  = "sasl.oauthbearer.jwt.retriever.class"
	propValidator  = "sasl.oauthbearer.jwt.validator.class"
	propHandler    = "sasl.login.callback.handler.class"
	propClientID   = "sasl.oauthbearer.client.credentials.client.id"
	propSecret     = "sasl.oauthbearer.client.credentials.client.secret" // #nosec G101 -- the name of a property
	propScope      = "sasl.oauthbearer.scope"
	propAssertion  = "sasl.oauthbearer.assertion." // #nosec G101 -- the beginning of properties' names
	propJAAS       = "sasl.jaas.config"
	kafkaClasses   = "org.apache.kafka.common.security.oauthbearer."
	unsecuredClass = kafkaClasses + "internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler"
)

// FromSettings makes a Login of what Kafka's properties and the options of OAuthBearerLoginModule say. Properties count
// before options of the same meaning, as in Java. It reads no file and asks no endpoint. Fields that have no property,
// Client and AllowHTTP, can be set in what it returns before it is used. Its error is a [*sasl.SettingError].
func FromSettings(s sasl.Settings) (*Login, error) {
	r := reader{Settings: s}
	login := &Login{
		SubjectClaim: r.Property("sasl.oauthbearer.sub.claim.name"),
		ScopeClaim:   r.Property("sasl.oauthbearer.scope.claim.name"),
		Refresh: Refresh{
			WindowFactor: r.number("sasl.login.refresh.window.factor"),
			WindowJitter: r.number("sasl.login.refresh.window.jitter"),
			MinPeriod:    r.duration("sasl.login.refresh.min.period.seconds", time.Second),
			Buffer:       r.duration("sasl.login.refresh.buffer.seconds", time.Second),
		},
		RetryBackoff:    r.duration("sasl.login.retry.backoff.ms", time.Millisecond),
		RetryBackoffMax: r.duration("sasl.login.retry.backoff.max.ms", time.Millisecond),
		Logger:          s.Logger,
	}
	r.validator()
	prefix := "extension_"
	if r.isUnsecured() {
		prefix = "unsecuredLoginExtension_"
		login.Retriever = r.unsecured(login)
	} else {
		login.Retriever = r.retriever()
	}
	login.Extensions = r.extensions(prefix)
	if r.err != nil {
		return nil, r.err
	}
	return login, nil
}

// reader reads settings and keeps the first fault.
type reader struct {
	sasl.Settings
	err error
}

func (r *reader) fail(property, fix, format string, args ...any) {
	if r.err == nil {
		r.err = &sasl.SettingError{Property: property, Reason: fmt.Sprintf(format, args...), Fix: fix}
	}
}

// number reads a property. Zero, which the fields take for the default, becomes negative.
func (r *reader) number(property string) float64 {
	given := r.Property(property)
	if given == "" {
		return 0
	}
	v, err := strconv.ParseFloat(given, 64)
	if err != nil {
		r.fail(property, "", "is not a number")
	}
	switch {
	case v == 0:
		return -1
	case v < 0:
		r.fail(property, "", "must not be negative")
	}
	return v
}

func (r *reader) duration(property string, unit time.Duration) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	v := r.number(property)
	if v >= float64(most/unit) {
		return most
	}
	return time.Duration(v * float64(unit))
}

// either returns a property, or else an option of the login module; both are trimmed.
func (r *reader) either(property, option string) string {
	if v := strings.TrimSpace(r.Property(property)); v != "" {
		return v
	}
	return strings.TrimSpace(r.Option(option))
}

// isUnsecured reports whether an unsecured token is wanted: by the name of its handler, or, if no handler is named, by options
// that are for it, since that is Java's default. Nothing else leads to one.
func (r *reader) isUnsecured() bool {
	if handler := strings.TrimSpace(r.Property(propHandler)); handler != "" {
		return handler == unsecuredClass
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(r.Options)), func(name string) bool { return strings.HasPrefix(name, "unsecuredLogin") })
}

// retriever chooses by the classes that are named, and Java's DefaultJwtRetriever by the endpoint's URL.
func (r *reader) retriever() Retriever {
	switch handler := strings.TrimSpace(r.Property(propHandler)); handler {
	case "", kafkaClasses + "OAuthBearerLoginCallbackHandler", kafkaClasses + "secured.OAuthBearerLoginCallbackHandler": // the latter until Kafka 4.0
	default:
		r.fail(propHandler, "make an oauthbearer.Login with a Retriever that does the same, and set Config.SASL to it", "%s is a Java class that this library has no counterpart of", foreign.Quote(handler))
		return nil
	}
	switch class := strings.TrimSpace(r.Property(propRetriever)); class {
	case "", kafkaClasses + "DefaultJwtRetriever":
		if u, err := url.Parse(r.Property(propEndpoint)); err == nil && strings.EqualFold(u.Scheme, "file") {
			return r.file()
		}
		return r.clientCredentials()
	case kafkaClasses + "FileJwtRetriever":
		return r.file()
	case kafkaClasses + "ClientCredentialsJwtRetriever":
		return r.clientCredentials()
	case kafkaClasses + "JwtBearerJwtRetriever":
		return &JWTBearer{Endpoint: r.endpoint(strings.TrimSpace(r.Property(propScope))), Assertion: r.assertion()}
	default:
		r.fail(propRetriever, "make an oauthbearer.Login with a Retriever that does the same, and set Config.SASL to it", "%s is a Java class that this library has no counterpart of", foreign.Quote(class))
		return nil
	}
}

// validator refuses classes whose checks would be missing.
func (r *reader) validator() {
	switch class := strings.TrimSpace(r.Property(propValidator)); class {
	case "", kafkaClasses + "DefaultJwtValidator", kafkaClasses + "ClientJwtValidator":
	default:
		r.fail(propValidator, "remove it, or make an oauthbearer.Login with a Retriever that checks the token, and set Config.SASL to it", "%s is a Java class that this library has no counterpart of", foreign.Quote(class))
	}
}

func (r *reader) file() Retriever {
	u, err := url.Parse(r.Property(propEndpoint))
	switch {
	case err != nil || !strings.EqualFold(u.Scheme, "file") || u.Path == "":
		r.fail(propEndpoint, "write file:/path/of/token", "is not the URL of a file")
		return nil
	case u.Host != "" && u.Host != "localhost":
		r.fail(propEndpoint, "write file:///path/of/token", "names a host: the file has to be on this machine")
		return nil
	}
	return &File{Path: u.Path}
}

func (r *reader) clientCredentials() Retriever {
	c := &ClientCredentials{
		Endpoint:     r.endpoint(r.either(propScope, "scope")),
		ClientID:     r.either(propClientID, "clientId"),
		ClientSecret: sasl.NewSecret(r.either(propSecret, "clientSecret")),
		URLEncode:    strings.EqualFold(r.Property("sasl.oauthbearer.header.urlencode"), "true"),
	}
	switch {
	case strings.TrimSpace(r.Property(propAssertion+"file")) != "" || r.Property(propAssertion+"claim.iss") != "": // Java's rule
		c.Assertion = r.assertion()
	case c.ClientID == "":
		r.fail(propClientID, "set it, or give the login module the option clientId", "is needed to ask for a token")
	case c.ClientSecret.IsZero():
		r.fail(propSecret, "set it, or give the login module the option clientSecret, or use an assertion (sasl.oauthbearer.assertion.claim.iss)", "is needed to ask for a token")
	}
	return c
}

func (r *reader) endpoint(scope string) Endpoint {
	e := Endpoint{
		URL: strings.TrimSpace(r.Property(propEndpoint)), Scope: scope, TLS: r.tls(),
		ConnectTimeout:  r.duration("sasl.login.connect.timeout.ms", time.Millisecond),
		ReadTimeout:     r.duration("sasl.login.read.timeout.ms", time.Millisecond),
		RetryBackoff:    r.duration("sasl.login.retry.backoff.ms", time.Millisecond),
		RetryBackoffMax: r.duration("sasl.login.retry.backoff.max.ms", time.Millisecond),
	}
	u, err := url.Parse(e.URL)
	switch {
	case e.URL == "":
		r.fail(propEndpoint, "name the token endpoint of the identity provider, or a file: URL", "is needed to get a token")
	case err != nil || u.Host == "":
		r.fail(propEndpoint, "", "is not a URL with a host")
	case u.Scheme != "https" && u.Scheme != "http":
		r.fail(propEndpoint, "", "begins with %s: only https and file are known", foreign.Quote(u.Scheme))
	}
	return e
}

func (r *reader) assertion() Assertion {
	if file := strings.TrimSpace(r.Property(propAssertion + "file")); file != "" {
		return &AssertionFile{Path: file}
	}
	a := &SignedAssertion{
		Algorithm:    r.Property(propAssertion + "algorithm"),
		KeyFile:      strings.TrimSpace(r.Property(propAssertion + "private.key.file")),
		Passphrase:   sasl.NewSecret(strings.TrimSpace(r.Property(propAssertion + "private.key.passphrase"))),
		Issuer:       strings.TrimSpace(r.Property(propAssertion + "claim.iss")),
		Subject:      strings.TrimSpace(r.Property(propAssertion + "claim.sub")),
		Audience:     strings.TrimSpace(r.Property(propAssertion + "claim.aud")),
		TemplateFile: strings.TrimSpace(r.Property(propAssertion + "template.file")),
		Expires:      r.duration(propAssertion+"claim.exp.seconds", time.Second),
		NotBefore:    r.duration(propAssertion+"claim.nbf.seconds", time.Second),
		ID:           strings.EqualFold(r.Property(propAssertion+"claim.jti.include"), "true"),
	}
	if a.KeyFile == "" {
		r.fail(propAssertion+"private.key.file", "name the PEM file of the key, or a finished assertion by sasl.oauthbearer.assertion.file", "is needed to make assertions")
	}
	return a
}

// extensions are the options that begin with prefix, checked by Java's rules.
func (r *reader) extensions(prefix string) map[string]string {
	extensions := map[string]string{}
	for _, option := range slices.Sorted(maps.Keys(r.Options)) {
		name, ok := strings.CutPrefix(option, prefix)
		if !ok {
			continue
		}
		extensions[name] = r.Option(option)
	}
	if err := (sasl.Token{Extensions: extensions}).CheckExtensions(); err != nil {
		r.fail(propJAAS, "", "an option that begins with %s: %v", prefix, err)
	}
	return extensions
}

// unsecured reads the options of Java's OAuthBearerUnsecuredLoginCallbackHandler.
func (r *reader) unsecured(login *Login) Retriever {
	u := &Unsecured{Claims: map[string]any{}}
	for _, option := range slices.Sorted(maps.Keys(r.Options)) {
		value := r.Option(option)
		if name, ok := strings.CutPrefix(option, "unsecuredLoginStringClaim_"); ok && name != "" {
			r.claim(u, name, value)
		} else if name, ok := strings.CutPrefix(option, "unsecuredLoginNumberClaim_"); ok && name != "" {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				r.fail(propJAAS, "", "option %s is not a number", foreign.Quote(option))
			}
			r.claim(u, name, number)
		} else if name, ok := strings.CutPrefix(option, "unsecuredLoginListClaim_"); ok && name != "" {
			r.claim(u, name, splitList(value))
		}
	}
	if seconds := r.Option("unsecuredLoginLifetimeSeconds"); seconds != "" {
		n, err := strconv.ParseInt(seconds, 10, 32)
		if err != nil || n <= 0 {
			r.fail(propJAAS, "", "option unsecuredLoginLifetimeSeconds is not a number of seconds above 0")
		}
		u.Lifetime = time.Duration(n) * time.Second
	}
	login.SubjectClaim = cmp.Or(strings.TrimSpace(r.Option("unsecuredLoginPrincipalClaimName")), "sub")
	login.ScopeClaim = cmp.Or(strings.TrimSpace(r.Option("unsecuredLoginScopeClaimName")), "scope")
	if subject, _ := u.Claims[login.SubjectClaim].(string); strings.TrimSpace(subject) == "" {
		r.fail(propJAAS, `add the option unsecuredLoginStringClaim_`+foreign.Plain(login.SubjectClaim)+`="name", or for a signed token set sasl.login.callback.handler.class to `+kafkaClasses+`OAuthBearerLoginCallbackHandler`, "an unsecured token needs a name, and the login module has no option for it")
	}
	return u
}

func (r *reader) claim(u *Unsecured, name string, value any) {
	if name == "exp" || name == "iat" {
		r.fail(propJAAS, "remove the option", "the claim %s of an unsecured token is made of the time", name)
	}
	u.Claims[name] = value
}

// splitList reads a list whose first character is its separator: "|a|b".
func splitList(value string) []string {
	_, size := utf8.DecodeRuneInString(value)
	if len(value) <= size {
		return []string{}
	}
	return strings.Split(value[size:], value[:size])
}
