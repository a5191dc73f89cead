package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/network/sasl"
)

// delegationToken is a token of user (KIP-48).
type delegationToken struct {
	id   string
	hmac []byte
}

// password is the HMAC as Kafka prints it.
func (d delegationToken) password() string { return base64.StdEncoding.EncodeToString(d.hmac) }

func (d delegationToken) credentials() sasl.Credentials {
	return sasl.Credentials{Username: d.id, Password: sasl.NewSecret(d.password()), DelegationToken: true}
}

// asUser sends requests of user, to whom tokens are given.
func (n strictNode) asUser(ctx context.Context, do func(client *kgo.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.ListenerAddr(n.Node(1), "SASL")), kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

// token makes a token for so long, and waits until the broker knows it too: controllers make them.
func (n strictNode) token(ctx context.Context, life time.Duration) (d delegationToken, err error) {
	err = n.asUser(ctx, func(client *kgo.Client) error {
		req := kmsg.NewPtrCreateDelegationTokenRequest()
		req.MaxLifetimeMillis = life.Milliseconds()
		made, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		d = delegationToken{made.TokenID, made.HMAC}
		for {
			known, err := kmsg.NewPtrDescribeDelegationTokenRequest().RequestWith(ctx, client)
			if err != nil || slices.ContainsFunc(known.TokenDetails, func(k kmsg.DescribeDelegationTokenResponseTokenDetail) bool { return k.TokenID == d.id }) {
				return errors.Join(err, kerr.ErrorForCode(made.ErrorCode))
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return d, err
}

// expire ends a token.
func (n strictNode) expire(ctx context.Context, d delegationToken) error {
	return n.asUser(ctx, func(client *kgo.Client) error {
		req := kmsg.NewPtrExpireDelegationTokenRequest()
		req.HMAC, req.ExpiryPeriodMillis = d.hmac, -1
		ended, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(ended.ErrorCode)
	})
}

// TestDelegationTokens: user's rights come with a token of user's, from a file that drives Java too and from a Config.
func TestDelegationTokens(t *testing.T) {
	n := startStrictNode(t)
	topic := n.topic(t, "delegated", kmsg.ACLOperationWrite)
	ctx := within(t, 5*time.Minute)
	token, err := n.token(ctx, time.Hour)
	require.NoError(t, err)
	seen := watch(t)
	seen.Add("delegation token", token.password())
	file := func(mechanism string, d delegationToken) []string {
		return []string{"sasl.mechanism=" + mechanism, `sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="` + d.id +
			`" password="` + d.password() + `" tokenauth="true";`}
	}
	want := 0
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		require.Equal(t, []string{""}, n.java(t, file(mechanism, token), "send "+topic))
		require.NoError(t, sendTo(ctx, n.producer(t, file(mechanism, token)...), topic))
		want += 2
	}
	with := func(credentials sasl.CredentialsFunc) quill.Config {
		m := sasl.ScramSHA512("", "")
		m.Credentials = credentials
		return quill.Config{BootstrapServers: []string{n.ListenerAddr(n.Node(1), "SASL")}, SASL: m, MaxBlock: time.Hour, Logger: seen.Logger()}
	}
	fixed := func(d delegationToken) quill.Config {
		return with(func(context.Context, sasl.Peer) (sasl.Credentials, error) { return d.credentials(), nil })
	}
	require.NoError(t, sendTo(ctx, newProducer(t, fixed(token)), topic))
	want++
	require.Len(t, values(t, n.Cluster, topic), want)

	t.Run("wrong ones", func(t *testing.T) {
		expired, err := n.token(ctx, time.Hour)
		require.NoError(t, err)
		require.NoError(t, n.expire(ctx, expired))
		eventually(ctx, t, func() error {
			if sendTo(ctx, newProducer(t, fixed(expired)), topic) == nil {
				return errors.New("the broker does not know yet that the token has ended")
			}
			return nil
		})
		for name, wrong := range map[string]delegationToken{
			"expired": expired, "unknown": {"nobody-made-this", token.hmac}, "wrong HMAC": {token.id, expired.hmac},
		} {
			require.Equal(t, []string{"SaslAuthenticationException"}, n.java(t, append(file("SCRAM-SHA-512", wrong), "max.block.ms=5000"), "send "+topic), name)
			begin := time.Now()
			err := sendTo(ctx, newProducer(t, fixed(wrong)), topic)
			t.Logf("%s, after %v: %v", name, time.Since(begin).Round(time.Millisecond), err)
			require.ErrorIs(t, err, quill.ErrAuthentication)
			require.NotErrorIs(t, err, quill.ErrTimeout)
			require.ErrorContains(t, err, "delegation token")
			require.NotContains(t, err.Error(), wrong.password())
			seen.Check(err)
		}
	})
	t.Run("renewed before they end", func(t *testing.T) { n.testTokensThatEnd(t, with) })
}

// testTokensThatEnd sends with tokens of three seconds: the broker bounds sessions by them, and each login gets a token of its own.
func (n strictNode) testTokensThatEnd(t *testing.T, with func(sasl.CredentialsFunc) quill.Config) {
	topic := n.topic(t, "short-lived", kmsg.ACLOperationWrite)
	var longest atomic.Int64 // time that it took to get a token
	cfg := with(func(ctx context.Context, _ sasl.Peer) (sasl.Credentials, error) {
		begin := time.Now()
		d, err := n.token(ctx, 3*time.Second)
		longest.Store(max(longest.Load(), int64(time.Since(begin))))
		return d.credentials(), err
	})
	log := &renewals{Handler: cfg.Logger.Handler()}
	cfg.Logger, cfg.Linger = slog.New(log), -1
	load := &steadyLoad{producer: newProducer(t, cfg), topic: topic, rate: 1000}
	until, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	load.run(until)
	all := load.end(t)
	t.Logf("%v, %d renewals, %d connections lost, a token took up to %v", all, log.renewed.Load(), log.lost.Load(), time.Duration(longest.Load()))
	// On a busy machine a token may take longer than the rest of a session, a second and a half: the next connection then gets it.
	log.check(t, all.slowest()+time.Duration(longest.Load()) < 1500*time.Millisecond, 2)
}
