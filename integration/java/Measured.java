import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The metrics of Kafka's producer after some work, which metrics_test.go does with ours at the same time. */
final class Measured {
    private static int random; // the state of a generator that metrics_test.go has too: letters that codecs do equally well with

    private Measured() {}

    /** measure WORK BOOTSTRAP SETTING...: a row for each metric: group, name, names and values of tags, class and text of the value. */
    static void measure(List<String> words, Helper.Rows rows) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", words.get(1));
        for (String setting : words.subList(2, words.size())) {
            String[] parts = setting.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        random = 1;
        try {
            work(words.get(0), producer);
            for (Map.Entry<MetricName, ? extends Metric> entry : producer.metrics().entrySet()) {
                MetricName name = entry.getKey();
                StringBuilder tags = new StringBuilder();
                new TreeMap<>(name.tags()).forEach((k, v) -> tags.append(tags.isEmpty() ? "" : ",").append(k).append('=').append(v));
                Object value = entry.getValue().metricValue();
                rows.add(name.group(), name.name(), tags, value.getClass().getSimpleName(), value);
            }
        } finally {
            producer.close(Duration.ZERO);
        }
    }

    private static void work(String what, KafkaProducer<byte[], byte[]> producer) throws Exception {
        switch (what) {
            case "one" -> send(producer, "plain", 100).get();
            case "batches" -> {
                for (int round = 0; round < 10; round++) {
                    for (int i = 0; i < 19; i++) {
                        send(producer, "plain", 200);
                    }
                    send(producer, "plain", 200).get();
                }
                send(producer, "retried", 200).get();
                send(producer, "throttled", 200).get();
                send(producer, "hold", 200);
                Thread.sleep(1000);
            }
            case "memory" -> {
                for (int i = 0; i < 30; i++) {
                    send(producer, "plain", 10_000);
                }
                Thread waits = new Thread(() -> {
                    for (int i = 0; i < 3; i++) {
                        send(producer, "hold", 10_000);
                    }
                });
                waits.setDaemon(true);
                waits.start();
                Thread.sleep(1500);
            }
            default -> throw new IllegalArgumentException("no work " + what);
        }
    }

    /** Sends a record of that many bytes of text, to partition 0. */
    private static Future<?> send(KafkaProducer<byte[], byte[]> producer, String topic, int size) {
        byte[] value = new byte[size];
        for (int i = 0; i < size; i++) {
            random = random * 1103515245 + 12345;
            value[i] = (byte) ('a' + (random >>> 16) % 26);
        }
        return producer.send(new ProducerRecord<>(topic, 0, null, value));
    }
}
