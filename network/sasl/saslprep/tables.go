package saslprep

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// packed is made by testdata/tables.py, which says what is in it.
//
//go:embed tables.txt.gz
var packed []byte

// tables are those of RFC 3454 and of Unicode 3.2.
type tables struct {
	decomposed map[rune]string
	composed   map[[2]rune]rune
	class      map[rune]int // combining classes but 0

	nothing, spaces, prohibited, rightToLeft, leftToRight set
}

// set is a set of characters: ranges in rising order.
type set []span

type span struct{ from, to rune }

func (s set) has(r rune) bool {
	_, found := slices.BinarySearchFunc(s, r, func(x span, r rune) int {
		switch {
		case x.to < r:
			return -1
		case x.from > r:
			return 1
		}
		return 0
	})
	return found
}

// loadTables unpacks the tables when they are needed first.
var loadTables = sync.OnceValue(func() *tables {
	t, err := unpack(packed)
	if err != nil {
		panic(fmt.Sprintf("saslprep: the tables are broken: %v", err)) // they are part of the program
	}
	return t
})

func unpack(packed []byte) (*tables, error) {
	in, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	t := &tables{decomposed: make(map[rune]string), composed: make(map[[2]rune]rune), class: make(map[rune]int)}
	sets := map[string]*set{"b": &t.nothing, "s": &t.spaces, "p": &t.prohibited, "r": &t.rightToLeft, "l": &t.leftToRight}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "d":
			character, decomposition, _ := strings.Cut(rest, " ")
			t.decomposed[[]rune(character)[0]] = decomposition
		case "c":
			r := []rune(rest) // "a b c"
			t.composed[[2]rune{r[0], r[2]}] = r[4]
		case "k":
			err = t.addClass(rest)
		default:
			*sets[kind], err = parseSet(rest)
		}
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addClass reads a combining class and its characters.
func (t *tables) addClass(text string) error {
	number, ranges, _ := strings.Cut(text, " ")
	class, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	members, err := parseSet(ranges)
	for _, x := range members {
		for r := x.from; r <= x.to; r++ {
			t.class[r] = class
		}
	}
	return err
}

func parseSet(text string) (set, error) {
	var s set
	for part := range strings.SplitSeq(text, " ") {
		var x span
		if _, err := fmt.Sscanf(part, "%x-%x", &x.from, &x.to); err != nil {
			return nil, err
		}
		s = append(s, x)
	}
	return s, nil
}
