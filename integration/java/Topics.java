import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What the tests ask of Kafka's admin client. One client, connected by the first command. */
final class Topics {
    private Admin admin;

    void connect(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("client.id", "integration-admin");
        config.put("default.api.timeout.ms", "30000");
        config.put("request.timeout.ms", "10000");
        config.put("reconnect.backoff.max.ms", "500");
        Admin before = admin;
        admin = Admin.create(config);
        if (before != null) {
            before.close();
        }
    }

    Admin admin() {
        return admin;
    }

    /** create NAME PARTITIONS REPLICAS [KEY=VALUE...] */
    void create(List<String> words) throws Exception {
        Map<String, String> config = new HashMap<>();
        for (String pair : words.subList(3, words.size())) {
            int at = pair.indexOf('=');
            config.put(pair.substring(0, at), pair.substring(at + 1));
        }
        NewTopic topic = new NewTopic(words.get(0), Integer.parseInt(words.get(1)), Short.parseShort(words.get(2)));
        admin.createTopics(List.of(topic.configs(config))).all().get();
    }

    void delete(String name) throws Exception {
        admin.deleteTopics(List.of(name)).all().get();
    }

    void grow(String name, int total) throws Exception {
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(total))).all().get();
    }

    void configure(String name, String key, String value) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(set))).all().get();
    }

    /** A row for each partition: number, leader or -1, replicas, in-sync replicas (comma separated). */
    void describe(String name, Helper.Rows rows) throws Exception {
        for (TopicPartitionInfo p : description(name).partitions()) {
            Node leader = p.leader();
            rows.add(p.partition(), leader == null || leader.isEmpty() ? -1 : leader.id(), ids(p.replicas()), ids(p.isr()));
        }
    }

    /** Puts the node first among the partition's replicas and elects it. */
    void move(String name, int partition, int node) throws Exception {
        TopicPartition at = new TopicPartition(name, partition);
        List<Integer> replicas = new ArrayList<>();
        replicas.add(node);
        for (TopicPartitionInfo p : description(name).partitions()) {
            if (p.partition() == partition) {
                p.replicas().stream().map(Node::id).filter(id -> id != node).forEach(replicas::add);
            }
        }
        admin.alterPartitionReassignments(Map.of(at, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        elect(Set.of(at));
    }

    /** Elects the preferred leader of each partition of the topic. */
    void elect(String name) throws Exception {
        Set<TopicPartition> all = new HashSet<>();
        for (TopicPartitionInfo p : description(name).partitions()) {
            all.add(new TopicPartition(name, p.partition()));
        }
        elect(all);
    }

    /** acl TOPIC PERMISSION OPERATION: one rule for everybody. */
    void acl(String topic, String permission, String operation) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        AccessControlEntry entry = new AccessControlEntry("User:*", "*", AclOperation.fromString(operation), AclPermissionType.fromString(permission));
        admin.createAcls(List.of(new AclBinding(pattern, entry))).all().get();
    }

    int controller() throws Exception {
        return admin.describeMetadataQuorum().quorumInfo().get().leaderId();
    }

    private void elect(Set<TopicPartition> partitions) throws ExecutionException, InterruptedException {
        for (Optional<Throwable> error : admin.electLeaders(ElectionType.PREFERRED, partitions).partitions().get().values()) {
            if (error.isPresent() && !(error.get() instanceof ElectionNotNeededException)) {
                throw new ExecutionException(error.get());
            }
        }
    }

    private TopicDescription description(String name) throws Exception {
        return admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
    }

    private static String ids(Collection<Node> nodes) {
        return nodes.stream().map(n -> String.valueOf(n.id())).collect(Collectors.joining(","));
    }
}
