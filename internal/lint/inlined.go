package lint

import (
	"fmt"
	"os/exec"
	"strings"
)

// inlined lists calls on the way of every record that the compiler must inline: the file they stand in, and the function as the
// compiler names it. A call costs some per cent of Send, since all registers have to be saved around it. One operation more in such a
// function is enough to lose that, and neither tests nor noisy timings notice it: Producer.sendFast had 81 where the compiler
// allows 80.
var inlined = [...]struct{ file, callee string }{
	{"producer.go", "(*Producer[go.shape.[]uint8,go.shape.[]uint8]).sendFast"},
	{"producer.go", "position.appended"},
	{"engine_fast.go", "over"},
	{"engine_fast.go", "(*coarseClock).millis"},
	{"engine_fast.go", "(*stickyPartitioner).lane"},
	{"engine_fast.go", "(*stickyLane).present"},
	{"engine_fast.go", "(*openBatch).free"},
	{"engine_fast.go", "(*openBatch).raw"},
	{"engine_fast.go", "(*openBatch).latest"},
	{"engine_fast.go", "(*batchLimits).room"},
	{"accumulator_openbatch.go", "sameFunc"},
	{"accumulator_openbatch.go", "partSize"},
	{"dispatcher.go", "(*watchdog).returned"},
	{"dispatcher.go", "(*result).offset"},
}

// Inlined checks, by the compiler's own report for the root package in dir, that all calls of the list are inlined.
func Inlined(dir string) ([]string, error) {
	build := exec.Command("go", "build", "-gcflags="+Module+"=-m", ".")
	build.Dir = dir
	report, err := build.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, report)
	}
	return notInlined(string(report)), nil
}

func notInlined(report string) (faults []string) {
	done := map[string]bool{}
	for line := range strings.Lines(report) {
		place, callee, ok := strings.Cut(strings.TrimSpace(line), ": inlining call to ")
		if file, _, _ := strings.Cut(strings.TrimPrefix(place, "./"), ":"); ok {
			done[file+" "+callee] = true
		}
	}
	for _, want := range inlined {
		if !done[want.file+" "+want.callee] {
			faults = append(faults, fmt.Sprintf("%s: no call of %s is inlined: make it cheaper (go build -gcflags=-m=2 . prints its cost), or correct the list in internal/lint/inlined.go", want.file, want.callee))
		}
	}
	return faults
}
