package main

// Logins.
var ofSASL = []mutation{
	{
		name: "server-signature-not-checked", file: "network/sasl/scram.go",
		old: "if !hmac.Equal(signature, s.signature) {", new: "if len(signature) == 0 {",
		breaks: "a node that doesn't know the password is believed",
		by:     by("TestS7ScramIsNotDoneWithoutTheSignature"),
	},
	{
		name: "done-before-the-signature", file: "network/sasl/scram.go",
		old: "			s.state = scramFinal\n", new: "			s.state, done = scramFinal, true\n",
		breaks: "requests go out before the node has shown that it knows the password",
		by:     by("TestScramFollowsTheVectorsOfTheRFCs"),
	},
	{
		name: "any-number-of-iterations", file: "network/sasl/scram.go",
		old: "server.iterations < least || server.iterations > most", new: "server.iterations < least",
		breaks: "a node keeps the processor busy for hours",
		by:     by("TestScramIterationsAreConfigurable"),
	},
	{
		name: "few-iterations", file: "network/sasl/scram.go",
		old: "least = DefaultMinIterations", new: "least = 1",
		breaks: "a node gets a proof that passwords are guessed from",
		by:     by("TestH72HostileServerFirst"),
	},
	{
		name: "old-answer-is-taken", file: "network/sasl/scram_messages.go",
		old: "!found || rest == \"\"", new: "!found && rest == \"\"",
		breaks: "the recorded answer of another exchange gets a proof",
		by:     by("TestH72HostileServerFirst"),
	},
	{
		name: "keys-of-another-password", file: "network/sasl/scram_keys.go",
		old: "subtle.ConstantTimeCompare([]byte(e.password.Reveal()), []byte(password.Reveal())) == 1", new: "e.password.IsZero() == password.IsZero()",
		breaks: "a changed password is not used",
		by:     by("TestScramMakesTheKeysOfAPasswordOnce"),
	},
	{
		name: "nul-in-plain", file: "network/sasl/credentials.go",
		old: "case strings.ContainsRune(text, 0):", new: "case text == \"\\x00\":",
		breaks: "a field of PLAIN ends early, and what follows is read as another",
		by:     by("TestBadCredentialsAreNotSent"),
	},
	{
		name: "refusal-not-acknowledged", file: "network/sasl/oauthbearer.go",
		old: "return []byte{1}, false, fmt.Errorf(", new: "return nil, false, fmt.Errorf(",
		breaks: "a node waits for the answer to its refusal, and the client doesn't learn more (RFC 7628)",
		by:     by("TestOAuthBearerTellsWhyATokenIsRefused"),
	},
	{
		name: "secret-in-fmt", file: "network/sasl/secret.go",
		old: "{ _, _ = io.WriteString(f, masked) }", new: "{ _, _ = io.WriteString(f, s.Reveal()) }",
		breaks: "whoever prints a value with a password in it prints the password",
		by:     byRoot("TestNoSecretShowsInValues"),
	},
	{
		name: "echo-not-masked", file: "network/sasl/oauthbearer/endpoint.go",
		old: "fault.Code, fault.Text = redacted(code, r), redacted(text, r)", new: "fault.Code, fault.Text = redacted(code, r), text",
		breaks: "the secret that a token endpoint repeats in its refusal is in the log",
		by:     byRoot("TestNoSecretShowsWhenLoggingIn"),
	},
}
