package protocol

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testdata/errors.tsv and apis.tsv were printed by Kafka 4.4's own Errors and
// ApiKeys; testdata/ErrorTable.java says how.
func tsv(t *testing.T, file string) [][]string {
	text, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

func TestErrorTableMatchesJava(t *testing.T) {
	rows := tsv(t, "errors.tsv")
	require.Len(t, rows, 138)
	require.Len(t, errorTable, len(rows))
	for _, row := range rows {
		n, err := strconv.Atoi(row[0])
		require.NoError(t, err)
		code := ErrorCode(n)
		require.True(t, code.Known())
		require.Equal(t, row[1], code.Name())
		require.Equal(t, row[1], code.String())
		require.Equal(t, row[2], code.Class().String(), row[1])
		require.Equal(t, row[3], strconv.FormatBool(code.RefreshMetadata()), row[1])
		require.Equal(t, row[4], code.Message())
		require.Equal(t, strings.HasSuffix(row[2], "retriable"), code.Retriable(), row[1])
	}
}

// A slip of one line would move every constant behind it, so the source itself is
// compared: identifier, number and name of each.
func TestErrorConstantsMatchJava(t *testing.T) {
	source, err := os.ReadFile("errorcodes.go")
	require.NoError(t, err)
	rows := tsv(t, "errors.tsv")
	constants := regexp.MustCompile(`(?m)^\t(\w+) +ErrorCode = (-?\d+) +// (\w+)$`).FindAllStringSubmatch(string(source), -1)
	require.Len(t, constants, len(rows))
	for i, c := range constants {
		require.Equal(t, rows[i][:2], c[2:])
		require.Equal(t, strings.ToLower(strings.ReplaceAll(rows[i][1], "_", "")), strings.ToLower(c[1]))
	}
	require.Equal(t, "NOT_LEADER_OR_FOLLOWER", NotLeaderOrFollower.Name())
	require.Equal(t, "CONTROLLER_ID_NOT_REGISTERED", ControllerIDNotRegistered.Name())
}

func TestErrorCodeIsAnError(t *testing.T) {
	err := fmt.Errorf("produce: %w", NotEnoughReplicas)
	require.EqualError(t, err,
		"produce: NOT_ENOUGH_REPLICAS: Messages are rejected since there are fewer in-sync replicas than required.")
	require.ErrorIs(t, err, NotEnoughReplicas)
	code, ok := errors.AsType[ErrorCode](err)
	require.True(t, ok)
	require.Equal(t, NotEnoughReplicas, code)
	require.EqualError(t, None, "NONE")
}

func TestUnknownNumberIsKeptAndNeverRetriable(t *testing.T) {
	for _, code := range []ErrorCode{-32768, -2, 137, 9999, 32767} {
		require.False(t, code.Known())
		require.EqualError(t, code, fmt.Sprintf("UNKNOWN_ERROR_CODE(%d)", int16(code)))
		require.Empty(t, code.Message())
		require.Equal(t, ClassOther, code.Class())
		require.False(t, code.Retriable())
		require.False(t, code.RefreshMetadata())
	}
	require.Equal(t, "ErrorClass(99)", ErrorClass(99).String())
}

func TestAPINamesMatchJava(t *testing.T) {
	rows := tsv(t, "apis.tsv")
	require.Len(t, apiNames, len(rows))
	for _, row := range rows {
		n, err := strconv.Atoi(row[0])
		require.NoError(t, err)
		require.Equal(t, row[1], APIKey(n).String())
	}
	for key, name := range map[APIKey]string{
		Produce: "Produce", Metadata: "Metadata", OffsetCommit: "OffsetCommit", FindCoordinator: "FindCoordinator",
		SaslHandshake: "SaslHandshake", APIVersions: "ApiVersions", InitProducerID: "InitProducerId",
		AddPartitionsToTxn: "AddPartitionsToTxn", AddOffsetsToTxn: "AddOffsetsToTxn", EndTxn: "EndTxn",
		TxnOffsetCommit: "TxnOffsetCommit", SaslAuthenticate: "SaslAuthenticate",
		GetTelemetrySubscriptions: "GetTelemetrySubscriptions", PushTelemetry: "PushTelemetry",
		Fetch: "Fetch", ListOffsets: "ListOffsets", OffsetForLeaderEpoch: "OffsetForLeaderEpoch",
	} {
		require.Equal(t, name, key.String())
	}
	require.Equal(t, "UnknownApi(-1)", APIKey(-1).String())
	require.Equal(t, "UnknownApi(95)", APIKey(95).String())
}

func TestUUIDPrintsAsKafkaDoes(t *testing.T) {
	require.True(t, UUID{}.IsZero())
	require.Equal(t, "AAAAAAAAAAAAAAAAAAAAAA", UUID{}.String())
	require.Equal(t, "AAAAAAAAAAAAAAAAAAAAAQ", UUID{15: 1}.String()) // Uuid.ONE_UUID
	require.False(t, UUID{15: 1}.IsZero())
	u := UUID{0xfb, 0xff, 0xbf}
	require.Equal(t, "-_-_AAAAAAAAAAAAAAAAAA", u.String()) // URL-safe letters
}
