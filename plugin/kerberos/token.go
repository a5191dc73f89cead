package kerberos

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// The tokens of the Kerberos mechanism of GSS-API (RFC 4121). gokrb5 has parts of them; those that prove the node's
// identity, number messages or come rotated it has not.

// The identifiers of context tokens (RFC 4121 §4.1).
var (
	idAPReq    = []byte{1, 0}
	idAPRep    = []byte{2, 0}
	idKRBError = []byte{3, 0}
)

// newAuthenticator returns an authenticator with the checksum that asks for mutual authentication and for integrity
// of what is wrapped (RFC 4121 §4.1.1).
func newAuthenticator(t *ticket, now time.Time) (types.Authenticator, error) {
	auth, err := types.NewAuthenticator(t.realm, t.client)
	if err != nil {
		return auth, err
	}
	var number [4]byte
	if _, err := rand.Read(number[:]); err != nil {
		return auth, err
	}
	auth.SeqNumber = int64(binary.BigEndian.Uint32(number[:]) & 0x3fffffff) // more than 30 bits are read as negative by some
	auth.CTime, auth.Cusec = now, now.Nanosecond()/1000
	sum := make([]byte, 24) // the length of the bindings, 16 bytes for no bindings, the flags
	binary.LittleEndian.PutUint32(sum, 16)
	binary.LittleEndian.PutUint32(sum[20:], gssapi.ContextFlagMutual|gssapi.ContextFlagSequence|gssapi.ContextFlagInteg)
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	return auth, nil
}

// apReqToken returns the first context token: the ticket, and the authenticator encrypted with its key.
func apReqToken(t *ticket, auth types.Authenticator) ([]byte, error) {
	if err := checkKey(t.key); err != nil {
		return nil, err
	}
	request, err := messages.NewAPReq(t.Ticket, t.key, auth)
	if err != nil {
		return nil, fmt.Errorf("make the AP-REQ: %w", err)
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	body, err := request.Marshal()
	if err != nil {
		return nil, fmt.Errorf("make the AP-REQ: %w", err)
	}
	oid, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	if err != nil {
		return nil, err
	}
	return asn1tools.AddASNAppTag(bytes.Join([][]byte{oid, idAPReq, body}, nil), 0), nil
}

// keySizes are the sizes of the keys for which RFC 4121 has tokens. Those for DES and RC4 are of RFC 1964, and broken besides.
var keySizes = map[int32]int{
	etypeID.AES128_CTS_HMAC_SHA1_96:    16,
	etypeID.AES256_CTS_HMAC_SHA1_96:    32,
	etypeID.AES128_CTS_HMAC_SHA256_128: 16,
	etypeID.AES256_CTS_HMAC_SHA384_192: 32,
}

// checkKey refuses keys that can't be used.
func checkKey(key types.EncryptionKey) error {
	size, known := keySizes[key.KeyType]
	switch {
	case !known:
		return fmt.Errorf("the KDC's key is of encryption type %d, and only those with AES are supported; give the brokers' principal AES keys", key.KeyType)
	case len(key.KeyValue) != size:
		return fmt.Errorf("a key of encryption type %d has %d bytes, not %d", key.KeyType, len(key.KeyValue), size)
	}
	return nil
}

// readAPRep returns the encrypted part of the node's context token.
func readAPRep(token []byte, key types.EncryptionKey) (part messages.EncAPRepPart, err error) {
	id, body, err := contextToken(token)
	if err != nil {
		return part, err
	}
	switch {
	case bytes.Equal(id, idKRBError):
		var refusal messages.KRBError
		if err := refusal.Unmarshal(body); err != nil {
			return part, errors.New("the node refuses the ticket, with an error that can't be read")
		}
		return part, fmt.Errorf("the node refuses the ticket: error %d: %s", refusal.ErrorCode, cite(refusal.EText))
	case !bytes.Equal(id, idAPRep):
		return part, fmt.Errorf("the node's token has the id %x, and an AP-REP (0200) was expected", id)
	}
	var reply messages.APRep
	if err := reply.Unmarshal(body); err != nil {
		return part, errors.New("the node's AP-REP can't be read")
	}
	plain, err := crypto.DecryptEncPart(reply.EncPart, key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return part, errors.New("the node did not prove its identity: it has another key than the ticket")
	}
	if err := part.Unmarshal(plain); err != nil {
		return part, errors.New("the node's AP-REP can't be read")
	}
	return part, nil
}

// contextToken takes the frame off a context token (RFC 2743 §3.1).
func contextToken(token []byte) (id, body []byte, err error) {
	var oid asn1.ObjectIdentifier
	inner, err := asn1.UnmarshalWithParams(token, &oid, "application,explicit,tag:0")
	switch {
	case err != nil:
		return nil, nil, errors.New("the node's token is none of GSS-API")
	case !oid.Equal(gssapi.OIDKRB5.OID()):
		return nil, nil, fmt.Errorf("the node's token is of mechanism %v, not of Kerberos", oid)
	case len(inner) < 2:
		return nil, nil, errors.New("the node's token is cut off")
	}
	return inner[:2], inner[2:], nil
}

// The flags of a wrapped message (RFC 4121 §4.2.2).
const (
	sentByAcceptor = 1
	sealed         = 2
	acceptorSubkey = 4

	wrapHeader = 16
)

// wrap returns a payload with a checksum that shows who sent it, unencrypted (RFC 4121 §4.2.6.2).
func (s *session) wrap(payload []byte) ([]byte, error) {
	header := []byte{5, 4, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if s.acceptorKey {
		header[2] = acceptorSubkey
	}
	binary.BigEndian.PutUint64(header[8:], s.next)
	s.next++
	sum, err := wrapSum(payload, header, s.key, keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(header[4:], uint16(len(sum)))
	return bytes.Join([][]byte{header, payload, sum}, nil), nil
}

// wrapSum returns the checksum over a payload and its header, in which the lengths count as zero.
func wrapSum(payload, header []byte, key types.EncryptionKey, usage uint32) ([]byte, error) {
	et, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	plain := append(bytes.Clone(payload), header...)
	clear(plain[len(payload)+4 : len(payload)+8])
	return et.GetChecksumHash(key.KeyValue, plain, usage)
}

// unwrap checks a message that the node has wrapped without encryption, and returns its payload.
func (s *session) unwrap(token []byte) ([]byte, error) {
	if len(token) < wrapHeader || token[0] != 5 || token[1] != 4 || token[3] != 0xff {
		return nil, errors.New("the offer of security layers is no wrapped message of Kerberos 5 (RFC 4121)")
	}
	header, rest := token[:wrapHeader], token[wrapHeader:]
	length, rotated := int(binary.BigEndian.Uint16(header[4:])), int(binary.BigEndian.Uint16(header[6:]))
	switch {
	case header[2]&sentByAcceptor == 0:
		return nil, errors.New("the offer of security layers comes from this side")
	case header[2]&sealed != 0:
		return nil, errors.New("the offer of security layers is encrypted, which RFC 4752 doesn't allow")
	case header[2]&acceptorSubkey != 0 != s.acceptorKey:
		return nil, errors.New("the offer of security layers was made with another key than was agreed on")
	case length > len(rest):
		return nil, errors.New("the offer of security layers is cut off")
	}
	if n := len(rest); n > 0 { // rotated to the right (§4.2.5)
		at := rotated % n
		rest = append(bytes.Clone(rest[at:]), rest[:at]...)
	}
	payload, sum := rest[:len(rest)-length], rest[len(rest)-length:]
	want, err := wrapSum(payload, header, s.key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, want) {
		return nil, errors.New("the offer of security layers was changed on its way, or is somebody else's: its checksum is wrong")
	}
	return payload, nil
}

// mostCited is how many bytes of a foreign text go into an error.
const mostCited = 256

// cite quotes a text of the node or the KDC for an error, and cuts it.
func cite(text string) string {
	if len(text) > mostCited {
		return strconv.QuoteToASCII(text[:mostCited]) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// citeEnds is cite for the errors of gokrb5, of which the beginning and the end say most.
func citeEnds(text string) string {
	if len(text) > mostCited {
		return strconv.QuoteToASCII(text[:mostCited/2]) + "…" + strconv.QuoteToASCII(text[len(text)-mostCited/2:])
	}
	return strconv.QuoteToASCII(text)
}
