package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// definition is one JSON file of the jar. Unknown properties are refused, so
// that a new release cannot add a meaning that is silently lost.
type definition struct {
	APIKey                int16       `json:"apiKey"`
	Type                  string      `json:"type"`
	Listeners             []string    `json:"listeners"`
	Name                  string      `json:"name"`
	ValidVersions         versions    `json:"validVersions"`
	FlexibleVersions      versions    `json:"flexibleVersions"`
	LatestVersionUnstable bool        `json:"latestVersionUnstable"`
	Fields                []fieldDef  `json:"fields"`
	CommonStructs         []structDef `json:"commonStructs"`
}

type structDef struct {
	Name     string     `json:"name"`
	Versions versions   `json:"versions"`
	Fields   []fieldDef `json:"fields"`
}

type fieldDef struct {
	Name             string          `json:"name"`
	Type             string          `json:"type"`
	Versions         versions        `json:"versions"`
	NullableVersions versions        `json:"nullableVersions"`
	TaggedVersions   versions        `json:"taggedVersions"`
	FlexibleVersions *versions       `json:"flexibleVersions"`
	Tag              *uint32         `json:"tag"`
	Default          json.RawMessage `json:"default"`
	Ignorable        bool            `json:"ignorable"`
	MapKey           bool            `json:"mapKey"`     // only shapes Java's collections
	EntityType       string          `json:"entityType"` // documentation
	ZeroCopy         bool            `json:"zeroCopy"`   // Java's choice of buffer
	About            string          `json:"about"`
	Fields           []fieldDef      `json:"fields"`
}

// parseDefinition reads one JSON file. Kafka's JSON may hold // comments.
func parseDefinition(text []byte) (*definition, error) {
	d := new(definition)
	dec := json.NewDecoder(bytes.NewReader(stripComments(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		return nil, err
	}
	return d, nil
}

// stripComments blanks everything from // to the end of the line, except inside
// of a string.
func stripComments(text []byte) []byte {
	out := make([]byte, 0, len(text))
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			out = append(out, text[i])
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted && bytes.HasPrefix(text[i:], []byte("//")):
			for i < len(text) && text[i] != '\n' {
				i++
			}
		}
		if i < len(text) {
			out = append(out, text[i])
		}
	}
	return out
}

// versions is an inclusive range of API versions. The zero value is empty.
type versions struct {
	lo, hi int
	any    bool // false: no version at all
}

// open is the upper end of a range such as "3+".
const open = math.MaxInt16

// UnmarshalJSON reads "3+", "0-12", "4" or "none".
func (v *versions) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s == "none" {
		*v = versions{}
		return nil
	}
	lo, hi, isRange := strings.Cut(s, "-")
	lo, isOpen := strings.CutSuffix(lo, "+")
	low, err := strconv.Atoi(lo)
	if err != nil {
		return fmt.Errorf("versions %q: %w", s, err)
	}
	*v = versions{lo: low, hi: low, any: true}
	switch {
	case isOpen:
		v.hi = open
	case isRange:
		v.hi, err = strconv.Atoi(hi)
	}
	return err
}

// intersect returns the versions in both ranges.
func (v versions) intersect(w versions) versions {
	if !v.any || !w.any || max(v.lo, w.lo) > min(v.hi, w.hi) {
		return versions{}
	}
	return versions{lo: max(v.lo, w.lo), hi: min(v.hi, w.hi), any: true}
}

// contains reports whether every version of w is in v.
func (v versions) contains(w versions) bool {
	return v.intersect(w) == w
}

// has reports whether the range contains one version.
func (v versions) has(version int) bool {
	return v.any && v.lo <= version && version <= v.hi
}

// within returns the Go condition on version that selects v out of the versions
// all, which contain it. It is empty if v is all of them.
func (v versions) within(all versions) string {
	switch {
	case !v.any:
		return "false"
	case v.lo <= all.lo && v.hi >= all.hi:
		return ""
	case v.lo <= all.lo:
		return fmt.Sprintf("version <= %d", v.hi)
	case v.hi >= all.hi:
		return fmt.Sprintf("version >= %d", v.lo)
	case v.lo == v.hi:
		return fmt.Sprintf("version == %d", v.lo)
	}
	return fmt.Sprintf("version >= %d && version <= %d", v.lo, v.hi)
}

// String writes the range for a comment.
func (v versions) String() string {
	if v.lo == v.hi {
		return strconv.Itoa(v.lo)
	}
	return fmt.Sprintf("%d to %d", v.lo, v.hi)
}
