package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

const (
	// handshakeIDs is how many correlation ids a handshake needs at most: one per version of
	// ApiVersions, since each try is with a lower one.
	handshakeIDs = int32(apiVersionsVersion) + 1
	// maxHandshake bounds the answer to ApiVersions, which has some kilobytes.
	maxHandshake = 1 << 20
	// throttledVersion is the first version of ApiVersions whose throttle time the client has to keep itself
	// (KIP-219).
	throttledVersion = int16(2)
	// trackedAPIs is one above the highest API key that is remembered.
	trackedAPIs = 128
	// voteKey is the API key of Vote, which only KRaft controllers serve.
	voteKey = 52
)

// versions are the API versions and features that a node reports. They do not change. The nil value
// has none.
type versions struct {
	ranges   [trackedAPIs]versionRange
	features map[string]int16 // finalized levels
	throttle time.Duration    // how long the node asks to get no requests at first
}

// versionRange is the zero value for an API that is not served.
type versionRange struct {
	served          bool
	lowest, highest int16
}

// newVersions reads a node's answer to ApiVersions. Of two entries for one API only the versions that both
// allow count, and an API with an empty range is not served. It fails if the node does not serve Produce
// and Metadata.
func newVersions(resp *message.APIVersionsResponse) (*versions, error) {
	v := &versions{features: map[string]int16{}}
	for _, a := range resp.APIKeys {
		if a.APIKey < 0 || a.APIKey >= trackedAPIs {
			continue
		}
		r := &v.ranges[a.APIKey]
		if !r.served {
			*r = versionRange{true, a.MinVersion, a.MaxVersion}
		}
		r.lowest, r.highest = max(r.lowest, a.MinVersion, 0), min(r.highest, a.MaxVersion)
	}
	for _, key := range []protocol.APIKey{protocol.Produce, protocol.Metadata} {
		if _, _, ok := v.get(key); !ok && v.ranges[voteKey].served {
			return nil, fmt.Errorf("%w: the node does not serve %v: %w; name the listeners of brokers", ErrUnsupportedVersion,
				key, ErrController)
		} else if !ok {
			return nil, fmt.Errorf("%w: the node does not serve %v; is it a broker?", ErrUnsupportedVersion, key)
		}
	}
	if resp.FinalizedFeaturesEpoch >= 0 { // KIP-584: else the list means nothing
		for _, f := range resp.FinalizedFeatures {
			if _, twice := v.features[f.Name]; !twice && f.MaxVersionLevel >= 0 {
				v.features[f.Name] = f.MaxVersionLevel
			}
		}
	}
	return v, nil
}

// get returns the range of an API; ok is false if it is not served.
func (v *versions) get(key protocol.APIKey) (lowest, highest int16, ok bool) {
	if v == nil || key < 0 || key >= trackedAPIs {
		return 0, 0, false
	}
	r := v.ranges[key]
	if !r.served || r.lowest > r.highest {
		return 0, 0, false
	}
	return r.lowest, r.highest, true
}

// choose returns the highest version that node and exchange have in common.
func (v *versions) choose(x Exchange) (int16, error) {
	key := x.APIKey()
	lowest, highest := x.Versions()
	nodeLowest, nodeHighest, ok := v.get(key)
	if !ok {
		return 0, fmt.Errorf("%w of %v: the node does not serve it%s", ErrUnsupportedVersion, key, since(key, lowest))
	}
	version := min(highest, nodeHighest)
	if version < max(lowest, nodeLowest) {
		release := ""
		if nodeHighest < lowest {
			release = since(key, lowest)
		}
		return 0, fmt.Errorf("%w of %v: the node has %d to %d, the client %d to %d%s",
			ErrUnsupportedVersion, key, nodeLowest, nodeHighest, lowest, highest, release)
	}
	return version, nil
}

// releases are the first releases of Kafka with a version of an API that this client may need, ascending.
var releases = []struct {
	key     protocol.APIKey
	version int16
	release string
}{
	{protocol.Produce, 3, "0.11"}, {protocol.Produce, 7, "2.1"}, {protocol.Produce, 12, "4.0"}, {protocol.Produce, 13, "4.1"},
	{protocol.InitProducerID, 0, "0.11"}, {protocol.AddPartitionsToTxn, 0, "0.11"}, {protocol.AddOffsetsToTxn, 0, "0.11"},
	{protocol.EndTxn, 0, "0.11"}, {protocol.TxnOffsetCommit, 0, "0.11"}, {protocol.TxnOffsetCommit, 3, "2.5"},
	{protocol.FindCoordinator, 1, "0.11"},
}

// since returns, as the end of an error text, the release of Kafka in which a version of an API came; "" if that is not known.
func since(key protocol.APIKey, version int16) string {
	for _, r := range releases {
		if r.key == key && r.version >= version {
			return "; Kafka has it since " + r.release
		}
	}
	return ""
}

// negotiate asks the node for its versions, synchronously and with a deadline set by the caller. If
// the node does not know the version of the question, it is asked again with the one it names if that
// is lower, else with version 0 (KIP-511). Each question has a lower version, so it ends.
func (c *conn) negotiate(nc net.Conn) (*versions, error) {
	version := c.firstAsk
	for i := int32(0); ; i++ {
		resp, err := c.askVersions(nc, version, c.correlation+i)
		switch {
		case err != nil:
			return nil, explain(err, version)
		case resp.ErrorCode == protocol.None:
			v, err := newVersions(resp)
			if err == nil && version >= throttledVersion {
				v.throttle = resp.Throttle()
			}
			return v, err
		case resp.ErrorCode != protocol.UnsupportedVersion:
			return nil, fmt.Errorf("ApiVersions version %d: %w", version, resp.ErrorCode)
		case version == 0:
			return nil, fmt.Errorf("%w of ApiVersions: %w", ErrUnsupportedVersion, resp.ErrorCode)
		}
		version = lowerVersion(resp, version)
	}
}

// lowerVersion returns the version of ApiVersions to ask with after `version` was refused.
func lowerVersion(resp *message.APIVersionsResponse, version int16) int16 {
	for _, a := range resp.APIKeys {
		if protocol.APIKey(a.APIKey) == protocol.APIVersions && a.MaxVersion > 0 && a.MaxVersion < version {
			return a.MaxVersion
		}
	}
	return 0
}

// askVersions makes one round trip of the handshake.
func (c *conn) askVersions(nc net.Conn, version int16, id int32) (*message.APIVersionsResponse, error) {
	req, resp := new(message.APIVersionsRequest), new(message.APIVersionsResponse)
	req.Reset()
	req.ClientSoftwareName, req.ClientSoftwareVersion = c.cfg.SoftwareName, c.cfg.SoftwareVersion
	frame, err := c.ask(nc, req, version, id)
	if err != nil {
		return nil, err
	}
	c.arrived = arrived{reads: c.arrived.reads + 1, bytes: c.arrived.bytes + sizeField + int64(len(frame)),
		response: sizeField + int32(len(frame))}
	rd := protocol.NewReader(frame)
	if got := message.DecodeResponseHeader(&rd, protocol.APIVersions, version); got != id {
		return nil, malformed("correlation id %d, want %d", got, id)
	}
	if peek := rd; protocol.ErrorCode(peek.Int16()) == protocol.UnsupportedVersion {
		// An answer with this error has version 0, whichever version was asked for, if it goes on at all (KIP-511).
		resp.Decode(&rd, 0)
		resp.ErrorCode = protocol.UnsupportedVersion
		return resp, nil
	}
	resp.Decode(&rd, version)
	if err := rd.Err(); err != nil {
		return nil, malformed("ApiVersions version %d: %w", version, err)
	}
	if err := c.spareBytes(&rd, protocol.APIVersions, version); err != nil {
		return nil, malformed("ApiVersions version %d: %w", version, err)
	}
	return resp, nil
}

// ask makes one round trip of the set-up and returns the frame of the answer, which is valid until the next one.
func (c *conn) ask(nc net.Conn, req message.Message, version int16, id int32) ([]byte, error) {
	r := &Request{Exchange: &Message{Request: req}, Version: version, CorrelationID: id}
	if err := c.out.frame.add(r, c.cfg.ClientID); err != nil {
		return nil, err
	}
	_, err := c.out.write(nc, c.out.frame.Vectors())
	size := int64(c.out.frame.size())
	c.out.erase()
	if err != nil {
		// The node may have said why it hangs up before it did: with TLS 1.3 that comes while the client already writes.
		if _, why := c.in.next(nc, min(maxHandshake, c.cfg.MaxResponse)); isAlert(why) {
			return nil, why
		}
		return nil, err
	}
	if req.APIKey() == protocol.APIVersions { // what authenticates does not count, as in Java
		c.wrote(c.out.calls, size, 1, size, time.Now())
	}
	c.out.calls = 0
	return c.in.next(nc, min(maxHandshake, c.cfg.MaxResponse))
}

// otherProtocol is the hint in errors about a peer that does not answer as a broker does.
const otherProtocol = "does the listener want TLS or SASL, or is it no broker?"

// explain adds to an error of the handshake what it may mean.
func explain(err error, version int16) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: no answer to ApiVersions; does it hang, or %s", ErrSetupTimeout, otherProtocol)
	case closedByPeer(err):
		return hungUp{fmt.Errorf("the peer closed the connection on ApiVersions version %d (%w): %s", version, err, otherProtocol)}
	}
	return err
}
