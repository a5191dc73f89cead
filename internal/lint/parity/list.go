package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// scope says what a test of Java's is about, and so whether it must have its like here.
type scope string

const (
	now          scope = "now"          // must be covered
	transactions scope = "transactions" // these four: later
	metrics      scope = "metrics"
	telemetry    scope = "telemetry"
	security     scope = "security"
	none         scope = "none"   // nothing to cover
	beside       scope = "beside" // of a file that is not followed; listed so that comments may name it
)

// later is what is counted apart, in the order of the output.
var later = []scope{transactions, metrics, telemetry, security}

// javaTest is a line of the list.
type javaTest struct {
	file, method string
	kind         string // Y, A or N
	scope        scope
	reason       string
}

func (t javaTest) name() string { return t.file + "." + t.method }

// parseList reads the list, and reports all that is wrong with it at once.
func parseList(text string) (tests []javaTest, err error) {
	seen := map[string]bool{}
	var faults []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseLine(line)
		if err == nil && seen[t.name()] {
			err = fmt.Errorf("%s is listed twice", t.name())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("java.txt:%d: %w", n, err))
			continue
		}
		seen[t.name()] = true
		tests = append(tests, t)
	}
	return tests, errors.Join(faults...)
}

func parseLine(line string) (t javaTest, err error) {
	fields := strings.Fields(line)
	if len(fields) < 3 || !isName(fields[0]) {
		return t, errors.New("want: File.method kind scope reason")
	}
	t.file, t.method, _ = strings.Cut(fields[0], ".")
	t.kind, t.scope, t.reason = fields[1], scope(fields[2]), strings.Join(fields[3:], " ")
	switch {
	case !slices.Contains([]string{"Y", "A", "N"}, t.kind):
		err = fmt.Errorf("%s is no kind", t.kind)
	case !slices.Contains(append([]scope{now, none, beside}, later...), t.scope):
		err = fmt.Errorf("%s is no scope", t.scope)
	case t.kind == "N" && t.scope != none:
		err = errors.New("kind N has nothing to cover: its scope is none")
	case t.scope == none && t.reason == "":
		err = errors.New("scope none needs a reason")
	case t.scope != none && t.scope != now && t.reason != "":
		err = fmt.Errorf("scope %s is reason enough", t.scope)
	}
	return t, err
}
