package integration

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/planted"
)

// salt is that of user's password on brokers of tests.
const salt = "salt of a test"

// saltedPasswords are what SCRAM makes of user's password.
var saltedPasswords = sync.OnceValue(func() (salted []string) {
	for _, key := range []func() ([]byte, error){
		func() ([]byte, error) { return pbkdf2.Key(sha256.New, password, []byte(salt), 4096, sha256.Size) },
		func() ([]byte, error) { return pbkdf2.Key(sha512.New, password, []byte(salt), 4096, sha512.Size) },
	} {
		k, err := key()
		if err != nil {
			panic(err)
		}
		salted = append(salted, string(k))
	}
	return salted
})

// watch returns what tests of security log to, at all levels, and check their errors by: no secret may show.
func watch(t *testing.T) *planted.Watch {
	t.Helper()
	w := planted.NewWatch(t, nil)
	for _, key := range saltedPasswords() {
		w.Add("salted password", key)
	}
	w.Add("client secret in a file", "cl1ent-s3cret")
	w.Add("token of the identity provider", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k1","typ":"JWT"}`))+".")
	return w
}

// withHeader returns a record with a header that no log and no error may show.
func withHeader[K, V any](r quill.Record[K, V]) quill.Record[K, V] {
	r.Headers.Add("planted", []byte(planted.HeaderValue))
	return r
}
