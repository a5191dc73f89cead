package message

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/protocol"
)

// keys are the APIs of this package by the names of Java's messages.
var keys = map[string]protocol.APIKey{
	"Produce":                   protocol.Produce,
	"Metadata":                  protocol.Metadata,
	"FindCoordinator":           protocol.FindCoordinator,
	"SaslHandshake":             protocol.SaslHandshake,
	"ApiVersions":               protocol.APIVersions,
	"InitProducerId":            protocol.InitProducerID,
	"AddPartitionsToTxn":        protocol.AddPartitionsToTxn,
	"AddOffsetsToTxn":           protocol.AddOffsetsToTxn,
	"EndTxn":                    protocol.EndTxn,
	"TxnOffsetCommit":           protocol.TxnOffsetCommit,
	"SaslAuthenticate":          protocol.SaslAuthenticate,
	"GetTelemetrySubscriptions": protocol.GetTelemetrySubscriptions,
	"PushTelemetry":             protocol.PushTelemetry,
	"ListOffsets":               protocol.ListOffsets,
	"Fetch":                     protocol.Fetch,
	"OffsetForLeaderEpoch":      protocol.OffsetForLeaderEpoch,
}

// golden is a message as Java writes it. testdata/Golden.java says how the
// files are made.
type golden struct {
	name    string // ProduceRequest
	key     protocol.APIKey
	version int16
	variant string
	wire    []byte
	values  string // JSON
}

// String names a subtest.
func (g golden) String() string { return fmt.Sprintf("%s/v%d/%s", g.name, g.version, g.variant) }

// message returns an empty message of the golden's type.
func (g golden) message() Message {
	if strings.HasSuffix(g.name, "Request") {
		return NewRequest(g.key)
	}
	return NewResponse(g.key)
}

// filled returns the message with the golden's values.
func (g golden) filled(t testing.TB) Message {
	m := g.message()
	require.NoError(t, json.Unmarshal([]byte(g.values), m))
	return m
}

// readGolden returns all lines of one file.
func readGolden(t testing.TB, name string) []golden {
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name+".txt"))
	require.NoError(t, err)
	api := strings.TrimSuffix(strings.TrimSuffix(name, "Request"), "Response")
	var lines []golden
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), " ", 4)
		require.Len(t, parts, 4)
		version, err := strconv.ParseInt(parts[0], 10, 16)
		require.NoError(t, err)
		wire, err := hex.DecodeString(parts[2])
		require.NoError(t, err)
		lines = append(lines, golden{name, keys[api], int16(version), parts[1], wire, parts[3]})
	}
	return lines
}

// everyGolden runs the test for each message, version and variant.
func everyGolden(t *testing.T, test func(t *testing.T, g golden)) {
	for api := range keys {
		for _, name := range []string{api + "Request", api + "Response"} {
			for _, g := range readGolden(t, name) {
				t.Run(g.String(), func(t *testing.T) { test(t, g) })
			}
		}
	}
}

// decode reads a message and requires that nothing is left over.
func decode(t testing.TB, m Message, wire []byte, version int16) {
	t.Helper()
	r := protocol.NewReader(wire)
	m.Decode(&r, version)
	require.NoError(t, r.Err())
	require.Zero(t, r.Remaining())
}

func TestEveryVersionHasGoldenBytes(t *testing.T) {
	for api, key := range keys {
		request := NewRequest(key).(Request)
		for _, name := range []string{api + "Request", api + "Response"} {
			want := 0
			lines := readGolden(t, name)
			for version := request.MinVersion(); version <= request.MaxVersion(); version++ {
				for _, variant := range []string{"full", "null", "empty"} {
					require.Equal(t, version, lines[want].version, name)
					require.Equal(t, variant, lines[want].variant, name)
					want++
				}
			}
			require.Len(t, lines, want, name)
		}
	}
}

func TestAppendMatchesJava(t *testing.T) {
	everyGolden(t, func(t *testing.T, g golden) {
		m := g.filled(t)
		require.Equal(t, g.key, m.APIKey())
		require.Equal(t, hex.EncodeToString(g.wire), hex.EncodeToString(m.Append(nil, g.version)))
		// What is already in the slice stays.
		require.Equal(t, "head"+string(g.wire), string(m.Append([]byte("head"), g.version)))
		if request, ok := m.(Request); ok {
			require.NoError(t, request.Check(g.version))
		}
	})
}

func TestDecodeReadsJava(t *testing.T) {
	everyGolden(t, func(t *testing.T, g golden) {
		got := g.message()
		decode(t, got, g.wire, g.version)
		require.Equal(t, g.filled(t), got)
	})
}

// A message that is used again must not show what it held before, in any field.
func TestDecodeForgetsTheMessageBefore(t *testing.T) {
	used := make(map[string]Message)
	everyGolden(t, func(t *testing.T, g golden) {
		if used[g.name] == nil {
			used[g.name] = g.message()
		}
		decode(t, used[g.name], g.wire, g.version)
		fresh := g.message()
		decode(t, fresh, g.wire, g.version)
		request := NewRequest(g.key).(Request)
		for version := request.MinVersion(); version <= request.MaxVersion(); version++ {
			require.Equal(t, fresh.Append(nil, version), used[g.name].Append(nil, version), version)
		}
	})
}

func TestEveryPrefixIsAnError(t *testing.T) {
	everyGolden(t, func(t *testing.T, g golden) {
		m := g.message()
		for n := range g.wire {
			r := protocol.NewReader(g.wire[:n:n])
			m.Decode(&r, g.version)
			if r.Err() == nil {
				t.Fatalf("%d of %d bytes are accepted", n, len(g.wire))
			}
		}
	})
}

// Every array of a flexible version and every struct may carry tagged fields
// that this version of the code does not know.
func TestUnknownTagsAreSkipped(t *testing.T) {
	everyGolden(t, func(t *testing.T, g golden) {
		if RequestHeaderVersion(g.key, g.version) < 2 || g.variant == "full" {
			return // not flexible, or the message's own tags end it
		}
		wire := append([]byte(nil), g.wire[:len(g.wire)-1]...)
		wire = append(wire, 2, 0x63, 3, 'a', 'b', 'c', 0xff, 0x7f, 0) // tags 99 and 16383
		got := g.message()
		decode(t, got, wire, g.version)
		require.Equal(t, g.filled(t), got)
	})
}

func TestHeadersMatchJava(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "golden", "headers.txt"))
	require.NoError(t, err)
	lines := 0
	for line := range strings.Lines(string(text)) {
		lines++
		var key, version int16
		var request, response string
		_, err := fmt.Sscan(line, &key, &version, &request, &response)
		require.NoError(t, err)
		api, id := protocol.APIKey(key), 7_000_000+int32(version)

		wire := AppendRequestHeader(nil, api, version, id, "quill-ä")
		require.Equal(t, request, hex.EncodeToString(wire))
		r := protocol.NewReader(wire)
		gotKey, gotVersion, gotID, clientID := DecodeRequestHeader(&r)
		require.NoError(t, r.Err())
		require.Zero(t, r.Remaining())
		require.Equal(t, api, gotKey)
		require.Equal(t, version, gotVersion)
		require.Equal(t, id, gotID)
		require.Equal(t, "quill-ä", clientID)

		wire = AppendResponseHeader(nil, api, version, id)
		require.Equal(t, response, hex.EncodeToString(wire))
		r = protocol.NewReader(wire)
		require.Equal(t, id, DecodeResponseHeader(&r, api, version))
		require.NoError(t, r.Err())
		require.Zero(t, r.Remaining())
	}
	require.Equal(t, 104, lines)
}

// Records and other bytes are not copied: the request's memory is the reader's.
func TestRecordsAliasTheInput(t *testing.T) {
	for _, g := range readGolden(t, "ProduceRequest") {
		if g.variant != "full" {
			continue
		}
		var m ProduceRequest
		decode(t, &m, g.wire, g.version)
		records := m.TopicData[0].PartitionData[0].Records
		require.Contains(t, g.values, base64.StdEncoding.EncodeToString(records))
		records[0] ^= 0xff
		require.NotContains(t, g.values, base64.StdEncoding.EncodeToString(m.TopicData[0].PartitionData[0].Records))
		require.Contains(t, string(g.wire), string(records))
	}
}
