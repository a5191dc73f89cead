package quill

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/metrics"
)

// settings is a Config that was checked and completed: every default is filled in, every rule between
// fields applied. It does not change after resolve has returned it.
type settings struct {
	bootstrap               []string // host:port, IPv6 in brackets; at least one
	bootstrapResolveTimeout time.Duration
	canonicalNames          bool
	clientID, clientRack    string
	properties              map[string]string                                                 // as they were given
	logger                  *slog.Logger                                                      // never nil; carries the client id
	logCalls                *logCalls                                                         // of its handler
	dial                    func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer's

	metadataMaxAge, metadataMaxIdle   time.Duration
	rebootstrap                       bool
	rebootstrapTrigger                time.Duration
	reconnectBackoff                  time.Duration
	reconnectBackoffMax               time.Duration // >= reconnectBackoff
	setupTimeout, setupTimeoutMax     time.Duration // 0 < setupTimeout <= setupTimeoutMax
	connectionsMaxIdle                time.Duration // maxDuration: never
	sendBuffer, receiveBuffer         int           // -1: the operating system's choice
	acks                              int16         // -1 all, 0 none, 1 leader
	idempotent                        bool
	retries, maxInFlight              int
	retryBackoff, retryBackoffMax     time.Duration // retryBackoff <= retryBackoffMax
	deliveryTimeout, requestTimeout   time.Duration // deliveryTimeout >= linger + requestTimeout
	linger, maxBlock                  time.Duration
	maxRequestSize, batchSize         int // batchSize >= 1
	bufferMemory                      int64
	codec                             compress.Codec
	codecLevel                        int
	partitioner                       Partitioner // nil: the built-in one
	reporters                         []metrics.Reporter
	adaptive, ignoreKeys, rackAware   bool
	availabilityTimeout               time.Duration // 0: off
	transactionalID                   string
	transactionTimeout                time.Duration
	twoPhaseCommit                    bool
	metricsNumSamples                 int
	metricsSampleWindow               time.Duration
	metricsLevel                      string
	security                          security
	metricsPush, metadataClusterCheck bool

	notes     []settingNote
	inspected []inspect.Setting // for Inspect
}

// settingNote describes a setting that resolve changed or found questionable, for the log.
type settingNote struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// clientIDs numbers the producers of this process that were given no client id.
var clientIDs atomic.Int64

// resolve checks the whole Config and fills in the defaults. It reports all faults at once, in the *ConfigError.
func (c Config) resolve() (settings, error) {
	r := resolver{c: &c}
	r.checkFields()
	s := settings{
		clientID: trimJava(c.ClientID), clientRack: trimJava(c.ClientRack), partitioner: c.Partitioner,
		reporters: slices.Clone(c.MetricsReporters), dial: c.DialContext,
		transactionalID: trimJava(c.TransactionalID), properties: c.props.all, twoPhaseCommit: c.TransactionTwoPhaseCommit,
		canonicalNames: c.ResolveCanonicalBootstrapServersOnly,
		rebootstrap:    !c.NoRebootstrap,
		ignoreKeys:     c.PartitionerIgnoreKeys, rackAware: c.PartitionerRackAware,
		metricsLevel: c.MetricsRecordingLevel,
	}
	s.bootstrap = r.bootstrap()
	r.times(&s)
	r.sizes(&s)
	r.deliveryTimeout(&s)
	r.compression(&s)
	r.idempotence(&s)
	r.rest()
	protocol := r.transport(&s.security)
	r.name(&s)
	r.authentication(&s, protocol)
	if len(r.faults) > 0 {
		return settings{}, &ConfigError{Faults: r.faults}
	}
	s.notes, s.inspected = r.notes, r.inspected(&s)
	if s.security.stores != nil {
		s.security.stores.SetLogger(s.logger)
	}
	return s, nil
}

// name gives the producer its client id and its logger, which has that. As in Java, a number is taken only if the settings are
// right so far: the mechanism of SASL comes later, and may leave a gap.
func (r *resolver) name(s *settings) {
	if s.clientID == "" && r.c.ClientID == "" && !r.c.props.clientID && len(r.faults) == 0 {
		s.clientID = "producer-" + s.transactionalID
		if s.transactionalID == "" {
			s.clientID = "producer-" + strconv.FormatInt(clientIDs.Add(1), 10)
		}
	}
	s.logCalls = new(logCalls)
	s.logger = slog.New(newGuardedLog(r.c.logger().Handler(), s.logCalls)).With(slog.String("client_id", foreign.Plain(s.clientID)))
}

// logger returns the Logger, or the one that a producer without has.
func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(defaultLog{})
	}
	return c.Logger
}

// clientInfo returns the ClientInfo for plug-ins.
func (s *settings) clientInfo() ClientInfo {
	return ClientInfo{ClientID: s.clientID, Logger: s.logger, Properties: maps.Clone(s.properties)}
}

// logNotes logs what resolve changed or found questionable.
func (s *settings) logNotes() {
	for _, n := range s.notes {
		s.logger.LogAttrs(context.Background(), n.level, n.text, n.attrs...)
	}
}

// resolver is the state of one run of resolve.
type resolver struct {
	c      *Config
	faults []ConfigFault
	notes  []settingNote
}

func (r *resolver) fault(name, reason, fix string) {
	row := propertyByName[name]
	r.faults = append(r.faults, ConfigFault{Name: name, Field: row.field, Value: row.shown(row.written(r.c)), Reason: reason, Fix: fix})
}

func (r *resolver) note(level slog.Level, text string, attrs ...slog.Attr) {
	r.notes = append(r.notes, settingNote{level, text, attrs})
}

// checkFields checks each field by itself.
func (r *resolver) checkFields() {
	for _, group := range properties {
		for _, row := range group.rows {
			if row.value == nil {
				continue
			}
			if no := row.value.check(r.c); no != (complaint{}) {
				if no.fix == "" {
					no.fix = defaultInstead(row.value)
				}
				r.fault(row.name, no.reason, no.fix)
			}
		}
	}
}

// defaultInstead returns the fix for a number or a time that is refused, "" for other values.
func defaultInstead(v propertyValue) string {
	switch v := v.(type) {
	case millisValue:
		return "leave it out for the default, " + v.def.String()
	case numberValue[int], numberValue[int64]:
		_, def, _ := v.kafka()
		return "leave it out for the default, " + def
	}
	return ""
}

func (r *resolver) times(s *settings) {
	s.bootstrapResolveTimeout = bootstrapResolveTimeoutValue.get(r.c)
	s.metadataMaxAge = metadataMaxAgeValue.get(r.c)
	s.metadataMaxIdle = metadataMaxIdleValue.get(r.c)
	s.rebootstrapTrigger = metadataRecoveryRebootstrapTriggerValue.get(r.c)
	s.connectionsMaxIdle = connectionsMaxIdleValue.get(r.c)
	s.requestTimeout = requestTimeoutValue.get(r.c)
	s.maxBlock = maxBlockValue.get(r.c)
	s.availabilityTimeout = partitionerAvailabilityTimeoutValue.get(r.c)
	s.transactionTimeout = transactionTimeoutValue.get(r.c)
	s.metricsSampleWindow = metricsSampleWindowValue.get(r.c)
	s.linger = min(lingerValue.get(r.c), math.MaxInt32*time.Millisecond)
	if s.requestTimeout == 0 {
		r.note(slog.LevelWarn, "request.timeout.ms is 0: an answer that takes a millisecond comes too late")
	}

	s.retryBackoff, s.retryBackoffMax = r.growing(retryBackoffValue, retryBackoffMaxValue)
	s.setupTimeout, s.setupTimeoutMax = r.growing(socketConnectionSetupTimeoutValue, socketConnectionSetupTimeoutMaxValue)
	s.reconnectBackoff, s.reconnectBackoffMax = reconnectBackoffValue.get(r.c), reconnectBackoffMaxValue.get(r.c)
	if r.c.ReconnectBackoff != 0 && r.c.ReconnectBackoffMax == 0 {
		s.reconnectBackoffMax = s.reconnectBackoff
		r.note(slog.LevelWarn, "reconnect.backoff.ms is set and reconnect.backoff.max.ms is not: the backoff does not grow",
			slog.Duration("backoff", s.reconnectBackoff))
	}
	s.reconnectBackoff = min(s.reconnectBackoff, s.reconnectBackoffMax)
}

// growing resolves a time that grows from a base to a maximum. A base that is greater counts as the maximum.
func (r *resolver) growing(base, most millisValue) (from, to time.Duration) {
	from, to = base.get(r.c), most.get(r.c)
	if from > to {
		r.note(slog.LevelWarn, base.name+" is greater than "+most.name+": the time is always the latter",
			slog.Duration("base", from), slog.Duration("max", to))
	}
	return min(from, to), to
}

func (r *resolver) sizes(s *settings) {
	s.sendBuffer = sendBufferBytesValue.get(r.c)
	s.receiveBuffer = receiveBufferBytesValue.get(r.c)
	s.retries = retriesValue.get(r.c)
	s.maxInFlight = maxInFlightRequestsPerConnectionValue.get(r.c)
	s.maxRequestSize = maxRequestSizeValue.get(r.c)
	s.metricsNumSamples = metricsNumSamplesValue.get(r.c)
	s.batchSize = max(1, batchSizeValue.get(r.c))
	s.bufferMemory = bufferMemoryValue.get(r.c)
	if reason := addressable(s.bufferMemory, math.MaxInt); reason != "" {
		r.fault(nameBufferMemory, reason, "lower it")
	}
	s.adaptive = partitionerAdaptivePartitioningValue.get(r.c)
	s.metricsPush = enableMetricsPushValue.get(r.c)
	s.metadataClusterCheck = metadataClusterCheckValue.get(r.c)
	s.acks = map[Acks]int16{AcksAll: -1, AcksLeader: 1, AcksNone: 0}[r.c.Acks]
}

// addressable says why a process whose largest int is maxInt can't have so much memory; "" if it can.
func addressable(bytes, maxInt int64) string {
	if bytes <= maxInt {
		return ""
	}
	return "is more than this platform can address, " + strconv.FormatInt(maxInt, 10) + " bytes"
}

// deliveryTimeout must cover the linger and one request. Set by hand it is refused if it does not;
// otherwise it is raised.
func (r *resolver) deliveryTimeout(s *settings) {
	s.deliveryTimeout = deliveryTimeoutValue.get(r.c)
	need := min(s.linger+s.requestTimeout, math.MaxInt32*time.Millisecond)
	switch {
	case s.deliveryTimeout >= need:
	case r.c.DeliveryTimeout != 0:
		r.fault(nameDeliveryTimeout, "must be at least linger.ms + request.timeout.ms, "+need.String(),
			"raise it, or lower request.timeout.ms or linger.ms")
	default:
		s.deliveryTimeout = need
		r.note(slog.LevelWarn, "delivery.timeout.ms was raised to linger.ms + request.timeout.ms", slog.Duration("delivery_timeout", need))
	}
}

func (r *resolver) compression(s *settings) {
	c := r.c
	s.codec, s.codecLevel = compress.Codec(c.Compression), compress.DefaultLevel
	switch c.Compression {
	case CompressionGzip:
		s.codecLevel = levelOr(c.CompressionGzipLevel, s.codecLevel)
	case CompressionLZ4:
		s.codecLevel = levelOr(c.CompressionLZ4Level, s.codecLevel)
	case CompressionZstd:
		s.codecLevel = levelOr(c.CompressionZstdLevel, s.codecLevel)
	}
	if !c.IncrementalBufferMemory {
		return
	}
	if c.Compression != CompressionNone {
		r.fault(nameAllocationStrategy, "does not support compression yet",
			"set compression.type to none, or the strategy to full")
	} else if s.batchSize < 16<<10 {
		r.note(slog.LevelWarn, "buffer.memory.allocation.strategy is full because batch.size is below 16384",
			slog.Int("batch_size", s.batchSize))
	}
}

func levelOr(level *int, def int) int {
	if level != nil {
		return *level
	}
	return def
}

// idempotence turns idempotence on unless acks or retries rule it out; then it is a fault if it was asked for. The
// limit of requests in flight is checked even if it is turned off that way, as in Kafka.
func (r *resolver) idempotence(s *settings) {
	c := r.c
	s.idempotent = idempotenceValue.get(c)
	if s.idempotent {
		if s.maxInFlight > 5 {
			r.fault(nameMaxInFlight, "must be at most 5 with idempotence",
				"lower it, or set enable.idempotence to false")
		}
		for _, need := range []struct {
			met         bool
			name, claim string
		}{
			{s.retries != 0, nameRetries, "must not be 0 with idempotence"},
			{c.Acks == AcksAll, nameAcks, "must be all with idempotence"},
		} {
			switch {
			case need.met:
			case c.Idempotence != nil: // and true
				r.fault(need.name, need.claim, "leave "+need.name+" out, or set enable.idempotence to false")
			default:
				s.idempotent = false
				r.note(slog.LevelInfo, "idempotence is off because of "+need.name)
			}
		}
	}
	if !s.idempotent && c.TransactionalID != "" {
		r.fault(nameTransactionalID, "needs idempotence", "leave acks, retries and enable.idempotence at their defaults")
	}
	if c.TransactionTwoPhaseCommit && c.TransactionTimeout != 0 {
		r.fault(nameTransactionTimeout, "must not be set with transaction.two.phase.commit.enable: such transactions never time out",
			"leave one of them out")
	}
}

// rest checks the rules that concern no other setting.
func (r *resolver) rest() {
	c := r.c
	if c.PartitionerRackAware && trimJava(c.ClientRack) == "" {
		r.fault(nameRackAware, "needs client.rack", "set client.rack to the rack this client runs in")
	}
	if c.props.partitioner != "" && c.Partitioner == nil {
		r.fault(namePartitionerClass, "names a Java class", partitionerInstead(c.props.partitioner))
	}
	r.reporters()
}

// reporters checks metric.reporters: JmxReporter, Java's default, is no loss, others have to be there in Go.
func (r *resolver) reporters() {
	if r.c.props.reporters == "" {
		return
	}
	for class := range strings.SplitSeq(r.c.props.reporters, ",") {
		switch class = trimJava(class); {
		case class == jmxReporter:
			r.note(slog.LevelInfo, "property has no effect", slog.String("property", nameMetricReporters),
				slog.String("reason", "there is no JMX; Producer.Metrics has the same names"))
		case len(r.c.MetricsReporters) == 0:
			r.fault(nameMetricReporters, "names a Java class",
				"set Config.MetricsReporters to its Go counterpart, or read Producer.Metrics")
		}
	}
}

// bootstrap checks BootstrapServers.
func (r *resolver) bootstrap() []string {
	if len(r.c.BootstrapServers) == 0 {
		r.faults = append(r.faults, ConfigFault{Name: nameBootstrapServers, Field: "BootstrapServers", Reason: "is required",
			Fix: r.c.meantFor(nameBootstrapServers, "name one or more host:port")})
	}
	var addrs []string
	for _, server := range r.c.BootstrapServers {
		addr, reason, fix := parseServer(server)
		if reason != "" {
			r.faults = append(r.faults, ConfigFault{Name: nameBootstrapServers, Field: "BootstrapServers", Value: server,
				Reason: reason, Fix: fix})
			continue
		}
		addrs = append(addrs, addr)
	}
	if r.c.DialContext == nil && len(addrs) > 0 && !slices.ContainsFunc(addrs, mayExist) {
		r.faults = append(r.faults, ConfigFault{Name: nameBootstrapServers, Value: strings.Join(r.c.BootstrapServers, ","),
			Reason: "names that end in .invalid never have an address (RFC 6761)",
			Fix:    "set Config.DialContext to the function that knows them; for a quilltest.Cluster with Pipes that is its DialContext"})
	}
	return addrs
}

// parseServer turns "host:port", "[ipv6]:port" or "scheme://host:port" into what net.Dial takes. As in
// Kafka's client the scheme means nothing and is dropped, and so are blanks around the whole. A reason,
// if there is one, says why the text is refused, and fix what to write.
func parseServer(server string) (addr, reason, fix string) {
	fix = "write host:port, or [address]:port for IPv6"
	rest := trimJava(server)
	if rest == "" {
		return "", "has an empty element", fix
	}
	if scheme, after, ok := strings.Cut(rest, "://"); ok && isHost(scheme) && !strings.Contains(scheme, ":") {
		if rest = after; strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			return "", "is a URL of " + strings.ToLower(scheme) + ", and Kafka speaks a protocol of its own",
				"write host:port of a Kafka listener"
		}
	}
	if reason, fix := bareIPv6(rest); reason != "" {
		return "", reason, fix
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 || strings.HasSuffix(rest, "]") {
		return "", "has no port", fix
	}
	host, port := rest[:colon], rest[colon+1:]
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	if bracketed {
		host = host[1 : len(host)-1]
	}
	switch {
	case strings.Contains(rest, ","):
		return "", "is a list", "give each server its own element"
	case host == "":
		return "", "has no host", fix
	case !isHost(host):
		return "", "is not a host and a port", fix
	case strings.Contains(host, ":") && !isIPv6(host):
		return "", "is neither a host nor an IPv6 address, and a port", fix
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "has no port between 1 and 65535", fix
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), "", ""
}

// bareIPv6 refuses an IPv6 address without brackets, because it is not clear where the port begins.
// Kafka's client takes what follows the last colon for the port, so that it dials port 204 of a host
// that does not exist for 2001:db8::204.
func bareIPv6(rest string) (reason, fix string) {
	if strings.HasPrefix(rest, "[") {
		return "", ""
	}
	colon := strings.LastIndexByte(rest, ':')
	host, port := rest[:max(0, colon)], rest[colon+1:]
	whole, cut := isIPv6(rest), isIPv6(host)
	_, err := strconv.ParseUint(port, 10, 16)
	switch {
	case whole && cut && err == nil:
		return "is an IPv6 address without brackets", "write [" + rest + "]:port, or [" + host + "]:" + port + " if that is its port"
	case whole:
		return "is an IPv6 address without brackets, and without a port", "write [" + rest + "]:port"
	case cut:
		return "is an IPv6 address without brackets", "write [" + host + "]:" + port
	}
	return "", ""
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
}

// isHost reports whether s has only characters that Kafka's client takes in a host.
func isHost(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case strings.IndexByte("-%._:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// mayExist reports whether the host of a host:port is not one of the names that are reserved never to exist.
func mayExist(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	return !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".invalid")
}
