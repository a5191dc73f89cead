package quilltest

import (
	"maps"
	"regexp"
	"slices"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

var apiVersionsAPI = api{
	min: message.APIVersionsMinVersion, max: message.APIVersionsMaxVersion,
	handle: handleAPIVersions,
}

// softwareName is what KIP-511 allows as a client's software name and version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func handleAPIVersions(q *call) (message.Message, bool) {
	req := q.body.(*message.APIVersionsRequest)
	res := newResponse[*message.APIVersionsResponse](protocol.APIVersions)
	res.ErrorCode = q.plan.failure()
	switch {
	case res.ErrorCode != protocol.None:
	case q.Version >= 3 && !(softwareName.MatchString(req.ClientSoftwareName) && softwareName.MatchString(req.ClientSoftwareVersion)):
		res.ErrorCode = protocol.InvalidRequest
	case q.Version >= 5 && req.ClusterID != nil && req.NodeID >= 0 && (*req.ClusterID != q.cluster.opts.ClusterID || req.NodeID != q.node.id):
		res.ErrorCode = protocol.RebootstrapRequired // KIP-1242: the client reached another node than it meant
	}
	if res.ErrorCode != protocol.None {
		return res, true
	}
	if q.sasl.state == saslFirst {
		q.sasl.state = saslHandshake
	}
	for _, key := range slices.Sorted(maps.Keys(q.cluster.served)) {
		res.APIKeys = append(res.APIKeys, q.cluster.advertise(key))
	}
	if q.cluster.features == nil {
		return res, true
	}
	res.FinalizedFeaturesEpoch = 1
	for _, name := range slices.Sorted(maps.Keys(q.cluster.features)) {
		level := q.cluster.features[name]
		if q.Version >= 4 { // before, a lowest version of 0 cannot be said (KAFKA-17011)
			res.SupportedFeatures = append(res.SupportedFeatures, message.SupportedFeatureKey{Name: name, MinVersion: 0, MaxVersion: level})
		}
		res.FinalizedFeatures = append(res.FinalizedFeatures, message.FinalizedFeatureKey{Name: name, MinVersionLevel: level, MaxVersionLevel: level})
	}
	return res, true
}

// refuseAPIVersions answers a version the node does not speak: version 0, with the versions of
// ApiVersions itself from 2.4 on (KIP-511).
func refuseAPIVersions(q *call) (message.Message, bool) {
	res := newResponse[*message.APIVersionsResponse](protocol.APIVersions)
	res.ErrorCode = protocol.UnsupportedVersion
	if !q.cluster.release.before(2, 4) {
		res.APIKeys = []message.APIVersion{q.cluster.advertise(protocol.APIVersions)}
	}
	return res, true
}

func (c *Cluster) advertise(key protocol.APIKey) message.APIVersion {
	v := c.served[key]
	return message.APIVersion{APIKey: int16(key), MinVersion: v.advertised, MaxVersion: v.max}
}

// newResponse returns a response with Kafka's defaults.
func newResponse[M message.Message](key protocol.APIKey) M { return message.NewResponse(key).(M) }
