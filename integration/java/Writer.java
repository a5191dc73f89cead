import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own producer: the harness proves itself with it, and it is the peer that ours is held against. */
final class Writer {
    private Writer() {}

    /**
     * produce BOOTSTRAP TOPIC RECORDS ANSWERS [KEY=VALUE...]: sends the file's records (length and bytes of key and value)
     * and writes partition, offset and timestamp of each; -1 each for a failed one. The answer is the number of failures.
     */
    static void produce(List<String> words, Helper.Rows rows) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", words.get(0));
        for (String pair : words.subList(4, words.size())) {
            int at = pair.indexOf('=');
            config.put(pair.substring(0, at), pair.substring(at + 1));
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
            DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(words.get(2)), 1 << 16))) {
            for (int left = in.readInt(); left > 0; left--) {
                byte[] key = in.readNBytes(in.readInt());
                sent.add(producer.send(new ProducerRecord<>(words.get(1), key, in.readNBytes(in.readInt()))));
            }
            producer.flush();
        }
        rows.add(answer(sent, new File(words.get(3))));
    }

    private static int answer(List<Future<RecordMetadata>> sent, File file) throws Exception {
        int failed = 0;
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(file), 1 << 16))) {
            for (Future<RecordMetadata> future : sent) {
                int partition = -1;
                long offset = -1;
                long timestamp = -1;
                try {
                    RecordMetadata m = future.get();
                    partition = m.partition();
                    offset = m.offset();
                    timestamp = m.timestamp();
                } catch (ExecutionException e) {
                    failed++;
                }
                out.writeInt(partition);
                out.writeLong(offset);
                out.writeLong(timestamp);
            }
        }
        return failed;
    }
}
