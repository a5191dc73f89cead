import java.io.StringReader;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringSerializer;

/** What Kafka's own producer says to calls that fail. */
final class Attempts {
    private Attempts() {}

    /**
     * attempt PROPERTIES STEP...: makes the calls of a producer with these properties (the text of a file), each when the one before
     * has ended: init, begin, "send TOPIC", "offsets GROUP TOPIC", commit, abort. A row for each: the class of its error or nothing,
     * the error's text, and the milliseconds it took.
     */
    static void run(List<String> words, Helper.Rows rows) throws Exception {
        Properties config = new Properties();
        config.load(new StringReader(words.get(0)));
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (String step : words.subList(1, words.size())) {
                long begin = System.nanoTime();
                String error = "";
                String text = "";
                try {
                    call(producer, step.split(" "));
                } catch (Exception e) {
                    Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
                    error = cause.getClass().getSimpleName();
                    text = String.valueOf(cause.getMessage());
                }
                rows.add(error, text, (System.nanoTime() - begin) / 1_000_000);
            }
        }
    }

    private static void call(KafkaProducer<String, String> producer, String[] step) throws Exception {
        switch (step[0]) {
            case "init" -> producer.initTransactions();
            case "begin" -> producer.beginTransaction();
            case "send" -> producer.send(new ProducerRecord<>(step[1], "from Java")).get();
            case "offsets" -> producer.sendOffsetsToTransaction(
                Map.of(new TopicPartition(step[2], 0), new OffsetAndMetadata(1)), new ConsumerGroupMetadata(step[1]));
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException("no step " + step[0]);
        }
    }
}
