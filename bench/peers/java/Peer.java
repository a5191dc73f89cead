import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The peer for Java's KafkaProducer: the flags, the work and the line of JSON of package driver. */
public final class Peer {
  /** The same cases as in package driver: one sample in 64 when sending as fast as possible. */
  private static final int SAMPLE_EVERY = 64;

  private final Map<String, String> flags = new HashMap<>();
  private final byte[][] values;
  private final byte[][] keys;
  private final KafkaProducer<byte[], byte[]> producer;
  private final AtomicInteger samples = new AtomicInteger();
  private final AtomicLong undelivered = new AtomicLong();
  private final AtomicLong errors = new AtomicLong();
  private final AtomicReference<String> firstError = new AtomicReference<>();
  private long[] starts;
  private long[] lasted;
  private volatile CountDownLatch all;
  private final Callback plain = (m, e) -> done(e);

  private Peer(String[] args) throws Exception {
    for (String a : args) {
      String[] parts = a.replaceFirst("^--?", "").split("=", 2);
      flags.put(parts[0], parts.length == 2 ? parts[1] : "true");
    }
    int size = number("size", 100);
    byte[] pool = Files.readAllBytes(Path.of(System.getProperty("values"), "values-" + size + ".bin"));
    values = new byte[pool.length / size][];
    for (int i = 0; i < values.length; i++) values[i] = Arrays.copyOfRange(pool, i * size, (i + 1) * size);
    keys = flag("keyed", "false").equals("true") ? new byte[number("keys", 100_000)][] : null;
    if (keys != null) for (int i = 0; i < keys.length; i++) keys[i] = String.format("user-%011d", i).getBytes();
    producer = new KafkaProducer<>(config());
  }

  private String flag(String name, String otherwise) { return flags.getOrDefault(name, otherwise); }

  private int number(String name, int otherwise) { return flags.containsKey(name) ? Integer.parseInt(flags.get(name)) : otherwise; }

  /** A Go duration of one unit, in milliseconds; less than one counts as none. */
  private static long millis(String d) {
    if (d.endsWith("ms")) return Long.parseLong(d.substring(0, d.length() - 2));
    if (d.equals("0") || d.endsWith("us") || d.endsWith("ns")) return 0;
    return Long.parseLong(d.substring(0, d.length() - 1)) * 1000;
  }

  private Properties config() {
    boolean acksAll = flag("acks", "all").equals("all");
    int batch = number("batch", 16384);
    Properties p = new Properties();
    p.put("bootstrap.servers", flag("brokers", "127.0.0.1:29092"));
    p.put("acks", acksAll ? "all" : "1");
    p.put("enable.idempotence", acksAll && flag("idempotent", "true").equals("true"));
    p.put("linger.ms", millis(flag("linger", "5ms")));
    p.put("batch.size", batch);
    if (batch > 100_000) p.put("max.request.size", 8 << 20);
    p.put("buffer.memory", number("bufbytes", 64 << 20));
    p.put("compression.type", flag("compression", "none"));
    p.put("max.in.flight.requests.per.connection", number("inflight", 5));
    p.put("key.serializer", ByteArraySerializer.class);
    p.put("value.serializer", ByteArraySerializer.class);
    return p;
  }

  private void done(Exception e) {
    if (e != null) {
      errors.incrementAndGet();
      firstError.compareAndSet(null, e.toString());
    }
    if (undelivered.decrementAndGet() == 0) all.countDown();
  }

  /** Sends n records from several threads and waits for their deliveries. */
  private void phase(int n) throws Exception {
    String mode = flag("mode", "async");
    boolean waits = !mode.equals("async");
    int senders = !waits ? number("goroutines", 1) : mode.equals("sync") ? 1 : Integer.parseInt(mode.substring("parallel:".length()));
    int rate = number("rate", 0);
    int every = waits || rate > 0 ? 1 : SAMPLE_EVERY;
    samples.set(0);
    starts = new long[n / every + 1 + senders];
    lasted = new long[starts.length];
    all = new CountDownLatch(1);
    undelivered.set(n);
    Thread[] threads = new Thread[senders];
    for (int s = 0; s < senders; s++) {
      int first = (int) ((long) n * s / senders);
      int end = (int) ((long) n * (s + 1) / senders);
      long interval = rate > 0 ? 1_000_000_000L * senders / rate : 0;
      threads[s] = new Thread(() -> send(first, end, waits, every, interval));
      threads[s].start();
    }
    for (Thread t : threads) t.join();
    if (!waits) producer.flush();
    if (!all.await(120, TimeUnit.SECONDS)) throw new Exception(undelivered.get() + " of " + n + " not delivered; first error: " + firstError.get());
  }

  private void send(int first, int end, boolean waits, int every, long interval) {
    String topic = flag("topic", "t12");
    long random = first * 2654435761L + 88172645463325252L;
    int v = first % values.length;
    long begun = System.nanoTime();
    for (int i = 0; i < end - first; i++) {
      byte[] key = null;
      if (keys != null) {
        random ^= random << 13;
        random ^= random >>> 7;
        random ^= random << 17;
        key = keys[(int) Long.remainderUnsigned(random, keys.length)];
      }
      ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(topic, key, values[v]);
      if (++v == values.length) v = 0;
      if (waits) {
        sendSync(r);
        continue;
      }
      if (interval > 0 && i % 16 == 0) sleepUntil(begun + i * interval);
      if (i % every != 0) {
        producer.send(r, plain);
        continue;
      }
      int sample = samples.getAndIncrement();
      starts[sample] = System.nanoTime();
      producer.send(r, (m, e) -> {
        lasted[sample] = System.nanoTime() - starts[sample];
        done(e);
      });
    }
  }

  private void sendSync(ProducerRecord<byte[], byte[]> r) {
    int sample = samples.getAndIncrement();
    long at = System.nanoTime();
    Exception failure = null;
    try {
      producer.send(r).get();
    } catch (Exception e) {
      failure = e;
    }
    lasted[sample] = System.nanoTime() - at;
    done(failure);
  }

  private static void sleepUntil(long due) {
    long wait = due - System.nanoTime();
    if (wait <= 100_000) return;
    try {
      Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static long cpu() { return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime(); }

  /** System time of the process so far, in seconds, to a hundredth. */
  private static double system() throws Exception {
    String stat = Files.readString(Path.of("/proc/self/stat"));
    return Long.parseLong(stat.substring(stat.lastIndexOf(')') + 2).split(" ")[12]) / 100.0;
  }

  private static long allocated() {
    com.sun.management.ThreadMXBean threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    return Arrays.stream(threads.getThreadAllocatedBytes(threads.getAllThreadIds())).filter(b -> b > 0).sum();
  }

  private static long peakKiB() throws Exception {
    for (String l : Files.readAllLines(Path.of("/proc/self/status"))) if (l.startsWith("VmHWM:")) return Long.parseLong(l.replaceAll("\\D", ""));
    return 0;
  }

  private double percentile(long[] sorted, double p) {
    return sorted.length == 0 ? 0 : sorted[Math.min(sorted.length - 1, (int) (p * sorted.length))] / 1e3;
  }

  private void run() throws Exception {
    int n = number("records", 1_000_000);
    int warmup = number("warmup", 200_000);
    int size = number("size", 100);
    if (warmup > 0) phase(warmup);
    System.gc();
    long bytes = allocated();
    double system = system();
    long cpu = cpu();
    long at = System.nanoTime();
    phase(n);
    double wall = (System.nanoTime() - at) / 1e9;
    double used = (cpu() - cpu) / 1e9;
    system = system() - system;
    bytes = allocated() - bytes;
    long[] l = Arrays.copyOf(lasted, samples.get());
    Arrays.sort(l);
    String error = firstError.get() == null ? "" : ",\"first_error\":\"" + firstError.get().replaceAll("[\"\\\\\\p{Cntrl}]", "'") + "\"";
    System.out.printf(Locale.ROOT, "{\"client\":\"java\",\"records\":%d,\"warmup\":%d,\"size\":%d,\"wall\":%f,\"user\":%f,\"sys\":%f,\"rpcs\":%f,\"rps\":%f,"
        + "\"mbps\":%f,\"mallocs\":-1,\"alloc_bytes\":%f,\"hwm_kib\":%d,\"p50\":%f,\"p99\":%f,\"p999\":%f,\"max\":%f,\"samples\":%d,\"errors\":%d%s}%n",
        n, warmup, size, wall, used - system, system, n / used, n / wall, n / wall * size / 1e6, bytes / (double) n, peakKiB(),
        percentile(l, .5), percentile(l, .99), percentile(l, .999), percentile(l, 1), l.length, errors.get(), error);
    producer.close(Duration.ofSeconds(10));
  }

  public static void main(String[] args) {
    try {
      new Peer(args).run();
      System.exit(0);
    } catch (Exception e) {
      System.err.println("java: " + e);
      System.exit(1);
    }
  }
}
