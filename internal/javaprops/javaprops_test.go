package javaprops

import (
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
