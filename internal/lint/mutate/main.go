// Command mutate breaks the producer on purpose, one way at a time, and lets the tests find out.
//
//	go run ./internal/lint/mutate                a sample of the list, as large as six minutes allow
//	go run ./internal/lint/mutate -seed 7        the sample that this seed draws; else the commit draws it
//	go run ./internal/lint/mutate -all           every mutation of the list
//	go run ./internal/lint/mutate -run unmute    those whose names contain that, or one of these, apart by commas
//	go run ./internal/lint/mutate -file accumulator_queue.go those in files whose names contain that
//
// It says which test caught each, or which of the simulator's seeds. It exits with 1 if one survives the
// tests that are named for it, or if the text that it replaces is no longer there exactly once: then the
// list is to be brought up to date. The tree is not touched: the compiler is given the broken files by
// -overlay.
package main

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	all := flag.Bool("all", false, "every mutation")
	only := flag.String("run", "", "only mutations whose names contain this, or one of these, apart by commas")
	file := flag.String("file", "", "only mutations of files whose names contain this")
	seed := flag.Uint64("seed", 0, "draws the sample; 0: the commit does")
	limit := flag.Duration("for", 6*time.Minute, "how long mutations of a sample are begun")
	flag.Parse()
	root, err := moduleRoot()
	if err != nil {
		fail(err)
	}
	r := runner{root: root, all: mutations()}
	if r.outside, err = testsOutside(root); err != nil {
		fail(err)
	}
	chosen := r.choose(*only, *file)
	if !*all && *only == "" && *file == "" {
		if *seed == 0 {
			*seed = commitSeed()
		}
		fmt.Printf("seed %d draws the sample\n", *seed)
		random := rand.New(rand.NewPCG(*seed, 0))
		random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		r.limit = *limit
	}
	if err := r.run(chosen); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// moduleRoot returns the directory of the module that the working directory is in.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

// commitSeed makes a seed of the commit that is checked out, so that each commit has a sample of its own.
// Where there is no commit, the day does it.
func commitSeed() uint64 {
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if hash, bad := hex.DecodeString(strings.TrimSpace(string(out))); err == nil && bad == nil && len(hash) >= 8 {
		return binary.BigEndian.Uint64(hash)
	}
	return uint64(time.Now().Unix() / (24 * 60 * 60))
}

// choose returns the numbers of the mutations whose names and files contain those texts.
func (r *runner) choose(name, file string) []int {
	numbers := make([]int, 0, len(r.all))
	for i, m := range r.all {
		called := slices.ContainsFunc(strings.Split(name, ","), func(part string) bool { return strings.Contains(m.name, part) })
		if called && strings.Contains(m.file, file) {
			numbers = append(numbers, i+1)
		}
	}
	return slices.Clip(numbers)
}
