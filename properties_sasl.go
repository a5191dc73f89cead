package quill

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/internal/javaprops"
	"github.com/quill-kafka/quill/internal/login"
	"github.com/quill-kafka/quill/network/sasl"
)

// The properties of SASL have no fields in Config: a program in Go sets Config.SASL. Their texts are checked and kept, and New makes
// a mechanism of them.

var saslProperties = []property{
	keptRow("sasl.client.callback.handler.class", "CLASS", "null", "", importanceMedium, "Java class that answers questions for credentials. Kafka's own are understood; others are refused with their counterpart in Go. A mechanism of a plug-in may know more."),
	keptRow("sasl.jaas.config", "PASSWORD", "null", "", importanceMedium, "Login module and its options, with credentials, as Java reads them. Needed for PLAIN, SCRAM and OAUTHBEARER. A file that java.security.auth.login.config names is not read."),
	unusedRow("sasl.kerberos.kinit.cmd", "STRING", "/usr/bin/kinit", "", importanceLow, "tickets are fetched without kinit", "Kerberos: path of kinit."),
	unusedRow("sasl.kerberos.min.time.before.relogin", "LONG", "60000", "", importanceLow, "plugin/kerberos logs in again when a ticket has ended", "Kerberos: shortest time between logins, in ms."),
	keptRow("sasl.kerberos.service.name", "STRING", "null", "", importanceMedium, "Kerberos: principal of the brokers. For plugin/kerberos."),
	unusedRow("sasl.kerberos.ticket.renew.jitter", "DOUBLE", "0.05", "", importanceLow, "plugin/kerberos renews without one", "Kerberos: random part of the renewal time."),
	unusedRow("sasl.kerberos.ticket.renew.window.factor", "DOUBLE", "0.8", "", importanceLow, "plugin/kerberos renews after five sixths", "Kerberos: part of a ticket's life after which it is renewed."),
	keptRow("sasl.login.callback.handler.class", "CLASS", "null", "", importanceMedium, "Java class that fetches tokens. OAuthBearerLoginCallbackHandler asks an endpoint or reads a file; without it, options that begin with unsecuredLogin make a token that is not signed. Others than Kafka's are refused with their counterpart in Go."),
	keptRow("sasl.login.class", "CLASS", "null", "", importanceMedium, "Java class that logs in. Kafka's own are understood; others are refused."),
	keptRow("sasl.login.connect.timeout.ms", "INT", "null", "", importanceLow, "OAUTHBEARER: time-out for connecting to the token endpoint, in ms. Without it, or with 0, 10 s; Java has none."),
	keptRow("sasl.login.read.timeout.ms", "INT", "null", "", importanceLow, "OAUTHBEARER: time-out for the token endpoint's answer, in ms. Without it, or with 0, 10 s; Java has none."),
	keptRow("sasl.login.refresh.buffer.seconds", "SHORT", "300", "[0,...,3600]", importanceLow, "OAUTHBEARER: refresh at least this long before a token ends."),
	keptRow("sasl.login.refresh.min.period.seconds", "SHORT", "60", "[0,...,900]", importanceLow, "OAUTHBEARER: shortest time between refreshes."),
	keptRow("sasl.login.refresh.window.factor", "DOUBLE", "0.8", "[0.5,...,1.0]", importanceLow, "OAUTHBEARER: part of a token's life after which it is refreshed."),
	keptRow("sasl.login.refresh.window.jitter", "DOUBLE", "0.05", "[0.0,...,0.25]", importanceLow, "OAUTHBEARER: random part of the refresh time."),
	keptRow("sasl.login.retry.backoff.max.ms", "LONG", "10000", "", importanceLow, "OAUTHBEARER: how long the token endpoint is tried for, in all, before a login fails."),
	keptRow("sasl.login.retry.backoff.ms", "LONG", "100", "", importanceLow, "OAUTHBEARER: first wait between tries at the token endpoint."),
	keptRow(nameSASLMechanism, "STRING", "GSSAPI", "non-empty when security.protocol is SASL_* (post-check)", importanceMedium, "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER; GSSAPI with plugin/kerberos, AWS_MSK_IAM with plugin/awsmsk, others that are registered."),
	unusedRow("sasl.oauthbearer.allow.unverified.audience", "BOOLEAN", "false", "", importanceMedium, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.allow.unverified.issuer", "BOOLEAN", "false", "", importanceMedium, "used by brokers only", "Used by brokers only."),
	keptRow("sasl.oauthbearer.assertion.algorithm", "STRING", "RS256", "(case insensitive) [ES256, RS256]", importanceMedium, "How an assertion is signed (KIP-1139)."),
	keptRow("sasl.oauthbearer.assertion.claim.aud", "STRING", "null", "", importanceMedium, "Claim `aud` of an assertion."),
	keptRow("sasl.oauthbearer.assertion.claim.exp.seconds", "INT", "300", "[0,...,86400]", importanceLow, "Claim `exp` of an assertion: this long after now."),
	keptRow("sasl.oauthbearer.assertion.claim.iss", "STRING", "null", "", importanceMedium, "Claim `iss` of an assertion. With client credentials, it makes an assertion stand for the secret (KIP-1258)."),
	keptRow("sasl.oauthbearer.assertion.claim.jti.include", "BOOLEAN", "false", "", importanceMedium, "Give each assertion a `jti` of its own."),
	keptRow("sasl.oauthbearer.assertion.claim.nbf.seconds", "INT", "60", "[0,...,3600]", importanceLow, "Claim `nbf` of an assertion: this long before now."),
	keptRow("sasl.oauthbearer.assertion.claim.sub", "STRING", "null", "", importanceMedium, "Claim `sub` of an assertion."),
	keptRow("sasl.oauthbearer.assertion.file", "STRING", "null", "", importanceMedium, "File with a finished assertion; then the other assertion properties do not count. It is read again when it changes."),
	keptRow("sasl.oauthbearer.assertion.private.key.file", "STRING", "null", "", importanceMedium, "PEM file with the key that signs assertions. It is read again when it changes."),
	keptRow("sasl.oauthbearer.assertion.private.key.passphrase", "PASSWORD", "null", "", importanceMedium, "Passphrase of that key."),
	keptRow("sasl.oauthbearer.assertion.template.file", "STRING", "null", "", importanceMedium, "JSON file with fixed headers and claims of assertions. It is read again when it changes."),
	keptRow("sasl.oauthbearer.client.credentials.client.id", "STRING", "null", "", importanceMedium, "Client id for the client credentials grant."),
	keptRow("sasl.oauthbearer.client.credentials.client.secret", "PASSWORD", "null", "", importanceMedium, "Client secret for the client credentials grant."),
	unusedRow("sasl.oauthbearer.clock.skew.seconds", "INT", "30", "", importanceLow, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.expected.audience", "LIST", `""`, anyList, importanceHigh, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.expected.issuer", "STRING", "null", "", importanceHigh, "used by brokers only", "Used by brokers only."),
	keptRow("sasl.oauthbearer.header.urlencode", "BOOLEAN", "false", "", importanceLow, "URL-encode id and secret in the header (KIP-1025)."),
	unusedRow("sasl.oauthbearer.jwks.endpoint.refresh.ms", "LONG", "3600000", "", importanceLow, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "LONG", "10000", "", importanceLow, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "LONG", "100", "", importanceLow, "used by brokers only", "Used by brokers only."),
	unusedRow("sasl.oauthbearer.jwks.endpoint.url", "STRING", "null", "", importanceMedium, "used by brokers only", "Used by brokers only."),
	keptRow("sasl.oauthbearer.jwt.retriever.class", "CLASS", "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", "", importanceMedium, "Java class that fetches a token. Kafka's own are understood: DefaultJwtRetriever, ClientCredentialsJwtRetriever, JwtBearerJwtRetriever, FileJwtRetriever."),
	keptRow("sasl.oauthbearer.jwt.validator.class", "CLASS", "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", "", importanceMedium, "Java class that looks at a token before it is used. Kafka's DefaultJwtValidator and ClientJwtValidator are understood. Signatures are for brokers to check."),
	keptRow("sasl.oauthbearer.scope", "STRING", "null", "", importanceMedium, "Scope to ask for."),
	keptRow("sasl.oauthbearer.scope.claim.name", "STRING", "scope", "", importanceLow, "Name of the scope's claim."),
	keptRow("sasl.oauthbearer.sub.claim.name", "STRING", "sub", "", importanceLow, "Name of the subject's claim."),
	keptRow("sasl.oauthbearer.token.endpoint.url", "STRING", "null", "", importanceMedium, "Where tokens come from: https, or a file: URL. http only in Go, by oauthbearer.Endpoint.AllowHTTP."),
}

// keptRow is a property without a field, whose text is kept.
func keptRow(name, typ, def, valid string, imp importance, help string) property {
	return property{name: name, typ: typ, def: def, valid: valid, importance: imp, kept: true, help: help}
}

// unusedRow is a property that is checked as in Java, and then not used.
func unusedRow(name, typ, def, valid string, imp importance, why, help string) property {
	row := keptRow(name, typ, def, valid, imp, help)
	row.status, row.note = statusNoEffect, why
	return row
}

// checkKept checks the text of a property that is kept, by Java's type and range.
func (row *property) checkKept(text string) complaint {
	var no javaprops.Complaint
	switch row.typ {
	case "SHORT", "INT", "LONG":
		var n int64
		if n, no = javaprops.Int(text, row.typ, ""); no == (javaprops.Complaint{}) {
			return row.checkRange(float64(n))
		}
	case "DOUBLE":
		var x float64
		if x, no = javaprops.Double(text); no == (javaprops.Complaint{}) {
			return row.checkRange(x)
		}
	case "BOOLEAN":
		_, no = javaprops.Bool(text)
	case "STRING":
		return row.checkWords(text)
	case "LIST":
		return checkList(text)
	case "CLASS":
		return checkClass(text)
	}
	return complaint{no.Reason, no.Fix}
}

// checkClass checks that a class is named. In Java the empty name is a class that can't be found.
func checkClass(text string) complaint {
	if text == "" {
		return complaint{"is empty", "name a Java class, or leave it out"}
	}
	return complaint{}
}

// checkList checks that no element of a list is empty, as Java does since 4.0 (ConfigDef.ValidList). Elements that are there twice
// count once there.
func checkList(text string) complaint {
	for element := range strings.SplitSeq(text, ",") {
		if trimJava(element) == "" && text != "" {
			return complaint{"has an empty element", "remove the comma"}
		}
	}
	return complaint{}
}

// checkRange checks a number against a range as Kafka writes it: "[0,...,3600]".
func (row *property) checkRange(x float64) complaint {
	least, greatest, bounded := strings.Cut(strings.Trim(row.valid, "[]"), ",...,")
	if !bounded {
		return complaint{}
	}
	low, _ := strconv.ParseFloat(least, 64) // both are written in the table
	high, _ := strconv.ParseFloat(greatest, 64)
	switch {
	case x < low:
		return complain("must be at least %s", least)
	case !(x <= high): // also what is not a number
		return complain("must be at most %s", greatest)
	}
	return complaint{}
}

// checkWords checks a text against words as Kafka writes them: "(case insensitive) [ES256, RS256]".
func (row *property) checkWords(text string) complaint {
	list, limited := strings.CutPrefix(row.valid, "(case insensitive) ")
	if !limited {
		return complaint{}
	}
	words := strings.Split(strings.Trim(list, "[]"), ", ")
	if slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, text) }) {
		return complaint{}
	}
	return complain("must be one of %s", strings.Join(words, ", "))
}

// keep keeps the text of a property that has no field.
func (p *givenProperties) keep(name, text string) {
	if p.kept == nil {
		p.kept = map[string]sasl.Secret{}
	}
	p.kept[name] = sasl.NewSecret(text)
}

// keptText returns the text of a property that has no field, or Kafka's default.
func (c *Config) keptText(name string) string {
	if text, given := c.props.kept[name]; given {
		return text.Reveal()
	}
	switch row := propertyByName[name]; {
	case row == nil || row.def == "null" || row.def == `""`:
		return ""
	default:
		return row.def
	}
}

// mechanismOfProperties makes the mechanism that the properties name. Its error is a *sasl.SettingError.
func (c *Config) mechanismOfProperties(l *slog.Logger) (sasl.Mechanism, error) {
	return login.Mechanism(sasl.Settings{Mechanism: c.keptText(nameSASLMechanism), Property: c.keptText, Logger: l})
}
