package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// runner builds the tests of the packages once, with all mutations in them, and runs them with one of
// the mutations on at a time.
type runner struct {
	root    string
	all     []mutation
	outside map[string]string // black-box tests, with their packages
	limit   time.Duration     // no mutation is begun later; 0: all are
	dir     string            // of what is built
}

// outcome is what became of one mutation.
type outcome struct {
	verdict string
	caught  bool
	took    time.Duration
	err     error
}

// run tries as many mutations at a time as there are processors, and reports them in the order of the
// numbers.
func (r *runner) run(numbers []int) (err error) {
	if r.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	if err := r.build(numbers); err != nil {
		return err
	}
	if err := r.runWithout(numbers); err != nil {
		return err
	}
	outcomes := make([]chan *outcome, len(numbers))
	for i := range outcomes {
		outcomes[i] = make(chan *outcome, 1)
	}
	began := time.Now()
	go func() { // what is left of it when run returns ends with the process
		turns := make(chan struct{}, runtime.GOMAXPROCS(0))
		for i, n := range numbers {
			turns <- struct{}{}
			if r.limit > 0 && time.Since(began) > r.limit {
				outcomes[i] <- nil
				return
			}
			go func() {
				outcomes[i] <- r.try(n)
				<-turns
			}()
		}
	}()
	tried, survivors := 0, []string{}
	for i, n := range numbers {
		o := <-outcomes[i]
		if o == nil {
			break
		}
		m := &r.all[n-1]
		if o.err != nil {
			return fmt.Errorf("%s: %w", m.name, o.err)
		}
		if tried++; !o.caught {
			survivors = append(survivors, m.name)
		}
		fmt.Printf("%-44s %s, %.1f s\n", m.name, o.verdict, o.took.Seconds())
	}
	if len(survivors) > 0 {
		return fmt.Errorf("%d of %d mutations survive: %s", len(survivors), tried, strings.Join(survivors, ", "))
	}
	fmt.Printf("%d of %d mutations, all caught\n", tried, len(r.all))
	return nil
}

// overlay writes the files with all mutations in them, and returns the file that gives them to the compiler.
func (r *runner) overlay() (file string, err error) {
	planted, err := plant(r.root, r.all)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range planted {
		copied := filepath.Join(r.dir, strings.ReplaceAll(filepath.ToSlash(file), "/", "__"))
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(r.root, file)] = copied
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(r.dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// build makes a test binary of each package whose tests are to notice one of the mutations.
func (r *runner) build(numbers []int) error {
	overlay, err := r.overlay()
	if err != nil {
		return err
	}
	built := map[string]bool{}
	for _, w := range r.witnesses(numbers...) {
		if built[r.binary(w)] {
			continue
		}
		built[r.binary(w)] = true
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-tags", w.tags, "-overlay", overlay, "-o", r.binary(w), "./"+w.pkg)
		cmd.Dir = r.root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", w.pkg, err, out)
		}
	}
	return nil
}

// witnesses returns those of the mutations with these numbers.
func (r *runner) witnesses(numbers ...int) (all []witness) {
	for _, n := range numbers {
		all = append(all, r.all[n-1].witnesses(r.outside)...)
	}
	return all
}

func (r *runner) binary(w witness) string {
	return filepath.Join(r.dir, strings.ReplaceAll(filepath.ToSlash(w.pkg), "/", "__")+"_"+w.tags+".test")
}

// runWithout makes sure that the tests pass while no mutation is on: those that are named, all at once.
func (r *runner) runWithout(numbers []int) error {
	named, order := map[string]*witness{}, []string{}
	for _, w := range r.witnesses(numbers...) {
		w.env = nil
		b := r.binary(w)
		switch union := named[b]; {
		case union == nil:
			named[b] = &w
			order = append(order, b)
		case union.tests == "" || w.tests == "":
			union.tests = ""
		default:
			union.tests += "|" + w.tests
		}
	}
	for _, b := range order {
		if out, err := r.test(*named[b], 0); err != nil {
			return fmt.Errorf("without a mutation, %s: %w\n%s", named[b].pkg, err, out)
		}
	}
	return nil
}

// test runs tests with one mutation on. Number 0 is none.
func (r *runner) test(w witness, number int) ([]byte, error) {
	limit := "10m" // what hangs is caught, too
	switch {
	case w.env != nil:
		limit = "5m"
	case w.tests != "":
		limit = "90s"
	}
	args := []string{"-test.failfast", "-test.timeout", limit}
	if w.tests != "" {
		args = append(args, "-test.run", "^("+w.tests+")$")
	}
	cmd := exec.Command(r.binary(w), args...)
	cmd.Dir = filepath.Join(r.root, w.pkg)
	cmd.Env = append(append(os.Environ(), w.env...), fmt.Sprintf("%s=%d", switchName, number))
	return cmd.CombinedOutput()
}

// attempts is how often the tests that are named for a mutation run before it counts as a survivor. A
// fault that two goroutines have to meet for is not seen in every run, least of all on a busy machine.
const attempts = 3

// try runs the tests that have to notice a mutation, package by package, until one does.
func (r *runner) try(number int) *outcome {
	began := time.Now()
	var verdicts []string
	o := &outcome{}
	for _, w := range r.witnesses(number) {
		o = r.tryBy(w, number)
		verdicts = append(verdicts, o.verdict)
		if o.caught || o.err != nil {
			verdicts = verdicts[len(verdicts)-1:]
			break
		}
	}
	o.verdict = strings.Join(verdicts, "; ")
	o.took = time.Since(began)
	return o
}

// tryBy runs the tests of one package. If they don't notice the mutation, it looks for others there that do.
func (r *runner) tryBy(w witness, number int) *outcome {
	out, err := r.test(w, number)
	for n := 1; err == nil && n < attempts && w.env == nil; n++ { // the simulator's seeds do the same each time
		out, err = r.test(w, number)
	}
	o := &outcome{caught: err != nil}
	switch {
	case w.env != nil && hungTest.Match(out): // the simulator notices by itself what hangs
		o.caught, o.verdict = false, "SURVIVES until the time is over"
	case err != nil:
		o.verdict, o.err = caughtBy(out, err)
	case w.tests == "":
		o.verdict = "SURVIVES all tests of " + w.pkg
	default:
		o.verdict = "SURVIVES " + w.tests
		w.tests, w.env = "", nil
		if out, err := r.test(w, number); err != nil {
			by, _ := caughtBy(out, err)
			o.verdict += ", which are named for it; " + by
		}
	}
	return o
}

var (
	failedSeed = regexp.MustCompile(`seed (\d+), after (\d+) schedules: (\w+)`)
	failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	hungTest   = regexp.MustCompile(`(?m)^panic: test timed out after .*\n\s*running tests:\n\s*(\w+)`)
	deadTest   = regexp.MustCompile(`(?m)^(panic|fatal error): (.*)`)
)

// caughtBy finds out from a test's output what failed.
func caughtBy(out []byte, err error) (verdict string, _ error) {
	if m := failedSeed.FindSubmatch(out); m != nil {
		return fmt.Sprintf("caught by seed %s after %s schedules (%s)", m[1], m[2], m[3]), nil
	}
	if m := hungTest.FindSubmatch(out); m != nil {
		return fmt.Sprintf("caught by %s, which hangs", m[1]), nil
	}
	if m := failedTest.FindSubmatch(out); m != nil {
		return "caught by " + string(m[1]), nil
	}
	if m := deadTest.FindSubmatch(out); m != nil {
		return fmt.Sprintf("caught: %s: %.60s", m[1], m[2]), nil
	}
	return "", errors.Join(err, fmt.Errorf("%s", out[:min(len(out), 4000)]))
}
