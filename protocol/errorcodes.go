package protocol

// The error codes of Kafka 4.4, in the order of their numbers. They are what a
// response carries; the comment is the name Kafka prints.
const (
	UnknownServerError                     ErrorCode = -1  // UNKNOWN_SERVER_ERROR
	None                                   ErrorCode = 0   // NONE
	OffsetOutOfRange                       ErrorCode = 1   // OFFSET_OUT_OF_RANGE
	CorruptMessage                         ErrorCode = 2   // CORRUPT_MESSAGE
	UnknownTopicOrPartition                ErrorCode = 3   // UNKNOWN_TOPIC_OR_PARTITION
	InvalidFetchSize                       ErrorCode = 4   // INVALID_FETCH_SIZE
	LeaderNotAvailable                     ErrorCode = 5   // LEADER_NOT_AVAILABLE
	NotLeaderOrFollower                    ErrorCode = 6   // NOT_LEADER_OR_FOLLOWER
	RequestTimedOut                        ErrorCode = 7   // REQUEST_TIMED_OUT
	BrokerNotAvailable                     ErrorCode = 8   // BROKER_NOT_AVAILABLE
	ReplicaNotAvailable                    ErrorCode = 9   // REPLICA_NOT_AVAILABLE
	MessageTooLarge                        ErrorCode = 10  // MESSAGE_TOO_LARGE
	StaleControllerEpoch                   ErrorCode = 11  // STALE_CONTROLLER_EPOCH
	OffsetMetadataTooLarge                 ErrorCode = 12  // OFFSET_METADATA_TOO_LARGE
	NetworkException                       ErrorCode = 13  // NETWORK_EXCEPTION
	CoordinatorLoadInProgress              ErrorCode = 14  // COORDINATOR_LOAD_IN_PROGRESS
	CoordinatorNotAvailable                ErrorCode = 15  // COORDINATOR_NOT_AVAILABLE
	NotCoordinator                         ErrorCode = 16  // NOT_COORDINATOR
	InvalidTopicException                  ErrorCode = 17  // INVALID_TOPIC_EXCEPTION
	RecordListTooLarge                     ErrorCode = 18  // RECORD_LIST_TOO_LARGE
	NotEnoughReplicas                      ErrorCode = 19  // NOT_ENOUGH_REPLICAS
	NotEnoughReplicasAfterAppend           ErrorCode = 20  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
	InvalidRequiredAcks                    ErrorCode = 21  // INVALID_REQUIRED_ACKS
	IllegalGeneration                      ErrorCode = 22  // ILLEGAL_GENERATION
	InconsistentGroupProtocol              ErrorCode = 23  // INCONSISTENT_GROUP_PROTOCOL
	InvalidGroupID                         ErrorCode = 24  // INVALID_GROUP_ID
	UnknownMemberID                        ErrorCode = 25  // UNKNOWN_MEMBER_ID
	InvalidSessionTimeout                  ErrorCode = 26  // INVALID_SESSION_TIMEOUT
	RebalanceInProgress                    ErrorCode = 27  // REBALANCE_IN_PROGRESS
	InvalidCommitOffsetSize                ErrorCode = 28  // INVALID_COMMIT_OFFSET_SIZE
	TopicAuthorizationFailed               ErrorCode = 29  // TOPIC_AUTHORIZATION_FAILED
	GroupAuthorizationFailed               ErrorCode = 30  // GROUP_AUTHORIZATION_FAILED
	ClusterAuthorizationFailed             ErrorCode = 31  // CLUSTER_AUTHORIZATION_FAILED
	InvalidTimestamp                       ErrorCode = 32  // INVALID_TIMESTAMP
	UnsupportedSaslMechanism               ErrorCode = 33  // UNSUPPORTED_SASL_MECHANISM
	IllegalSaslState                       ErrorCode = 34  // ILLEGAL_SASL_STATE
	UnsupportedVersion                     ErrorCode = 35  // UNSUPPORTED_VERSION
	TopicAlreadyExists                     ErrorCode = 36  // TOPIC_ALREADY_EXISTS
	InvalidPartitions                      ErrorCode = 37  // INVALID_PARTITIONS
	InvalidReplicationFactor               ErrorCode = 38  // INVALID_REPLICATION_FACTOR
	InvalidReplicaAssignment               ErrorCode = 39  // INVALID_REPLICA_ASSIGNMENT
	InvalidConfig                          ErrorCode = 40  // INVALID_CONFIG
	NotController                          ErrorCode = 41  // NOT_CONTROLLER
	InvalidRequest                         ErrorCode = 42  // INVALID_REQUEST
	UnsupportedForMessageFormat            ErrorCode = 43  // UNSUPPORTED_FOR_MESSAGE_FORMAT
	PolicyViolation                        ErrorCode = 44  // POLICY_VIOLATION
	OutOfOrderSequenceNumber               ErrorCode = 45  // OUT_OF_ORDER_SEQUENCE_NUMBER
	DuplicateSequenceNumber                ErrorCode = 46  // DUPLICATE_SEQUENCE_NUMBER
	InvalidProducerEpoch                   ErrorCode = 47  // INVALID_PRODUCER_EPOCH
	InvalidTxnState                        ErrorCode = 48  // INVALID_TXN_STATE
	InvalidProducerIDMapping               ErrorCode = 49  // INVALID_PRODUCER_ID_MAPPING
	InvalidTransactionTimeout              ErrorCode = 50  // INVALID_TRANSACTION_TIMEOUT
	ConcurrentTransactions                 ErrorCode = 51  // CONCURRENT_TRANSACTIONS
	TransactionCoordinatorFenced           ErrorCode = 52  // TRANSACTION_COORDINATOR_FENCED
	TransactionalIDAuthorizationFailed     ErrorCode = 53  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
	SecurityDisabled                       ErrorCode = 54  // SECURITY_DISABLED
	OperationNotAttempted                  ErrorCode = 55  // OPERATION_NOT_ATTEMPTED
	KafkaStorageError                      ErrorCode = 56  // KAFKA_STORAGE_ERROR
	LogDirNotFound                         ErrorCode = 57  // LOG_DIR_NOT_FOUND
	SaslAuthenticationFailed               ErrorCode = 58  // SASL_AUTHENTICATION_FAILED
	UnknownProducerID                      ErrorCode = 59  // UNKNOWN_PRODUCER_ID
	ReassignmentInProgress                 ErrorCode = 60  // REASSIGNMENT_IN_PROGRESS
	DelegationTokenAuthDisabled            ErrorCode = 61  // DELEGATION_TOKEN_AUTH_DISABLED
	DelegationTokenNotFound                ErrorCode = 62  // DELEGATION_TOKEN_NOT_FOUND
	DelegationTokenOwnerMismatch           ErrorCode = 63  // DELEGATION_TOKEN_OWNER_MISMATCH
	DelegationTokenRequestNotAllowed       ErrorCode = 64  // DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
	DelegationTokenAuthorizationFailed     ErrorCode = 65  // DELEGATION_TOKEN_AUTHORIZATION_FAILED
	DelegationTokenExpired                 ErrorCode = 66  // DELEGATION_TOKEN_EXPIRED
	InvalidPrincipalType                   ErrorCode = 67  // INVALID_PRINCIPAL_TYPE
	NonEmptyGroup                          ErrorCode = 68  // NON_EMPTY_GROUP
	GroupIDNotFound                        ErrorCode = 69  // GROUP_ID_NOT_FOUND
	FetchSessionIDNotFound                 ErrorCode = 70  // FETCH_SESSION_ID_NOT_FOUND
	InvalidFetchSessionEpoch               ErrorCode = 71  // INVALID_FETCH_SESSION_EPOCH
	ListenerNotFound                       ErrorCode = 72  // LISTENER_NOT_FOUND
	TopicDeletionDisabled                  ErrorCode = 73  // TOPIC_DELETION_DISABLED
	FencedLeaderEpoch                      ErrorCode = 74  // FENCED_LEADER_EPOCH
	UnknownLeaderEpoch                     ErrorCode = 75  // UNKNOWN_LEADER_EPOCH
	UnsupportedCompressionType             ErrorCode = 76  // UNSUPPORTED_COMPRESSION_TYPE
	StaleBrokerEpoch                       ErrorCode = 77  // STALE_BROKER_EPOCH
	OffsetNotAvailable                     ErrorCode = 78  // OFFSET_NOT_AVAILABLE
	MemberIDRequired                       ErrorCode = 79  // MEMBER_ID_REQUIRED
	PreferredLeaderNotAvailable            ErrorCode = 80  // PREFERRED_LEADER_NOT_AVAILABLE
	GroupMaxSizeReached                    ErrorCode = 81  // GROUP_MAX_SIZE_REACHED
	FencedInstanceID                       ErrorCode = 82  // FENCED_INSTANCE_ID
	EligibleLeadersNotAvailable            ErrorCode = 83  // ELIGIBLE_LEADERS_NOT_AVAILABLE
	ElectionNotNeeded                      ErrorCode = 84  // ELECTION_NOT_NEEDED
	NoReassignmentInProgress               ErrorCode = 85  // NO_REASSIGNMENT_IN_PROGRESS
	GroupSubscribedToTopic                 ErrorCode = 86  // GROUP_SUBSCRIBED_TO_TOPIC
	InvalidRecord                          ErrorCode = 87  // INVALID_RECORD
	UnstableOffsetCommit                   ErrorCode = 88  // UNSTABLE_OFFSET_COMMIT
	ThrottlingQuotaExceeded                ErrorCode = 89  // THROTTLING_QUOTA_EXCEEDED
	ProducerFenced                         ErrorCode = 90  // PRODUCER_FENCED
	ResourceNotFound                       ErrorCode = 91  // RESOURCE_NOT_FOUND
	DuplicateResource                      ErrorCode = 92  // DUPLICATE_RESOURCE
	UnacceptableCredential                 ErrorCode = 93  // UNACCEPTABLE_CREDENTIAL
	InconsistentVoterSet                   ErrorCode = 94  // INCONSISTENT_VOTER_SET
	InvalidUpdateVersion                   ErrorCode = 95  // INVALID_UPDATE_VERSION
	FeatureUpdateFailed                    ErrorCode = 96  // FEATURE_UPDATE_FAILED
	PrincipalDeserializationFailure        ErrorCode = 97  // PRINCIPAL_DESERIALIZATION_FAILURE
	SnapshotNotFound                       ErrorCode = 98  // SNAPSHOT_NOT_FOUND
	PositionOutOfRange                     ErrorCode = 99  // POSITION_OUT_OF_RANGE
	UnknownTopicID                         ErrorCode = 100 // UNKNOWN_TOPIC_ID
	DuplicateBrokerRegistration            ErrorCode = 101 // DUPLICATE_BROKER_REGISTRATION
	BrokerIDNotRegistered                  ErrorCode = 102 // BROKER_ID_NOT_REGISTERED
	InconsistentTopicID                    ErrorCode = 103 // INCONSISTENT_TOPIC_ID
	InconsistentClusterID                  ErrorCode = 104 // INCONSISTENT_CLUSTER_ID
	TransactionalIDNotFound                ErrorCode = 105 // TRANSACTIONAL_ID_NOT_FOUND
	FetchSessionTopicIDError               ErrorCode = 106 // FETCH_SESSION_TOPIC_ID_ERROR
	IneligibleReplica                      ErrorCode = 107 // INELIGIBLE_REPLICA
	NewLeaderElected                       ErrorCode = 108 // NEW_LEADER_ELECTED
	OffsetMovedToTieredStorage             ErrorCode = 109 // OFFSET_MOVED_TO_TIERED_STORAGE
	FencedMemberEpoch                      ErrorCode = 110 // FENCED_MEMBER_EPOCH
	UnreleasedInstanceID                   ErrorCode = 111 // UNRELEASED_INSTANCE_ID
	UnsupportedAssignor                    ErrorCode = 112 // UNSUPPORTED_ASSIGNOR
	StaleMemberEpoch                       ErrorCode = 113 // STALE_MEMBER_EPOCH
	MismatchedEndpointType                 ErrorCode = 114 // MISMATCHED_ENDPOINT_TYPE
	UnsupportedEndpointType                ErrorCode = 115 // UNSUPPORTED_ENDPOINT_TYPE
	UnknownControllerID                    ErrorCode = 116 // UNKNOWN_CONTROLLER_ID
	UnknownSubscriptionID                  ErrorCode = 117 // UNKNOWN_SUBSCRIPTION_ID
	TelemetryTooLarge                      ErrorCode = 118 // TELEMETRY_TOO_LARGE
	InvalidRegistration                    ErrorCode = 119 // INVALID_REGISTRATION
	TransactionAbortable                   ErrorCode = 120 // TRANSACTION_ABORTABLE
	InvalidRecordState                     ErrorCode = 121 // INVALID_RECORD_STATE
	ShareSessionNotFound                   ErrorCode = 122 // SHARE_SESSION_NOT_FOUND
	InvalidShareSessionEpoch               ErrorCode = 123 // INVALID_SHARE_SESSION_EPOCH
	FencedStateEpoch                       ErrorCode = 124 // FENCED_STATE_EPOCH
	InvalidVoterKey                        ErrorCode = 125 // INVALID_VOTER_KEY
	DuplicateVoter                         ErrorCode = 126 // DUPLICATE_VOTER
	VoterNotFound                          ErrorCode = 127 // VOTER_NOT_FOUND
	InvalidRegularExpression               ErrorCode = 128 // INVALID_REGULAR_EXPRESSION
	RebootstrapRequired                    ErrorCode = 129 // REBOOTSTRAP_REQUIRED
	StreamsInvalidTopology                 ErrorCode = 130 // STREAMS_INVALID_TOPOLOGY
	StreamsInvalidTopologyEpoch            ErrorCode = 131 // STREAMS_INVALID_TOPOLOGY_EPOCH
	StreamsTopologyFenced                  ErrorCode = 132 // STREAMS_TOPOLOGY_FENCED
	ShareSessionLimitReached               ErrorCode = 133 // SHARE_SESSION_LIMIT_REACHED
	GroupDeletionFailed                    ErrorCode = 134 // GROUP_DELETION_FAILED
	StreamsTopologyDescriptionUpdateFailed ErrorCode = 135 // STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED
	ControllerIDNotRegistered              ErrorCode = 136 // CONTROLLER_ID_NOT_REGISTERED
)

// errorTable holds what Kafka says about each code: name, default text, group
// (KIP-1050) and whether the cluster metadata is out of date. Row i is code i-1.
var errorTable = [...]errorInfo{
	{"UNKNOWN_SERVER_ERROR", "The server experienced an unexpected error when processing the request.", ClassOther, false},
	{"NONE", "", ClassNone, false},
	{"OFFSET_OUT_OF_RANGE", "The requested offset is not within the range of offsets maintained by the server.", ClassOther, false},
	{"CORRUPT_MESSAGE", "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.", ClassRetriable, false},
	{"UNKNOWN_TOPIC_OR_PARTITION", "This server does not host this topic-partition.", ClassRefreshRetriable, true},
	{"INVALID_FETCH_SIZE", "The requested fetch size is invalid.", ClassOther, false},
	{"LEADER_NOT_AVAILABLE", "There is no leader for this topic-partition as we are in the middle of a leadership election.", ClassRefreshRetriable, true},
	{"NOT_LEADER_OR_FOLLOWER", "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.", ClassRefreshRetriable, true},
	{"REQUEST_TIMED_OUT", "The request timed out.", ClassRetriable, false},
	{"BROKER_NOT_AVAILABLE", "The broker is not available.", ClassOther, false},
	{"REPLICA_NOT_AVAILABLE", "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.", ClassRefreshRetriable, true},
	{"MESSAGE_TOO_LARGE", "The request included a message larger than the max message size the server will accept.", ClassOther, false},
	{"STALE_CONTROLLER_EPOCH", "The controller moved to another broker.", ClassOther, false},
	{"OFFSET_METADATA_TOO_LARGE", "The metadata field of the offset request was too large.", ClassOther, false},
	{"NETWORK_EXCEPTION", "The server disconnected before a response was received.", ClassRefreshRetriable, true},
	{"COORDINATOR_LOAD_IN_PROGRESS", "The coordinator is loading and hence can't process requests.", ClassRetriable, false},
	{"COORDINATOR_NOT_AVAILABLE", "The coordinator is not available.", ClassRefreshRetriable, false},
	{"NOT_COORDINATOR", "This is not the correct coordinator.", ClassRefreshRetriable, false},
	{"INVALID_TOPIC_EXCEPTION", "The request attempted to perform an operation on an invalid topic.", ClassInvalidConfiguration, false},
	{"RECORD_LIST_TOO_LARGE", "The request included message batch larger than the configured segment size on the server.", ClassInvalidConfiguration, false},
	{"NOT_ENOUGH_REPLICAS", "Messages are rejected since there are fewer in-sync replicas than required.", ClassRetriable, false},
	{"NOT_ENOUGH_REPLICAS_AFTER_APPEND", "Messages are written to the log, but to fewer in-sync replicas than required.", ClassRetriable, false},
	{"INVALID_REQUIRED_ACKS", "Produce request specified an invalid value for required acks.", ClassInvalidConfiguration, false},
	{"ILLEGAL_GENERATION", "Specified group generation id is not valid.", ClassApplicationRecoverable, false},
	{"INCONSISTENT_GROUP_PROTOCOL", "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.", ClassOther, false},
	{"INVALID_GROUP_ID", "The group id is invalid.", ClassOther, false},
	{"UNKNOWN_MEMBER_ID", "The coordinator is not aware of this member.", ClassApplicationRecoverable, false},
	{"INVALID_SESSION_TIMEOUT", "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).", ClassOther, false},
	{"REBALANCE_IN_PROGRESS", "The group is rebalancing, so a rejoin is needed.", ClassOther, false},
	{"INVALID_COMMIT_OFFSET_SIZE", "The committing offset data size is not valid.", ClassOther, false},
	{"TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed.", ClassInvalidConfiguration, false},
	{"GROUP_AUTHORIZATION_FAILED", "Group authorization failed.", ClassInvalidConfiguration, false},
	{"CLUSTER_AUTHORIZATION_FAILED", "Cluster authorization failed.", ClassInvalidConfiguration, false},
	{"INVALID_TIMESTAMP", "The timestamp of the message is out of acceptable range.", ClassOther, false},
	{"UNSUPPORTED_SASL_MECHANISM", "The broker does not support the requested SASL mechanism.", ClassInvalidConfiguration, false},
	{"ILLEGAL_SASL_STATE", "Request is not valid given the current SASL state.", ClassInvalidConfiguration, false},
	{"UNSUPPORTED_VERSION", "The version of API is not supported.", ClassInvalidConfiguration, false},
	{"TOPIC_ALREADY_EXISTS", "Topic with this name already exists.", ClassOther, false},
	{"INVALID_PARTITIONS", "Number of partitions is below 1.", ClassOther, false},
	{"INVALID_REPLICATION_FACTOR", "Replication factor is below 1 or larger than the number of available brokers.", ClassInvalidConfiguration, false},
	{"INVALID_REPLICA_ASSIGNMENT", "Replica assignment is invalid.", ClassOther, false},
	{"INVALID_CONFIG", "Configuration is invalid.", ClassInvalidConfiguration, false},
	{"NOT_CONTROLLER", "This is not the correct controller for this cluster.", ClassRetriable, false},
	{"INVALID_REQUEST", "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.", ClassOther, false},
	{"UNSUPPORTED_FOR_MESSAGE_FORMAT", "The message format version on the broker does not support the request.", ClassInvalidConfiguration, false},
	{"POLICY_VIOLATION", "Request parameters do not satisfy the configured policy.", ClassOther, false},
	{"OUT_OF_ORDER_SEQUENCE_NUMBER", "The broker received an out of order sequence number.", ClassOther, false},
	{"DUPLICATE_SEQUENCE_NUMBER", "The broker received a duplicate sequence number.", ClassOther, false},
	{"INVALID_PRODUCER_EPOCH", "Producer attempted to produce with an old epoch.", ClassApplicationRecoverable, false},
	{"INVALID_TXN_STATE", "The producer attempted a transactional operation in an invalid state.", ClassOther, false},
	{"INVALID_PRODUCER_ID_MAPPING", "The producer attempted to use a producer id which is not currently assigned to its transactional id.", ClassApplicationRecoverable, false},
	{"INVALID_TRANSACTION_TIMEOUT", "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).", ClassOther, false},
	{"CONCURRENT_TRANSACTIONS", "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.", ClassRetriable, false},
	{"TRANSACTION_COORDINATOR_FENCED", "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.", ClassOther, false},
	{"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "Transactional Id authorization failed.", ClassInvalidConfiguration, false},
	{"SECURITY_DISABLED", "Security features are disabled.", ClassOther, false},
	{"OPERATION_NOT_ATTEMPTED", "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.", ClassOther, false},
	{"KAFKA_STORAGE_ERROR", "Disk error when trying to access log file on the disk.", ClassRefreshRetriable, true},
	{"LOG_DIR_NOT_FOUND", "The user-specified log directory is not found in the broker config.", ClassOther, false},
	{"SASL_AUTHENTICATION_FAILED", "SASL Authentication failed.", ClassInvalidConfiguration, false},
	{"UNKNOWN_PRODUCER_ID", "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception.", ClassOther, false},
	{"REASSIGNMENT_IN_PROGRESS", "A partition reassignment is in progress.", ClassOther, false},
	{"DELEGATION_TOKEN_AUTH_DISABLED", "Delegation Token feature is not enabled.", ClassOther, false},
	{"DELEGATION_TOKEN_NOT_FOUND", "Delegation Token is not found on server.", ClassOther, false},
	{"DELEGATION_TOKEN_OWNER_MISMATCH", "Specified Principal is not valid Owner/Renewer.", ClassOther, false},
	{"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.", ClassOther, false},
	{"DELEGATION_TOKEN_AUTHORIZATION_FAILED", "Delegation Token authorization failed.", ClassInvalidConfiguration, false},
	{"DELEGATION_TOKEN_EXPIRED", "Delegation Token is expired.", ClassOther, false},
	{"INVALID_PRINCIPAL_TYPE", "Supplied principalType is not supported.", ClassOther, false},
	{"NON_EMPTY_GROUP", "The group is not empty.", ClassOther, false},
	{"GROUP_ID_NOT_FOUND", "The group id does not exist.", ClassOther, false},
	{"FETCH_SESSION_ID_NOT_FOUND", "The fetch session ID was not found.", ClassRetriable, false},
	{"INVALID_FETCH_SESSION_EPOCH", "The fetch session epoch is invalid.", ClassRetriable, false},
	{"LISTENER_NOT_FOUND", "There is no listener on the leader broker that matches the listener on which metadata request was processed.", ClassRefreshRetriable, true},
	{"TOPIC_DELETION_DISABLED", "Topic deletion is disabled.", ClassOther, false},
	{"FENCED_LEADER_EPOCH", "The leader epoch in the request is older than the epoch on the broker.", ClassRefreshRetriable, true},
	{"UNKNOWN_LEADER_EPOCH", "The leader epoch in the request is newer than the epoch on the broker.", ClassRetriable, false},
	{"UNSUPPORTED_COMPRESSION_TYPE", "The requesting client does not support the compression type of given partition.", ClassOther, false},
	{"STALE_BROKER_EPOCH", "Broker epoch has changed.", ClassOther, false},
	{"OFFSET_NOT_AVAILABLE", "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.", ClassRetriable, false},
	{"MEMBER_ID_REQUIRED", "The group member needs to have a valid member id before actually entering a consumer group.", ClassOther, false},
	{"PREFERRED_LEADER_NOT_AVAILABLE", "The preferred leader was not available.", ClassRefreshRetriable, true},
	{"GROUP_MAX_SIZE_REACHED", "The group has reached its maximum size.", ClassOther, false},
	{"FENCED_INSTANCE_ID", "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.", ClassApplicationRecoverable, false},
	{"ELIGIBLE_LEADERS_NOT_AVAILABLE", "Eligible topic partition leaders are not available.", ClassRefreshRetriable, true},
	{"ELECTION_NOT_NEEDED", "Leader election not needed for topic partition.", ClassRefreshRetriable, true},
	{"NO_REASSIGNMENT_IN_PROGRESS", "No partition reassignment is in progress.", ClassOther, false},
	{"GROUP_SUBSCRIBED_TO_TOPIC", "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.", ClassOther, false},
	{"INVALID_RECORD", "This record has failed the validation on broker and hence will be rejected.", ClassInvalidConfiguration, false},
	{"UNSTABLE_OFFSET_COMMIT", "There are unstable offsets that need to be cleared.", ClassRetriable, false},
	{"THROTTLING_QUOTA_EXCEEDED", "The throttling quota has been exceeded.", ClassRetriable, false},
	{"PRODUCER_FENCED", "There is a newer producer with the same transactionalId which fences the current one.", ClassApplicationRecoverable, false},
	{"RESOURCE_NOT_FOUND", "A request illegally referred to a resource that does not exist.", ClassOther, false},
	{"DUPLICATE_RESOURCE", "A request illegally referred to the same resource twice.", ClassOther, false},
	{"UNACCEPTABLE_CREDENTIAL", "Requested credential would not meet criteria for acceptability.", ClassOther, false},
	{"INCONSISTENT_VOTER_SET", "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters.", ClassOther, false},
	{"INVALID_UPDATE_VERSION", "The given update version was invalid.", ClassOther, false},
	{"FEATURE_UPDATE_FAILED", "Unable to update finalized features due to an unexpected server error.", ClassOther, false},
	{"PRINCIPAL_DESERIALIZATION_FAILURE", "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.", ClassOther, false},
	{"SNAPSHOT_NOT_FOUND", "Requested snapshot was not found.", ClassOther, false},
	{"POSITION_OUT_OF_RANGE", "Requested position is not greater than or equal to zero, and less than the size of the snapshot.", ClassOther, false},
	{"UNKNOWN_TOPIC_ID", "This server does not host this topic ID.", ClassRefreshRetriable, true},
	{"DUPLICATE_BROKER_REGISTRATION", "This broker ID is already in use.", ClassOther, false},
	{"BROKER_ID_NOT_REGISTERED", "The given broker ID was not registered.", ClassOther, false},
	{"INCONSISTENT_TOPIC_ID", "The log's topic ID did not match the topic ID in the request.", ClassRefreshRetriable, true},
	{"INCONSISTENT_CLUSTER_ID", "The clusterId in the request does not match that found on the server.", ClassOther, false},
	{"TRANSACTIONAL_ID_NOT_FOUND", "The transactionalId could not be found.", ClassOther, false},
	{"FETCH_SESSION_TOPIC_ID_ERROR", "The fetch session encountered inconsistent topic ID usage.", ClassRetriable, false},
	{"INELIGIBLE_REPLICA", "The new ISR contains at least one ineligible replica.", ClassOther, false},
	{"NEW_LEADER_ELECTED", "The AlterPartition request successfully updated the partition state but the leader has changed.", ClassOther, false},
	{"OFFSET_MOVED_TO_TIERED_STORAGE", "The requested offset is moved to tiered storage.", ClassOther, false},
	{"FENCED_MEMBER_EPOCH", "The member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin.", ClassOther, false},
	{"UNRELEASED_INSTANCE_ID", "The instance ID is still used by another member in the consumer group. That member must leave first.", ClassOther, false},
	{"UNSUPPORTED_ASSIGNOR", "The assignor or its version range is not supported by the consumer group.", ClassOther, false},
	{"STALE_MEMBER_EPOCH", "The member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API.", ClassOther, false},
	{"MISMATCHED_ENDPOINT_TYPE", "The request was sent to an endpoint of the wrong type.", ClassOther, false},
	{"UNSUPPORTED_ENDPOINT_TYPE", "This endpoint type is not supported yet.", ClassOther, false},
	{"UNKNOWN_CONTROLLER_ID", "This controller ID is not known.", ClassOther, false},
	{"UNKNOWN_SUBSCRIPTION_ID", "Client sent a push telemetry request with an invalid or outdated subscription ID.", ClassOther, false},
	{"TELEMETRY_TOO_LARGE", "Client sent a push telemetry request larger than the maximum size the broker will accept.", ClassOther, false},
	{"INVALID_REGISTRATION", "The controller has considered the broker registration to be invalid.", ClassOther, false},
	{"TRANSACTION_ABORTABLE", "The server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID.", ClassAbortable, false},
	{"INVALID_RECORD_STATE", "The record state is invalid. The acknowledgement of delivery could not be completed.", ClassOther, false},
	{"SHARE_SESSION_NOT_FOUND", "The share session was not found.", ClassRetriable, false},
	{"INVALID_SHARE_SESSION_EPOCH", "The share session epoch is invalid.", ClassRetriable, false},
	{"FENCED_STATE_EPOCH", "The coordinator rejected the request because the state epoch did not match.", ClassOther, false},
	{"INVALID_VOTER_KEY", "The voter key doesn't match the receiving replica's key.", ClassOther, false},
	{"DUPLICATE_VOTER", "The voter is already part of the set of voters.", ClassOther, false},
	{"VOTER_NOT_FOUND", "The voter is not part of the set of voters.", ClassOther, false},
	{"INVALID_REGULAR_EXPRESSION", "The regular expression is not valid.", ClassOther, false},
	{"REBOOTSTRAP_REQUIRED", "Client metadata is stale. The client should rebootstrap to obtain new metadata.", ClassOther, false},
	{"STREAMS_INVALID_TOPOLOGY", "The supplied topology is invalid.", ClassOther, false},
	{"STREAMS_INVALID_TOPOLOGY_EPOCH", "The supplied topology epoch is invalid.", ClassOther, false},
	{"STREAMS_TOPOLOGY_FENCED", "The supplied topology epoch is outdated.", ClassOther, false},
	{"SHARE_SESSION_LIMIT_REACHED", "The limit of share sessions has been reached.", ClassRetriable, false},
	{"GROUP_DELETION_FAILED", "DeleteGroups could not complete; see the error message on the per-group result for details.", ClassOther, false},
	{"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", "The broker could not process the topology description update; see the error message for details.", ClassOther, false},
	{"CONTROLLER_ID_NOT_REGISTERED", "The given controller ID was not registered.", ClassOther, false},
}
