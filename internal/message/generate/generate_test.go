package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The committed files are what the generator makes of Kafka's definitions. The
// jar has to be there in CI; elsewhere the test needs it or Maven.
func TestCommittedFilesAreGenerated(t *testing.T) {
	jar := os.Getenv("QUILL_KAFKA_CLIENTS_JAR")
	if jar == "" {
		var err error
		if jar, err = cachedJar(); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip("set QUILL_KAFKA_CLIENTS_JAR or install Maven: ", err)
		}
	}
	defs, err := readJar(jar)
	require.NoError(t, err)
	files, err := generate(defs)
	require.NoError(t, err)
	bounded := 0
	for name, want := range files {
		bounded += bytes.Count(want, []byte("= boundedArray(d, "))
		got, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err, "run go generate in internal/message")
		if !bytes.Equal(want, got) {
			t.Errorf("%s is not what the generator writes: run go generate in internal/message", name)
		}
	}
	require.Equal(t, len(bounds), bounded, "a bound for an array that no answer has")
	committed, err := filepath.Glob("../*_gen.go")
	require.NoError(t, err)
	require.Len(t, committed, len(files), "files that nothing generates any more")
}

func TestAnotherReleaseIsRefused(t *testing.T) {
	jar := filepath.Join(t.TempDir(), "x.jar")
	writeJar(t, jar, map[string]string{"kafka/kafka-version.properties": "version=4.3.1\n"})
	_, err := readJar(jar)
	require.ErrorContains(t, err, "is not kafka-clients "+kafkaVersion)

	writeJar(t, jar, map[string]string{
		"kafka/kafka-version.properties": "commitId=1\nversion=" + kafkaVersion,
		"common/message/A.json":          "{}",
		"common/message/README.md":       "no definition",
		"elsewhere/B.json":               "{}",
	})
	defs, err := readJar(jar)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"A": []byte("{}")}, defs)
}

func TestVersionRanges(t *testing.T) {
	all := versions{lo: 3, hi: 13, any: true}
	for text, want := range map[string]string{
		"0+": "", "3-13": "", "none": "false", "5+": "version >= 5", "0-12": "version <= 12",
		"8-10": "version >= 8 && version <= 10", "7": "version == 7",
	} {
		var v versions
		require.NoError(t, v.UnmarshalJSON([]byte(`"`+text+`"`)))
		require.Equal(t, want, v.intersect(all).within(all), text)
	}
	var v versions
	require.Error(t, v.UnmarshalJSON([]byte(`"all"`)))
	require.Error(t, v.UnmarshalJSON([]byte(`"1-x"`)))
	require.False(t, versions{lo: 0, hi: 2, any: true}.intersect(all).any)
}

func TestNames(t *testing.T) {
	require.Equal(t, "LeaderIDAndEpoch", goName("LeaderIdAndEpoch"))
	require.Equal(t, "APIVersionsRequest", goName("ApiVersionsRequest"))
	require.Equal(t, "ISRNodes", goName("IsrNodes"))
	require.Equal(t, "V3AndBelowProducerID", goName("V3AndBelowProducerId"))
	require.Equal(t, "Identity", goName("Identity"))
	require.Equal(t, "init_producer_id_request_gen.go", fileName("InitProducerIdRequest"))
}

func TestCommentsAreStripped(t *testing.T) {
	text := `{ // a "comment"
  "about": "see http://x \" // kept" } // end`
	require.Equal(t, "{ \n  \"about\": \"see http://x \\\" // kept\" } ", string(stripComments([]byte(text))))
}
