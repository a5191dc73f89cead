package quill

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Model tests: a random schedule of operations is played on the real thing and on a small model of it
// at once, and after each operation the two are compared.
//
//	QUILL_MODEL_SEED=17     play this seed only
//	QUILL_MODEL_RUNS=20000  play this many
//	QUILL_MODEL_FIRST=500   begin with this seed
//	QUILL_MODEL_TAPE=0a1b…  play this tape only
//
// A schedule is a tape, four bytes for each operation; the first four say how things are set up. So a
// schedule that fails can be shrunk by cutting operations out, fuzzing can make others, and both
// print a tape that plays again. All of it runs in a bubble, where time passes only when the tape says so.

// modelTest is how to play the tapes of one model.
type modelTest struct {
	runs int // schedules, by default
	ops  int // operations in one, at most
	play func(x *schedule)
	kept []string // tapes that found something once, in hex
}

const opBytes = 4

// op is one operation of a tape.
type op struct{ kind, a, b, c byte }

// schedule is a tape being played.
type schedule struct {
	*testing.T
	tape  []byte
	at    int
	log   []string
	later any // what a callback panicked with, see told
}

// modelFault is what a schedule panics with when the thing and its model differ.
type modelFault string

// next takes an operation from the tape; ok is false at its end.
func (x *schedule) next() (o op, ok bool) {
	if len(x.tape)-x.at < opBytes {
		return op{}, false
	}
	b := x.tape[x.at:]
	x.at += opBytes
	return op{b[0], b[1], b[2], b[3]}, true
}

// note writes a line of the transcript.
func (x *schedule) note(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf(format, args...))
}

// fault ends the schedule: something does not hold.
func (x *schedule) fault(format string, args ...any) {
	panic(modelFault(fmt.Sprintf(format, args...)))
}

// holds ends the schedule if cond is false.
func (x *schedule) holds(cond bool, format string, args ...any) {
	if !cond {
		x.fault(format, args...)
	}
}

// told wraps what a callback does: the dispatcher survives its panics, and the schedule must not.
func (x *schedule) told(check func()) {
	defer func() {
		if p := recover(); p != nil && x.later == nil {
			x.later = p
		}
	}()
	check()
}

// raise ends the schedule if a callback found a fault.
func (x *schedule) raise() {
	if x.later != nil {
		panic(x.later)
	}
}

// run plays the model's schedules.
func (m modelTest) run(t *testing.T) {
	if tape := os.Getenv("QUILL_MODEL_TAPE"); tape != "" {
		m.must(t, "QUILL_MODEL_TAPE", unhex(t, tape))
		return
	}
	first, runs := modelNumber(t, "QUILL_MODEL_FIRST", 0), modelNumber(t, "QUILL_MODEL_RUNS", m.runs)
	if os.Getenv("QUILL_MODEL_SEED") != "" {
		first, runs = modelNumber(t, "QUILL_MODEL_SEED", 0), 1
	}
	for _, tape := range m.kept {
		m.must(t, "a tape that was kept", unhex(t, tape))
	}
	for seed := first; seed < first+runs; seed++ {
		m.must(t, fmt.Sprint("QUILL_MODEL_SEED=", seed), m.tape(uint64(seed)))
	}
}

// tape draws the schedule of a seed.
func (m modelTest) tape(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 22))
	tape := make([]byte, opBytes*(2+rnd.IntN(m.ops)))
	for i := range tape {
		tape[i] = byte(rnd.Uint32())
	}
	return tape
}

// must plays a tape that has to hold.
func (m modelTest) must(t *testing.T, name string, tape []byte) {
	t.Helper()
	if fault, _ := m.once(t, tape); fault == "" {
		return
	}
	small := m.shrink(t, tape)
	fault, log := m.once(t, small)
	t.Fatalf("%s: %s\n%s\nof %d operations %d are left: QUILL_MODEL_TAPE=%x go test -run '^%s$' .",
		name, fault, strings.Join(log, "\n"), len(tape)/opBytes, len(small)/opBytes, small, t.Name())
}

// once plays a tape. The fault is empty if everything holds.
func (m modelTest) once(t *testing.T, tape []byte) (fault string, log []string) {
	synctest.Test(t, func(t *testing.T) {
		x := &schedule{T: t, tape: tape}
		defer func() {
			log = x.log
			switch p := recover().(type) {
			case nil:
			case modelFault:
				fault = string(p)
			default:
				fault = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		m.play(x)
	})
	return fault, log
}

// shrinkFor bounds the time that a failing schedule is shrunk.
const shrinkFor = 15 * time.Second

// shrink makes a failing tape shorter and its bytes smaller, as long as it fails.
func (m modelTest) shrink(t *testing.T, tape []byte) []byte {
	until := time.Now().Add(shrinkFor)
	fails := func(tape []byte) bool {
		fault, _ := m.once(t, tape)
		return fault != ""
	}
	for size := len(tape) / opBytes / 2; size > 0 && time.Now().Before(until); size /= 2 {
		for at := opBytes; at+size*opBytes <= len(tape) && time.Now().Before(until); {
			shorter := append(append([]byte(nil), tape[:at]...), tape[at+size*opBytes:]...)
			if fails(shorter) {
				tape = shorter
			} else {
				at += size * opBytes
			}
		}
	}
	for at := range tape {
		for _, b := range [...]byte{0, 1} {
			if b >= tape[at] || !time.Now().Before(until) {
				break
			}
			smaller := append([]byte(nil), tape...)
			if smaller[at] = b; fails(smaller) {
				tape = smaller
				break
			}
		}
	}
	return tape
}

// fuzz lets the fuzzer make the tapes.
func (m modelTest) fuzz(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(m.tape(seed))
	}
	f.Fuzz(func(t *testing.T, tape []byte) {
		tape = tape[:min(len(tape), opBytes*(1+m.ops))]
		if fault, log := m.once(t, tape); fault != "" {
			t.Fatalf("%s\n%s\nQUILL_MODEL_TAPE=%x", fault, strings.Join(log, "\n"), tape)
		}
	})
}

func unhex(t *testing.T, tape string) []byte {
	t.Helper()
	b, err := hex.DecodeString(tape)
	require.NoError(t, err)
	return b
}

func modelNumber(t *testing.T, name string, byDefault int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return byDefault
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// choose picks one of several by a byte of the tape.
func choose[T any](b byte, of ...T) T { return of[int(b)%len(of)] }
