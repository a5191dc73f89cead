package network

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/stat"
	"github.com/quill-kafka/quill/network/sasl"
)

// Config says how a Client connects. It must not be changed after New.
type Config struct {
	// ClientID goes into the header of every request. Kafka: client.id.
	ClientID string
	// SoftwareName and SoftwareVersion name this client to the nodes (KIP-511). Characters that
	// Kafka refuses are replaced. If empty, "quill" and "unknown".
	SoftwareName, SoftwareVersion string

	// Post takes the events of connections; the owner passes them to Handle, in any order between
	// connections but in the order of posting for one. It is called from many goroutines, also
	// within Send, and must not block. Required.
	Post func(Event)

	// DialContext connects, if not nil. It gets host names as they are ("host:port"), unresolved,
	// and must return when ctx ends. Close of what it returns must end Read and Write.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Lookup resolves a host name when DialContext is nil. If nil, net.DefaultResolver.LookupHost.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// LookupAddr finds the names of an address, for CanonicalNames. If nil,
	// net.DefaultResolver.LookupAddr.
	LookupAddr func(ctx context.Context, addr string) ([]string, error)
	// CanonicalNames: bootstrap servers are known by the canonical names of their addresses.
	// Kafka: client.dns.lookup=resolve_canonical_bootstrap_servers_only.
	CanonicalNames bool

	// TLS returns how a connection is secured, if not nil; without it, connections are plaintext. It is called for
	// each connection that is made, also concurrently, so that keys and certificates may change, and must return when
	// ctx ends. What it returns is cloned. A ServerName in it stands for the host, as it is configured or advertised, that
	// else is sent to the node (SNI) and looked for in its certificate.
	TLS func(ctx context.Context) (*tls.Config, error)
	// SASL authenticates each connection, if not nil, and again before the node's session ends (KIP-368).
	SASL sasl.Mechanism

	// MaxInFlight is how many requests of one connection may wait for answers.
	// Kafka: max.in.flight.requests.per.connection. If not positive, 5.
	MaxInFlight int
	// RequestTimeout is how long a request may take, from when it was written to the last byte of the
	// answer, without the time that the node throttles; and, before it is written, how long nothing may
	// be written. Kafka: request.timeout.ms. If zero, 30s; if negative, 1ms: Java counts in whole
	// milliseconds, so that with 0 an answer within the same one is in time.
	RequestTimeout time.Duration
	// SetupTimeout is the first limit for connecting; it doubles with each failure in a row, with
	// a jitter of 20 %. Kafka: socket.connection.setup.timeout.ms (KIP-601). If not positive, 10s.
	SetupTimeout time.Duration
	// SetupTimeoutMax bounds it. Kafka: socket.connection.setup.timeout.max.ms.
	// If not positive, 30s.
	SetupTimeoutMax time.Duration
	// ReconnectBackoff is the first wait after a failure; it doubles with each further one, with a
	// jitter of 20 %. Kafka: reconnect.backoff.ms. If zero, 50ms; if negative, none.
	ReconnectBackoff time.Duration
	// ReconnectBackoffMax bounds it. Kafka: reconnect.backoff.max.ms. If zero, 1s; if negative, none.
	ReconnectBackoffMax time.Duration
	// MaxIdle is how long a connection stays without a request. Kafka: connections.max.idle.ms.
	// If zero, 9m; if negative, without limit.
	MaxIdle time.Duration

	// SendBuffer and ReceiveBuffer set the socket's buffers if positive.
	// Kafka: send.buffer.bytes, receive.buffer.bytes.
	SendBuffer, ReceiveBuffer int
	// MaxResponse bounds the size of an answer. If not positive, 100 MiB.
	MaxResponse int

	// Measures counts what goes over the connections. If nil, what nobody reads.
	Measures *Measures

	// Logger gets one line per decision about a connection, none per request. If nil, none.
	Logger *slog.Logger

	dialIP func(ctx context.Context, network, addr string) (net.Conn, error) // dials an address; tests replace it
}

func (cfg Config) withDefaults() Config {
	cfg.SoftwareName = cmp.Or(softwareText(cfg.SoftwareName), "quill")
	cfg.SoftwareVersion = cmp.Or(softwareText(cfg.SoftwareVersion), "unknown")
	if cfg.Lookup == nil {
		cfg.Lookup = net.DefaultResolver.LookupHost
	}
	if cfg.LookupAddr == nil {
		cfg.LookupAddr = net.DefaultResolver.LookupAddr
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Measures == nil {
		cfg.Measures = NewMeasures(&stat.Windows{Samples: 1, Length: time.Minute}, func() {})
	}
	cfg.dialIP = new(net.Dialer).DialContext // with keep-alive and TCP_NODELAY
	cfg.MaxInFlight = cmp.Or(max(cfg.MaxInFlight, 0), 5)
	cfg.RequestTimeout = max(cmp.Or(cfg.RequestTimeout, 30*time.Second), time.Millisecond)
	cfg.SetupTimeout = cmp.Or(max(cfg.SetupTimeout, 0), 10*time.Second)
	cfg.SetupTimeoutMax = max(cmp.Or(max(cfg.SetupTimeoutMax, 0), 30*time.Second), cfg.SetupTimeout)
	cfg.ReconnectBackoff = max(cmp.Or(cfg.ReconnectBackoff, 50*time.Millisecond), 0)
	cfg.ReconnectBackoffMax = max(cmp.Or(cfg.ReconnectBackoffMax, time.Second), 0)
	cfg.MaxIdle = max(cmp.Or(cfg.MaxIdle, 9*time.Minute), 0)
	cfg.MaxResponse = cmp.Or(max(cfg.MaxResponse, 0), 100<<20)
	return cfg
}

// softwareText makes s match what brokers accept, [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?, else
// they answer INVALID_REQUEST.
func softwareText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-', r == '.':
			return r
		}
		return '-'
	}, s)
	return strings.Trim(s, "-.")
}

// apiVersionsVersion is the version of ApiVersions that is tried first. Version 5 adds only what this
// client doesn't send yet (cluster and node id, KIP-1242), and would cost older nodes a round trip.
const apiVersionsVersion = min(4, message.APIVersionsMaxVersion)
