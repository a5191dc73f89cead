package network

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/quill-kafka/quill/internal/foreign"
)

// remoteAlert is the Op of crypto/tls's net.OpError about an alert of the other end.
const remoteAlert = "remote error"

// isAlert reports whether err is an alert of the other end.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == remoteAlert
}

// certificateHint says where a certificate of the client is set.
const certificateHint = "set Config.TLS.Certificates (ssl.keystore.location and its like)"

// explain returns an error of a handshake with what it may mean. Go's texts cite names of the node's certificate as they
// are, so these are put together here.
func (l *tlsLine) explain(err error, step string) *TLSError {
	e := &TLSError{Step: step, Err: err, Lasting: true}
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		e.Err = fmt.Errorf("%w: the answer is not TLS (%q)", ErrWrongProtocol, header.RecordHeader[:])
		e.Hint = plaintextHint
		return e
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		l.explainCertificate(e, wrong)
		return e
	}
	if isAlert(err) {
		op, _ := errors.AsType[*net.OpError](err)
		e.Err = fmt.Errorf("the node refuses the connection with an alert: %w", op.Err)
		e.Hint, e.Lasting = l.alertHint(op.Err)
		return e
	}
	switch {
	case isTimeout(err):
		e.Lasting, e.Hint = false, plaintextHint
	case closedByPeer(err):
		e.Err = fmt.Errorf("the node closed the connection (%w)", err)
		e.Lasting, e.Hint = false, plaintextHint
	}
	return e
}

// plaintextHint is the hint at a listener without TLS.
const plaintextHint = "is it the port of a plaintext listener? Then leave Config.TLS out (security.protocol PLAINTEXT or SASL_PLAINTEXT)"

// explainCertificate explains why the node's certificate was not accepted.
func (l *tlsLine) explainCertificate(e *TLSError, wrong *tls.CertificateVerificationError) {
	host, hostOK := errors.AsType[x509.HostnameError](wrong)
	unknown, unknownOK := errors.AsType[x509.UnknownAuthorityError](wrong)
	invalid, invalidOK := errors.AsType[x509.CertificateInvalidError](wrong)
	switch {
	case hostOK:
		l.explainName(e, host)
	case unknownOK:
		issuer := ""
		if unknown.Cert != nil {
			issuer = unknown.Cert.Issuer.String()
		}
		e.Err = shown{fmt.Sprintf("the node's certificate is signed by an authority that is not trusted, %s", foreign.Quote(issuer)), wrong}
		e.Hint = "put the authority's certificate into Config.TLS.RootCAs (ssl.truststore.location and its like); " +
			"without them the system's authorities count"
	case invalidOK && invalid.Reason == x509.Expired:
		e.Err = shown{validity(invalid.Cert, l.now()), wrong}
		e.Hint = "the certificate has to be replaced, unless this machine's clock is wrong"
	case invalidOK && invalid.Reason == x509.IncompatibleUsage:
		e.Err = shown{fmt.Sprintf("the certificate of %s is not one for servers (extended key usage)", subject(invalid.Cert)), wrong}
		e.Hint = "the node needs a certificate for server authentication"
	case invalidOK:
		e.Err = shown{fmt.Sprintf("the certificate of %s is not valid: %s", subject(invalid.Cert), foreign.Quote(invalid.Error())), wrong}
	default:
		e.Err = shown{"the node's certificate is not accepted: " + foreign.Quote(wrong.Err.Error()), wrong}
	}
}

// now returns the time by which certificates are judged.
func (l *tlsLine) now() time.Time {
	if l.conf.Time != nil {
		return l.conf.Time()
	}
	return time.Now()
}

// explainName says which names the certificate has instead of the one that was looked for.
func (l *tlsLine) explainName(e *TLSError, wrong x509.HostnameError) {
	names := wrong.Certificate.DNSNames
	for _, ip := range wrong.Certificate.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	e.Err = shown{fmt.Sprintf("the node's certificate is not one for %s: its names are %s", foreign.Quote(wrong.Host),
		nameList(names)), wrong}
	e.Hint = "connect to the node by one of its names (bootstrap.servers; advertised.listeners of the broker), or set Config.TLS.ServerName"
	if len(names) == 0 {
		e.Err = shown{fmt.Sprintf("the node's certificate is not one for %s: it has no subject alternative names, "+
			"and its common name %s does not count",
			foreign.Quote(wrong.Host), foreign.Quote(wrong.Certificate.Subject.CommonName)), wrong}
		e.Hint = "the node needs a certificate with its host in subjectAltName"
	}
}

// validity says when a certificate begins and ends to be valid.
func validity(cert *x509.Certificate, now time.Time) string {
	if now.Before(cert.NotBefore) {
		return fmt.Sprintf("the certificate of %s is not valid before %s, and it is %s", subject(cert), stamp(cert.NotBefore), stamp(now))
	}
	return fmt.Sprintf("the certificate of %s has expired at %s, and it is %s", subject(cert), stamp(cert.NotAfter), stamp(now))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// subject returns whom a certificate is for.
func subject(cert *x509.Certificate) string { return foreign.Quote(cert.Subject.String()) }

// shown is an error with a text of its own.
type shown struct {
	text string
	error
}

func (s shown) Error() string { return s.text }

func (s shown) Unwrap() error { return s.error }

// The alerts that are explained (RFC 8446, section 6).
const (
	alertUnexpectedMessage   = 10
	alertHandshakeFailure    = 40
	alertBadCertificate      = 42
	alertUnsupportedCert     = 43
	alertCertificateRevoked  = 44
	alertCertificateExpired  = 45
	alertCertificateUnknown  = 46
	alertUnknownAuthority    = 48
	alertAccessDenied        = 49
	alertProtocolVersion     = 70
	alertInternalError       = 80
	alertUserCanceled        = 90
	alertUnrecognizedName    = 112
	alertCertificateRequired = 116
)

// alertHint returns what an alert of the node may mean, and whether it would come again.
func (l *tlsLine) alertHint(alert error) (hint string, lasting bool) {
	switch alertCode(alert) {
	case alertInternalError, alertUserCanceled:
		return "", false
	case alertUnexpectedMessage:
		return plaintextHint, true
	case alertProtocolVersion:
		return "it has no TLS version in common with Config.TLS (ssl.enabled.protocols)", true
	case alertUnrecognizedName:
		return "it does not know the host by the name " + foreign.Quote(l.conf.ServerName), true
	case alertHandshakeFailure:
		if !l.asked || l.given {
			return "it may have no cipher suite in common with Config.TLS (ssl.cipher.suites)", true
		}
		return "it has asked for a certificate and got none: " + certificateHint, true
	case alertBadCertificate, alertUnsupportedCert, alertCertificateRevoked, alertCertificateExpired, alertCertificateUnknown,
		alertUnknownAuthority,
		alertAccessDenied, alertCertificateRequired:
		return l.certificateAlertHint(), true
	}
	return "", true
}

// certificateAlertHint is the hint at an alert about the client's certificate.
func (l *tlsLine) certificateAlertHint() string {
	switch {
	case !l.asked:
		return "" // it did not ask for one
	case l.given:
		return "it does not accept the certificate of Config.TLS (ssl.keystore.location and its like)"
	case len(l.conf.Certificates) > 0:
		return "it has asked for a certificate, and of those in Config.TLS none is of an authority that it accepts"
	}
	return "it has asked for a certificate and got none: " + certificateHint
}

// alertCode returns the number of an alert, of which crypto/tls gives only the text; -1 if it is unknown.
func alertCode(alert error) int {
	for code := range 256 {
		if tls.AlertError(code).Error() == alert.Error() {
			return code
		}
	}
	return -1
}

// closedByPeer reports whether err of a read or write says that the other end has closed the connection.
func closedByPeer(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && !op.Timeout() && op.Op != remoteAlert
}
