package quilltest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
)

// testSASL returns what the tests' clusters want. A token is "NAME" or "NAME.SECONDS", and ends after this many seconds.
func testSASL() *SASL {
	return &SASL{
		Users:            map[string]string{"alice": planted.Password, "a,b=c": "p,w=d ä"},
		DelegationTokens: map[string]DelegationToken{"token-1": {HMAC: "aG1hYw==", Owner: "owner", ExpiresAt: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)}},
		CheckToken: func(token string, _ map[string]string) (string, time.Time, error) {
			name, seconds, _ := strings.Cut(token, ".")
			switch name {
			case "bad":
				return "", time.Time{}, errors.New("no such token")
			case "narrow":
				return "", time.Time{}, &TokenError{Status: "insufficient_scope", Scope: "kafka", OpenIDConfiguration: "https://idp.invalid"}
			}
			var ends time.Time
			if d, err := time.ParseDuration(seconds + "s"); err == nil {
				ends = time.Now().Add(d)
			}
			return name, ends, nil
		},
	}
}

func tokens(token string) sasl.Mechanism {
	return sasl.OAuthBearer(func(context.Context) (sasl.Token, error) { return sasl.Token{Value: sasl.NewSecret(token)}, nil })
}

func delegationToken(id, hmac string) sasl.Mechanism {
	m := sasl.ScramSHA512("", "")
	m.Credentials = func(context.Context, sasl.Peer) (sasl.Credentials, error) {
		return sasl.Credentials{Username: id, Password: sasl.NewSecret(hmac), DelegationToken: true}, nil
	}
	return m
}

// login runs a whole login, with the library's mechanisms, and returns the node's last answer and what the mechanism says.
func (r *rawClient) login(m sasl.Mechanism, version int16) (*message.SaslAuthenticateResponse, error) {
	r.t.Helper()
	shake := r.do(&message.SaslHandshakeRequest{Mechanism: m.Name()}, 1).(*message.SaslHandshakeResponse)
	require.Equal(r.t, protocol.None, shake.ErrorCode)
	require.Contains(r.t, shake.Mechanisms, m.Name())
	s, token, err := m.Start(r.t.Context(), sasl.Peer{})
	require.NoError(r.t, err)
	for {
		res := r.do(&message.SaslAuthenticateRequest{AuthBytes: token}, version).(*message.SaslAuthenticateResponse)
		require.Empty(r.t, planted.All().FindIn(*res))
		if res.ErrorCode != protocol.None || err != nil {
			return res, err
		}
		done := false
		if token, done, err = s.Next(r.t.Context(), res.AuthBytes); done || err != nil && token == nil {
			return res, err
		}
	}
}

func TestSASLLetsClientsInWithTheRightCredentials(t *testing.T) {
	for name, m := range map[string]sasl.Mechanism{
		"alice": sasl.Plain("alice", planted.Password), "a,b=c": sasl.ScramSHA256("a,b=c", "p,w=d ä"), "alice ": sasl.ScramSHA512("alice", planted.Password),
		"bob": tokens("bob"), "owner": delegationToken("token-1", "aG1hYw=="),
	} {
		for version := range message.SaslAuthenticateMaxVersion + 1 {
			for _, cfg := range []*tls.Config{nil, NewCA().ServerConfig()} {
				inBubble(t, Options{SASL: testSASL(), TLS: cfg}, func(t *testing.T, c *Cluster) {
					r := dial(t, c, 1)
					if plain := r.nc; cfg != nil {
						r.nc = tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
						defer plain.Close()
					}
					require.Equal(t, protocol.None, r.do(apiVersions(), 3).(*message.APIVersionsResponse).ErrorCode)
					_, err := r.login(m, version)
					require.NoError(t, err)
					require.Len(t, r.metadata(13).Brokers, 3)
					all := c.Requests()
					require.Empty(t, all[0].Principal)
					require.Equal(t, strings.TrimSpace(name), all[len(all)-1].Principal)
					_ = c.Disconnect(1)
				})
			}
		}
	}
}

func TestSASLRefusesWrongCredentials(t *testing.T) {
	const invalid = "Authentication failed during authentication due to invalid credentials with SASL mechanism "
	for want, m := range map[string][]sasl.Mechanism{
		"Authentication failed: Invalid username or password": {sasl.Plain("alice", "wrong"), sasl.Plain("nobody", planted.Password)},
		invalid + "SCRAM-SHA-256":                             {sasl.ScramSHA256("alice", "wrong"), sasl.ScramSHA256("nobody", planted.Password)},
		invalid + "SCRAM-SHA-512":                             {sasl.ScramSHA512("token-1", "aG1hYw=="), delegationToken("alice", planted.Password), delegationToken("token-1", "x")},
		`{"status":"invalid_token"}`:                          {tokens("bad")},
		`{"status":"insufficient_scope", "scope":"kafka", "openid-configuration":"https://idp.invalid"}`: {tokens("narrow")},
	} {
		for _, m := range m {
			inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
				r := dial(t, c, 1)
				res, _ := r.login(m, 2)
				require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode)
				require.Equal(t, want, *res.ErrorMessage)
				r.requireClosed()
			})
		}
	}
}

func TestDelegationTokensEnd(t *testing.T) {
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		res, err := dial(t, c, 1).login(delegationToken("token-1", "aG1hYw=="), 2)
		require.NoError(t, err)
		require.Equal(t, time.Hour.Milliseconds(), res.SessionLifetimeMs)
		time.Sleep(time.Hour + 1)
		res, _ = dial(t, c, 1).login(delegationToken("token-1", "aG1hYw=="), 2)
		require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode)
	})
}

// TestMalformedLoginsAreRefused sends what no client of ours does.
func TestMalformedLoginsAreRefused(t *testing.T) {
	for mechanism, messages := range map[string][]string{
		plainMechanism:       {"", "alice", "\x00alice", "\x00\x00" + planted.Password, "\x00alice\x00", "\x00alice\x00" + planted.Password + "\x00", "bob\x00alice\x00" + planted.Password},
		scram256Mechanism:    {"", "n=alice,r=abc", "y,,n=alice,r=abc", "p=tls-unique,,n=alice,r=abc", "n,,n=,r=abc", "n,,n=alice,r=", "n,,n=al=ice,r=abc", "n,a=bob,n=alice,r=abc", "n,,n=alicé,r=abc"},
		oauthBearerMechanism: {"", "\x01", "n,,\x01\x01", "n,,\x01auth=Basic x\x01\x01", "n,,\x01auth=Bearer x\x01", "n,,\x01auth=Bearer\x01\x01", "n,,auth=Bearer x\x01\x01", "n,a=bob,\x01auth=Bearer alice\x01\x01", "n,,\x01auth=Bearer x\x01a1=b\x01\x01"},
	} {
		for _, text := range messages {
			inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
				r := dial(t, c, 1)
				r.do(&message.SaslHandshakeRequest{Mechanism: mechanism}, 1)
				res := r.do(&message.SaslAuthenticateRequest{AuthBytes: []byte(text)}, 2).(*message.SaslAuthenticateResponse)
				require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode, "%q", text)
				require.NotContains(t, *res.ErrorMessage, planted.Password)
				r.requireClosed()
			})
		}
	}
}

func TestScramServerChecksTheFinalMessage(t *testing.T) {
	for name, final := range map[string]string{"nonce": "c=biws,r=other,p=AAAA", "binding": "c=eSws,r=%s,p=AAAA", "proof": "c=biws,r=%s,p=AAAA", "no base64": "c=biws,r=%s,p==", "garbage": "x"} {
		inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			r.do(&message.SaslHandshakeRequest{Mechanism: scram256Mechanism}, 1)
			res := r.do(&message.SaslAuthenticateRequest{AuthBytes: []byte("n,,n=alice,r=abc")}, 2).(*message.SaslAuthenticateResponse)
			require.Equal(t, protocol.None, res.ErrorCode)
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(res.AuthBytes), "r="), ",")
			require.Greater(t, len(nonce), 3+18)
			res = r.do(&message.SaslAuthenticateRequest{AuthBytes: []byte(strings.Replace(final, "%s", nonce, 1))}, 2).(*message.SaslAuthenticateResponse)
			require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode, name)
			r.requireClosed()
		})
	}
}

// TestSaslHandshakeZeroIsFollowedByBareTokens is the login of clients before Kafka 1.0.
func TestSaslHandshakeZeroIsFollowedByBareTokens(t *testing.T) {
	for _, m := range []sasl.Mechanism{sasl.Plain("alice", planted.Password), sasl.ScramSHA512("alice", planted.Password), tokens("alice")} {
		inBubble(t, Options{SASL: testSASL(), Release: "0.11"}, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			require.Equal(t, protocol.None, r.do(&message.SaslHandshakeRequest{Mechanism: m.Name()}, 0).(*message.SaslHandshakeResponse).ErrorCode)
			s, token, err := m.Start(t.Context(), sasl.Peer{})
			require.NoError(t, err)
			for done := false; !done; {
				r.sendBare(token)
				challenge, err := r.read()
				require.NoError(t, err)
				token, done, err = s.Next(t.Context(), challenge)
				require.NoError(t, err)
			}
			require.Len(t, r.do(&message.MetadataRequest{AllowAutoTopicCreation: true}, 4).(*message.MetadataResponse).Brokers, 3)
			require.Equal(t, int64(1), c.RequestCount(protocol.SaslHandshake))
			require.Positive(t, c.RequestCount(protocol.SaslAuthenticate), "bare tokens count as one")
		})
	}
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		r.do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 0)
		r.sendBare([]byte("\x00alice\x00wrong"))
		r.requireClosed() // there is no place for an error
	})
}

func (r *rawClient) sendBare(token []byte) {
	_, err := r.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
	require.NoError(r.t, err)
}

func TestNothingPassesBeforeTheLogin(t *testing.T) {
	metadata := &message.MetadataRequest{AllowAutoTopicCreation: true}
	shake := func(r *rawClient) {
		r.do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 1)
	}
	for name, steps := range map[string]func(r *rawClient){
		"metadata":                  func(r *rawClient) { r.send(metadata, 9) },
		"authenticate":              func(r *rawClient) { r.send(&message.SaslAuthenticateRequest{}, 2) },
		"produce after ApiVersions": func(r *rawClient) { r.do(apiVersions(), 3); r.send(&message.ProduceRequest{Acks: -1}, 9) },
		"ApiVersions twice":         func(r *rawClient) { r.do(apiVersions(), 3); r.send(apiVersions(), 3) },
		"a large frame":             func(r *rawClient) { _, _ = r.nc.Write(binary.BigEndian.AppendUint32(nil, mostLoginBytes+1)) },
		"another mechanism": func(r *rawClient) {
			res := r.do(&message.SaslHandshakeRequest{Mechanism: "GSSAPI"}, 1).(*message.SaslHandshakeResponse)
			require.Equal(r.t, protocol.UnsupportedSaslMechanism, res.ErrorCode)
			require.Equal(r.t, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}, res.Mechanisms)
		},
		"metadata instead of a token": func(r *rawClient) {
			shake(r)
			require.Equal(r.t, protocol.IllegalSaslState, r.do(metadata, 13).(*message.MetadataResponse).ErrorCode)
		},
		"handshake instead of a token": func(r *rawClient) {
			shake(r)
			require.Equal(r.t, protocol.IllegalSaslState, r.do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 1).(*message.SaslHandshakeResponse).ErrorCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
				r := dial(t, c, 1)
				steps(r)
				r.requireClosed()
			})
		})
	}
}

func TestApiVersionsMayBeAskedForInTwoVersionsBeforeTheLogin(t *testing.T) {
	inBubble(t, Options{SASL: testSASL(), Release: "2.1"}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		r.send(apiVersions(), 3)
		require.Equal(t, protocol.UnsupportedVersion, r.receive(protocol.APIVersions, 0).(*message.APIVersionsResponse).ErrorCode)
		require.Equal(t, protocol.None, r.do(apiVersions(), 2).(*message.APIVersionsResponse).ErrorCode)
		_, err := r.login(sasl.Plain("alice", planted.Password), 0)
		require.NoError(t, err)
	})
}

func TestLoginsAreOutOfPlaceWithoutSASL(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		res := r.do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 1).(*message.SaslHandshakeResponse)
		require.Equal(t, protocol.IllegalSaslState, res.ErrorCode)
		require.Empty(t, res.Mechanisms)
		require.Equal(t, protocol.IllegalSaslState, r.do(&message.SaslAuthenticateRequest{}, 2).(*message.SaslAuthenticateResponse).ErrorCode)
		require.Len(t, r.metadata(13).Brokers, 3)
		require.ErrorContains(t, c.AlterSASL(func(*SASL) {}), "the cluster has no SASL")
	})
}

// TestSessionsEnd: KIP-368.
func TestSessionsEnd(t *testing.T) {
	opts := Options{SASL: testSASL()}
	opts.SASL.SessionLifetime = 10 * time.Second
	alice := sasl.Plain("alice", planted.Password)
	inBubble(t, opts, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		res, err := r.login(alice, 2)
		require.NoError(t, err)
		require.Equal(t, int64(10_000), res.SessionLifetimeMs)
		time.Sleep(10 * time.Second)
		require.Len(t, r.metadata(13).Brokers, 3, "the last moment")
		time.Sleep(time.Millisecond)
		_, err = r.login(alice, 2) // late, but the first request after the end
		require.NoError(t, err)
		time.Sleep(9 * time.Second)
		_, err = r.login(alice, 1)
		require.NoError(t, err)
		time.Sleep(9 * time.Second)
		require.Len(t, r.metadata(13).Brokers, 3)
		time.Sleep(time.Second + 1)
		r.send(&message.MetadataRequest{AllowAutoTopicCreation: true}, 13)
		r.requireClosed()
	})
}

func TestReauthenticationKeepsThePrincipal(t *testing.T) {
	for _, second := range []struct {
		m    sasl.Mechanism
		want string
	}{
		{tokens("bob"), "Cannot change principals during re-authentication from User.alice: User.bob"},
		{tokens("bad"), `{"status":"invalid_token"}`},
	} {
		inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			_, err := r.login(tokens("alice"), 2)
			require.NoError(t, err)
			res, _ := r.login(second.m, 2)
			require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode)
			require.Equal(t, second.want, *res.ErrorMessage)
			r.requireClosed()
		})
	}
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		_, err := r.login(sasl.Plain("alice", planted.Password), 2)
		require.NoError(t, err)
		require.Equal(t, protocol.None, r.do(&message.SaslHandshakeRequest{Mechanism: scram256Mechanism}, 1).(*message.SaslHandshakeResponse).ErrorCode)
		r.send(&message.SaslAuthenticateRequest{AuthBytes: []byte("n,,n=alice,r=abc")}, 2)
		r.requireClosed() // another mechanism
	})
}

func TestReauthenticationIsRefusedTwiceASecond(t *testing.T) {
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		alice := sasl.ScramSHA256("alice", planted.Password)
		for range 2 {
			_, err := r.login(alice, 2)
			require.NoError(t, err, "the first time may be soon")
		}
		time.Sleep(time.Second - 1)
		require.Equal(t, protocol.IllegalSaslState, r.do(&message.SaslHandshakeRequest{Mechanism: alice.Name()}, 1).(*message.SaslHandshakeResponse).ErrorCode)
		require.Equal(t, protocol.IllegalSaslState, r.do(&message.SaslAuthenticateRequest{}, 2).(*message.SaslAuthenticateResponse).ErrorCode)
		require.Len(t, r.metadata(13).Brokers, 3, "the connection stays")
		time.Sleep(time.Nanosecond)
		_, err := r.login(alice, 2)
		require.NoError(t, err)
	})
}

func TestTokensEndTheirSessions(t *testing.T) {
	for _, row := range []struct {
		token    string
		lifetime time.Duration
		want     time.Duration
	}{
		{"bob", 0, 0}, {"bob.5", 0, 5 * time.Second}, {"bob.5", time.Minute, 5 * time.Second}, {"bob.5", time.Second, time.Second}, {"bob", time.Second, time.Second},
	} {
		opts := Options{SASL: testSASL()}
		opts.SASL.SessionLifetime = row.lifetime
		inBubble(t, opts, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			res, err := r.login(tokens(row.token), 2)
			require.NoError(t, err)
			require.Equal(t, row.want.Milliseconds(), res.SessionLifetimeMs, "%+v", row)
			time.Sleep(row.want + 1)
			if row.want == 0 {
				time.Sleep(24 * time.Hour)
				require.Len(t, r.metadata(13).Brokers, 3)
				return
			}
			r.send(&message.MetadataRequest{AllowAutoTopicCreation: true}, 13)
			r.requireClosed()
		})
	}
}

func TestAlterSASLTakesEffectAtTheNextLogin(t *testing.T) {
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		_, err := r.login(sasl.ScramSHA256("alice", planted.Password), 2)
		require.NoError(t, err)
		require.NoError(t, c.AlterSASL(func(s *SASL) { s.Users["alice"], s.Mechanisms = "changed", []string{scram256Mechanism} }))
		require.Len(t, r.metadata(13).Brokers, 3)
		res, _ := dial(t, c, 1).login(sasl.ScramSHA256("alice", planted.Password), 2)
		require.Equal(t, protocol.SaslAuthenticationFailed, res.ErrorCode)
		_, err = dial(t, c, 1).login(sasl.ScramSHA256("alice", "changed"), 2)
		require.NoError(t, err)
		shake := dial(t, c, 1).do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 1).(*message.SaslHandshakeResponse)
		require.Equal(t, protocol.UnsupportedSaslMechanism, shake.ErrorCode)
		require.Equal(t, []string{scram256Mechanism}, shake.Mechanisms)
		require.ErrorContains(t, c.AlterSASL(func(s *SASL) { s.Mechanisms = []string{"GSSAPI"} }), `SASL mechanism "GSSAPI"`)
	})
	_, err := NewCluster(Options{SASL: &SASL{Mechanisms: []string{"plain"}}})
	require.ErrorContains(t, err, `SASL mechanism "plain"`)
}

func TestLoginsGoWrongOnDemand(t *testing.T) {
	login := []protocol.APIKey{protocol.SaslAuthenticate}
	inBubble(t, Options{SASL: testSASL()}, func(t *testing.T, c *Cluster) {
		c.Inject(Fault{APIs: login, Err: protocol.SaslAuthenticationFailed, ErrMessage: "the directory is down"})
		r := dial(t, c, 1)
		res, _ := r.login(sasl.Plain("alice", planted.Password), 2)
		require.Equal(t, "the directory is down", *res.ErrorMessage)
		r.requireClosed()

		c.Inject(Fault{APIs: []protocol.APIKey{protocol.SaslHandshake}, Err: protocol.UnsupportedSaslMechanism})
		r = dial(t, c, 1)
		require.Equal(t, protocol.UnsupportedSaslMechanism, r.do(&message.SaslHandshakeRequest{Mechanism: plainMechanism}, 1).(*message.SaslHandshakeResponse).ErrorCode)
		r.requireClosed()

		c.Inject(Fault{APIs: login, Skip: 1, Challenge: func(*Request, []byte) []byte { return []byte("v=AAAA") }})
		_, err := dial(t, c, 1).login(sasl.ScramSHA256("alice", planted.Password), 2)
		require.ErrorContains(t, err, "signature is wrong")

		c.Inject(Fault{APIs: login, Challenge: func(_ *Request, challenge []byte) []byte {
			return []byte(strings.Replace(string(challenge), "i=4096", "i=1", 1))
		}})
		_, err = dial(t, c, 1).login(sasl.ScramSHA256("alice", planted.Password), 2)
		require.ErrorContains(t, err, "asks for 1 iterations")
	})
}

func TestReleasesHaveTheirLogins(t *testing.T) {
	for release, want := range map[string][2]int16{"0.11": {0, -1}, "1.0": {1, 0}, "2.1": {1, 0}, "2.2": {1, 1}, "2.4": {1, 1}, "2.5": {1, 2}, "4.4": {1, 2}} {
		inBubble(t, Options{Release: release}, func(t *testing.T, c *Cluster) {
			got := [2]int16{-1, -1}
			for _, v := range dial(t, c, 1).do(apiVersions(), 0).(*message.APIVersionsResponse).APIKeys {
				switch protocol.APIKey(v.APIKey) {
				case protocol.SaslHandshake:
					got[0] = v.MaxVersion
				case protocol.SaslAuthenticate:
					got[1] = v.MaxVersion
				}
			}
			require.Equal(t, want, got, release)
		})
	}
}

// FuzzSASL takes any login: none of them gets in, and none breaks the node.
func FuzzSASL(f *testing.F) {
	for _, text := range []string{"\x00alice\x00alice-secreT", "n,,n=alice,r=abc", "c=biws,r=abc,p=AAAA", "n,,\x01auth=Bearer bad\x01a=b\x01\x01", "\x01"} {
		f.Add([]byte(text), []byte("c=biws,r=abc,p=AAAA"))
	}
	cfg, err := SASL{Users: map[string]string{"alice": planted.Password}, CheckToken: func(string, map[string]string) (string, time.Time, error) { return "", time.Time{}, errors.New("no") }}.resolve()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := &Cluster{}
		for _, mechanism := range cfg.Mechanisms {
			server := c.newSaslServer(&cfg, mechanism)
			for _, message := range [][]byte{first, second} {
				_, who, err := server.next(message)
				if who != nil && !strings.HasSuffix(string(message), "alice\x00"+planted.Password) {
					t.Fatal(mechanism, who)
				}
				if err != nil {
					break
				}
			}
		}
	})
}

func ExampleSASL() {
	ca := NewCA()
	cluster, err := NewCluster(Options{TLS: ca.ServerConfig(), SASL: &SASL{Users: map[string]string{"alice": planted.Password}, SessionLifetime: time.Minute}})
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	conn, err := tls.Dial("tcp", cluster.NodeAddr(1), &tls.Config{RootCAs: ca.Pool()})
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Println(conn.ConnectionState().PeerCertificates[0].Subject)
	// Output: CN=quilltest
}
