package quill

import "strings"

// counterparts maps Java classes to the values of this library that do the same.
var counterparts = map[string]string{
	"org.apache.kafka.common.serialization.BooleanSerializer":     "quill.Bool",
	"org.apache.kafka.common.serialization.ByteArraySerializer":   "quill.Bytes",
	"org.apache.kafka.common.serialization.ByteBufferSerializer":  "quill.Bytes",
	"org.apache.kafka.common.serialization.BytesSerializer":       "quill.Bytes",
	"org.apache.kafka.common.serialization.DoubleSerializer":      "quill.Float64",
	"org.apache.kafka.common.serialization.FloatSerializer":       "quill.Float32",
	"org.apache.kafka.common.serialization.IntegerSerializer":     "quill.Int32",
	"org.apache.kafka.common.serialization.LongSerializer":        "quill.Int64",
	"org.apache.kafka.common.serialization.ShortSerializer":       "quill.Int16",
	"org.apache.kafka.common.serialization.StringSerializer":      "quill.String",
	"org.apache.kafka.common.serialization.UUIDSerializer":        "quill.UUIDSerializer",
	"org.apache.kafka.common.serialization.VoidSerializer":        "quill.Void",
	"org.springframework.kafka.support.serializer.JsonSerializer": "quill.JSON",
	"io.confluent.kafka.serializers.KafkaJsonSerializer":          "quill.JSON",
	"org.apache.kafka.clients.producer.RoundRobinPartitioner":     "new(quill.RoundRobinPartitioner)",
	"org.apache.kafka.clients.producer.UniformStickyPartitioner":  "new(quill.StickyPartitioner)",
	builtinPartitioner: "",
}

// builtinPartitioner is the class that Java used without a partitioner.class; Java 4.0 removed it.
const builtinPartitioner = "org.apache.kafka.clients.producer.internals.DefaultPartitioner"

// counterpart returns the value of this library that does what the Java class does, "" if there is none.
func counterpart(class string) string { return counterparts[strings.TrimSpace(class)] }

// partitionerInstead returns the advice for a partitioner.class.
func partitionerInstead(class string) string {
	switch same := counterpart(class); {
	case class == builtinPartitioner:
		return "remove it: the built-in partitioner does the same"
	case same != "":
		return "set Config.Partitioner to " + same + ", which does the same"
	}
	return "set Config.Partitioner to its counterpart in Go, or remove it to have the built-in partitioner"
}
