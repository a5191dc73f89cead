package javaprops

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Complaint is the reason why a value is refused, and what to write instead where that is known. The zero Complaint is
// none.
type Complaint struct{ Reason, Fix string }

func complain(format string, args ...any) Complaint {
	return Complaint{Reason: fmt.Sprintf(format, args...)}
}

// Int parses an integer of the type SHORT, INT or LONG as Java does. unit is the unit that it counts, if it has a name.
func Int(text, typ, unit string) (int64, Complaint) {
	bits := map[string]int{"SHORT": 16, "INT": 32, "LONG": 64}[typ]
	n, err := strconv.ParseInt(text, 10, bits)
	switch {
	case err == nil:
		return n, Complaint{}
	case errors.Is(err, strconv.ErrRange) && strings.HasPrefix(text, "-"):
		return 0, complain("must be at least %d", int64(-1)<<(bits-1))
	case errors.Is(err, strconv.ErrRange):
		return 0, complain("must be at most %d", uint64(1)<<(bits-1)-1)
	}
	no := Complaint{Reason: "must be an integer"}
	if unit != "" {
		no.Reason = "must be an integer (" + unit + ")"
	}
	if meant, ok := integerMeant(text, unit); ok {
		no.Fix = fmt.Sprint("write ", meant)
	} else if text == "" {
		no.Fix = "leave it out to have the default"
	}
	return 0, no
}

// Double parses a DOUBLE as Java does. Go alone knows marks between the digits and the words inf and nan in any case.
func Double(text string) (float64, Complaint) {
	plain := text
	if n := len(text); n > 1 && strings.ContainsRune("fFdD", rune(text[n-1])) && !strings.ContainsAny(text, "xX") {
		plain = text[:n-1] // 1.5f, 2d
	}
	x, err := strconv.ParseFloat(plain, 64)
	words := math.IsNaN(x) || math.IsInf(x, 0) && !errors.Is(err, strconv.ErrRange)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), strings.Contains(plain, "_"), words && strings.TrimLeft(text, "+-") != "Infinity" && text != "NaN":
		return 0, Complaint{Reason: "must be a number"}
	}
	return x, Complaint{}
}

// integerMeant returns the integer that a malformed text probably stands for: one with a unit, with marks between the
// digits, or written as a fraction.
func integerMeant(text, unit string) (int64, bool) {
	plain := strings.NewReplacer("_", "", ",", "", "'", "", " ", "").Replace(text)
	if d, err := time.ParseDuration(plain); err == nil && unit == "milliseconds" && d%time.Millisecond == 0 {
		return d.Milliseconds(), true
	}
	factor := int64(1)
	if unit == "bytes" {
		for suffix, size := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} { // KB may be either
			if digits, ok := strings.CutSuffix(plain, suffix); ok {
				plain, factor = digits, size
			}
		}
	}
	x, err := strconv.ParseFloat(plain, 64)
	if x *= float64(factor); err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return 0, false
	}
	return int64(x), true
}

// Bool parses true or false, in any case, as Java does.
func Bool(text string) (on bool, no Complaint) {
	switch strings.ToLower(text) {
	case "true":
		return true, Complaint{}
	case "false":
		return false, Complaint{}
	case "yes", "on", "1", "enabled":
		no.Fix = "write true"
	case "no", "off", "0", "disabled":
		no.Fix = "write false"
	}
	no.Reason = "must be true or false"
	return false, no
}
