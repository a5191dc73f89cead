package integration

// What a principal may not do, on a broker whose authorizer denies what it does not allow: the right error at once, and no more than
// what is denied stands still. Kafka's own producer makes the same calls beside ours.

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/integration/kafkaharness"
	"github.com/quill-kafka/quill/protocol"
)

// strictNode is a broker that allows user nothing but what is granted. Its own listener, whose clients are User:ANONYMOUS, allows all.
type strictNode struct{ *kafkaharness.Cluster }

func startStrictNode(t *testing.T) strictNode {
	t.Helper()
	module := "org.apache.kafka.common.security."
	cluster, err := kafkaharness.Start(within(t, 3*time.Minute), kafkaharness.Require(t), kafkaharness.Options{
		Properties: map[string]string{
			"authorizer.class.name":       "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":                 "User:ANONYMOUS",
			"delegation.token.secret.key": "a secret of the cluster's nodes",
		},
		Listeners: []kafkaharness.Listener{{Name: "SASL", Protocol: "SASL_PLAINTEXT", Properties: map[string]string{
			"sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			"plain.sasl.jaas.config":         module + `plain.PlainLoginModule required user_` + user + `="` + password + `";`,
			"scram-sha-256.sasl.jaas.config": module + "scram.ScramLoginModule required;",
			"scram-sha-512.sasl.jaas.config": module + "scram.ScramLoginModule required;",
		}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	cluster.ReportFailure(t)
	return strictNode{cluster}
}

// request sends a request of an administrator.
func (n strictNode) request(t *testing.T, req kmsg.Request) kmsg.Response {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Bootstrap()...))
	require.NoError(t, err)
	defer client.Close()
	answer, err := client.Request(within(t, time.Minute), req)
	require.NoError(t, err)
	return answer
}

// allow grants user operations on a resource.
func (n strictNode) allow(t *testing.T, kind kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, operation := range operations {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kind, name, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = "User:"+user, "*", operation, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
	}
	for _, r := range n.request(t, req).(*kmsg.CreateACLsResponse).Results {
		require.Zero(t, r.ErrorCode)
	}
}

// topic creates a topic on which user may do these operations.
func (n strictNode) topic(t *testing.T, name string, operations ...kmsg.ACLOperation) string {
	t.Helper()
	newTopic(t, n.Cluster, name, 1)
	n.allow(t, kmsg.ACLResourceTypeTopic, name, operations...)
	return name
}

// settings are the properties of a client that logs in as user. Nothing that is tried here waits for max.block.ms.
func (n strictNode) settings(more ...string) []string {
	return append([]string{
		"bootstrap.servers=" + n.ListenerAddr(n.Node(1), "SASL"), "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "max.block.ms=3600000",
		`sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="` + user + `" password="` + password + `";`,
	}, more...)
}

func (n strictNode) producer(t *testing.T, more ...string) *quill.Producer[[]byte, []byte] {
	t.Helper()
	cfg, err := quill.LoadProperties(strings.NewReader(strings.Join(n.settings(more...), "\n")))
	require.NoError(t, err)
	cfg.Logger = watch(t).Logger()
	return newProducer(t, cfg)
}

// java makes calls with Kafka's own producer and returns the classes of their errors.
func (n strictNode) java(t *testing.T, more []string, steps ...string) []string {
	t.Helper()
	attempts, err := n.AttemptWithJava(within(t, 2*time.Minute), n.settings(more...), steps...)
	require.NoError(t, err)
	var classes []string
	for i, a := range attempts {
		t.Logf("Java, %s: %s %s, after %v", steps[i], cmp.Or(a.Error, "ok"), a.Text, a.Took)
		classes = append(classes, a.Error)
	}
	return classes
}

func sendTo(ctx context.Context, p *quill.Producer[[]byte, []byte], topic string) error {
	_, err := p.SendSync(ctx, withHeader(quill.Record[[]byte, []byte]{Topic: topic, Value: []byte("from Go")}))
	return err
}

// denied checks that a call failed for what the broker said, at once, and that the text names what it was about and what to grant.
func denied(t *testing.T, err error, code protocol.ErrorCode, words ...string) {
	t.Helper()
	t.Log(err)
	watch(t).Check(err)
	require.ErrorIs(t, err, code)
	require.NotErrorIs(t, err, quill.ErrTimeout)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	for _, word := range words {
		require.ErrorContains(t, err, word)
	}
}

// eventually repeats a call until it works: a broker learns of what the controller granted a moment later.
func eventually(ctx context.Context, t *testing.T, call func() error) {
	t.Helper()
	for {
		err := call()
		if err == nil {
			return
		}
		require.NoError(t, ctx.Err(), "it never worked: %v", err)
		time.Sleep(20 * time.Millisecond)
	}
}

func TestWhatIsDeniedFailsAtOnceAndNothingElse(t *testing.T) {
	n := startStrictNode(t)
	t.Run("cluster", n.testDeniedCluster) // before user may write to any topic, which allows what the cluster denies (KIP-679)
	t.Run("topic", n.testDeniedTopic)
	t.Run("topic in a transaction", n.testDeniedTopicInTransaction)
	t.Run("transactional id", n.testDeniedTransactionalID)
	t.Run("group", n.testDeniedGroup)
}

func (n strictNode) testDeniedCluster(t *testing.T) {
	topic := n.topic(t, "described", kmsg.ACLOperationDescribe)
	require.Equal(t, []string{"ClusterAuthorizationException"}, n.java(t, nil, "send "+topic))
	ctx := within(t, 2*time.Minute)
	p := n.producer(t)
	denied(t, sendTo(ctx, p, topic), protocol.ClusterAuthorizationFailed, "IDEMPOTENT_WRITE", "cluster", `topic "described"`)
	n.allow(t, kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationIdempotentWrite)
	eventually(ctx, t, func() error {
		err := sendTo(ctx, p, topic)
		if errors.Is(err, protocol.ClusterAuthorizationFailed) {
			return err
		}
		denied(t, err, protocol.TopicAuthorizationFailed, "WRITE")
		return nil
	})
	n.allow(t, kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationWrite)
	eventually(ctx, t, func() error { return sendTo(ctx, p, topic) })
	require.Equal(t, []string{"from Go"}, values(t, n.Cluster, topic))
}

func (n strictNode) testDeniedTopic(t *testing.T) {
	open := n.topic(t, "open", kmsg.ACLOperationWrite)
	hidden, readOnly := n.topic(t, "hidden"), n.topic(t, "read-only", kmsg.ACLOperationRead)
	require.Equal(t, []string{"TopicAuthorizationException", "TopicAuthorizationException", ""}, n.java(t, nil, "send "+hidden, "send "+readOnly, "send "+open))
	ctx := within(t, 2*time.Minute)
	p := n.producer(t)
	for range 3 {
		inTheMeantime := p.Send(ctx, quill.Record[[]byte, []byte]{Topic: open, Value: []byte("from Go")})
		denied(t, sendTo(ctx, p, hidden), protocol.TopicAuthorizationFailed, `topic "hidden"`, "grant", "WRITE")
		denied(t, sendTo(ctx, p, readOnly), protocol.TopicAuthorizationFailed, `topic "read-only"`, "grant", "WRITE")
		_, err := inTheMeantime.Wait(ctx)
		require.NoError(t, err)
	}
	for _, topic := range []string{hidden, readOnly} {
		n.allow(t, kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationWrite)
		eventually(ctx, t, func() error { return sendTo(ctx, p, topic) })
		require.Equal(t, []string{"from Go"}, values(t, n.Cluster, topic))
	}
	require.Equal(t, []string{"from Java", "from Go", "from Go", "from Go"}, values(t, n.Cluster, open))
}

func (n strictNode) testDeniedTopicInTransaction(t *testing.T) {
	open, closed := n.topic(t, "tx-open", kmsg.ACLOperationWrite), n.topic(t, "tx-closed", kmsg.ACLOperationDescribe)
	n.allow(t, kmsg.ACLResourceTypeTransactionalId, "writer", kmsg.ACLOperationWrite)
	n.allow(t, kmsg.ACLResourceTypeTransactionalId, "java-writer", kmsg.ACLOperationWrite)
	require.Equal(t, []string{"", "", "", "TopicAuthorizationException", "", "", "", ""},
		n.java(t, []string{"transactional.id=java-writer"}, "init", "begin", "send "+open, "send "+closed, "abort", "begin", "send "+open, "commit"))
	ctx := within(t, 2*time.Minute)
	p := n.producer(t, "transactional.id=writer")
	require.NoError(t, p.InitTransactions(ctx))
	inTransaction := func(topics ...string) error {
		return p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
			for _, topic := range topics {
				if _, err := tx.Send(ctx, quill.Record[[]byte, []byte]{Topic: topic, Value: []byte("from Go")}).Wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	denied(t, inTransaction(open, closed), protocol.TopicAuthorizationFailed, `topic "tx-closed"`, "grant")
	require.NoError(t, inTransaction(open), "the next transaction, without what is denied")
	n.allow(t, kmsg.ACLResourceTypeTopic, closed, kmsg.ACLOperationWrite)
	eventually(ctx, t, func() error { return inTransaction(open, closed) })
	require.NoError(t, n.WaitNoTransactions(ctx, open, closed))
}

func (n strictNode) testDeniedTransactionalID(t *testing.T) {
	n.allow(t, kmsg.ACLResourceTypeTransactionalId, "seen", kmsg.ACLOperationDescribe)
	for _, id := range []string{"unseen", "seen"} { // FindCoordinator denies the one, InitProducerId the other
		require.Equal(t, []string{"TransactionalIdAuthorizationException"}, n.java(t, []string{"transactional.id=" + id}, "init"))
		ctx := within(t, 2*time.Minute)
		p := n.producer(t, "transactional.id="+id)
		denied(t, p.InitTransactions(ctx), protocol.TransactionalIDAuthorizationFailed, `transactional id "`+id+`"`, "grant", "WRITE")
		n.allow(t, kmsg.ACLResourceTypeTransactionalId, id, kmsg.ACLOperationWrite)
		eventually(ctx, t, func() error { return p.InitTransactions(ctx) })
		require.NoError(t, p.BeginTransaction())
		require.NoError(t, p.CommitTransaction(ctx))
	}
}

func (n strictNode) testDeniedGroup(t *testing.T) {
	topic := n.topic(t, "consumed", kmsg.ACLOperationRead, kmsg.ACLOperationWrite)
	n.allow(t, kmsg.ACLResourceTypeTransactionalId, "copier", kmsg.ACLOperationWrite)
	n.allow(t, kmsg.ACLResourceTypeTransactionalId, "java-copier", kmsg.ACLOperationWrite)
	require.Equal(t, []string{"", "", "GroupAuthorizationException", ""},
		n.java(t, []string{"transactional.id=java-copier"}, "init", "begin", "offsets copiers "+topic, "abort"))
	ctx := within(t, 2*time.Minute)
	p := n.producer(t, "transactional.id=copier")
	require.NoError(t, p.InitTransactions(ctx))
	commit := func() error {
		return p.InTransaction(ctx, func(tx *quill.Tx[[]byte, []byte]) error {
			return tx.SendOffsets(ctx, map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: topic}: {Offset: 1}}, quill.GroupMetadata{GroupID: "copiers"})
		})
	}
	denied(t, commit(), protocol.GroupAuthorizationFailed, `group "copiers"`, "grant", "READ")
	n.allow(t, kmsg.ACLResourceTypeGroup, "copiers", kmsg.ACLOperationRead)
	eventually(ctx, t, commit)
	offsets, err := n.GroupOffsets(ctx, "copiers", topic)
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 1}, offsets)
}
