package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/internal/javaprops"
	"github.com/quill-kafka/quill/internal/readfile"
)

// largest bounds a file that values are read from.
const largest = 1 << 20

// allowedPaths are the directories and files that a provider may read below; nil: all. Java: AllowedPaths.
type allowedPaths []string

func parseAllowed(params map[string]string) (allowedPaths, error) {
	text := params["allowed.paths"]
	if text == "" {
		return nil, nil
	}
	var allowed allowedPaths
	for path := range strings.SplitSeq(text, ",") {
		path = filepath.Clean(strings.TrimSpace(path))
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("allowed.paths: %q is not absolute", path)
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("allowed.paths: %q does not exist", path)
		}
		allowed = append(allowed, path)
	}
	return allowed, nil
}

// check returns an error if the path is in none of the allowed ones. Java logs it and leaves the variable as it is.
func (a allowedPaths) check(path string) error {
	clean := filepath.Clean(path)
	within := func(dir string) bool {
		rel, err := filepath.Rel(dir, clean)
		return err == nil && filepath.IsLocal(rel)
	}
	if a == nil || slices.ContainsFunc(a, within) {
		return nil
	}
	return fmt.Errorf("%q is in none of allowed.paths", path)
}

// read returns the content of a regular file.
func read(path string) ([]byte, error) {
	data, _, err := readfile.Read(path, largest)
	if err != nil {
		return nil, fmt.Errorf("%q %w", path, err)
	}
	return data, nil
}

// fileProvider has the values of .properties files.
type fileProvider struct{ allowed allowedPaths }

func newFile(params map[string]string) (Provider, error) {
	allowed, err := parseAllowed(params)
	return fileProvider{allowed}, err
}

func (p fileProvider) Get(path string, keys []string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	if err := p.allowed.check(path); err != nil {
		return nil, err
	}
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	all, faults := javaprops.Read(data)
	if len(faults) > 0 {
		return nil, fmt.Errorf("line %d of %q: %s; %s", faults[0].Line, path, faults[0].Reason, faults[0].Fix)
	}
	return only(all, keys), nil
}

func only(all map[string]string, keys []string) map[string]string {
	values := map[string]string{}
	for _, key := range keys {
		if value, ok := all[key]; ok {
			values[key] = value
		}
	}
	return values
}

// directoryProvider has the contents of files, by their names in the directory.
type directoryProvider struct{ allowed allowedPaths }

func newDirectory(params map[string]string) (Provider, error) {
	allowed, err := parseAllowed(params)
	return directoryProvider{allowed}, err
}

func (p directoryProvider) Get(path string, keys []string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	if err := p.allowed.check(path); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("%q %w", path, readfile.Unreadable(err))
	}
	values := map[string]string{}
	for _, e := range entries { // a key is the name of an entry, so that none leads out of the directory
		file := filepath.Join(path, e.Name())
		if !slices.Contains(keys, e.Name()) {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			continue
		}
		data, err := read(file)
		if err != nil {
			return nil, err
		}
		values[e.Name()] = string(data)
	}
	return values, nil
}

// envProvider has the environment's variables whose names match.
type envProvider struct{ allowed *regexp.Regexp }

func newEnv(params map[string]string) (Provider, error) {
	pattern, given := params["allowlist.pattern"]
	if !given {
		pattern = ".*"
	}
	allowed, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("allowlist.pattern: %w", err)
	}
	return envProvider{allowed}, nil
}

func (p envProvider) Get(path string, keys []string) (map[string]string, error) {
	if path != "" {
		return nil, fmt.Errorf("the environment has no paths, and %q is one: write ${name:VARIABLE}", path)
	}
	values := map[string]string{}
	for _, key := range keys {
		if value, set := os.LookupEnv(key); set && p.allowed.MatchString(key) {
			values[key] = value
		}
	}
	return values, nil
}
