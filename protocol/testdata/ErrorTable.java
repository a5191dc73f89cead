import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;

/**
 * Prints Kafka's error codes (argument "errors") or API keys (argument "apis"), one per line, fields parted by tabs.
 *
 * java -cp kafka-clients-4.4.0.jar:slf4j-api.jar ErrorTable.java errors > errors.tsv
 * java -cp kafka-clients-4.4.0.jar:slf4j-api.jar ErrorTable.java apis > apis.tsv
 */
public class ErrorTable {
    public static void main(String[] args) {
        if (args[0].equals("apis")) {
            for (ApiKeys k : ApiKeys.values())
                System.out.println(k.id + "\t" + k.name);
            return;
        }
        for (Errors e : Errors.values()) {
            ApiException x = e.exception();
            System.out.println(e.code() + "\t" + e.name() + "\t" + group(x)
                    + "\t" + (x instanceof InvalidMetadataException)
                    + "\t" + (x == null ? "" : x.getMessage())
                    + "\t" + (x == null ? "" : x.getClass().getSimpleName()));
        }
    }

    private static String group(ApiException x) {
        if (x == null) return "none";
        if (x instanceof RefreshRetriableException) return "refresh-retriable";
        if (x instanceof RetriableException) return "retriable";
        if (x instanceof TransactionAbortableException) return "abortable";
        if (x instanceof ApplicationRecoverableException) return "application-recoverable";
        if (x instanceof InvalidConfigurationException) return "invalid-configuration";
        return "other";
    }
}
