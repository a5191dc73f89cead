import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/**
 * Exchanges sections with Kafka's own codecs. The class path needs kafka-clients 4.3.1, zstd-jni 1.5.6-10,
 * at.yawk.lz4:lz4-java 1.10.2, snappy-java 1.1.10.7 and slf4j-api.
 *
 *   java -cp ... Vectors.java write DIR   packs the inputs into DIR/CODEC_LEVEL_KIND_LENGTH.bin
 *   java -cp ... Vectors.java check DIR   unpacks all such files in DIR and compares with the inputs
 *
 *   java -cp ... Vectors.java measure FILE SIZE CODEC_LEVEL...   packs the file in sections of so many bytes;
 *                                         prints codec, packed/raw, and MB per second of CPU time
 *
 * Codec lz4v0 is lz4 as message format 0 has it, with the wrong header checksum.
 */
public class Vectors {
    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[1]);
        if (args[0].equals("measure")) {
            measure(Files.readAllBytes(dir), Integer.parseInt(args[2]), Arrays.copyOfRange(args, 3, args.length));
            return;
        }
        if (args[0].equals("check")) {
            int n = 0;
            try (var files = Files.newDirectoryStream(dir, "*.bin")) {
                for (Path f : files) {
                    check(f);
                    n++;
                }
            }
            System.out.println("checked " + n);
            return;
        }
        String[] all = {"gzip_-1", "gzip_1", "gzip_9", "snappy_0", "lz4_9", "lz4_1", "lz4_12", "lz4v0_9",
            "zstd_3", "zstd_-5", "zstd_22"};
        for (String c : all) {
            write(dir, c, "text", 70000);
        }
        for (String c : new String[] {"gzip_-1", "snappy_0", "lz4_9", "zstd_3"}) {
            write(dir, c, "text", 0);
            write(dir, c, "text", 1);
            write(dir, c, "noise", 2000);
        }
    }

    static void write(Path dir, String codec, String kind, int length) throws Exception {
        var buffer = new ByteBufferOutputStream(512);
        try (OutputStream out = compression(codec).wrapForOutput(buffer, magic(codec))) {
            out.write(input(kind, length));
        }
        ByteBuffer packed = buffer.buffer().flip();
        byte[] bytes = new byte[packed.remaining()];
        packed.get(bytes);
        Files.write(dir.resolve(codec + "_" + kind + "_" + length + ".bin"), bytes);
    }

    static void check(Path file) throws Exception {
        String[] name = file.getFileName().toString().replace(".bin", "").split("_");
        ByteBuffer packed = ByteBuffer.wrap(Files.readAllBytes(file));
        byte[] got;
        try (InputStream in = compression(name[0] + "_" + name[1])
                .wrapForInput(packed, magic(name[0]), BufferSupplier.create())) {
            got = in.readAllBytes();
        }
        if (!Arrays.equals(got, input(name[2], Integer.parseInt(name[3])))) {
            throw new IllegalStateException(file + " unpacks to something else");
        }
    }

    static void measure(byte[] raw, int size, String[] codecs) throws Exception {
        var threads = java.lang.management.ManagementFactory.getThreadMXBean();
        for (String codec : codecs) {
            long packed = 0, bytes = 0, begin = 0, used;
            var buffer = new ByteBufferOutputStream(2 * size);
            for (int pass = 0; ; pass++) {
                if (pass == 1) { // the first was for the compiler
                    packed = bytes = 0;
                    begin = threads.getCurrentThreadCpuTime();
                }
                for (int at = 0; at + size <= raw.length; at += size) {
                    buffer.position(0);
                    try (OutputStream out = compression(codec).wrapForOutput(buffer, (byte) 2)) {
                        out.write(raw, at, size);
                    }
                    packed += buffer.position();
                    bytes += size;
                }
                used = threads.getCurrentThreadCpuTime() - begin;
                if (pass > 0 && used > 200_000_000L) {
                    break;
                }
            }
            System.out.printf("%s %.4f %.1f%n", codec, (double) packed / bytes, bytes * 1e3 / used);
        }
    }

    static byte magic(String codec) {
        return (byte) (codec.startsWith("lz4v0") ? 0 : 2);
    }

    static Compression compression(String codec) {
        String[] s = codec.split("_");
        int level = Integer.parseInt(s[1]);
        switch (s[0]) {
            case "gzip": return Compression.gzip().level(level).build();
            case "snappy": return Compression.snappy().build();
            case "zstd": return Compression.zstd().level(level).build();
            default: return Compression.lz4().level(level).build();
        }
    }

    /** The same bytes as vectorInput in java_test.go. */
    static byte[] input(String kind, int length) {
        byte[] out = new byte[length];
        int x = 1;
        for (int i = 0, at = 0; at < length; i++) {
            x = x * 1664525 + 1013904223;
            byte[] piece = kind.equals("noise")
                ? new byte[] {(byte) (x >>> 24)}
                : ("{\"id\":" + i + ",\"v\":" + (x >>> 22) + "}").getBytes(StandardCharsets.US_ASCII);
            int n = Math.min(piece.length, length - at);
            System.arraycopy(piece, 0, out, at, n);
            at += n;
        }
        return out;
    }
}
