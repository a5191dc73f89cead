package quill

// The properties of SASL. If they were ignored, a connection that the user wants to secure would not be, so all of
// them are refused until they work.

var saslProperties = []property{
	saslRow("sasl.client.callback.handler.class", "CLASS", "null", "", importanceMedium, "Java class that answers questions for credentials."),
	saslRow("sasl.jaas.config", "PASSWORD", "null", "", importanceMedium, "Login module and credentials."),
	saslRow("sasl.kerberos.kinit.cmd", "STRING", "/usr/bin/kinit", "", importanceLow, "Kerberos: path of kinit."),
	saslRow("sasl.kerberos.min.time.before.relogin", "LONG", "60000", "", importanceLow, "Kerberos: shortest time between logins, in ms."),
	saslRow("sasl.kerberos.service.name", "STRING", "null", "", importanceMedium, "Kerberos: principal of the brokers."),
	saslRow("sasl.kerberos.ticket.renew.jitter", "DOUBLE", "0.05", "", importanceLow, "Kerberos: random part of the renewal time."),
	saslRow("sasl.kerberos.ticket.renew.window.factor", "DOUBLE", "0.8", "", importanceLow, "Kerberos: part of a ticket's life after which it is renewed."),
	saslRow("sasl.login.callback.handler.class", "CLASS", "null", "", importanceMedium, "Java class that fetches tokens."),
	saslRow("sasl.login.class", "CLASS", "null", "", importanceMedium, "Java class that logs in."),
	saslRow("sasl.login.connect.timeout.ms", "INT", "null", "", importanceLow, "OAUTHBEARER: time-out for connecting to the token endpoint."),
	saslRow("sasl.login.read.timeout.ms", "INT", "null", "", importanceLow, "OAUTHBEARER: time-out for the token endpoint's answer."),
	saslRow("sasl.login.refresh.buffer.seconds", "SHORT", "300", "[0,...,3600]", importanceLow, "OAUTHBEARER: refresh at least this long before a token ends."),
	saslRow("sasl.login.refresh.min.period.seconds", "SHORT", "60", "[0,...,900]", importanceLow, "OAUTHBEARER: shortest time between refreshes."),
	saslRow("sasl.login.refresh.window.factor", "DOUBLE", "0.8", "[0.5,...,1.0]", importanceLow, "OAUTHBEARER: part of a token's life after which it is refreshed."),
	saslRow("sasl.login.refresh.window.jitter", "DOUBLE", "0.05", "[0.0,...,0.25]", importanceLow, "OAUTHBEARER: random part of the refresh time."),
	saslRow("sasl.login.retry.backoff.max.ms", "LONG", "10000", "", importanceLow, "OAUTHBEARER: longest wait between tries at the token endpoint."),
	saslRow("sasl.login.retry.backoff.ms", "LONG", "100", "", importanceLow, "OAUTHBEARER: first wait between tries at the token endpoint."),
	saslRow("sasl.mechanism", "STRING", "GSSAPI", "non-empty when security.protocol is SASL_* (post-check)", importanceMedium, "GSSAPI, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or another one."),
	saslRow("sasl.oauthbearer.allow.unverified.audience", "BOOLEAN", "false", "", importanceMedium, "Used by brokers only."),
	saslRow("sasl.oauthbearer.allow.unverified.issuer", "BOOLEAN", "false", "", importanceMedium, "Used by brokers only."),
	saslRow("sasl.oauthbearer.assertion.algorithm", "STRING", "RS256", "(case insensitive) [ES256, RS256]", importanceMedium, "How an assertion is signed (KIP-1139)."),
	saslRow("sasl.oauthbearer.assertion.claim.aud", "STRING", "null", "", importanceMedium, "Claim `aud` of an assertion."),
	saslRow("sasl.oauthbearer.assertion.claim.exp.seconds", "INT", "300", "[0,...,86400]", importanceLow, "Claim `exp` of an assertion: this long after now."),
	saslRow("sasl.oauthbearer.assertion.claim.iss", "STRING", "null", "", importanceMedium, "Claim `iss` of an assertion."),
	saslRow("sasl.oauthbearer.assertion.claim.jti.include", "BOOLEAN", "false", "", importanceMedium, "Give each assertion a `jti` of its own."),
	saslRow("sasl.oauthbearer.assertion.claim.nbf.seconds", "INT", "60", "[0,...,3600]", importanceLow, "Claim `nbf` of an assertion: this long before now."),
	saslRow("sasl.oauthbearer.assertion.claim.sub", "STRING", "null", "", importanceMedium, "Claim `sub` of an assertion."),
	saslRow("sasl.oauthbearer.assertion.file", "STRING", "null", "", importanceMedium, "File with a finished assertion; then the other assertion properties do not count."),
	saslRow("sasl.oauthbearer.assertion.private.key.file", "STRING", "null", "", importanceMedium, "PEM file with the key that signs assertions."),
	saslRow("sasl.oauthbearer.assertion.private.key.passphrase", "PASSWORD", "null", "", importanceMedium, "Passphrase of that key."),
	saslRow("sasl.oauthbearer.assertion.template.file", "STRING", "null", "", importanceMedium, "File with fixed headers and claims of assertions."),
	saslRow("sasl.oauthbearer.client.credentials.client.id", "STRING", "null", "", importanceMedium, "Client id for the client credentials grant."),
	saslRow("sasl.oauthbearer.client.credentials.client.secret", "PASSWORD", "null", "", importanceMedium, "Client secret for the client credentials grant."),
	saslRow("sasl.oauthbearer.clock.skew.seconds", "INT", "30", "", importanceLow, "Used by brokers only."),
	saslRow("sasl.oauthbearer.expected.audience", "LIST", `""`, anyList, importanceHigh, "Used by brokers only."),
	saslRow("sasl.oauthbearer.expected.issuer", "STRING", "null", "", importanceHigh, "Used by brokers only."),
	saslRow("sasl.oauthbearer.header.urlencode", "BOOLEAN", "false", "", importanceLow, "URL-encode id and secret in the header (KIP-1025)."),
	saslRow("sasl.oauthbearer.jwks.endpoint.refresh.ms", "LONG", "3600000", "", importanceLow, "Used by brokers only."),
	saslRow("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "LONG", "10000", "", importanceLow, "Used by brokers only."),
	saslRow("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "LONG", "100", "", importanceLow, "Used by brokers only."),
	saslRow("sasl.oauthbearer.jwks.endpoint.url", "STRING", "null", "", importanceMedium, "Used by brokers only."),
	saslRow("sasl.oauthbearer.jwt.retriever.class", "CLASS", "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", "", importanceMedium, "Java class that fetches a token."),
	saslRow("sasl.oauthbearer.jwt.validator.class", "CLASS", "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", "", importanceMedium, "Java class that looks at a token before it is used."),
	saslRow("sasl.oauthbearer.scope", "STRING", "null", "", importanceMedium, "Scope to ask for."),
	saslRow("sasl.oauthbearer.scope.claim.name", "STRING", "scope", "", importanceLow, "Name of the scope's claim."),
	saslRow("sasl.oauthbearer.sub.claim.name", "STRING", "sub", "", importanceLow, "Name of the subject's claim."),
	saslRow("sasl.oauthbearer.token.endpoint.url", "STRING", "null", "", importanceMedium, "Where tokens come from, also a file: URL."),
}

func saslRow(name, typ, def, valid string, imp importance, help string) property {
	return property{name: name, typ: typ, def: def, valid: valid, importance: imp, status: statusNotYet, note: needsSASL, help: help}
}
