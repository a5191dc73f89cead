// Parity says which tests of Kafka's own producer have their like here.
//
//	go run ./internal/lint/parity
//
// Kafka's tests are listed in java.txt. A Go test names those it stands for in a line of its comment, or of a comment at
// one of its rows:
//
//	// Java: SenderTest.testRetries, SenderTest.testSimple
//
// For each of Java's files it prints how many of the tests in scope are covered, then the missing ones by name, and at last the
// sum. What belongs to later work (transactions and so on) is in no total, but counted. It exits with 1 when a test is missing
// without a written reason, and when a comment can't count: it names no test of the list, or stands at no Go test.
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed java.txt
var java string

func main() {
	root, err := findRoot()
	if err == nil {
		err = run(os.Stdout, os.DirFS(root), java)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run holds the list of Java's tests against the comments in the repository and prints the outcome.
func run(out io.Writer, repository fs.FS, list string) error {
	tests, err := parseList(list)
	if err != nil {
		return err
	}
	mentions, faults, err := scan(repository)
	if err != nil {
		return err
	}
	r := compare(tests, mentions)
	if _, err := io.WriteString(out, r.String()); err != nil {
		return err
	}
	faults = append(faults, r.faults...)
	if r.sum.missing > 0 {
		faults = append(faults, fmt.Sprintf("%d tests are missing without a reason", r.sum.missing))
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "\n"))
	}
	return nil
}

// findRoot returns the directory of the go.mod that is nearest above the working directory.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}
