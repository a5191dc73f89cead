package main

import (
	"archive/zip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// writeJar writes a zip file with the given entries.
func writeJar(t *testing.T, path string, entries map[string]string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for name, text := range entries {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

// build resolves a request with the given fields, and a response without any.
func build(t *testing.T, fields string) (api, error) {
	t.Helper()
	head := `{"apiKey": 99, "name": "Test#", "type": "@", "validVersions": "0-4", "flexibleVersions": "2+",`
	define := func(kind, fields string) []byte {
		text := strings.NewReplacer("#", kind, "@", strings.ToLower(kind)).Replace(head)
		return []byte(text + `"fields": [` + fields + `]}`)
	}
	return buildAPI(map[string][]byte{
		"TestRequest":  define("Request", fields),
		"TestResponse": define("Response", ""),
	}, "Test")
}

// The types that the committed messages do not use are generated as well.
func TestEveryKindOfFieldIsGenerated(t *testing.T) {
	for fields, want := range map[string][]string{
		`{"name": "Port", "type": "uint16", "versions": "0+", "default": "0x10"}`: {
			"Port uint16", "Port: 16,", "dst = protocol.AppendUint16(dst, m.Port)", "m.Port = d.Uint16()"},
		`{"name": "Ratio", "type": "float64", "versions": "0+", "default": "0.5"}`: {
			"Ratio float64", "Ratio: 0.5,", "dst = protocol.AppendFloat64(dst, m.Ratio)", "m.Ratio = d.Float64()"},
		`{"name": "Ids", "type": "[]uuid", "versions": "3+"}`: {
			"IDs []protocol.UUID", "array(d, m.IDs, 16)", "m.IDs[i] = d.UUID()", "if version < 3 && len(m.IDs) != 0 {"},
		`{"name": "Data", "type": "bytes", "versions": "0+", "nullableVersions": "0+"}`: {
			"Data []byte", "dst = appendNullableBytes(dst, m.Data, flexible)", "m.Data = d.nullableBytes()"},
		`{"name": "Data", "type": "records", "versions": "2+", "nullableVersions": "2+", "ignorable": true}`: {
			"dst = protocol.AppendCompactNullableBytes(dst, m.Data)"},
		`{"name": "Data", "type": "bytes", "versions": "0-1"}`: {
			"dst = protocol.AppendBytes(dst, m.Data)", "m.Data = d.bytes()"},
		`{"name": "Mode", "type": "string", "versions": "0+", "default": "fast"}`: {
			`Mode: "fast",`},
		`{"name": "Mode", "type": "string", "versions": "3+", "nullableVersions": "3+", "default": "fast"}`: {
			`Mode: new("fast"),`},
		`{"name": "Flag", "type": "bool", "versions": "2+", "taggedVersions": "2+", "tag": 1},
		 {"name": "Id", "type": "uuid", "versions": "3+", "taggedVersions": "3+", "tag": 0}`: {
			"if version >= 3 && !m.ID.IsZero() {", "if m.Flag {", "case 0:\n\t\t\t\tif d.version >= 3 {\n\t\t\t\t\tm.ID = d.UUID()"},
	} {
		a, err := build(t, fields)
		require.NoError(t, err)
		text, err := emitMessage(a, a.request)
		require.NoError(t, err)
		for _, line := range want {
			require.Contains(t, string(text), line)
		}
	}
}

// What the generator does not know must stop it, not be left out.
func TestUnknownDefinitionsAreRefused(t *testing.T) {
	for fields, want := range map[string]string{
		`{"name": "A", "type": "int128", "versions": "0+"}`:                                                                                   "unknown type int128",
		`{"name": "A", "type": "int8", "versions": "0+", "secret": true}`:                                                                     "unknown field",
		`{"name": "A", "type": "int8", "versions": "0+", "default": "x"}`:                                                                     "invalid syntax",
		`{"name": "A", "type": "int8", "versions": "0+", "flexibleVersions": "none"}`:                                                         "headers only",
		`{"name": "A", "type": "int8", "versions": "0+", "taggedVersions": "2+", "tag": 0}`:                                                   "tagged in some",
		`{"name": "A", "type": "[]int8", "versions": "0+", "default": "1"}`:                                                                   "is not supported",
		`{"name": "A", "type": "B", "versions": "0+", "nullableVersions": "0+", "fields": [{"name": "C", "type": "int8", "versions": "0+"}]}`: "nullable struct",
	} {
		_, err := build(t, fields)
		require.ErrorContains(t, err, want)
	}
	_, err := buildAPI(nil, "Test")
	require.ErrorContains(t, err, "TestRequest")
}

// A version that may still change is neither written nor read.
func TestUnstableVersionIsLeftOut(t *testing.T) {
	defs := map[string][]byte{
		"TestRequest": []byte(`{"type": "request", "name": "TestRequest", "validVersions": "1-3", "flexibleVersions": "none",
			"latestVersionUnstable": true, "fields": [
			{"name": "Old", "type": "int8", "versions": "0"},
			{"name": "New", "type": "int8", "versions": "3+"}]}`),
		"TestResponse": []byte(`{"type": "response", "name": "TestResponse", "validVersions": "1-3", "flexibleVersions": "none", "fields": []}`),
	}
	a, err := buildAPI(defs, "Test")
	require.NoError(t, err)
	require.Equal(t, versions{lo: 1, hi: 2, any: true}, a.request.versions)
	require.Equal(t, a.request.versions, a.response.versions)
	require.Empty(t, a.request.structs[0].fields)
}
