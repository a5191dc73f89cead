package quilltest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/protocol"
)

// latestRelease is what the nodes are if nothing else is asked for.
const latestRelease = "4.4"

// A release is a version of Kafka: which API versions its nodes serve.
type release struct {
	name   string
	number int // major*1000+minor, for comparisons
	max    map[protocol.APIKey]int16
}

// releaseAPIs are the columns of releases.
var releaseAPIs = [...]protocol.APIKey{
	protocol.Produce, protocol.Fetch, protocol.ListOffsets, protocol.OffsetForLeaderEpoch, protocol.Metadata, protocol.APIVersions, protocol.InitProducerID, protocol.FindCoordinator,
	protocol.AddPartitionsToTxn, protocol.AddOffsetsToTxn, protocol.EndTxn, protocol.TxnOffsetCommit,
	protocol.SaslHandshake, protocol.SaslAuthenticate,
}

// releases are in rising order; a release between two rows is the lower one. The numbers are those
// of the release's own message definitions; -1 is an API that the release does not have.
var releases = []release{
	newRelease("0.11", 3, 5, 2, 0, 4, 1, 0, 1, 0, 0, 0, 0, 0, -1),
	newRelease("1.0", 5, 6, 2, 0, 5, 1, 0, 1, 0, 0, 0, 0, 1, 0),
	newRelease("1.1", 5, 7, 2, 0, 5, 1, 0, 1, 0, 0, 0, 0, 1, 0),
	newRelease("2.0", 6, 8, 3, 1, 6, 2, 1, 2, 1, 1, 1, 1, 1, 0),
	newRelease("2.1", 7, 10, 4, 2, 7, 2, 1, 2, 1, 1, 1, 2, 1, 0),
	newRelease("2.2", 7, 10, 5, 2, 7, 2, 1, 2, 1, 1, 1, 2, 1, 1),
	newRelease("2.3", 7, 11, 5, 3, 8, 2, 1, 2, 1, 1, 1, 2, 1, 1),
	newRelease("2.4", 8, 11, 5, 3, 9, 3, 2, 3, 1, 1, 1, 2, 1, 1),
	newRelease("2.5", 8, 11, 5, 3, 9, 3, 3, 3, 1, 1, 1, 3, 1, 2),
	newRelease("2.7", 8, 12, 5, 3, 9, 3, 4, 3, 2, 2, 2, 3, 1, 2),
	newRelease("2.8", 9, 12, 6, 4, 11, 3, 4, 3, 3, 3, 3, 3, 1, 2),
	newRelease("3.0", 9, 12, 7, 4, 11, 3, 4, 4, 3, 3, 3, 3, 1, 2),
	newRelease("3.1", 9, 13, 7, 4, 11, 3, 4, 4, 3, 3, 3, 3, 1, 2),
	newRelease("3.3", 9, 13, 7, 4, 12, 3, 4, 4, 3, 3, 3, 3, 1, 2),
	newRelease("3.5", 9, 15, 8, 4, 12, 3, 4, 4, 3, 3, 3, 3, 1, 2),
	newRelease("3.7", 10, 16, 8, 4, 12, 3, 4, 4, 4, 3, 3, 3, 1, 2),
	newRelease("3.8", 11, 16, 8, 4, 12, 3, 5, 5, 5, 4, 4, 4, 1, 2),
	newRelease("3.9", 11, 17, 9, 4, 12, 4, 5, 6, 5, 4, 4, 4, 1, 2),
	newRelease("4.0", 12, 17, 10, 4, 13, 4, 5, 6, 5, 4, 5, 5, 1, 2),
	newRelease("4.1", 13, 18, 10, 4, 13, 4, 5, 6, 5, 4, 5, 5, 1, 2),
	newRelease("4.2", 13, 18, 11, 4, 13, 4, 5, 6, 5, 4, 5, 5, 1, 2),
	newRelease(latestRelease, 13, 18, 11, 4, 13, 5, 5, 6, 5, 4, 5, 6, 1, 2),
}

// newRelease takes the highest versions in the order of releaseAPIs.
func newRelease(name string, highest ...int16) release {
	number, _ := releaseNumber(name)
	r := release{name: name, number: number, max: make(map[protocol.APIKey]int16)}
	for i, key := range releaseAPIs {
		r.max[key] = highest[i]
	}
	return r
}

// releaseNumber makes "2.1" or "2.1.1" comparable.
func releaseNumber(name string) (int, error) {
	parts := strings.Split(name, ".")
	if len(parts) < 2 {
		return 0, fmt.Errorf("quilltest: release %q is not of the form 2.1", name)
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, fmt.Errorf("quilltest: release %q: %w", name, err)
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, fmt.Errorf("quilltest: release %q: %w", name, err)
	}
	return major*1000 + minor, nil
}

// findRelease returns the newest known release that is not newer than name.
func findRelease(name string) (release, error) {
	number, err := releaseNumber(name)
	if err != nil {
		return release{}, err
	}
	if number < releases[0].number {
		return release{}, fmt.Errorf("quilltest: release %q is older than %s", name, releases[0].name)
	}
	i, exact := slices.BinarySearchFunc(releases, number, func(r release, n int) int { return r.number - n })
	if !exact {
		i--
	}
	r := releases[i]
	r.number = number
	return r, nil
}

// before says whether the release is older than major.minor.
func (r release) before(major, minor int) bool { return r.number < major*1000+minor }

// A versionRange is what a node serves of one API. Advertised differs from it where Kafka does
// (KAFKA-18659).
type versionRange struct {
	min, max   int16
	advertised int16 // lowest version named in ApiVersions
}

// versions returns the ranges served, after the caps.
func (r release) versions(caps map[protocol.APIKey]int16) map[protocol.APIKey]versionRange {
	served := make(map[protocol.APIKey]versionRange)
	for key, api := range apis {
		highest, ok := r.max[key]
		if !ok {
			highest = api.max
		}
		if limit, ok := caps[key]; ok {
			highest = min(highest, limit)
		}
		if highest >= api.min {
			served[key] = versionRange{min: api.min, max: highest, advertised: api.advertised}
		}
	}
	return served
}

// features returns the finalized features unless the options name their own.
func (r release) features(own map[string]int16) map[string]int16 {
	if own != nil {
		return maps.Clone(own)
	}
	if r.before(4, 0) {
		return nil
	}
	return map[string]int16{"transaction.version": 2}
}
