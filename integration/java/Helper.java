import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.utils.Exit;

/**
 * The one long-running Java process of the integration tests: Kafka's own admin client, consumer,
 * producer and tools behind a line protocol, because a JVM for each call would cost a second.
 *
 * A request is one line: a command and its words, separated by tabs, each word URL-encoded. The answer is any
 * number of "+" lines, each with words in the same form, then "." or "!" with the error's class and text.
 * Commands run one after another. The end of standard input ends the process.
 */
public final class Helper {
    /** A command reads its words and answers rows. */
    interface Command {
        void run(List<String> words, Rows rows) throws Exception;
    }

    /** Rows collects the answer's data lines. */
    interface Rows {
        void add(Object... words);
    }

    /** Kafka's tools end their process on a usage error; here that becomes this exception. */
    static final class ToolExit extends RuntimeException {
        private static final long serialVersionUID = 1L;

        ToolExit(int status, String text) {
            super("tool ended with status " + status + (text == null ? "" : ": " + text));
        }
    }

    private Helper() {}

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err); // whatever a tool prints must not look like an answer
        Exit.Procedure refuse = (status, text) -> {
            throw new ToolExit(status, text);
        };
        Exit.setExitProcedure(refuse);
        Exit.setHaltProcedure(refuse);
        Map<String, Command> commands = Commands.all();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            answer(commands, line, answers);
        }
        Runtime.getRuntime().halt(0);
    }

    private static void answer(Map<String, Command> commands, String line, PrintStream answers) {
        try {
            List<String> words = new ArrayList<>();
            for (String word : line.split("\t", -1)) {
                words.add(URLDecoder.decode(word, StandardCharsets.UTF_8));
            }
            Command command = commands.get(words.get(0));
            if (command == null) {
                throw new IllegalArgumentException("no command " + words.get(0));
            }
            command.run(words.subList(1, words.size()), row -> answers.println("+\t" + join(row)));
            answers.println(".");
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof ExecutionException && thrown.getCause() != null ? thrown.getCause() : thrown;
            cause.printStackTrace();
            answers.println("!\t" + join(cause.getClass().getSimpleName(), String.valueOf(cause.getMessage())));
        }
        answers.flush();
    }

    private static String join(Object... words) {
        return String.join("\t", Arrays.stream(words).map(w -> URLEncoder.encode(String.valueOf(w), StandardCharsets.UTF_8)).toList());
    }
}
