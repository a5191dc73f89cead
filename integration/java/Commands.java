import java.io.File;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import kafka.tools.StorageTool;
import org.apache.kafka.tools.DumpLogSegments;

/** The table of commands. */
final class Commands {
    private Commands() {}

    static Map<String, Helper.Command> all() {
        Map<String, Helper.Command> table = new HashMap<>();
        table.put("ping", (w, rows) -> rows.add("pong"));
        table.put("format", Commands::format);
        table.put("dump", Commands::dump);
        table.put("partitions", (w, rows) -> Vectors.write(new File(w.get(0)), Integer.parseInt(w.get(1)), new File(w.get(2))));
        Topics topics = new Topics();
        table.put("connect", (w, rows) -> topics.connect(w.get(0)));
        table.put("create", (w, rows) -> topics.create(w));
        table.put("delete", (w, rows) -> topics.delete(w.get(0)));
        table.put("grow", (w, rows) -> topics.grow(w.get(0), Integer.parseInt(w.get(1))));
        table.put("configure", (w, rows) -> topics.configure(w.get(0), w.get(1), w.get(2)));
        table.put("describe", (w, rows) -> topics.describe(w.get(0), rows));
        table.put("move", (w, rows) -> topics.move(w.get(0), Integer.parseInt(w.get(1)), Integer.parseInt(w.get(2))));
        table.put("elect", (w, rows) -> topics.elect(w.get(0)));
        table.put("acl", (w, rows) -> topics.acl(w.get(0), w.get(1), w.get(2)));
        table.put("controller", (w, rows) -> rows.add(topics.controller()));
        table.put("offsets", (w, rows) -> Transactions.groupOffsets(topics.admin(), w.get(0), rows));
        table.put("transaction", (w, rows) -> rows.add(Transactions.state(topics.admin(), w.get(0))));
        table.put("open", (w, rows) -> Transactions.open(topics.admin(), w, rows));
        table.put("ends", (w, rows) -> Records.ends(w.get(0), w.get(1), rows));
        table.put("consume", (w, rows) -> Records.consume(w.get(0), w.get(1), w.get(2), new File(w.get(3)), rows));
        table.put("read", (w, rows) -> Records.read(w.get(0), w.get(1), w.get(2), rows));
        table.put("produce", (w, rows) -> Writer.produce(w, rows));
        table.put("attempt", (w, rows) -> Attempts.run(w, rows));
        table.put("measure", Measured::measure);
        return table;
    }

    /** format CLUSTER-ID FILE...: formats the log directories of those server.properties. */
    private static void format(List<String> words, Helper.Rows rows) {
        for (String file : words.subList(1, words.size())) {
            int status = StorageTool.execute(new String[] {"format", "-t", words.get(0), "-c", file}, System.err);
            if (status != 0) {
                throw new Helper.ToolExit(status, "format " + file);
            }
        }
    }

    /** dump OUT FILE...: Kafka's DumpLogSegments over those segments, its output into OUT. */
    private static void dump(List<String> words, Helper.Rows rows) throws Exception {
        PrintStream before = System.out;
        try (PrintStream out = new PrintStream(new File(words.get(0)), "UTF-8")) {
            System.setOut(out);
            DumpLogSegments.main(new String[] {"--files", String.join(",", words.subList(1, words.size()))});
        } finally {
            System.setOut(before);
        }
    }
}
