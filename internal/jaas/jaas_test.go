package jaas

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// faults maps the beginnings of Java's errors to what ours say.
var faults = map[string][]string{
	"Login module not specified":                 {"no login module"},
	"Login module control flag not specified":    {"no control flag"},
	"Login module control flag is not available": {"no control flag"},
	"Invalid login module control flag":          {"is not a control flag"},
	"Value not specified for key":                {"no value for", "has no quotes", "no '=' after", "no name"},
	"JAAS config entry not terminated":           {"no semicolon"},
	"null":                                       {"has no name"},
}

// What Kafka 4.3.1's own JaasConfig makes of 1,265 strings; testdata/JaasGolden.java wrote the file, and says how.
func TestStringsAreReadAsJavaReadsThem(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/java.jsonl")
	require.NoError(t, err)
	defer f.Close()
	lines, refused := 0, 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		var row struct {
			In, Error string
			Entries   []Entry
		}
		require.NoError(t, json.Unmarshal(in.Bytes(), &row))
		entries, err := Parse(row.In)
		if row.Error != "" {
			refused++
			require.Errorf(t, err, "%q: Java says %s", row.In, row.Error)
			require.Truef(t, sameFault(row.Error, err), "%q: Java says %s, and not %s", row.In, row.Error, err)
			continue
		}
		require.NoErrorf(t, err, "%q", row.In)
		require.Equalf(t, row.Entries, entries, "%q", row.In)
	}
	require.Equal(t, 1265, lines)
	require.Greater(t, refused, 300)
	require.Greater(t, lines-refused, 300)
}

func sameFault(java string, err error) bool {
	for begin, words := range faults {
		if !strings.HasPrefix(java, begin) {
			continue
		}
		for _, w := range words {
			if strings.Contains(err.Error(), w) {
				return true
			}
		}
	}
	return false
}

// A missing quote makes names of what is a password.
func TestNoErrorShowsWhatMayBeAPassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`M required password=hunter2 hunter2;`, `M required password="hunter2`, `M required password=hunter2"hunter2 hunter2=";`,
		`M required username="a" password=1hunter2 hunter2;`, `M hunter2 password="x";`, `M required password="a"hunter2"b";`,
	} {
		_, err := Parse(text)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "hunter2", text)
	}
	e := Entry{Module: "M", Options: map[string]string{"password": "hunter2"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, e), "hunter2", verb)
		require.NotContains(t, fmt.Sprintf(verb, &e), "hunter2", verb)
	}
}

func TestErrorsSayWhatToWrite(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                               `no login module is named`,
		`M`:                              `no control flag (required) after the login module`,
		`M required`:                     `no semicolon at the end`,
		`M required password="a`:         `no semicolon at the end`,
		`M required password=1a;`:        `the value of "password" begins with a digit, '-' or '.', and has no quotes: put it in quotes`,
		`M required username=;`:          `no value for "username": put it in quotes`,
		`M required username "a";`:       `no '=' after "username": a quote or a semicolon may be missing before it`,
		`M required username="a" b "c";`: `no '=' after the name of option 2: a quote or a semicolon may be missing before it`,
	} {
		_, err := Parse(text)
		require.EqualError(t, err, want, text)
	}
	_, err := ParseOne(`M required; N required;`)
	require.EqualError(t, err, "2 login modules are named, and there must be one")
}

func FuzzParse(f *testing.F) {
	f.Add(`org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password='b\101"' x=y;`)
	f.Add("M required /* c */ a=\"b\n; // c")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := Parse(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			size := 0
			for key, value := range e.Options {
				size += len(key) + len(value)
			}
			if e.Module == "" || size > 3*len(text) {
				t.Fatalf("%q has %d bytes of options", text, size)
			}
		}
	})
}
