package quill

import (
	"context"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/network"
)

// networkOf is what the properties make of the client's configuration.
func networkOf(t *testing.T, props map[string]string) network.Config {
	s, err := resolveProperties(props)
	require.NoError(t, err)
	return s.network(func(network.Event) {})
}

func TestSettingsReachTheNetwork(t *testing.T) {
	got := networkOf(t, map[string]string{
		"client.id": "me", "client.dns.lookup": "resolve_canonical_bootstrap_servers_only", "max.in.flight.requests.per.connection": "4",
		"request.timeout.ms": "1", "socket.connection.setup.timeout.ms": "2", "socket.connection.setup.timeout.max.ms": "3",
		"reconnect.backoff.ms": "4", "reconnect.backoff.max.ms": "5", "connections.max.idle.ms": "6", "send.buffer.bytes": "7", "receive.buffer.bytes": "8",
	})
	require.NotNil(t, got.Post)
	require.NotNil(t, got.Logger)
	require.NotEmpty(t, got.SoftwareVersion)
	got.Post, got.Logger, got.SoftwareVersion = nil, nil, ""
	require.Equal(t, network.Config{
		ClientID: "me", SoftwareName: "quill", CanonicalNames: true, MaxInFlight: 4, RequestTimeout: time.Millisecond,
		SetupTimeout: 2 * time.Millisecond, SetupTimeoutMax: 3 * time.Millisecond,
		ReconnectBackoff: 4 * time.Millisecond, ReconnectBackoffMax: 5 * time.Millisecond, MaxIdle: 6 * time.Millisecond,
		SendBuffer: 7, ReceiveBuffer: 8,
	}, got)

	refused := errors.New("refused")
	s, err := Config{BootstrapServers: []string{"a:1"}, DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}.resolve()
	require.NoError(t, err)
	_, err = s.network(nil).DialContext(t.Context(), "tcp", "a:1")
	require.ErrorIs(t, err, refused)
}

// A zero in network.Config is a default, so the zeros of properties must not arrive as such.
func TestZerosReachTheNetworkAsNone(t *testing.T) {
	got := networkOf(t, map[string]string{"request.timeout.ms": "0", "reconnect.backoff.ms": "0", "reconnect.backoff.max.ms": "0", "connections.max.idle.ms": "0"})
	require.Negative(t, got.RequestTimeout)
	require.Negative(t, got.ReconnectBackoff)
	require.Negative(t, got.ReconnectBackoffMax)
	require.Equal(t, time.Millisecond, got.MaxIdle)

	for f, v := range reflect.ValueOf(networkOf(t, nil)).Fields() { // and the defaults are given, not left to it
		switch f.Name {
		case "DialContext", "Lookup", "LookupAddr", "CanonicalNames", "MaxResponse", "dialIP":
			require.True(t, v.IsZero(), f.Name)
		default:
			require.False(t, v.IsZero(), f.Name)
		}
	}
}
