package quilltest

import (
	"testing"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

func apiVersions() *message.APIVersionsRequest {
	return &message.APIVersionsRequest{ClientSoftwareName: "quill-test", ClientSoftwareVersion: "1.0", NodeID: -1}
}

func TestAPIVersionsNamesWhatIsServed(t *testing.T) {
	for version := message.APIVersionsMinVersion; version <= message.APIVersionsMaxVersion; version++ {
		inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
			res := dial(t, c, 1).do(apiVersions(), version).(*message.APIVersionsResponse)
			require.Equal(t, protocol.None, res.ErrorCode)
			require.Equal(t, []message.APIVersion{
				{APIKey: 0, MaxVersion: 13}, {APIKey: 1, MinVersion: 4, MaxVersion: 18}, {APIKey: 2, MinVersion: 1, MaxVersion: 11}, {APIKey: 3, MaxVersion: 13}, {APIKey: 10, MaxVersion: 6}, {APIKey: 17, MaxVersion: 1}, {APIKey: 18, MaxVersion: 5}, {APIKey: 22, MaxVersion: 5},
				{APIKey: 23, MinVersion: 2, MaxVersion: 4},
				{APIKey: 24, MaxVersion: 5}, {APIKey: 25, MaxVersion: 4}, {APIKey: 26, MaxVersion: 5}, {APIKey: 28, MaxVersion: 6}, {APIKey: 36, MaxVersion: 2},
			}, res.APIKeys)
			if version >= 3 {
				require.Equal(t, int64(1), res.FinalizedFeaturesEpoch)
				require.Equal(t, []message.FinalizedFeatureKey{{Name: "transaction.version", MaxVersionLevel: 2, MinVersionLevel: 2}}, res.FinalizedFeatures)
			}
		})
	}
}

func TestAPIVersionsFallsBackToZero(t *testing.T) {
	for release, keys := range map[string]int{"2.1": 0, "2.4": 1, "3.6": 1} {
		inBubble(t, Options{Release: release}, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			r.send(apiVersions(), 5)
			res := r.receive(protocol.APIVersions, 0).(*message.APIVersionsResponse)
			require.Equal(t, protocol.UnsupportedVersion, res.ErrorCode)
			require.Len(t, res.APIKeys, keys)
			res = r.do(apiVersions(), 2).(*message.APIVersionsResponse)
			require.Equal(t, protocol.None, res.ErrorCode, "the connection goes on")
		})
	}
}

func TestAPIVersionsChecksTheClient(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		req := apiVersions()
		req.ClientSoftwareName = "no good!"
		require.Equal(t, protocol.InvalidRequest, r.do(req, 3).(*message.APIVersionsResponse).ErrorCode)
		id := c.ClusterID()
		req = apiVersions()
		req.ClusterID, req.NodeID = &id, 1
		require.Equal(t, protocol.None, r.do(req, 5).(*message.APIVersionsResponse).ErrorCode)
		req.NodeID = 2
		require.Equal(t, protocol.RebootstrapRequired, r.do(req, 5).(*message.APIVersionsResponse).ErrorCode)
		other := "another"
		req.ClusterID, req.NodeID = &other, 1
		require.Equal(t, protocol.RebootstrapRequired, r.do(req, 5).(*message.APIVersionsResponse).ErrorCode)
	})
}

func TestReleasesCapVersions(t *testing.T) {
	tests := []struct {
		opts                        Options
		produce, metadata, initID   int16
		requestBeyondClosesProduce0 bool
	}{
		{opts: Options{Release: "0.11"}, produce: 3, metadata: 4, initID: 0},
		{opts: Options{Release: "2.2"}, produce: 7, metadata: 7, initID: 1},
		{opts: Options{Release: "3.9.1"}, produce: 11, metadata: 12, initID: 5},
		{opts: Options{Release: "5.0"}, produce: 13, metadata: 13, initID: 5},
		{opts: Options{MaxVersions: map[protocol.APIKey]int16{protocol.Produce: 8, protocol.InitProducerID: -1}}, produce: 8, metadata: 13, initID: -1},
	}
	for _, test := range tests {
		inBubble(t, test.opts, func(t *testing.T, c *Cluster) {
			r := dial(t, c, 1)
			got := map[protocol.APIKey]int16{protocol.InitProducerID: -1}
			for _, v := range r.do(apiVersions(), 0).(*message.APIVersionsResponse).APIKeys {
				got[protocol.APIKey(v.APIKey)] = v.MaxVersion
			}
			require.Equal(t, []int16{test.produce, test.metadata, test.initID}, []int16{got[protocol.Produce], got[protocol.Metadata], got[protocol.InitProducerID]})
			if test.produce < message.ProduceMaxVersion {
				r.send(&message.ProduceRequest{}, test.produce+1)
				r.requireClosed()
			}
		})
	}
	for _, release := range []string{"0.10", "x", "2.x", "2"} {
		_, err := NewCluster(Options{Release: release})
		require.Error(t, err)
	}
}

func TestOldProduceVersionsAreNamedButRefused(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Cluster) {
		r := dial(t, c, 1)
		r.send(&message.ProduceRequest{}, 2)
		r.requireClosed()
	})
}
