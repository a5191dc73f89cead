package javaprops

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPropertiesFormat(t *testing.T) {
	for file, want := range map[string]map[string]string{
		"":                                   {},
		"a=b":                                {"a": "b"},
		"a:b\r\nc d\re = f\n":                {"a": "b", "c": "d", "e": "f"},
		"  # x\n!y\n \t\f\n\na":              {"a": ""},
		"k  \t=  v  ":                        {"k": "v  "},
		"k = = v":                            {"k": "= v"},
		"k:=v":                               {"k": "=v"},
		`a\ b\:c\=d e`:                       {"a b:c=d": "e"},
		"k = one, \\\n   two, \\\r\n\tthree": {"k": "one, two, three"},
		"k=v\\\n#x":                          {"k": "v#x"},
		"k=v\\\n\nn=1":                       {"k": "v", "n": "1"},
		"# c \\\nk=v":                        {"k": "v"},
		`k=v\\`:                              {"k": `v\`},
		"k=v\\\\\nn=1":                       {"k": `v\`, "n": "1"},
		`k=v\`:                               {"k": "v"},
		`k=\t\n\r\f\q\"\\`:                   {"k": "\t\n\r\fq\"\\"},
		`k=\u00e9\u4E2d\uD83D\uDE00`:         {"k": "é中😀"},
		`k=\uD83Dx`:                          {"k": "\uFFFDx"},
		"k=é中😀":                              {"k": "é中😀"},
		"\xef\xbb\xbfk=v":                    {"k": "v"},
		"k=\xe9t\xe9":                        {"k": "été"},
		"=v":                                 {"": "v"},
		"a=1\na=2":                           {"a": "2"},
		"Truth = Beauty\n Truth:Beauty":      {"Truth": "Beauty"},
		"\\\n#x\nk=v":                        {"k": "v"},
		"cheeses":                            {"cheeses": ""},
	} {
		got, faults := Read([]byte(file))
		require.Empty(t, faults, "%q", file)
		require.Equal(t, want, got, "%q", file)
	}
}

func TestMalformedEscapesAreFaultsOfTheirLine(t *testing.T) {
	got, faults := Read([]byte("a=1\n\nb=\\u12\nc=a\\\n  b\\uzzzz\nd=4\n"))
	require.Equal(t, map[string]string{"a": "1", "d": "4"}, got)
	require.Len(t, faults, 2)
	require.Equal(t, 3, faults[0].Line)
	require.Equal(t, 4, faults[1].Line)
}

// What Double.parseDouble of Java 21 takes of these, and nothing else.
func TestDoublesAreReadAsJavaReadsThem(t *testing.T) {
	for text, want := range map[string]float64{"0x1p3": 8, "1.5f": 1.5, "1d": 1, "2D": 2, "1.": 1, ".5": 0.5, "1e3": 1000, "1E+3": 1000, "-0.25": -0.25, "Infinity": math.Inf(1), "+Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "1e999": math.Inf(1)} {
		x, no := Double(text)
		require.Equal(t, Complaint{}, no, text)
		require.Equal(t, want, x, text)
	}
	x, no := Double("NaN")
	require.Equal(t, Complaint{}, no)
	require.True(t, math.IsNaN(x))
	for _, text := range []string{"1_0", "inf", "nan", "INFINITY", "-Inf", "", "d", "1ff", "0x10", "abc", "1,5"} {
		_, no := Double(text)
		require.Equal(t, "must be a number", no.Reason, text)
	}
}
