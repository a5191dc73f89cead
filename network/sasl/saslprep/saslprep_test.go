package saslprep

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestVectorsOfRFC4013 has the examples of its §3, and those of RFC 3454 §6.
func TestVectorsOfRFC4013(t *testing.T) {
	for text, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "": "", "a\u00a0b\u3000c": "a b c",
		"\u06271\u0628": "\u06271\u0628", "p,a=s s~!": "p,a=s s~!", "e\u0301\u0323": "\u1eb9\u0301", "\u1112\u1161\u11ab": "\ud55c", "\U0001f511\u0221": "\U0001f511\u0221",
	} {
		got, err := Prepare(text)
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	for text, want := range map[string]string{
		"\u0007": "prohibited", "a\x7f": "prohibited", "\ue000": "prohibited", "\ufffd": "prohibited", "\u0340": "", "\U000e0041": "prohibited",
		"\u06271": "from right to left", "\u0627a\u0628": "from right to left", "a\xff": "not valid UTF-8",
	} {
		got, err := Prepare(text)
		if want == "" { // U+0340 is prohibited, but normalization replaces it before
			require.NoError(t, err)
			require.Equal(t, "\u0300", got)
			continue
		}
		require.ErrorContains(t, err, want, "%q", text)
		require.Empty(t, got)
	}
}

// TestEveryCharacterIsPreparedAsPythonDoes compares with the sums that testdata/sums.py prints: each character alone (those
// above 0x30000 are not assigned, or prohibited), and beside others.
func TestEveryCharacterIsPreparedAsPythonDoes(t *testing.T) {
	for _, row := range []struct {
		before, behind string
		end            rune
		sum            string
	}{
		{"", "", 0x30000, "6f2d6278c611591c0eca173abdf5df4cd4ba58bc37ea80ed77dba95b4591369e"},
		{"e", "\u0323\u0301", 0x10000, "c0d2b91f98b68bd5b1a69fc692a9ae040c28bd4c75e9986890b8321b566428a3"},
		{"\u0645", "\u0645", 0x10000, "e009c7993dc912f1472414f3bd8484fc318a0b8b18d4bb98ae4564e2e7880aa3"},
		{"\u1100", "\u11a8", 0x10000, "17b63435ab56250409f88a32a5ed7fb5159fc20a994fa194e71e1359f5a07550"},
	} {
		h := sha256.New()
		for r := range row.end {
			if !utf8.ValidRune(r) {
				continue
			}
			prepared, err := Prepare(row.before + string(r) + row.behind)
			if err != nil {
				prepared = "refused"
			}
			h.Write([]byte(prepared + "\n"))
		}
		require.Equal(t, row.sum, hex.EncodeToString(h.Sum(nil)), "%q %q", row.before, row.behind)
	}
}

func TestBrokenTablesAreErrors(t *testing.T) {
	for _, broken := range [][]byte{nil, packed[:5], packed[:len(packed)/2]} {
		_, err := unpack(broken)
		require.Error(t, err)
	}
}

// FuzzPrepare takes any text. What is prepared stays as it is when it is prepared again, but for characters that compose only then.
func FuzzPrepare(f *testing.F) {
	for _, text := range []string{"I\u00adX", "\u2168", "e\u0301\u0323", "\u0627\u0628", "\u1112\u1161\u11ab", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prepared, err := Prepare(text)
		if err != nil {
			require.Empty(t, prepared)
			return
		}
		require.True(t, utf8.ValidString(prepared))
		again, err := Prepare(prepared)
		if err == nil {
			require.Equal(t, prepared, again)
		}
	})
}
