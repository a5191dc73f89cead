package main

import (
	"fmt"
	"strings"
)

// report is the outcome.
type report struct {
	files  []*tally // in the order of the list
	sum    tally
	faults []string
}

// tally counts the tests of one of Java's files.
type tally struct {
	file    string
	covered int
	total   int // covered, missing and left out
	missing int
	later   map[scope]int
	none    int
	notes   []string
}

// compare finds the mentions of each test. A test that many comments name counts once.
func compare(tests []javaTest, mentions []mention) *report {
	r := &report{sum: tally{file: "all", later: map[scope]int{}}}
	at := map[string]string{}
	for _, m := range mentions {
		at[m.name] = m.at
	}
	byFile, listed := map[string]*tally{}, map[string]bool{}
	for _, t := range tests {
		listed[t.name()] = true
		if t.scope == beside {
			continue
		}
		c := byFile[t.file]
		if c == nil {
			c = &tally{file: t.file, later: map[scope]int{}}
			byFile[t.file] = c
			r.files = append(r.files, c)
		}
		covered := at[t.name()] != ""
		c.add(t, covered)
		r.sum.add(t, covered)
		if covered && t.scope == now && t.reason != "" {
			r.faults = append(r.faults, fmt.Sprintf("%s: %s needs no reason in java.txt any more", at[t.name()], t.name()))
		}
	}
	for _, m := range mentions {
		if !listed[m.name] {
			r.faults = append(r.faults, fmt.Sprintf("%s: %s is not in java.txt", m.at, m.name))
		}
	}
	return r
}

func (c *tally) add(t javaTest, covered bool) {
	switch t.scope {
	case none:
		c.none++
		return
	case now:
	default:
		c.later[t.scope]++
		return
	}
	c.total++
	switch {
	case covered:
		c.covered++
	case t.reason != "":
		c.notes = append(c.notes, fmt.Sprintf("left out: %s: %s", t.name(), t.reason))
	default:
		c.missing++
		c.notes = append(c.notes, "missing: "+t.name())
	}
}

// String returns a line for each file, with what is missing below it, and the sum on the last line.
func (r *report) String() string {
	var out strings.Builder
	for _, c := range r.files {
		out.WriteString(c.line())
		for _, n := range c.notes {
			fmt.Fprintf(&out, "  %s\n", n)
		}
	}
	out.WriteString(r.sum.line())
	return out.String()
}

func (c *tally) line() string {
	s := fmt.Sprintf("%-26s %3d/%d", c.file, c.covered, c.total)
	if left := c.total - c.covered - c.missing; left > 0 {
		s += fmt.Sprintf("  left out: %d", left)
	}
	var parts []string
	n := 0
	for _, l := range later {
		if c.later[l] > 0 {
			n += c.later[l]
			parts = append(parts, fmt.Sprintf("%s %d", l, c.later[l]))
		}
	}
	if n > 0 {
		s += fmt.Sprintf("  later: %d (%s)", n, strings.Join(parts, ", "))
	}
	if c.none > 0 {
		s += fmt.Sprintf("  none: %d", c.none)
	}
	return s + "\n"
}
