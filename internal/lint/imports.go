package lint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// imports is the import table: what each package of the root module may import of the module itself, outside tests. A name that ends in
// "/..." stands for all packages below. Arrows go one way: from the top of this list down.
var imports = map[string][]string{
	"examples/...":         {".", "network", "network/sasl", "network/sasl/oauthbearer", "quillhttp", "quilltest", "examples/internal/demo"},
	"quillhttp":            {"inspect", "metrics"},
	"quilltest/quillmock":  {".", "metadata", "inspect", "metrics", "protocol", "internal/goid", "internal/murmur2"},
	"internal/conformance": {".", "metadata"},
	"quilltest":            {"metadata", "protocol", "internal/message", "internal/compress", "internal/murmur2"}, // not the root: its own tests use quilltest
	".":                    {"network", "network/sasl", "network/keystore", "metadata", "protocol", "internal/message", "internal/compress", "internal/deque", "internal/backoff", "internal/foreign", "internal/goid", "internal/murmur2", "internal/prefetch", "internal/seal", "internal/invariant", "internal/javaprops", "internal/login", "internal/provider", "internal/stat", "inspect", "metrics"},
	"network":              {"network/sasl", "metadata", "protocol", "internal/message", "internal/backoff", "internal/foreign", "internal/seal", "internal/invariant", "internal/stat", "inspect", "metrics"},
	"network/keystore":     {"network/sasl", "internal/readfile"},
	"network/sasl/...":     {},
	"internal/message/...": {"protocol"},
	"internal/compress":    {},
	"internal/deque":       {},
	"internal/jaas":        {},
	"internal/backoff":     {},
	"internal/foreign":     {},
	"internal/goid":        {},
	"internal/murmur2":     {},
	"internal/javaprops":   {},
	"internal/provider":    {"internal/javaprops", "internal/readfile"},
	"internal/readfile":    {},
	"provider":             {"internal/provider"},
	"internal/prefetch":    {},
	"internal/seal":        {},
	"internal/stat":        {},
	"internal/invariant":   {},
	"internal/planted":     {}, // for tests
	testKit:                {".", "quilltest", "protocol", "internal/message"},
	"internal/lint":        {},
	"internal/lint/parity": {},
	"internal/lint/mutate": {},
	"internal/lint/survey": {},
	"inspect":              {},
	"metadata":             {},
	"metrics":              {"internal/stat"},
	"protocol":             {},

	// Apart, for their alignment.
	"internal/login":           {"internal/jaas", "network/sasl", "network/sasl/oauthbearer"},
	"network/sasl/oauthbearer": {"network/keystore", "network/sasl", "internal/backoff", "internal/foreign", "internal/readfile"},
}

// codecs are the modules that internal/compress, and nothing else, may import.
var codecs = []string{"github.com/klauspost/compress", "github.com/pierrec/lz4/v4", "github.com/golang/snappy"}

// testKit is the package that black-box tests have in common. It counts as a test, though its files are not called so: what others import can't be.
const testKit = "internal/blackbox/testkit"

// testing tools are what tests may import besides.
var testTools = []string{"github.com/stretchr/testify"}

// httpPackages are the only packages that may import net/http: the page, and the client of token endpoints.
var httpPackages = []string{"quillhttp", "network/sasl/oauthbearer"}

// unsafeFiles are the only files that may import unsafe.
var unsafeFiles = []string{"batch_result.go", "errors_context.go"}

// Imports checks every import of the root module against the table, and the table against the packages there are.
func Imports(t *Tree) []string {
	var faults []string
	used := map[string]bool{}
	for _, s := range t.sources {
		if s.nested {
			continue
		}
		row, allowed := tableRow(s.dir)
		if row == "" {
			if !s.test {
				faults = append(faults, fmt.Sprintf("%s: package %s has no row in the import table", s.name, s.dir))
			}
			continue
		}
		used[row] = true
		for _, spec := range s.ast.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value) // the parser has unquoted it before
			if why := refuse(s, imported, allowed); why != "" {
				faults = append(faults, fmt.Sprintf("%s: %s %s", t.at(spec), imported, why))
			}
		}
	}
	for _, row := range slices.Sorted(maps.Keys(imports)) {
		if !used[row] {
			faults = append(faults, fmt.Sprintf("import table: %s: no such package", row))
		}
	}
	return faults
}

// tableRow finds a package's row; row is empty if there is none.
func tableRow(dir string) (row string, allowed []string) {
	if allowed, ok := imports[dir]; ok {
		return dir, allowed
	}
	for row, allowed := range imports {
		if covers(row, dir) {
			return row, allowed
		}
	}
	return "", nil
}

// covers reports whether a name of the table stands for dir.
func covers(name, dir string) bool {
	if parent, ok := strings.CutSuffix(name, "/..."); ok {
		return within(parent, dir)
	}
	return name == dir
}

// refuse says why a file may not import a package; empty if it may.
func refuse(s *source, imported string, allowed []string) string {
	switch {
	case imported == "net/http" && !s.test && !within("examples", s.dir) && !slices.Contains(httpPackages, s.dir):
		return "may be imported by " + strings.Join(httpPackages, ", ") + " only: programs that serve or ask nothing by HTTP are to stay without it"
	case imported == "C":
		return "is cgo: this is a pure Go library"
	case imported == "unsafe":
		if !s.test && !slices.Contains(unsafeFiles, s.name) {
			return "may be imported by " + strings.Join(unsafeFiles, ", ") + " only"
		}
	case within(Module, imported):
		own := strings.TrimPrefix(strings.TrimPrefix(imported, Module), "/")
		if own == "" {
			own = "."
		}
		if !s.test && !slices.ContainsFunc(allowed, func(name string) bool { return covers(name, own) }) {
			return fmt.Sprintf("may not be imported by package %s", s.dir)
		}
	case strings.Contains(strings.Split(imported, "/")[0], "."): // not of the standard library
		from := func(module string) bool { return within(module, imported) }
		switch {
		case (s.test || s.dir == testKit) && slices.ContainsFunc(testTools, from):
		case s.dir == "internal/compress" && slices.ContainsFunc(codecs, from):
		default:
			return "is third-party code, which only internal/compress may import, and only its codecs"
		}
	}
	return ""
}

// within reports whether name is parent or below it.
func within(parent, name string) bool { return name == parent || strings.HasPrefix(name, parent+"/") }

// Dependencies checks that the root module directly requires nothing but the codecs and the test tools, and that no go.work bends versions.
func Dependencies(t *Tree) ([]string, error) {
	var faults []string
	mod, err := t.read("go.mod")
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(mod, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "replace ") {
			faults = append(faults, fmt.Sprintf("go.mod:%d: users would not see this replacement", i+1))
		}
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || strings.HasSuffix(line, "// indirect") {
			continue
		}
		if !slices.Contains(codecs, fields[0]) && !slices.Contains(testTools, fields[0]) {
			faults = append(faults, fmt.Sprintf("go.mod:%d: %s may not be a dependency of the root module", i+1, fields[0]))
		}
	}
	for _, f := range t.files {
		if strings.HasSuffix("/"+f, "/go.work") {
			faults = append(faults, f+": modules are tied together by replace, not by go.work")
		}
	}
	for _, dir := range t.modules {
		mod, err := t.read(dir + "/go.mod")
		if err != nil {
			return nil, err
		}
		up := strings.Repeat("../", strings.Count(dir, "/")+1)
		if !strings.Contains(mod, "replace "+Module+" => "+up) && !strings.Contains(mod, "replace "+Module+" => "+strings.TrimSuffix(up, "/")) {
			faults = append(faults, fmt.Sprintf("%s/go.mod: no \"replace %s => %s\"", dir, Module, up))
		}
	}
	return faults, nil
}
