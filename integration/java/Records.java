import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads whole topics with Kafka's own consumer, from the beginning to the end offsets found at the start. Isolation is
 * read_committed or read_uncommitted.
 */
final class Records {
    /** Bytes of a row in the file of consume; ledger.RowSize is its twin. */
    private static final int ROW_SIZE = 52;
    /** A numbered value begins with "q1" and three numbers of eight hexadecimal digits. */
    private static final int IDENTITY_SIZE = 26;
    private static final long QUIET_LIMIT_NANOS = Duration.ofSeconds(30).toNanos();

    interface Each {
        void record(ConsumerRecord<byte[], byte[]> record) throws Exception;
    }

    private Records() {}

    /** A row for each partition: number and end offset. */
    static void ends(String bootstrap, String topic, Helper.Rows rows) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "read_uncommitted")) {
            consumer.endOffsets(partitions(consumer, topic)).forEach((p, end) -> rows.add(p.partition(), end));
        }
    }

    /** Writes a fixed-size row for each record; the answer is the number of rows. */
    static void consume(String bootstrap, String isolation, String topic, File file, Helper.Rows rows) throws Exception {
        long[] count = new long[1];
        try (OutputStream out = new BufferedOutputStream(new FileOutputStream(file), 1 << 20)) {
            ByteBuffer row = ByteBuffer.allocate(ROW_SIZE);
            CRC32C crc = new CRC32C();
            all(bootstrap, isolation, topic, record -> {
                fill(row.clear(), record, crc);
                out.write(row.array());
                count[0]++;
            });
        }
        rows.add(count[0]);
    }

    /** Answers each record in full: partition, offset, timestamp, its type, key, value, then name and value of each header; hexadecimal, "-" for null. */
    static void read(String bootstrap, String isolation, String topic, Helper.Rows rows) throws Exception {
        all(bootstrap, isolation, topic, record -> {
            List<Object> words = new ArrayList<>(List.of(record.partition(), record.offset(), record.timestamp(),
                record.timestampType(), hex(record.key()), hex(record.value())));
            for (Header header : record.headers()) {
                words.add(hex(header.key().getBytes(StandardCharsets.UTF_8)));
                words.add(hex(header.value()));
            }
            rows.add(words.toArray());
        });
    }

    private static void all(String bootstrap, String isolation, String topic, Each each) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, isolation)) {
            List<TopicPartition> partitions = partitions(consumer, topic);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> open = new HashMap<>(consumer.endOffsets(partitions));
            long progress = System.nanoTime();
            while (!open.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    Long end = open.get(new TopicPartition(topic, record.partition()));
                    if (end != null && record.offset() < end) {
                        each.record(record);
                    }
                    progress = System.nanoTime();
                }
                open.entrySet().removeIf(e -> consumer.position(e.getKey()) >= e.getValue());
                if (System.nanoTime() - progress > QUIET_LIMIT_NANOS) {
                    throw new IllegalStateException("nothing to read for 30 s, still missing " + open);
                }
            }
        }
    }

    private static void fill(ByteBuffer row, ConsumerRecord<byte[], byte[]> record, CRC32C crc) {
        row.putInt(record.partition()).putLong(record.offset()).putLong(record.timestamp());
        byte[] value = record.value();
        boolean numbered = value != null && value.length >= IDENTITY_SIZE && value[0] == 'q' && value[1] == '1';
        for (int at = 2; at < IDENTITY_SIZE; at += 8) {
            row.putInt(numbered ? number(value, at) : -1);
        }
        part(row, crc, record.key());
        part(row, crc, value);
        crc.reset();
        ByteBuffer length = ByteBuffer.allocate(4);
        for (Header header : record.headers()) {
            byte[] name = header.key().getBytes(StandardCharsets.UTF_8);
            crc.update(length.putInt(0, name.length).array());
            crc.update(name);
            byte[] content = header.value();
            crc.update(length.putInt(0, content == null ? -1 : content.length).array());
            if (content != null) {
                crc.update(content);
            }
        }
        row.putInt((int) crc.getValue());
    }

    /** A key or a value as length (-1 for null) and CRC-32C. */
    private static void part(ByteBuffer row, CRC32C crc, byte[] bytes) {
        crc.reset();
        if (bytes != null) {
            crc.update(bytes);
        }
        row.putInt(bytes == null ? -1 : bytes.length).putInt((int) crc.getValue());
    }

    private static int number(byte[] value, int at) {
        int n = 0;
        for (int i = at; i < at + 8; i++) {
            n = n << 4 | Character.digit(value[i], 16);
        }
        return n;
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "-" : HexFormat.of().formatHex(bytes);
    }

    private static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (PartitionInfo info : consumer.partitionsFor(topic)) {
            partitions.add(new TopicPartition(topic, info.partition()));
        }
        return partitions;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String isolation) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("isolation.level", isolation);
        config.put("client.id", "integration-reader");
        config.put("enable.auto.commit", "false");
        config.put("max.poll.records", "5000");
        config.put("max.partition.fetch.bytes", "2097152");
        config.put("reconnect.backoff.max.ms", "500");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }
}
