import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Writes vectors.txt; see murmur2_test.go. */
public class Vectors {
    static final int[] COUNTS = {1, 2, 3, 7, 12, 100, 1000, Integer.MAX_VALUE};
    static long state;

    static long next() {
        state ^= state >>> 12;
        state ^= state << 25;
        state ^= state >>> 27;
        return state * 2685821657736338717L;
    }

    static byte[] key() {
        byte[] b = new byte[(int) Long.remainderUnsigned(next() >>> 33, 65)];
        for (int i = 0; i < b.length; i++)
            b[i] = (byte) (next() >>> 56);
        return b;
    }

    static String results(byte[] key) {
        StringBuilder s = new StringBuilder().append(Utils.murmur2(key));
        for (int n : COUNTS)
            s.append(' ').append(BuiltInPartitioner.partitionForKey(key, n));
        return s.toString();
    }

    static void print(byte[] key) {
        StringBuilder s = new StringBuilder("k");
        for (byte b : key)
            s.append(String.format("%02x", b));
        System.out.println(s + " " + results(key));
    }

    public static void main(String[] args) {
        for (String s : new String[] {"", "a", "ab", "abc", "abcd", "abcde", "21", "foobar", "a-little-bit-long-string",
                "a-little-bit-longer-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", "\u00e4\u00f6\u00fc"})
            print(s.getBytes(StandardCharsets.UTF_8));
        for (int i = 0; i < 256; i += 5)
            print(new byte[] {(byte) i, (byte) 0xff, (byte) i});
        state = 7;
        for (int i = 0; i < 300; i++)
            print(key());
        state = 20260101;
        CRC32 crc = new CRC32();
        for (int i = 0; i < 100_000; i++)
            crc.update((results(key()) + "\n").getBytes(StandardCharsets.US_ASCII));
        System.out.println("crc " + Long.toHexString(crc.getValue()));
    }
}
