// Command generate writes the Go structs of Kafka's requests and responses.
//
// Kafka describes its protocol in JSON files, one per message. They are part of
// the kafka-clients jar, in the folder common/message. This command reads them
// out of the jar (jar.go, spec.go), gives every message and field its Go name
// and type (names.go, model.go) and writes one file per message (emit.go,
// code.go). Nothing is downloaded but the jar.
//
// The jar is the file named by -jar or by QUILL_KAFKA_CLIENTS_JAR. Without
// either, Maven copies it once into the user's cache directory.
//
// It is started by go generate in internal/message.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// kafkaVersion is the release whose definitions are generated.
const kafkaVersion = "4.4.0"

// messages are the APIs a producer speaks, and those with which quilltest serves consumers, as they are called in the jar.
var messages = []string{
	"Produce",
	"Metadata",
	"FindCoordinator",
	"SaslHandshake",
	"ApiVersions",
	"InitProducerId",
	"AddPartitionsToTxn",
	"AddOffsetsToTxn",
	"EndTxn",
	"TxnOffsetCommit",
	"SaslAuthenticate",
	"GetTelemetrySubscriptions",
	"PushTelemetry",
	"ListOffsets",
	"Fetch",
	"OffsetForLeaderEpoch",
}

func main() {
	jar := flag.String("jar", os.Getenv("QUILL_KAFKA_CLIENTS_JAR"), "kafka-clients `jar`; empty: copied by Maven into the cache directory")
	out := flag.String("out", ".", "`directory` the files are written to")
	flag.Parse()
	if err := run(*jar, *out); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run generates every message of the jar into the directory out.
func run(jar, out string) error {
	if jar == "" {
		var err error
		if jar, err = cachedJar(); err != nil {
			return err
		}
	}
	defs, err := readJar(jar)
	if err != nil {
		return err
	}
	files, err := generate(defs)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the files to write by name. defs holds the JSON text of the
// jar's definitions by name (ProduceRequest).
func generate(defs map[string][]byte) (map[string][]byte, error) {
	files := make(map[string][]byte)
	owner := make(map[string]string) // Go type: the message that declares it
	var apis []api
	for _, name := range messages {
		a, err := buildAPI(defs, name)
		if err != nil {
			return nil, err
		}
		for _, m := range []*message{a.request, a.response} {
			for _, s := range m.structs {
				if _, taken := owner[s.name]; taken {
					s.name = goName(name) + s.name // the definitions of two APIs may use one name for two types
				}
				if other, ok := owner[s.name]; ok {
					return nil, fmt.Errorf("%s and %s both declare %s", other, m.jsonName, s.name)
				}
				owner[s.name] = m.jsonName
			}
			text, err := emitMessage(a, m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.jsonName, err)
			}
			files[fileName(m.jsonName)] = text
		}
		apis = append(apis, a)
	}
	text, err := emitRegistry(apis)
	if err != nil {
		return nil, err
	}
	files["registry_gen.go"] = text
	return files, nil
}
