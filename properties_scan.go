package quill

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseInt reads an integer as Java does. unit is what it counts, if that has a name.
func parseInt(text, typ, unit string) (int64, complaint) {
	bits := map[string]int{"SHORT": 16, "INT": 32, "LONG": 64}[typ]
	n, err := strconv.ParseInt(text, 10, bits)
	switch {
	case err == nil:
		return n, complaint{}
	case errors.Is(err, strconv.ErrRange) && strings.HasPrefix(text, "-"):
		return 0, complain("must be at least %d", int64(-1)<<(bits-1))
	case errors.Is(err, strconv.ErrRange):
		return 0, complain("must be at most %d", uint64(1)<<(bits-1)-1)
	}
	no := complaint{reason: "must be an integer"}
	if unit != "" {
		no.reason = "must be an integer (" + unit + ")"
	}
	if meant, ok := integerMeant(text, unit); ok {
		no.fix = fmt.Sprint("write ", meant)
	} else if text == "" {
		no.fix = "leave it out to have the default"
	}
	return 0, no
}

// integerMeant is the integer that somebody probably meant: with a unit, with marks between the digits, or
// written as a fraction.
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

func parseBool(text string) (on bool, no complaint) {
	switch strings.ToLower(text) {
	case "true":
		return true, complaint{}
	case "false":
		return false, complaint{}
	case "yes", "on", "1", "enabled":
		no.fix = "write true"
	case "no", "off", "0", "disabled":
		no.fix = "write false"
	}
	no.reason = "must be true or false"
	return false, no
}
