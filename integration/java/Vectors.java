import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Kafka's own answers to which partition a key belongs. */
final class Vectors {
    private Vectors() {}

    /**
     * Reads keys (length, bytes) and writes for each its murmur2 hash and the CRC-32C of its partitions,
     * as four bytes each, in topics of 1 to most partitions.
     */
    static void write(File keys, int most, File answers) throws Exception {
        CRC32C crc = new CRC32C();
        ByteBuffer partitions = ByteBuffer.allocate(4 * most);
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(keys), 1 << 16));
            DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(answers), 1 << 16))) {
            for (int left = in.readInt(); left > 0; left--) {
                byte[] key = in.readNBytes(in.readInt());
                partitions.clear();
                for (int n = 1; n <= most; n++) {
                    partitions.putInt(BuiltInPartitioner.partitionForKey(key, n));
                }
                crc.reset();
                crc.update(partitions.array());
                out.writeInt(Utils.murmur2(key));
                out.writeInt((int) crc.getValue());
            }
        }
    }
}
