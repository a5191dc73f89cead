import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeProducersResult.PartitionProducerState;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;

/** What the tests ask about transactions and what they commit. */
final class Transactions {
    private static final Set<TransactionState> ENDED = Set.of(TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT);

    private static final String OFFSETS = "__consumer_offsets"; // the topic to which groups commit

    private Transactions() {}

    /** A row for each partition with a committed offset: topic, partition, offset. */
    static void groupOffsets(Admin admin, String group, Helper.Rows rows) throws Exception {
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((p, offset) -> {
            if (offset != null) {
                rows.add(p.topic(), p.partition(), offset.offset());
            }
        });
    }

    /** The state of a transactional id, as its coordinator says. */
    static String state(Admin admin, String id) throws Exception {
        return admin.describeTransactions(List.of(id)).description(id).get().state().toString();
    }

    /**
     * A row for each transaction that has not ended, by what its coordinator says, and one for each that holds up readers of a
     * partition of those topics, by what the leader says: the two halves of what find-hanging compares.
     */
    static void open(Admin admin, List<String> topics, Helper.Rows rows) throws Exception {
        try {
            for (TransactionListing t : admin.listTransactions().all().get()) {
                if (!ENDED.contains(t.state())) {
                    rows.add(t.transactionalId() + " is " + t.state());
                }
            }
        } catch (ExecutionException e) { // as when one still loads
            rows.add("a coordinator does not tell: " + e.getCause());
        }
        List<TopicPartition> partitions = new ArrayList<>();
        List<String> there = new ArrayList<>(topics);
        if (!admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get().contains(OFFSETS)) {
            there.remove(OFFSETS); // no group has committed yet
        }
        for (TopicDescription topic : admin.describeTopics(there).allTopicNames().get().values()) {
            for (TopicPartitionInfo p : topic.partitions()) {
                partitions.add(new TopicPartition(topic.name(), p.partition()));
            }
        }
        for (Map.Entry<TopicPartition, PartitionProducerState> entry : admin.describeProducers(partitions).all().get().entrySet()) {
            for (ProducerState p : entry.getValue().activeProducers()) {
                p.currentTransactionStartOffset().ifPresent(offset -> rows.add(
                    entry.getKey() + " has an open transaction of producer " + p.producerId() + " from offset " + offset));
            }
        }
    }
}
