package quill

import "math"

const (
	maxInt32 = math.MaxInt32
	maxInt64 = math.MaxInt64

	anyList = "list, no null/empty elements; may be empty"

	needsTLS  = "TLS"
	needsSASL = "SASL"
)

// The properties of TLS. If they were ignored, a connection that the user wants to secure would not be, so all of
// them are refused until they work.

var sslProperties = []property{
	tlsRow("ssl.cipher.suites", "LIST", `""`, anyList, importanceLow, "Cipher suites allowed."),
	tlsRow("ssl.enabled.protocols", "LIST", "TLSv1.2,TLSv1.3", anyList, importanceMedium, "TLS versions allowed."),
	tlsRow("ssl.endpoint.identification.algorithm", "STRING", "https", "", importanceLow, "`https` compares the host name with the broker's certificate; empty does not."),
	tlsRow("ssl.engine.factory.class", "CLASS", "null", "", importanceLow, "Java class that makes TLS engines."),
	tlsRow("ssl.key.password", "PASSWORD", "null", "", importanceHigh, "Password of the private key."),
	tlsRow("ssl.keymanager.algorithm", "STRING", "SunX509", "", importanceLow, "Key manager of the JVM."),
	tlsRow("ssl.keystore.certificate.chain", "PASSWORD", "null", "", importanceHigh, "Own certificate chain as PEM text (KIP-651)."),
	tlsRow("ssl.keystore.key", "PASSWORD", "null", "", importanceHigh, "Own private key as PEM text."),
	tlsRow("ssl.keystore.location", "STRING", "null", "", importanceHigh, "File with the own certificate and key."),
	tlsRow("ssl.keystore.password", "PASSWORD", "null", "", importanceHigh, "Password of that file."),
	tlsRow("ssl.keystore.type", "STRING", "JKS", "", importanceMedium, "Format of that file: JKS, PKCS12 or PEM."),
	tlsRow("ssl.protocol", "STRING", "TLSv1.3", "", importanceMedium, "Highest TLS version."),
	tlsRow("ssl.provider", "STRING", "null", "", importanceMedium, "TLS provider of the JVM."),
	tlsRow("ssl.secure.random.implementation", "STRING", "null", "", importanceLow, "Random number generator of the JVM."),
	tlsRow("ssl.trustmanager.algorithm", "STRING", "PKIX", "", importanceLow, "Trust manager of the JVM."),
	tlsRow("ssl.truststore.certificates", "PASSWORD", "null", "", importanceHigh, "Trusted certificates as PEM text."),
	tlsRow("ssl.truststore.location", "STRING", "null", "", importanceHigh, "File with the trusted certificates."),
	tlsRow("ssl.truststore.password", "PASSWORD", "null", "", importanceHigh, "Password of that file."),
	tlsRow("ssl.truststore.type", "STRING", "JKS", "", importanceMedium, "Format of that file: JKS, PKCS12 or PEM."),
}

func tlsRow(name, typ, def, valid string, imp importance, help string) property {
	return property{name: name, typ: typ, def: def, valid: valid, importance: imp, status: statusNotYet, note: needsTLS, help: help}
}
