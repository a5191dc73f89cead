package org.apache.kafka.common.security;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import javax.security.auth.login.AppConfigurationEntry;

/**
 * JaasGolden writes what Kafka's own JaasConfig makes of many strings: java.jsonl, one line for each.
 *
 * javac -cp kafka-clients-4.3.1.jar -d OUT JaasGolden.java
 * java -cp kafka-clients-4.3.1.jar:slf4j-api.jar:OUT org.apache.kafka.common.security.JaasGolden java.jsonl
 */
public class JaasGolden {
    private static final String[] PIECES = {
        "org.apache.kafka.common.security.plain.PlainLoginModule", "a.B$C", "required", "REQUISITE", "Sufficient", "optional", "username", "password", "user-name",
        "=", "=", "=", "=", "=", ";", ";", ";", " ", " ", " ", " ", "\n", "\r\n", "\t", "\"", "'", "\"secret\"", "'it is'", "\"a\\\"b\"", "\"\\101\\12\\477\\0\"", "\"\\n\\t\\q\\\\\"",
        "3600", "-5", "-", ".5", "1a", "a1", "//", "/", "/*", "*/", "*", "# no comment", ",", "{", "}", "@", "\u00e4", "\u20ac", "\u0085", "\\", "\\u0041", "\"a\nb\"", "\"\"", "''", "ssl.key=\"x\"", "_x", "$y", "k=v", "\u0000", "a/b", "a//b", "\"a//b\"", "\"a/*b\"", "required;", "\"a\"\"b\"", "*\n/", "*\r\n/",
    };
    private static final String[] VALUES = {
        "'v'", "w-x_y$z.1", "\"\\101\\12\\477\\0\\8\"", "\"a\\\"b\"", "'a\"b'", "\"\\n\\t\\q\\\\\"", "\"//\"", "\"/*\"", "v/*c*/", "v//c\n", "v/c\n", "\"a\u00e4\u20ac\"", "a\u00e4\u20ac", "\"x\n", "\"\"", "''", "\";\"", "v;M required", "\"=\"",
    };
    private static final String[] WRITTEN = {
        "", ";", " ", "M", "M required", "M required;", "M required ;", "M wrong;", "M 5;", "M \"required\" a=\"b\";", "'M' required;", "\"\" required;", "5 required;", "-M required;", "M required a;", "M required a=;", "M required a=5;", "M required a=-b;", "M required a=.b;",
        "M required a=b", "M required a=\"b", "M required a=\"b;", "M required a=\"b\n;", "M required a=\"b\\", "M required a=\"\\", "M required a='x\"y' b=\"x'y\";", "M required a=b a=c;", "M required a=b;;", "M required a=b; N optional c=d;", "M required a=b; N",
        "M required 5=b;", "M required \"\"=b;", "M required a=/b;", "M required a=b/c;\n;", "// c\nM required;", "/* c */M required;", "/* c M required;", "M/* c */required;", "M required a=/*x*/b;", "M required/* ** */;", "M required a=\"\\8\\08\\377\\400\\1234\";", "M required a=\"\\a\\b\\f\\n\\r\\t\\v\\'\\\"\";",
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p,=\\\\ \u00e4\" tokenauth=\"true\";", "M requ\u0131red;", "M optional a = \"b\" \n c\n=\nd ;", "M required a==b;", "M required =b;", "M required;x", "\u0080 required;", "M required a=\u009f;", "M required a=\u00a0;", "M required a=\u00ff\u0100;", "M required a=\"b\" \r c=\"d\"\r;\r",
        "M required /* \n*/;", "M required /* *\n/ */;", "M required /* *\r/ */;", "M required /**/;", "M required /*/;", "M required a=b /;", "M required a=b /\n;", "M required a=1.2.3;", "M required a=1-2;", "M required 1=2;", "M required a=\"b\"c=\"d\";", "M required a='';",
    };

    public static void main(String[] args) throws Exception {
        List<String> inputs = new ArrayList<>(List.of(WRITTEN));
        Random random = new Random(16);
        for (int i = 0; i < 1200; i++) {
            StringBuilder b = new StringBuilder(random.nextInt(3) == 0 ? "" : "M required ");
            int noise = random.nextInt(2) == 0 ? 3 : 40;
            for (int n = random.nextInt(10); n > 0; n--)
                b.append(random.nextInt(noise) > 0 ? option(random) : PIECES[random.nextInt(PIECES.length)]);
            inputs.add(b.append(random.nextInt(3) == 0 ? "" : ";").toString());
        }
        StringBuilder out = new StringBuilder();
        for (String input : inputs)
            out.append("{\"in\":").append(json(input)).append(parse(input)).append("}\n");
        Files.write(Path.of(args[0]), out.toString().getBytes(StandardCharsets.UTF_8));
    }

    private static String option(Random random) {
        return "k" + random.nextInt(4) + (random.nextInt(4) == 0 ? " = " : "=") + VALUES[random.nextInt(VALUES.length)] + " ";
    }

    private static String parse(String input) {
        StringBuilder b = new StringBuilder(",\"entries\":[");
        try {
            int n = 0;
            for (AppConfigurationEntry e : new JaasConfig("x", input).getAppConfigurationEntry("x")) {
                Map<String, Object> options = new TreeMap<>();
                for (Map.Entry<String, ?> o : e.getOptions().entrySet())
                    options.put(o.getKey() == null ? "" : o.getKey(), o.getValue());
                b.append(n++ > 0 ? "," : "").append("{\"Module\":").append(json(e.getLoginModuleName()));
                b.append(",\"Flag\":").append(json(e.getControlFlag().toString().replaceAll(".* ", "").toUpperCase()));
                b.append(",\"Options\":{");
                int m = 0;
                for (Map.Entry<String, Object> o : options.entrySet())
                    b.append(m++ > 0 ? "," : "").append(json(o.getKey())).append(":").append(json((String) o.getValue()));
                b.append("}}");
            }
            return b.append("]").toString();
        } catch (IllegalArgumentException e) {
            return ",\"error\":" + json(String.valueOf(e.getMessage()));
        }
    }

    private static String json(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray())
            b.append(c >= ' ' && c < 127 && c != '"' && c != '\\' ? String.valueOf(c) : String.format("\\u%04x", (int) c));
        return b.append("\"").toString();
    }
}
