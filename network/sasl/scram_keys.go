package sasl

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/subtle"
	"fmt"
	"hash"
	"sync"
)

// mostKeys is how many passwords, salts and iterations a mechanism keeps the keys of. A cluster has one salt for a user; more are
// met when a password changes, or when one mechanism serves several clusters.
const mostKeys = 4

// scramKeys are what a password is made into (RFC 5802 §3).
type scramKeys struct{ client, server []byte }

// proof returns what shows that the client has the keys.
func (k scramKeys) proof(newHash func() hash.Hash, exchange string) []byte {
	h := newHash()
	h.Write(k.client) // its hash is the stored key, which the node has
	proof := mac(newHash, h.Sum(nil), exchange)
	subtle.XORBytes(proof, proof, k.client)
	return proof
}

// keyCache keeps the keys that were made last, so that a hundred connections after an outage don't run PBKDF2 a hundred times.
type keyCache struct {
	mu sync.Mutex
	// +checklocks:mu
	entries []*keyEntry // the newest is the last; pointers, so that fmt prints addresses and no keys
}

// keyEntry is the keys of one password, salt and number of iterations. The first who asks makes them.
type keyEntry struct {
	password   Secret
	salt       []byte
	iterations int
	make       func() (scramKeys, error)
}

// get returns the keys, which it makes if it hasn't kept them.
func (c *keyCache) get(newHash func() hash.Hash, password Secret, salt []byte, iterations int) (scramKeys, error) {
	return c.entry(newHash, password, salt, iterations).make()
}

// entry finds the entry or adds one, without running PBKDF2 under the lock.
func (c *keyCache) entry(newHash func() hash.Hash, password Secret, salt []byte, iterations int) *keyEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.iterations == iterations && bytes.Equal(e.salt, salt) && subtle.ConstantTimeCompare([]byte(e.password.Reveal()), []byte(password.Reveal())) == 1 {
			return e
		}
	}
	e := &keyEntry{password: password, salt: salt, iterations: iterations}
	e.make = sync.OnceValues(func() (scramKeys, error) { return deriveKeys(newHash, password.Reveal(), salt, iterations) })
	if len(c.entries) == mostKeys {
		c.entries = append(c.entries[:0], c.entries[1:]...)
	}
	c.entries = append(c.entries, e)
	return e
}

// deriveKeys makes the keys of a password.
func deriveKeys(newHash func() hash.Hash, password string, salt []byte, iterations int) (scramKeys, error) {
	salted, err := pbkdf2.Key(newHash, password, salt, iterations, newHash().Size())
	if err != nil {
		return scramKeys{}, fmt.Errorf("make the keys of the password: %w", err)
	}
	return scramKeys{client: mac(newHash, salted, "Client Key"), server: mac(newHash, salted, "Server Key")}, nil
}
