package kerberos

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

const realm = "KAFKA.TEST"

// acceptor is a node: it knows the service's key, and does what RFC 4121 and RFC 4752 want of it. Its fields make it do
// otherwise.
type acceptor struct {
	*testing.T
	keys    *keytab.Keytab
	session types.EncryptionKey // of the ticket
	subkey  types.EncryptionKey // that the node chooses; none if it has no value
	layers  byte
	rotate  uint16

	auth     types.Authenticator
	sequence uint64
}

// newAcceptor returns a node, and a ticket for it.
func newAcceptor(t *testing.T, etype int32) (*acceptor, *ticket) {
	a := &acceptor{T: t, keys: keytab.New(), layers: layerNone}
	require.NoError(t, a.keys.AddEntry("kafka/broker", realm, "service", time.Now(), 1, etype))
	client := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "alice")
	now, service := time.Now().UTC(), types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "kafka/broker")
	a.session = newKey(etype)
	part, err := asn1.Marshal(messages.EncTicketPart{Flags: types.NewKrbFlags(), Key: a.session, CRealm: realm, CName: client,
		AuthTime: now, StartTime: now, EndTime: now.Add(time.Hour), RenewTill: now.Add(time.Hour)})
	require.NoError(t, err)
	key, _, err := a.keys.GetEncryptionKey(service, realm, 1, etype)
	require.NoError(t, err)
	encrypted, err := crypto.GetEncryptedData(asn1tools.AddASNAppTag(part, asnAppTag.EncTicketPart), key, keyusage.KDC_REP_TICKET, 1)
	require.NoError(t, err)
	raw := messages.Ticket{TktVNO: 5, Realm: realm, SName: service, EncPart: encrypted}
	return a, &ticket{Ticket: raw, key: a.session, client: client, realm: realm, service: "kafka/broker"}
}

// newKey returns a random key. gokrb5's own makes them too short for SHA-384.
func newKey(etype int32) types.EncryptionKey {
	k := types.EncryptionKey{KeyType: etype, KeyValue: make([]byte, keySizes[etype])}
	if len(k.KeyValue) == 0 { // one of the weak types
		k.KeyValue = make([]byte, map[int32]int{etypeID.RC4_HMAC: 16, etypeID.DES3_CBC_SHA1_KD: 24}[etype])
	}
	_, _ = rand.Read(k.KeyValue)
	return k
}

// hidesKeys fails the test if what prints a session shows one of the keys.
func hidesKeys(t *testing.T, s sasl.Session, keys ...types.EncryptionKey) {
	w := planted.NewWatch(t, nil)
	for _, k := range keys {
		if len(k.KeyValue) > 0 {
			w.Add("key", string(k.KeyValue))
		}
	}
	w.Check(s)
}

// accept reads the first token, and returns the node's proof.
func (a *acceptor) accept(token []byte) []byte {
	id, body, err := contextToken(token)
	require.NoError(a, err)
	require.Equal(a, idAPReq, id)
	var request messages.APReq
	require.NoError(a, request.Unmarshal(body))
	require.True(a, types.IsFlagSet(&request.APOptions, flags.APOptionMutualRequired))
	name := request.Ticket.SName
	require.NoError(a, request.Ticket.DecryptEncPart(a.keys, &name))
	require.NoError(a, request.DecryptAuthenticator(request.Ticket.DecryptedEncPart.Key))
	a.auth = request.Authenticator
	sum := a.auth.Cksum.Checksum
	require.Len(a, sum, 24)
	require.EqualValues(a, gssapi.ContextFlagMutual|gssapi.ContextFlagSequence|gssapi.ContextFlagInteg, binary.LittleEndian.Uint32(sum[20:]))
	return a.proof(a.auth.CTime, a.auth.Cusec, a.session)
}

// proof returns an AP-REP.
func (a *acceptor) proof(at time.Time, cusec int, key types.EncryptionKey) []byte {
	// The fields are those of messages.EncAPRepPart, which writes an optional key even if there is none.
	var plain []byte
	var err error
	if len(a.subkey.KeyValue) > 0 {
		plain, err = asn1.Marshal(messages.EncAPRepPart{CTime: at.UTC().Truncate(time.Second), Cusec: cusec, Subkey: a.subkey, SequenceNumber: 7})
	} else {
		plain, err = asn1.Marshal(struct {
			CTime          time.Time `asn1:"generalized,explicit,tag:0"`
			Cusec          int       `asn1:"explicit,tag:1"`
			SequenceNumber int64     `asn1:"optional,explicit,tag:3"`
		}{at.UTC().Truncate(time.Second), cusec, 7})
	}
	require.NoError(a, err)
	encrypted, err := crypto.GetEncryptedData(asn1tools.AddASNAppTag(plain, asnAppTag.EncAPRepPart), key, keyusage.AP_REP_ENCPART, 0)
	require.NoError(a, err)
	body, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: encrypted})
	require.NoError(a, err)
	a.sequence = 7
	return frame(a.T, idAPRep, asn1tools.AddASNAppTag(body, asnAppTag.APREP))
}

func frame(t testing.TB, id, body []byte) []byte {
	oid, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	require.NoError(t, err)
	return asn1tools.AddASNAppTag(bytes.Join([][]byte{oid, id, body}, nil), 0)
}

// key returns the key of wrapped messages.
func (a *acceptor) key() types.EncryptionKey {
	if len(a.subkey.KeyValue) > 0 {
		return a.subkey
	}
	return a.session
}

// offer returns the wrapped offer of layers.
func (a *acceptor) offer(payload []byte, key types.EncryptionKey) []byte {
	header := []byte{5, 4, sentByAcceptor, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if len(a.subkey.KeyValue) > 0 {
		header[2] |= acceptorSubkey
	}
	binary.BigEndian.PutUint64(header[8:], a.sequence)
	sum, err := wrapSum(payload, header, key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	require.NoError(a, err)
	binary.BigEndian.PutUint16(header[4:], uint16(len(sum)))
	binary.BigEndian.PutUint16(header[6:], a.rotate)
	rest := append(bytes.Clone(payload), sum...)
	at := len(rest) - int(a.rotate)%len(rest)
	return bytes.Join([][]byte{header, rest[at:], rest[:at]}, nil)
}

// choice returns what is in the client's last message. It reads it with gokrb5 and not with this package.
func (a *acceptor) choice(token []byte) []byte {
	var w gssapi.WrapToken
	require.NoError(a, w.Unmarshal(token, false))
	ok, err := w.Verify(a.key(), keyusage.GSSAPI_INITIATOR_SEAL)
	require.NoError(a, err)
	require.True(a, ok)
	require.EqualValues(a, a.auth.SeqNumber, w.SndSeqNum)
	require.Equal(a, len(a.subkey.KeyValue) > 0, w.Flags&acceptorSubkey != 0)
	return w.Payload
}

var etypes = []int32{etypeID.AES128_CTS_HMAC_SHA1_96, etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA256_128, etypeID.AES256_CTS_HMAC_SHA384_192}

func TestNodeAndClientAgreeOnNoLayer(t *testing.T) {
	for _, etype := range etypes {
		for _, subkey := range []bool{false, true} {
			for _, rotate := range []uint16{0, 3, 12, 28, 65535} {
				for authID, want := range map[string]string{"": "alice@" + realm, "bob": "bob"} {
					a, tk := newAcceptor(t, etype)
					a.rotate, a.layers = rotate, layerNone|layerPrivacy
					if subkey {
						a.subkey = newKey(etype)
					}
					s, token, err := newSession(tk, time.Now().UTC().Truncate(time.Microsecond), authID)
					require.NoError(t, err)
					response, done, err := s.Next(t.Context(), a.accept(token))
					require.NoError(t, err)
					require.False(t, done)
					hidesKeys(t, s, a.session, a.subkey)
					require.NotNil(t, response, "an empty message is sent")
					require.Empty(t, response)
					response, done, err = s.Next(t.Context(), a.offer([]byte{a.layers, 1, 0, 0}, a.key()))
					require.NoError(t, err)
					require.True(t, done)
					require.Equal(t, append([]byte{layerNone, 0, 0, 0}, want...), a.choice(response))
				}
			}
		}
	}
}

// A node that does not know the service's key can't answer, and one that repeats an answer of before neither.
func TestNodeHasToProveItself(t *testing.T) {
	stranger := newKey(etypeID.AES256_CTS_HMAC_SHA1_96)
	for name, c := range map[string]struct {
		answer func(a *acceptor) []byte
		says   string
	}{
		"another key":       {func(a *acceptor) []byte { return a.proof(a.auth.CTime, a.auth.Cusec, stranger) }, "has another key than the ticket"},
		"another second":    {func(a *acceptor) []byte { return a.proof(a.auth.CTime.Add(-time.Second), a.auth.Cusec, a.session) }, "its answer is to another message"},
		"another moment":    {func(a *acceptor) []byte { return a.proof(a.auth.CTime, a.auth.Cusec^1, a.session) }, "its answer is to another message"},
		"no proof":          {func(a *acceptor) []byte { return a.offer([]byte{layerNone, 0, 0, 0}, a.session) }, "is none of GSS-API"},
		"nothing":           {func(a *acceptor) []byte { return nil }, "is none of GSS-API"},
		"our own token":     {func(a *acceptor) []byte { return frame(a.T, idAPReq, nil) }, "has the id 0100"},
		"an empty AP-REP":   {func(a *acceptor) []byte { return frame(a.T, idAPRep, nil) }, "can't be read"},
		"an unknown error":  {func(a *acceptor) []byte { return frame(a.T, idKRBError, []byte{1, 2}) }, "can't be read"},
		"an error":          {func(a *acceptor) []byte { return frame(a.T, idKRBError, krbError(a.T, 37, "Clock\nskew")) }, `error 37: "Clock\nskew"`},
		"another mechanism": {func(a *acceptor) []byte { return asn1tools.AddASNAppTag([]byte{6, 1, 42, 2, 0}, 0) }, "not of Kerberos"},
	} {
		t.Run(name, func(t *testing.T) {
			a, tk := newAcceptor(t, etypeID.AES256_CTS_HMAC_SHA1_96)
			s, token, err := newSession(tk, time.Now().UTC(), "")
			require.NoError(t, err)
			a.accept(token)
			response, done, err := s.Next(t.Context(), c.answer(a))
			require.ErrorContains(t, err, c.says)
			require.False(t, done)
			require.Nil(t, response)
			require.Contains(t, err.Error(), "GSSAPI: kafka/broker: ")
		})
	}
}

func krbError(t *testing.T, code int32, text string) []byte {
	e := messages.NewKRBError(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "kafka/broker"), realm, code, text)
	b, err := e.Marshal()
	require.NoError(t, err)
	return b
}

func TestOfferOfLayersIsChecked(t *testing.T) {
	change := func(at int, to byte) func(*acceptor) []byte {
		return func(a *acceptor) []byte {
			b := a.offer([]byte{layerNone, 0, 0, 0}, a.key())
			b[at] = to
			return b
		}
	}
	for name, c := range map[string]struct {
		offer func(a *acceptor) []byte
		says  string
	}{
		"a changed payload":   {change(16, layerNone|layerPrivacy), "checksum is wrong"},
		"a changed checksum":  {change(25, 0xaa), "checksum is wrong"},
		"a changed number":    {change(15, 0xaa), "checksum is wrong"},
		"an encrypted one":    {change(2, sentByAcceptor|sealed), "encrypted"},
		"one of our own":      {change(2, 0), "comes from this side"},
		"another key":         {change(2, sentByAcceptor|acceptorSubkey), "another key than was agreed on"},
		"another length":      {change(5, 200), "cut off"},
		"no wrapped message":  {change(0, 0x60), "no wrapped message"},
		"nothing":             {func(*acceptor) []byte { return nil }, "no wrapped message"},
		"a header only":       {func(a *acceptor) []byte { return a.offer([]byte{layerNone, 0, 0, 0}, a.key())[:16] }, "cut off"},
		"privacy only":        {func(a *acceptor) []byte { return a.offer([]byte{layerPrivacy, 0, 0, 0}, a.key()) }, "offers auth-conf"},
		"integrity or better": {func(a *acceptor) []byte { return a.offer([]byte{6, 0, 0, 0}, a.key()) }, "offers auth-int and auth-conf"},
		"no layer at all":     {func(a *acceptor) []byte { return a.offer([]byte{0, 0, 0, 0}, a.key()) }, "offers none"},
		"three bytes":         {func(a *acceptor) []byte { return a.offer([]byte{1, 0, 0}, a.key()) }, "3 bytes, not 4"},
	} {
		t.Run(name, func(t *testing.T) {
			a, tk := newAcceptor(t, etypeID.AES256_CTS_HMAC_SHA1_96)
			s, token, err := newSession(tk, time.Now().UTC(), "")
			require.NoError(t, err)
			_, _, err = s.Next(t.Context(), a.accept(token))
			require.NoError(t, err)
			response, done, err := s.Next(t.Context(), c.offer(a))
			require.ErrorContains(t, err, c.says)
			require.False(t, done)
			require.Nil(t, response)
		})
	}
}

// Keys that need other tokens, or are broken, are refused with what to do.
func TestWeakKeysAreRefused(t *testing.T) {
	for _, etype := range []int32{etypeID.RC4_HMAC, etypeID.DES3_CBC_SHA1_KD} {
		_, tk := newAcceptor(t, etype)
		_, _, err := newSession(tk, time.Now(), "")
		require.ErrorContains(t, err, "give the brokers' principal AES keys")
	}
}

func TestForeignTextIsQuotedAndCut(t *testing.T) {
	require.Equal(t, `"a\nb"`, cite("a\nb"))
	require.Len(t, cite(strings.Repeat("x", 10_000)), mostCited+2+len("…"))
}

// Whatever a node sends, Next returns.
func FuzzNext(f *testing.F) {
	a, tk := newAcceptor(&testing.T{}, etypeID.AES256_CTS_HMAC_SHA1_96)
	s, token, err := newSession(tk, time.Now().UTC(), "")
	require.NoError(f, err)
	f.Add(a.accept(token), a.offer([]byte{layerNone, 0, 0, 0}, a.key()))
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, proof, offer []byte) {
		fresh := *s
		if response, done, err := fresh.Next(context.Background(), proof); err == nil {
			require.False(t, done)
			require.Empty(t, response)
		}
		fresh.proven = true
		if response, done, err := fresh.Next(context.Background(), offer); err == nil {
			require.True(t, done)
			require.NotEmpty(t, response)
		}
	})
}
