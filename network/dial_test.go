package network

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// resolving returns a conn that only resolves and dials.
func resolving(cfg Config, addr, skip string) *conn {
	cfg.Post = func(Event) {}
	cfg = cfg.withDefaults()
	id := int32(1)
	if skip == "boot" {
		id, skip = -1, ""
	}
	return &conn{cfg: &cfg, id: id, bootstrap: id < 0, addr: addr, skip: skip, setup: 10 * time.Second}
}

func hosts(table map[string][]string) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, host string) ([]string, error) {
		if a, ok := table[host]; ok {
			return a, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

// ClusterConnectionStatesTest.testSingleIP, testMultipleIPs, testSkipLastAttemptedIp.
func TestAddressesTakeTurns(t *testing.T) {
	cfg := Config{Lookup: hosts(map[string][]string{"one": {"10.0.0.1"}, "three": {"10.0.0.1", "::2", "10.0.0.3"}, "none": {}})}
	for _, c := range []struct {
		addr, last string
		want       []string
	}{
		{"one:9092", "", []string{"10.0.0.1:9092"}},
		{"one:9092", "10.0.0.1:9092", []string{"10.0.0.1:9092"}},
		{"three:9092", "", []string{"10.0.0.1:9092", "[::2]:9092", "10.0.0.3:9092"}},
		{"three:9092", "10.0.0.1:9092", []string{"[::2]:9092", "10.0.0.3:9092", "10.0.0.1:9092"}},
		{"three:9092", "10.0.0.3:9092", []string{"10.0.0.1:9092", "[::2]:9092", "10.0.0.3:9092"}},
		{"three:9092", "10.9.9.9:9092", []string{"10.0.0.1:9092", "[::2]:9092", "10.0.0.3:9092"}},
		{"127.0.0.1:1", "", []string{"127.0.0.1:1"}},
		{"[fe80::1%eth0]:1", "", []string{"[fe80::1%eth0]:1"}},
	} {
		got, err := resolving(cfg, c.addr, c.last).resolve(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, addr := range []string{"none:1", "missing:1", "noport", "::1"} {
		_, err := resolving(cfg, addr, "").resolve(t.Context())
		require.Error(t, err)
	}
}

func TestInjectedDialerGetsNames(t *testing.T) {
	cfg := Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, nil },
		Lookup: func(context.Context, string) ([]string, error) { panic("not asked") }}
	got, err := resolving(cfg, "kafka.example:9092", "").resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"kafka.example:9092"}, got)
}

// ClientUtilsTest.testParseAndValidateAddressesWithReverseLookup.
func TestCanonicalNamesOfBootstrapServers(t *testing.T) {
	cfg := Config{CanonicalNames: true,
		Lookup: hosts(map[string][]string{"alias": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "a.example": {"10.0.0.1"}, "b.example": {"10.0.0.3", "10.0.0.4"}}),
		LookupAddr: func(_ context.Context, addr string) ([]string, error) {
			switch addr {
			case "10.0.0.1":
				return []string{"a.example.", "other."}, nil
			case "10.0.0.3":
				return []string{"b.example."}, nil
			}
			return nil, errors.New("no name")
		}}
	got, err := resolving(cfg, "alias:1", "boot").resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"}, got)
	got, err = resolving(cfg, "alias:1", "").resolve(t.Context())
	require.NoError(t, err)
	require.Len(t, got, 3, "nodes of the cluster go by their own names")

	cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	got, err = resolving(cfg, "alias:1", "boot").resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a.example:1", "10.0.0.2:1", "b.example:1"}, got)
}

// NetworkClientTest.testFailedConnectionToFirstAddress(…AfterReconnect), testReconnectAfterAddressChange;
// B57: a dead first address, then all addresses replaced.
func TestAllAddressesAreTriedAndResolvedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		table := map[string][]string{"boot": {"10.0.0.1", "10.0.0.2"}}
		r := newRig(t, nil, func(c *Config) {
			// As DialContext gets names, this one resolves by itself, like the plain dialer.
			c.DialContext = nil
			c.Lookup = hosts(table)
		})
		dead := map[string]bool{"10.0.0.1:9092": true}
		dialOne := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dead[addr] {
				r.mu.Lock()
				r.dials = append(r.dials, addr)
				r.mu.Unlock()
				<-ctx.Done() // a black hole
				return nil, ctx.Err()
			}
			r.listen(addr, echoes)
			return r.dial(ctx, network, addr)
		}
		r.cfg.dialIP = dialOne
		start := time.Now()
		r.connect(-1)
		require.Equal(t, []string{"10.0.0.1:9092", "10.0.0.2:9092"}, r.dials)
		require.Less(t, time.Since(start), 6*time.Second, "a dead address has its share of the time only")

		// The next attempt does not begin with the address that failed last, and resolves again.
		r.Disconnect(-1, time.Now())
		r.pass(time.Second)
		delete(dead, "10.0.0.1:9092")
		r.connect(-1)
		require.Equal(t, "10.0.0.1:9092", r.dials[2])
		table["boot"] = []string{"10.0.0.7"}
		r.Disconnect(-1, time.Now())
		r.pass(time.Second)
		r.connect(-1)
		require.Equal(t, "10.0.0.7:9092", r.dials[3])

		// NetworkClientTest.testDnsLookupFailure.
		delete(table, "boot")
		r.Disconnect(-1, time.Now())
		r.pass(time.Second)
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorContains(t, r.LastError(-1), "resolve")
		_, isDNS := errors.AsType[*net.DNSError](r.LastError(-1))
		require.True(t, isDNS)
		require.Equal(t, down, r.nodes[-1].state)
	})
}

func TestSlowResolverIsBoundByTheSetupTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nil, func(c *Config) {
			c.DialContext = nil
			c.Lookup = func(ctx context.Context, _ string) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.pass(10*time.Second + time.Millisecond)
		require.ErrorIs(t, r.LastError(-1), ErrSetupTimeout)
		require.NotErrorIs(t, r.LastError(-1), context.DeadlineExceeded, "that would be the end of a caller's")
	})
}

func TestCloseEndsDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		dialling := make(chan struct{})
		r := newRig(t, nil, func(c *Config) {
			c.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				once.Do(func() { close(dialling) })
				<-ctx.Done()
				// Too late: it is not wanted any more, and only the client can close it.
				a, b := net.Pipe()
				go func() {
					_, err := b.Read(make([]byte, 1))
					if err == nil {
						t.Error("spoke on a connection made after Close")
					}
				}()
				return a, nil
			}
		})
		require.False(t, r.Ready(-1, time.Now()))
		<-dialling
		start := time.Now()
		r.Close()
		r.Wait()
		require.Zero(t, time.Since(start))
	})
}

// A name that is not known is one thing, a node that can't be reached another.
func TestUnresolvedUntilANameIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := map[string][]string{}
		r := newRig(t, nil, func(cfg *Config) {
			cfg.DialContext = nil
			cfg.Lookup = func(ctx context.Context, host string) ([]string, error) { return hosts(table)(ctx, host) }
		})
		r.cfg.dialIP = r.dial
		require.NoError(t, r.Unresolved(), "nobody has looked")
		try := func() {
			r.Ready(-1, time.Now())
			r.settle()
			time.Sleep(10 * time.Second)
		}
		try()
		require.ErrorContains(t, r.Unresolved(), "no such host")
		table["boot"] = []string{"10.0.0.1"}
		try() // refused
		require.NoError(t, r.Unresolved())
		require.ErrorIs(t, r.Trouble(), errRefused)
		delete(table, "boot")
		try()
		require.NoError(t, r.Unresolved(), "it was resolved once")
		require.ErrorContains(t, r.Trouble(), "no such host")
	})
}

func TestNamesOfAnInjectedDialerCountAsResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.Ready(-1, time.Now())
		r.settle()
		require.NoError(t, r.Unresolved())
		require.ErrorIs(t, r.Trouble(), errRefused)
	})
}

// Kafka counts whole milliseconds: with request.timeout.ms=0 an answer within the first is in time.
func TestNoRequestTimeoutIsAMillisecond(t *testing.T) {
	require.Equal(t, time.Millisecond, Config{RequestTimeout: -1}.withDefaults().RequestTimeout)
	require.Equal(t, 30*time.Second, Config{}.withDefaults().RequestTimeout)
	require.Equal(t, time.Second, Config{RequestTimeout: time.Second}.withDefaults().RequestTimeout)
}
