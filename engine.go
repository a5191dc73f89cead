package quill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
)

// engine is the producer on bytes, which every typed Producer is a view of: one buffer, one set of
// connections, one sender.
type engine struct {
	cfg      settings
	acc      *accumulator
	box      *inbox
	board    *board
	clock    *coarseClock
	dispatch *dispatcher
	sender   *sender
	largest  int           // record size (an upper bound of it) that fits every limit
	random   func() uint32 // rand.Uint32, unless a test must be repeatable

	closeOnce sync.Once
	plugins   pluginClose
	closed    atomic.Bool            // no more sends
	gone      chan struct{}          // closed when closed is set: wakes Sends that wait for metadata
	forcedBy  atomic.Pointer[forced] // the first Close that did not wait for the end; nil: none
	fatal     atomic.Pointer[Error]
	answers   answers // to calls that give up waiting
	reports   *reporting
}

// newEngine builds and starts an engine. When it fails nothing is left running.
func newEngine(cfg Config) (*engine, error) {
	e, err := assemble(cfg)
	if err != nil {
		return nil, err
	}
	s := &e.cfg
	settings := s.network(e.box.post)
	settings.Measures = e.acc.measures.network
	client := network.New(settings)
	client.SetBootstrap(s.bootstrap)
	e.sender.client = client
	if s.codec != compress.None {
		e.sender.sealer.crew.hire(e.box)
	}
	go e.dispatch.run() // ends after dispatch.close, in close
	go e.sender.run()   // ends after beginClose has set s.closing
	if s.security.stores != nil {
		go s.security.stores.Watch(e.gone) // ends when Close begins; connections made from then on look at the files themselves
	}
	return e, nil
}

// network returns the configuration of the network client.
func (s *settings) network(post func(network.Event)) network.Config {
	return network.Config{
		ClientID: s.clientID, SoftwareName: softwareName, SoftwareVersion: softwareVersion(), Post: post,
		DialContext: guardedDial(s.dial, s.logger), MaxInFlight: s.maxInFlight, RequestTimeout: noneIfZero(s.requestTimeout),
		SetupTimeout: s.setupTimeout, SetupTimeoutMax: s.setupTimeoutMax,
		ReconnectBackoff: noneIfZero(s.reconnectBackoff), ReconnectBackoffMax: noneIfZero(s.reconnectBackoffMax),
		MaxIdle: s.connectionsMaxIdle, SendBuffer: s.sendBuffer, ReceiveBuffer: s.receiveBuffer,
		CanonicalNames: s.canonicalNames, TLS: s.security.tls, SASL: guardedMechanism(s.security.sasl), Logger: s.logger,
	}
}

// assemble builds an engine without its network client. It starts no goroutine.
func assemble(cfg Config) (*engine, error) {
	s, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	cfg.logUnused(s.logger)
	s.logNotes()
	if s.twoPhaseCommit && s.transactionalID != "" {
		return nil, &ConfigError{Faults: []ConfigFault{{Name: nameTwoPhaseCommit,
			Field: "TransactionTwoPhaseCommit", Value: "true",
			Reason: "two-phase commit is not supported yet", Fix: "leave it unset", Unsupported: true}}}
	}
	e := &engine{cfg: s, box: newInbox(), board: newBoard(), clock: newCoarseClock(), gone: make(chan struct{}), random: rand.Uint32,
		plugins: pluginClose{done: make(chan struct{})}}
	e.largest = int(min(int64(s.maxRequestSize), s.bufferMemory)) - protocol.BatchOverhead
	e.acc = newAccumulator(&e.cfg, e.box, e.clock)
	seal, err := newSealer(s.codec, s.codecLevel)
	if err != nil {
		return nil, newError(Error{Op: "new producer", Cause: err})
	}
	if err := e.checkBootstrap(); err != nil {
		return nil, err
	}
	if err := e.configurePlugins(); err != nil {
		return nil, err
	}
	// From here on nothing fails.
	e.dispatch = newDispatcher(e.acc, s.logger)
	e.acc.inCallback, e.acc.holdUp, e.acc.lastLook = e.inside, e.holdUp, e.lastLook
	e.acc.pool.lastLook = e.lastLook
	seal.sealed = e.acc.measures.sealed
	e.sender = &sender{
		cfg: &e.cfg, acc: e.acc, box: e.box, dispatch: e.dispatch, sealer: seal, logger: s.logger,
		refresh: newRefresher(&e.cfg, e.board, e.acc.setNodes, rand.Float64), retry: backoff.New(s.retryBackoff, s.retryBackoffMax),
		snapshot: new(metadata.Snapshot), bootstrapping: true, nodes: map[int32]*nodeOut{}, random: rand.Float64,
		idem: idempotence{on: s.idempotent, id: -1, epoch: -1}, finished: make(chan struct{}), onFatal: e.setFatal,
		losses: newLossLog(s.logger),
	}
	if s.transactionalID != "" {
		e.sender.idem.transactional = true
		e.sender.sealer.attributes = protocol.AttrTransactional
		e.sender.txn = newTransaction(e.sender, s.transactionalID)
	}
	e.reports = newReporting(e)
	return e, nil
}

// configurePlugins configures reporters and partitioner. When it fails, those that were configured are closed.
func (e *engine) configurePlugins() error {
	s := &e.cfg
	for i, r := range s.reporters {
		warnOfMisfits(s.logger, r, ofConfigurer, ofCloser)
		if err := configurePlugin(r, s.clientInfo()); err != nil {
			closeReporters(s.reporters[:i])
			return fmt.Errorf("configure metrics reporter %T: %w", r, err)
		}
	}
	if s.partitioner == nil {
		return nil
	}
	warnOfMisfits(s.logger, s.partitioner, ofBatchPartitioner, ofTypedPartitioner, ofConfigurer, ofCloser)
	if err := configurePlugin(s.partitioner, s.clientInfo()); err != nil {
		closeReporters(s.reporters)
		return fmt.Errorf("configure partitioner: %w", err)
	}
	return nil
}

// inside reports whether the caller runs where a wait for the producer would be one for itself: in a callback, or in the
// handler of its log, which the sender or the dispatcher may be waiting for.
func (e *engine) inside() bool { return e.dispatch.inside() || e.cfg.logCalls.inside() }

// noneIfZero returns -1 for zero: network.Config has -1 for "none" and zero for its default.
func noneIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

const softwareName = "quill"

// softwareVersion returns the version of this module in the user's binary, or "devel" (KIP-511).
func softwareVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/quill-kafka/quill" && dep.Version != "" && dep.Version != "(devel)" {
				return dep.Version
			}
		}
	}
	return "devel"
}

// checkBootstrap refuses bootstrap servers none of whose names can be resolved, as Java does, unless
// a dialer of the user's resolves them or bootstrap.resolve.timeout.ms allows it to take longer.
func (e *engine) checkBootstrap() error {
	if e.cfg.dial != nil || e.cfg.bootstrapResolveTimeout > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	var last error
	for _, server := range e.cfg.bootstrap {
		host, _, err := net.SplitHostPort(server)
		if err == nil {
			_, err = net.DefaultResolver.LookupHost(ctx, host)
		}
		if err == nil {
			return nil
		}
		last = err
	}
	return &ConfigError{Faults: []ConfigFault{{Name: nameBootstrapServers, Field: "BootstrapServers", Value: fmt.Sprint(e.cfg.bootstrap),
		Reason: "no host name can be resolved: " + last.Error(),
		Fix:    "give at least one that resolves, or set bootstrap.resolve.timeout.ms"}}}
}

// resolveLimit bounds the name look-ups in New.
const resolveLimit = 30 * time.Second

func (e *engine) setFatal(err *Error) {
	e.fatal.Store(err)
	e.acc.closeFor(closedByFatal, err)
	e.acc.pool.close()
	e.board.poke()
}
