// Package login makes a SASL mechanism of what Kafka's properties say: sasl.mechanism, sasl.jaas.config, and the names of Java classes
// beside them.
package login

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/internal/jaas"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/network/sasl/oauthbearer"
)

const (
	propMechanism     = "sasl.mechanism"
	propJAAS          = "sasl.jaas.config"
	propClientHandler = "sasl.client.callback.handler.class"
	propLoginHandler  = "sasl.login.callback.handler.class"
	propLogin         = "sasl.login.class"

	kafka = "org.apache.kafka.common.security."

	repository = "github.com/quill-kafka/quill/"
)

// builtins are the mechanisms that need no registration.
var builtins = map[string]sasl.Builder{
	"PLAIN":         plain,
	"SCRAM-SHA-256": scram(crypto.SHA256),
	"SCRAM-SHA-512": scram(crypto.SHA512),
	"OAUTHBEARER":   oauth,
}

// modules are the login modules that are known, with the mechanisms that each is for. As in Java, that of PLAIN and that of SCRAM
// stand for each other.
var modules = map[string][]string{
	kafka + "plain.PlainLoginModule":                  {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
	kafka + "scram.ScramLoginModule":                  {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
	kafka + "oauthbearer.OAuthBearerLoginModule":      {"OAUTHBEARER"},
	"com.sun.security.auth.module.Krb5LoginModule":    {"GSSAPI"},
	"com.ibm.security.auth.module.Krb5LoginModule":    {"GSSAPI"},
	"software.amazon.msk.auth.iam.IAMLoginModule":     {"AWS_MSK_IAM"},
	"com.amazonaws.services.kafka.iam.IAMLoginModule": {"AWS_MSK_IAM"},
	"com.sun.security.auth.module.JndiLoginModule":    nil, // Java refuses both (CVE-2023-25194)
	"com.sun.security.auth.module.LdapLoginModule":    nil,
}

// plugins are the packages that register a mechanism.
var plugins = map[string]string{
	"GSSAPI":      repository + "plugin/kerberos",
	"AWS_MSK_IAM": repository + "plugin/awsmsk",
}

// Mechanism makes the mechanism that s.Mechanism names. It reads sasl.jaas.config, so that Module and Options of s need not be set.
// Its error is a [*sasl.SettingError].
func Mechanism(s sasl.Settings) (sasl.Mechanism, error) {
	build := builtins[s.Mechanism]
	if build == nil {
		build = sasl.Registered(s.Mechanism)
	}
	if build == nil {
		return nil, unknown(s.Mechanism)
	}
	if err := readModule(&s); err != nil {
		return nil, err
	}
	if builtins[s.Mechanism] != nil {
		if s.Module == "" {
			return nil, fault(propJAAS, "set it to a login module with its options", "is needed for %s; a file that java.security.auth.login.config names is not read", s.Mechanism)
		}
		if err := checkClasses(s); err != nil {
			return nil, err
		}
	}
	return build(s)
}

func unknown(mechanism string) error {
	if plugin := plugins[mechanism]; plugin != "" {
		return fault(propMechanism, `add import _ "`+plugin+`" to the program`, "%s needs a module that is not linked in", mechanism)
	}
	for _, name := range append(sasl.Mechanisms(), "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "AWS_MSK_IAM") {
		if strings.EqualFold(name, mechanism) {
			return fault(propMechanism, "write "+name, "names of mechanisms are written in capitals")
		}
	}
	return fault(propMechanism, "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI or AWS_MSK_IAM, or set Config.SASL", "is not a mechanism that is known here")
}

// readModule sets Module and Options to what sasl.jaas.config says.
func readModule(s *sasl.Settings) error {
	text := s.Property(propJAAS)
	if text == "" {
		return nil
	}
	entry, err := jaas.ParseOne(text)
	if err != nil {
		return fault(propJAAS, `write: login.Module required option="value" …;`, "%v", err)
	}
	s.Module, s.Options = strings.TrimSpace(entry.Module), make(map[string]sasl.Secret, len(entry.Options))
	for name, value := range entry.Options {
		s.Options[name] = sasl.NewSecret(value)
	}
	// Products that bring their own copy of the client give its classes a name before the name: kafkashaded.org.apache.kafka…
	if at := strings.Index(s.Module, kafka); at > 0 {
		s.Module = s.Module[at:]
	}
	mechanisms, known := modules[s.Module]
	switch {
	case !known && sasl.Registered(s.Mechanism) == nil:
		return fault(propJAAS, "use one of Kafka's login modules, or set Config.SASL to a mechanism that does the same", "%s is a Java class that this library has no counterpart of", quote(s.Module))
	case known && mechanisms == nil:
		return fault(propJAAS, "", "%s is not allowed, as in Java", quote(s.Module))
	case known && !slices.Contains(mechanisms, s.Mechanism) && sasl.Registered(s.Mechanism) == nil:
		return fault(propJAAS, "", "the login module %s is for %s, and sasl.mechanism is %s", quote(s.Module), strings.Join(mechanisms, ", "), s.Mechanism)
	}
	return nil
}

// ownClasses are Kafka's own values of properties that name classes: what this library does anyway.
var ownClasses = map[string][]string{
	propClientHandler: {kafka + "authenticator.SaslClientCallbackHandler", kafka + "oauthbearer.internals.OAuthBearerSaslClientCallbackHandler"},
	propLoginHandler:  {kafka + "authenticator.AbstractLogin$DefaultLoginCallbackHandler"},
	propLogin:         {kafka + "authenticator.DefaultLogin", kafka + "oauthbearer.internals.OAuthBearerRefreshingLogin"},
}

// instead is what to do in Go in place of a Java class.
var instead = map[string]string{ // #nosec G101 -- what to do about credentials
	"PLAIN":         "set Config.SASL to sasl.PlainFrom with a func that returns the credentials",
	"SCRAM-SHA-256": "set Config.SASL to a sasl.Scram whose Credentials return them",
	"SCRAM-SHA-512": "set Config.SASL to a sasl.Scram whose Credentials return them",
	"OAUTHBEARER":   "set Config.SASL to sasl.OAuthBearer with a func that returns the token",
}

// checkClasses refuses Java classes that would be missing. The login handler of OAUTHBEARER is for package oauthbearer to look at.
func checkClasses(s sasl.Settings) error {
	for _, property := range []string{propClientHandler, propLoginHandler, propLogin} {
		class := strings.TrimSpace(s.Property(property))
		if class == "" || slices.Contains(ownClasses[property], class) || property == propLoginHandler && s.Mechanism == "OAUTHBEARER" {
			continue
		}
		return fault(property, "remove it, and "+instead[s.Mechanism], "%s is a Java class that this library has no counterpart of", quote(class))
	}
	return nil
}

func plain(s sasl.Settings) (sasl.Mechanism, error) {
	c, err := credentials(s)
	if err != nil {
		return nil, err
	}
	return sasl.PlainFrom(c), nil
}

func scram(hash crypto.Hash) sasl.Builder {
	return func(s sasl.Settings) (sasl.Mechanism, error) {
		c, err := credentials(s)
		if err != nil {
			return nil, err
		}
		return &sasl.Scram{Hash: hash, Credentials: c}, nil
	}
}

func credentials(s sasl.Settings) (sasl.CredentialsFunc, error) {
	for _, option := range []string{"username", "password"} {
		if s.Option(option) == "" {
			return nil, fault(propJAAS, "add "+option+`="…" before the semicolon`, "the login module has no option %s", option)
		}
	}
	token := strings.EqualFold(s.Option("tokenauth"), "true") && s.Mechanism != "PLAIN" // which Java's PLAIN does not look at
	c := sasl.Credentials{Username: s.Option("username"), Password: s.Options["password"], DelegationToken: token}
	return func(context.Context, sasl.Peer) (sasl.Credentials, error) { return c, nil }, nil
}

func oauth(s sasl.Settings) (sasl.Mechanism, error) {
	login, err := oauthbearer.FromSettings(s)
	if err != nil {
		return nil, err
	}
	return login, nil
}

func fault(property, fix, format string, args ...any) error {
	return &sasl.SettingError{Property: property, Reason: fmt.Sprintf(format, args...), Fix: fix}
}

// quote returns the name of a class for an error. A forgotten quote may make a name of anything, so it is short.
func quote(class string) string {
	const most = 120
	if len(class) > most {
		class = class[:most] + "…"
	}
	return strconv.QuoteToASCII(class)
}
