// Command mutate breaks the producer on purpose, one way at a time, and lets the simulator find out.
//
//	go run ./internal/lint/mutate                every mutation of the list
//	go run ./internal/lint/mutate -run unmute    those whose names contain that
//	go run ./internal/lint/mutate -seeds 5000    give up earlier than after 20,000 schedules
//
// It says by which seed and after how many schedules each was caught. It exits with 1 if one survives,
// or if the text that it replaces is no longer there exactly once: then the list is to be brought up
// to date. The tree is not touched: the compiler is given the broken file by -overlay.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("run", "", "only mutations whose names contain this")
	seeds := flag.Int("seeds", 20_000, "schedules until a mutation counts as survivor")
	first := flag.Int("first", 1, "first seed")
	flag.Parse()
	root, err := moduleRoot()
	if err == nil {
		err = run(root, *only, *first, *seeds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// moduleRoot is the directory of the module that the working directory is in.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

// outcome is what became of one mutation.
type outcome struct {
	verdict string
	caught  bool
	took    time.Duration
	err     error
}

// run tries as many mutations at a time as there are processors, and tells of them in the list's order.
func run(root, only string, first, seeds int) error {
	chosen := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool { return !strings.Contains(m.name, only) })
	outcomes := make([]chan outcome, len(chosen))
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range chosen {
		outcomes[i] = make(chan outcome, 1)
	}
	go func() { // whatever of it is left when run returns ends with the process
		for i := range chosen {
			turns <- struct{}{}
			go func() {
				began := time.Now()
				verdict, caught, err := try(root, &chosen[i], first, seeds)
				outcomes[i] <- outcome{verdict, caught, time.Since(began), err}
				<-turns
			}()
		}
	}()
	survivors := 0
	for i, m := range chosen {
		o := <-outcomes[i]
		if o.err != nil {
			return fmt.Errorf("%s: %w", m.name, o.err)
		}
		if !o.caught {
			survivors++
		}
		fmt.Printf("%-40s %s, %.0f s\n", m.name, o.verdict, o.took.Seconds())
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d mutations survive", survivors, len(chosen))
	}
	fmt.Printf("%d mutations, all caught\n", len(chosen))
	return nil
}

// apply is the text of the mutation's file with the mutation in it.
func (m *mutation) apply(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("%s: the text to replace is there %d times", m.file, n)
	}
	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

// try runs the simulator with the mutation.
func try(root string, m *mutation, first, seeds int) (verdict string, caught bool, err error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(dir)
	broken, err := m.apply(root)
	if err != nil {
		return "", false, err
	}
	file, overlay, binary := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): file}})
	if err != nil {
		return "", false, err
	}
	if err := errors.Join(os.WriteFile(file, broken, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", false, err
	}
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", false, fmt.Errorf("%w\n%s", err, out)
	}
	test, variable := "^TestSimulator$", "QUILL_SIM"
	if m.txn {
		test, variable = "^TestSimulatorTransactions$", "QUILL_SIM_TX"
	}
	sim := exec.Command(binary, "-test.run", test, "-test.timeout", "15m")
	sim.Dir = root
	sim.Env = append(os.Environ(), "QUILL_SIM_BRIEF=1", fmt.Sprint(variable, "_FIRST=", first), fmt.Sprint(variable, "_SEEDS=", seeds))
	out, err := sim.CombinedOutput()
	if err == nil {
		return fmt.Sprintf("SURVIVES %d schedules", seeds), false, nil
	}
	if found := caughtBy.FindSubmatch(out); found != nil {
		return fmt.Sprintf("caught by seed %s after %s schedules (%s)", found[1], found[2], found[3]), true, nil
	}
	return "", false, fmt.Errorf("%w\n%s", err, out[:min(len(out), 4000)])
}

// caughtBy is what the simulator says of a seed that fails.
var caughtBy = regexp.MustCompile(`seed (\d+), after (\d+) schedules: (\w+)`)
