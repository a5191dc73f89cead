package network

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keyUpdates writes messages that a node of crypto/tls can't be made to write: KeyUpdate (RFC 8446 §4.6.3), with the keys that
// the node's side of a connection has logged.
type keyUpdates struct {
	t      *testing.T
	secret []byte
	number uint64 // of the next record under this secret
}

// newKeyUpdates takes over from the node when it has written this many records.
func newKeyUpdates(t *testing.T, keyLog string, number uint64) *keyUpdates {
	for line := range strings.Lines(keyLog) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "SERVER_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			require.NoError(t, err)
			return &keyUpdates{t: t, secret: secret, number: number}
		}
	}
	t.Fatal("no traffic secret in the log of keys")
	return nil
}

// expand returns HKDF-Expand-Label without a context (RFC 8446 §7.1).
func (k *keyUpdates) expand(label string, length int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(length)), byte(len(label)))
	b, err := hkdf.Expand(sha256.New, k.secret, string(append(append(info, label...), 0)), length)
	require.NoError(k.t, err)
	return b
}

// next returns a record with a KeyUpdate that wants one in return, or does not, and goes on to the next keys.
func (k *keyUpdates) next(wantsOne byte) []byte {
	block, err := aes.NewCipher(k.expand("key", 16))
	require.NoError(k.t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(k.t, err)
	nonce := k.expand("iv", 12)
	for i, b := range binary.BigEndian.AppendUint64(nil, k.number) {
		nonce[4+i] ^= b
	}
	plain := []byte{24, 0, 0, 1, wantsOne, 22} // key_update, its length, and that it is a handshake message
	header := []byte{23, 3, 3, 0, byte(len(plain) + gcm.Overhead())}
	k.secret, k.number = k.expand("traffic upd", 32), 0
	return gcm.Seal(header, nonce, plain, header)
}

// H74: a node that does nothing but change its keys is left, before it has cost more than some messages; what was sent to it
// fails. Each message may ask for one in return, which a client must write.
func TestAFloodOfKeyUpdatesEndsTheConnection(t *testing.T) {
	for _, wantsOne := range []byte{0, 1} {
		bubble(t, func(t *testing.T) {
			ca, keyLog, written := newAuthority(t, "ca"), new(bytes.Buffer), 0
			conf := serving(ca.issue([]string{"boot"}))
			conf.SessionTicketsDisabled, conf.KeyLogWriter = true, keyLog
			requested := make(chan struct{})
			r := newRig(t, func(p *peer) {
				line := patient(p)
				s := tls.Server(line, conf)
				require.NoError(t, s.Handshake())
				require.Equal(t, tls.TLS_AES_128_GCM_SHA256, s.ConnectionState().CipherSuite)
				(&peer{s}).handshake() // one record
				<-requested
				for k := newKeyUpdates(t, keyLog.String(), 1); written < 1000; written++ {
					if _, err := line.Write(k.next(wantsOne)); err != nil {
						return
					}
				}
			}, withTLS(ca.trusting()))
			r.connect(-1)
			req := r.send(-1, "x")
			close(requested)
			r.settle()
			require.False(t, r.Connected(-1))
			require.Equal(t, []*Request{req}, r.done)
			require.ErrorIs(t, req.Err, ErrDisconnected)
			// What the reader says, or what the writer gets after it: whichever comes first.
			require.Regexp(t, "too many non-advancing records|local error: tls: unexpected message", r.LastError(-1).Error())
			require.GreaterOrEqual(t, written, 10, "the messages are what a node may say")
			require.Less(t, written, 50)
			r.pass(10 * time.Millisecond)
		})
	}
}
