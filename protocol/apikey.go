package protocol

import "strconv"

// APIKey names a kind of request. It is the first field of a request's header.
type APIKey int16

// The API keys a producer uses, and Fetch, ListOffsets and OffsetForLeaderEpoch, with which consumers
// read.
const (
	Produce                   APIKey = 0
	Fetch                     APIKey = 1
	ListOffsets               APIKey = 2
	Metadata                  APIKey = 3
	OffsetCommit              APIKey = 8
	FindCoordinator           APIKey = 10
	SaslHandshake             APIKey = 17
	APIVersions               APIKey = 18
	InitProducerID            APIKey = 22
	OffsetForLeaderEpoch      APIKey = 23
	AddPartitionsToTxn        APIKey = 24
	AddOffsetsToTxn           APIKey = 25
	EndTxn                    APIKey = 26
	TxnOffsetCommit           APIKey = 28
	SaslAuthenticate          APIKey = 36
	GetTelemetrySubscriptions APIKey = 71
	PushTelemetry             APIKey = 72
)

// apiNames are the names of Kafka 4.4, indexed by API key. A node lists all of
// them in its API versions, so a log line can name those a producer never sends.
var apiNames = [...]string{
	"Produce", "Fetch", "ListOffsets", "Metadata", "LeaderAndIsr", "StopReplica",
	"UpdateMetadata", "ControlledShutdown", "OffsetCommit", "OffsetFetch",
	"FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup", "SyncGroup",
	"DescribeGroups", "ListGroups", "SaslHandshake", "ApiVersions", "CreateTopics",
	"DeleteTopics", "DeleteRecords", "InitProducerId", "OffsetForLeaderEpoch",
	"AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "WriteTxnMarkers",
	"TxnOffsetCommit", "DescribeAcls", "CreateAcls", "DeleteAcls", "DescribeConfigs",
	"AlterConfigs", "AlterReplicaLogDirs", "DescribeLogDirs", "SaslAuthenticate",
	"CreatePartitions", "CreateDelegationToken", "RenewDelegationToken",
	"ExpireDelegationToken", "DescribeDelegationToken", "DeleteGroups", "ElectLeaders",
	"IncrementalAlterConfigs", "AlterPartitionReassignments",
	"ListPartitionReassignments", "OffsetDelete", "DescribeClientQuotas",
	"AlterClientQuotas", "DescribeUserScramCredentials", "AlterUserScramCredentials",
	"Vote", "BeginQuorumEpoch", "EndQuorumEpoch", "DescribeQuorum", "AlterPartition",
	"UpdateFeatures", "Envelope", "FetchSnapshot", "DescribeCluster",
	"DescribeProducers", "BrokerRegistration", "BrokerHeartbeat", "UnregisterBroker",
	"DescribeTransactions", "ListTransactions", "AllocateProducerIds",
	"ConsumerGroupHeartbeat", "ConsumerGroupDescribe", "ControllerRegistration",
	"GetTelemetrySubscriptions", "PushTelemetry", "AssignReplicasToDirs",
	"ListConfigResources", "DescribeTopicPartitions", "ShareGroupHeartbeat",
	"ShareGroupDescribe", "ShareFetch", "ShareAcknowledge", "AddRaftVoter",
	"RemoveRaftVoter", "UpdateRaftVoter", "InitializeShareGroupState",
	"ReadShareGroupState", "WriteShareGroupState", "DeleteShareGroupState",
	"ReadShareGroupStateSummary", "StreamsGroupHeartbeat", "StreamsGroupDescribe",
	"DescribeShareGroupOffsets", "AlterShareGroupOffsets", "DeleteShareGroupOffsets",
	"StreamsGroupTopologyDescriptionUpdate", "UnregisterController",
}

// String returns Kafka's name of the API, "ApiVersions" for 18, or
// "UnknownApi(n)" for a key that Kafka 4.4 does not have.
func (k APIKey) String() string {
	if k >= 0 && int(k) < len(apiNames) {
		return apiNames[k]
	}
	return "UnknownApi(" + strconv.Itoa(int(k)) + ")"
}
