import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;

/**
 * Writes record batches as Kafka's own builder makes them, one a line: name, hex.
 * batch_test.go builds the same batches and compares.
 *
 * java -cp kafka-clients-4.4.0.jar:slf4j-api.jar Batches.java > batches.txt
 */
public class Batches {
    static final Header[] NONE = {};

    static byte[] utf8(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] fill(int n) {
        byte[] b = new byte[n];
        for (int i = 0; i < n; i++)
            b[i] = (byte) (i * 7);
        return b;
    }

    static MemoryRecordsBuilder builder(Compression c, TimestampType type, long baseOffset, long appendTime, long id, int epoch,
                                        int sequence, boolean transactional, boolean control, int leaderEpoch) {
        return new MemoryRecordsBuilder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, c, type, baseOffset, appendTime,
                id, (short) epoch, sequence, transactional, control, leaderEpoch, 1 << 20);
    }

    static MemoryRecordsBuilder plain() {
        return builder(Compression.NONE, TimestampType.CREATE_TIME, 0, -1, -1, -1, -1, false, false, -1);
    }

    static void print(String name, MemoryRecordsBuilder b) {
        MemoryRecords records = b.build();
        ByteBuffer buffer = records.buffer();
        StringBuilder s = new StringBuilder();
        while (buffer.hasRemaining())
            s.append(String.format("%02x", buffer.get()));
        System.out.println(name + " " + s);
    }

    public static void main(String[] args) {
        long t = 1700000000000L;

        MemoryRecordsBuilder b = plain();
        b.append(t, utf8("key"), utf8("value"), NONE);
        print("one", b);

        b = plain();
        b.append(t, null, utf8("value"), NONE);
        b.append(t, utf8("key"), null, NONE);
        b.append(t, null, (byte[]) null, NONE);
        b.append(t, utf8(""), utf8(""), NONE);
        print("nulls", b);

        b = plain();
        b.append(t, utf8("a"), utf8("0"), NONE);
        b.append(t + 63, utf8("b"), utf8("1"), NONE);
        b.append(t + 64, utf8("c"), utf8("2"), NONE);
        b.append(t - 1, utf8("d"), utf8("3"), NONE);
        b.append(t - 65, utf8("e"), utf8("4"), NONE);
        b.append(t + 8191, utf8("f"), utf8("5"), NONE);
        b.append(t + 8192, utf8("g"), utf8("6"), NONE);
        b.append(0, utf8("h"), utf8("7"), NONE);
        b.append(Long.MAX_VALUE, utf8("i"), utf8("8"), NONE);
        print("timestamps", b);

        b = plain();
        b.append(t, utf8("k"), utf8("v"), new Header[] {new RecordHeader("foo", utf8("bar")), new RecordHeader("null", null),
            new RecordHeader("foo", utf8("")), new RecordHeader("", utf8("no key")), new RecordHeader("\u00e4\u20ac\ud83d\ude00", fill(100))});
        b.append(t + 1, null, (byte[]) null, new Header[] {new RecordHeader("x", null)});
        print("headers", b);

        b = plain();
        for (int n : new int[] {0, 1, 2, 52, 53, 54, 55, 56, 57, 58, 63, 64, 65, 127, 128, 8191, 8192})
            b.append(t + n, null, fill(n), NONE);
        print("valuesizes", b);

        b = plain();
        for (int n : new int[] {0, 1, 62, 63, 64, 65, 8192})
            b.append(t + n, fill(n), fill(3), NONE);
        print("keysizes", b);

        b = plain();
        for (int n = 0; n < 300; n++)
            b.append(t + n / 2, null, fill(n % 5), NONE);
        print("many", b);

        b = builder(Compression.NONE, TimestampType.CREATE_TIME, 1234567, -1, 23423, 145, 983, false, false, -1);
        b.append(1, utf8("a"), utf8("v"), NONE);
        b.append(2, utf8("b"), utf8("v"), NONE);
        print("idempotent", b);

        b = builder(Compression.NONE, TimestampType.CREATE_TIME, 1234567, -1, 23423, 145, Integer.MAX_VALUE - 1, false, false, -1);
        b.append(1, utf8("a"), utf8("v"), NONE);
        b.append(2, utf8("b"), utf8("v"), NONE);
        b.append(3, utf8("c"), utf8("v"), NONE);
        print("wraparound", b);

        b = builder(Compression.NONE, TimestampType.CREATE_TIME, 0, -1, Long.MAX_VALUE, Short.MAX_VALUE, 0, true, false, 7);
        b.append(t, utf8("k"), utf8("v"), NONE);
        print("transactional", b);

        b = builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, 5, t + 5, -1, -1, -1, false, false, -1);
        b.append(t, utf8("k"), utf8("v"), NONE);
        b.append(t + 1, utf8("k"), utf8("w"), NONE);
        print("logappendtime", b);

        b = builder(Compression.NONE, TimestampType.CREATE_TIME, 0, -1, 1, 0, -1, true, true, -1);
        b.appendEndTxnMarker(t, new EndTransactionMarker(ControlRecordType.COMMIT, 15));
        print("control", b);

        b = builder(Compression.gzip().build(), TimestampType.CREATE_TIME, 0, -1, -1, -1, -1, false, false, -1);
        b.append(t, utf8("a"), fill(500), NONE);
        b.append(t + 1, utf8("b"), utf8("2"), new Header[] {new RecordHeader("h", utf8("1"))});
        b.append(t + 2, utf8("c"), utf8("3"), NONE);
        print("gzip", b);
    }
}
