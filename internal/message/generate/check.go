package main

import "fmt"

// check writes the method that refuses to lose what a request says. Kafka calls
// a field ignorable if a version without it may drop it silently.
func (g *codegen) check() {
	if !g.s.top && !g.s.checked() {
		return
	}
	var lines []string
	for _, f := range g.s.fields {
		lines = append(lines, g.checkField(f)...)
	}
	if g.s.top {
		g.w.line("// Check implements [Request].")
	}
	g.function(g.method("Check")+"(%s)", "error", append(lines, "return nil"))
}

func (g *codegen) checkField(f *field) []string {
	x := "m." + f.name
	refuse := fmt.Sprintf("return unsupported(%q, version)\n}", g.s.name+"."+f.name)
	var lines []string
	if f.lossy(g.s) {
		set := f.notDefault(x)
		if f.kind == kindStruct && !f.array {
			set = "(" + set + ")" // one of its fields or another
		}
		lines = append(lines, fmt.Sprintf("if %s && %s {", f.versions.outside(g.s.versions), set), refuse)
	}
	if f.sometimesNull() {
		when := f.nullable.outside(f.versions)
		if in := f.versions.within(g.s.versions); in != "" {
			when = in + " && " + when
		}
		lines = append(lines, fmt.Sprintf("if %s && %s == nil {", when, x), refuse)
	}
	if f.kind != kindStruct || !f.element.checked() {
		return lines
	}
	call := fmt.Sprintf("if err := %%s.check(version); err != nil {\nreturn err\n}")
	if !f.array {
		return append(lines, fmt.Sprintf(call, x))
	}
	return append(lines, "for i := range "+x+" {", fmt.Sprintf(call, x+"[i]"), "}")
}

// lossy reports whether a version of the structure drops the field's value
// though it should not.
func (f *field) lossy(s *structure) bool {
	return f.versions != s.versions && !f.ignorable
}

// sometimesNull reports whether null can be written in some versions only.
func (f *field) sometimesNull() bool {
	return f.nullable.any && f.nullable != f.versions
}

// checked reports whether the structure has something to check.
func (s *structure) checked() bool {
	for _, f := range s.fields {
		if f.lossy(s) || f.sometimesNull() || f.kind == kindStruct && f.element.checked() {
			return true
		}
	}
	return false
}

// outside returns the Go condition on version that is true in the versions all
// without v.
func (v versions) outside(all versions) string {
	switch {
	case v.lo <= all.lo:
		return fmt.Sprintf("version > %d", v.hi)
	case v.hi >= all.hi:
		return fmt.Sprintf("version < %d", v.lo)
	}
	return fmt.Sprintf("(version < %d || version > %d)", v.lo, v.hi)
}
