package metadata

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxHost is the longest host name accepted: DNS allows 253 bytes, and an address with a zone fits.
const maxHost = 255

// maxFaults bounds what Faults reports about one answer.
const maxFaults = 16

// HasNodes reports whether the update names a node that can be used. An answer without one comes
// from a broker that does not know its cluster yet, and should count as a failed refresh.
func (u Update) HasNodes() bool {
	for _, n := range u.Nodes {
		if n.check() == nil {
			return true
		}
	}
	return false
}

// Faults lists what a merge leaves out of the update and why, for the log: nodes without a usable
// address, a node id given twice, topics without a name or with malformed partitions. At most 16.
func (u Update) Faults() []error {
	var faults []error
	report := func(format string, args ...any) bool {
		faults = append(faults, fmt.Errorf("metadata: "+format, args...))
		return len(faults) == maxFaults
	}
	ids := make(map[int32]bool, len(u.Nodes))
	for _, n := range u.Nodes {
		if err := n.check(); err != nil {
			if report("node %d: %w", n.ID, err) {
				return faults
			}
			continue
		}
		if ids[n.ID] && report("node %d: given twice", n.ID) {
			return faults
		}
		ids[n.ID] = true
	}
	for i := range u.Topics {
		t := &u.Topics[i]
		if t.Name == "" {
			if report("topic without a name") {
				return faults
			}
			continue
		}
		if t.Err != nil {
			continue
		}
		if _, err := places(t.Partitions); err != nil && report("topic %q: %w", t.Name, err) {
			return faults
		}
	}
	return faults
}

// usableNodes returns the nodes that can be connected to. Of two with the same id the first counts.
func (u Update) usableNodes() map[int32]Node {
	nodes := make(map[int32]Node, len(u.Nodes))
	for _, n := range u.Nodes {
		if _, twice := nodes[n.ID]; !twice && n.check() == nil {
			nodes[n.ID] = n
		}
	}
	return nodes
}

// check returns an error if n cannot be the address of a node, so that it reaches neither a dialer nor a terminal.
func (n Node) check() error {
	switch {
	case n.ID < 0:
		return errors.New("negative id")
	case n.Host == "":
		return errors.New("no host")
	case len(n.Host) > maxHost:
		return fmt.Errorf("host name of %d bytes", len(n.Host))
	case !utf8.ValidString(n.Host) || strings.ContainsFunc(n.Host, notInHost):
		return fmt.Errorf("host name %q", n.Host)
	case n.Port <= 0 || n.Port > 65535:
		return fmt.Errorf("port %d", n.Port)
	}
	return nil
}

func notInHost(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
}
