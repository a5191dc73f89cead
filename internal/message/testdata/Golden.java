import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.StringJoiner;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Golden writes what Java's own messages look like on the wire, in every version,
 * together with their values as JSON. The tests of the Go messages read it.
 *
 * Each line of golden/NAME.txt is: version, variant, bytes in hex, values in JSON.
 * The variants are full (everything set, two elements per array), null (whatever
 * may be null is, numbers are extreme, tagged fields are left out) and empty.
 * headers.txt holds: API key, version, request header, response header.
 *
 * With the jars of kafka-clients 4.4.0 and slf4j-api in the class path:
 *
 *   java -cp kafka-clients-4.4.0.jar:slf4j-api-1.7.36.jar testdata/Golden.java testdata/golden
 */
public class Golden {
    static final List<ApiKeys> APIS = List.of(
        ApiKeys.PRODUCE, ApiKeys.METADATA, ApiKeys.FIND_COORDINATOR, ApiKeys.SASL_HANDSHAKE,
        ApiKeys.API_VERSIONS, ApiKeys.INIT_PRODUCER_ID, ApiKeys.ADD_PARTITIONS_TO_TXN,
        ApiKeys.ADD_OFFSETS_TO_TXN, ApiKeys.END_TXN, ApiKeys.TXN_OFFSET_COMMIT,
        ApiKeys.SASL_AUTHENTICATE, ApiKeys.GET_TELEMETRY_SUBSCRIPTIONS, ApiKeys.PUSH_TELEMETRY,
        ApiKeys.LIST_OFFSETS, ApiKeys.FETCH, ApiKeys.OFFSET_FOR_LEADER_EPOCH);

    enum Variant { full, NULL, empty }

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        List<String> headers = new ArrayList<>();
        for (ApiKeys api : APIS) {
            write(dir, api, api.messageType.newRequest(), api.messageType.requestSchemas());
            write(dir, api, api.messageType.newResponse(), api.messageType.responseSchemas());
            for (short v = api.oldestVersion(); v <= api.latestVersion(false); v++) {
                headers.add(api.id + " " + v + " " + requestHeader(api, v) + " " + responseHeader(api, v));
            }
        }
        Files.write(dir.resolve("headers.txt"), headers);
    }

    static void write(Path dir, ApiKeys api, ApiMessage prototype, Schema[] schemas) throws Exception {
        List<String> lines = new ArrayList<>();
        for (short version = api.oldestVersion(); version <= api.latestVersion(false); version++) {
            for (Variant variant : Variant.values()) {
                Golden g = new Golden(variant);
                Message message = prototype.getClass().getConstructor().newInstance();
                String json = g.fill(message, schemas[version]);
                lines.add(version + " " + variant.name().toLowerCase() + " " + encode(message, version) + " " + json);
            }
        }
        String name = prototype.getClass().getSimpleName().replaceAll("Data$", "");
        Files.write(dir.resolve(name + ".txt"), lines);
    }

    static String requestHeader(ApiKeys api, short version) {
        RequestHeaderData h = new RequestHeaderData();
        h.setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(7_000_000 + version).setClientId("quill-ä");
        return encode(h, api.requestHeaderVersion(version));
    }

    static String responseHeader(ApiKeys api, short version) {
        return encode(new ResponseHeaderData().setCorrelationId(7_000_000 + version), api.responseHeaderVersion(version));
    }

    static String encode(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(message.getClass() + " is shorter than its size");
        }
        return HexFormat.of().formatHex(buffer.array());
    }

    final Variant variant;
    int count; // makes every value another one

    Golden(Variant variant) {
        this.variant = variant;
    }

    /** Sets every field that the schema has and returns all values as JSON. */
    String fill(Object target, Schema schema) throws Exception {
        StringJoiner json = new StringJoiner(",", "{", "}");
        addDefaults(target, json);
        for (BoundField field : schema.fields()) {
            if (!(field.def.type instanceof TaggedFields)) {
                json.add(set(target, field.def));
            } else if (variant == Variant.full) {
                for (Field tagged : ((TaggedFields) field.def.type).fields().values()) {
                    json.add(set(target, tagged));
                }
            }
        }
        return json.toString();
    }

    /** Adds the defaults that are not zero, empty or null. Fields that are set come later and win. */
    static void addDefaults(Object target, StringJoiner json) throws Exception {
        Method[] setters = target.getClass().getMethods();
        Arrays.sort(setters, Comparator.comparing(Method::getName));
        for (Method setter : setters) {
            if (!setter.getName().startsWith("set") || setter.getParameterCount() != 1) {
                continue;
            }
            String name = Character.toLowerCase(setter.getName().charAt(3)) + setter.getName().substring(4);
            Object value = target.getClass().getMethod(name).invoke(target);
            if (value instanceof Message) {
                StringJoiner nested = new StringJoiner(",", "{", "}");
                addDefaults(value, nested);
                json.add("\"" + name + "\":" + nested);
            } else if (value instanceof Number && ((Number) value).longValue() != 0 || Boolean.TRUE.equals(value)) {
                json.add("\"" + name + "\":" + value);
            }
        }
    }

    String set(Object target, Field field) throws Exception {
        String name = camelCase(field.name);
        for (Method method : target.getClass().getMethods()) {
            if (!method.getName().equals("set" + Character.toUpperCase(name.charAt(0)) + name.substring(1))) {
                continue;
            }
            StringBuilder json = new StringBuilder();
            Object value = null;
            if (variant == Variant.NULL && field.type.isNullable()) {
                json.append("null");
            } else {
                value = value(field.type, method.getGenericParameterTypes()[0], name, json);
            }
            method.invoke(target, value);
            return "\"" + name + "\":" + json;
        }
        throw new IllegalStateException(target.getClass() + " has no " + name);
    }

    Object value(org.apache.kafka.common.protocol.types.Type wire, Type type, String name, StringBuilder json) throws Exception {
        count++;
        if (wire.arrayElementType().isPresent()) {
            return array(wire.arrayElementType().get(), type, name, json);
        }
        if (wire instanceof Schema) {
            Object element = ((Class<?>) type).getConstructor().newInstance();
            json.append(fill(element, (Schema) wire));
            return element;
        }
        if (type == String.class) {
            // Some are longer than 127 bytes, so that a compact length takes two bytes.
            String s = variant == Variant.empty ? "" : name + "-ä-" + count + "x".repeat(count % 5 == 0 ? 150 : 0);
            json.append('"').append(s).append('"');
            return s;
        }
        if (type == boolean.class) {
            json.append(variant == Variant.full);
            return variant == Variant.full;
        }
        if (type == Uuid.class) {
            return uuid(json);
        }
        if (type == byte[].class || type == ByteBuffer.class || !((Class<?>) type).isPrimitive() && !Number.class.isAssignableFrom((Class<?>) type)) {
            byte[] bytes = variant == Variant.empty ? new byte[0] : (name + count).repeat(count).getBytes(StandardCharsets.UTF_8);
            json.append('"').append(Base64.getEncoder().encodeToString(bytes)).append('"');
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return type == byte[].class ? bytes : type == ByteBuffer.class ? buffer : MemoryRecords.readableRecords(buffer);
        }
        return number((Class<?>) type, json);
    }

    Object array(org.apache.kafka.common.protocol.types.Type wire, Type type, String name, StringBuilder json) throws Exception {
        Type owner = type instanceof ParameterizedType ? type : ((Class<?>) type).getGenericSuperclass();
        Type element = ((ParameterizedType) owner).getActualTypeArguments()[0];
        @SuppressWarnings("unchecked")
        Collection<Object> values = type instanceof ParameterizedType
            ? new ArrayList<>()
            : (Collection<Object>) ((Class<?>) type).getConstructor().newInstance();
        int length = variant == Variant.full ? 2 : variant == Variant.NULL ? 1 : 0;
        StringJoiner elements = new StringJoiner(",", "[", "]");
        for (int i = 0; i < length; i++) {
            StringBuilder text = new StringBuilder();
            Object v = value(wire, element, name, text);
            if (!values.add(v)) {
                throw new IllegalStateException("two equal elements of " + name);
            }
            elements.add(text);
        }
        json.append(elements);
        return values;
    }

    Uuid uuid(StringBuilder json) {
        Uuid id = variant == Variant.empty ? Uuid.ZERO_UUID : new Uuid(0x0123456789abcdefL * count, 0xfedcba9876543210L - count);
        ByteBuffer bytes = ByteBuffer.allocate(16);
        bytes.putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits());
        StringJoiner numbers = new StringJoiner(",", "[", "]");
        for (byte b : bytes.array()) {
            numbers.add(Integer.toString(b & 0xff));
        }
        json.append(numbers);
        return id;
    }

    Object number(Class<?> type, StringBuilder json) {
        long v = variant == Variant.full ? 40L + count : 0;
        if (type == byte.class || type == Byte.class) {
            v = variant == Variant.NULL ? Byte.MIN_VALUE : v;
            json.append(v);
            return (byte) v;
        }
        if (type == short.class || type == Short.class) {
            v = variant == Variant.NULL ? Short.MIN_VALUE : v * 3;
            json.append(v);
            return (short) v;
        }
        if (type == int.class || type == Integer.class) {
            v = variant == Variant.NULL ? Integer.MIN_VALUE : v * 1_000_003;
            json.append(v);
            return (int) v;
        }
        if (type == long.class || type == Long.class) {
            v = variant == Variant.NULL ? Long.MIN_VALUE : v * 1_000_000_000_039L;
            json.append(v);
            return v;
        }
        throw new IllegalStateException("no rule for " + type);
    }

    /** Turns the schema's producer_id into the setter's producerId. */
    static String camelCase(String name) {
        StringBuilder out = new StringBuilder();
        for (String word : name.split("_")) {
            out.append(out.length() == 0 ? word : Character.toUpperCase(word.charAt(0)) + word.substring(1));
        }
        return out.toString();
    }
}
