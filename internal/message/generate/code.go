package main

import (
	"fmt"
	"strings"
)

// codegen writes the methods of one structure.
type codegen struct {
	w *writer
	m *message
	s *structure
}

// block is code that belongs to the fields of certain versions.
type block struct {
	when string // condition on version; empty: always
	code []string
}

// blocks joins neighbours with the same condition, so that it is asked once.
type blocks []block

func (b *blocks) add(when string, code ...string) {
	if n := len(*b); n > 0 && (*b)[n-1].when == when {
		(*b)[n-1].code = append((*b)[n-1].code, code...)
		return
	}
	*b = append(*b, block{when, code})
}

func (b blocks) lines() []string {
	var lines []string
	for _, x := range b {
		if x.when == "" {
			lines = append(lines, x.code...)
			continue
		}
		lines = append(lines, "if "+x.when+" {")
		lines = append(lines, x.code...)
		lines = append(lines, "}")
	}
	return lines
}

// function writes a method. The version parameter and the variable flexible
// are named only where the body uses them.
func (g *codegen) function(head, result string, body []string) {
	text := strings.Join(body, "\n")
	if strings.Contains(text, "flexible") {
		text = fmt.Sprintf("flexible := %s\n%s", g.m.flexible.within(g.s.versions), text)
	}
	version := "version"
	if !strings.Contains(text, "version") {
		version = "_"
	}
	head = fmt.Sprintf(head, version+" int16")
	g.w.line("func (m *%s) %s %s {\n%s\n}\n", g.s.name, head, result, text)
}

// flexibleIn says how code of the given versions finds out whether it is in a
// flexible one: "true", "false" or the variable.
func (g *codegen) flexibleIn(v versions) string {
	switch {
	case g.m.flexible.contains(v):
		return "true"
	case !g.m.flexible.intersect(v).any:
		return "false"
	}
	return "flexible"
}

// reset writes the method that sets the defaults.
func (g *codegen) reset() {
	w, s := g.w, g.s
	w.line("// Reset sets every field to its default and keeps the capacity of slices.")
	w.line("func (m *%s) Reset() {", s.name)
	var inits, after []string
	for _, f := range s.fields {
		switch {
		case f.shared: // nil is the empty list
		case f.array && f.nullable.any:
			inits = append(inits, fmt.Sprintf("%s: resize(m.%s, 0), // empty, not null", f.name, f.name))
		case f.array:
			inits = append(inits, fmt.Sprintf("%s: m.%s[:0],", f.name, f.name))
		case f.kind == kindStruct:
			inits = append(inits, fmt.Sprintf("%s: m.%s,", f.name, f.name))
			after = append(after, fmt.Sprintf("m.%s.Reset()", f.name))
		case f.value != "":
			inits = append(inits, fmt.Sprintf("%s: %s,", f.name, f.value))
		}
	}
	if inits == nil {
		w.line("*m = %s{}", s.name)
	} else {
		w.line("*m = %s{\n%s\n}", s.name, strings.Join(inits, "\n"))
	}
	w.line("%s", strings.Join(append(after, "}"), "\n"))
	w.line("")
}

// append writes the encoder.
func (g *codegen) append() {
	var b blocks
	for _, f := range g.s.plain() {
		b.add(f.versions.within(g.s.versions), g.appendField(f)...)
	}
	if g.m.flexible.intersect(g.s.versions).any {
		b.add(g.flexibleCondition(), g.appendTags()...)
	}
	if g.s.top {
		g.w.line("// Append implements [Message].")
	}
	g.function(g.method("Append")+"(dst []byte, %s)", "[]byte", append(b.lines(), "return dst"))
}

// method returns the name of a method: only messages export it.
func (g *codegen) method(name string) string {
	switch {
	case g.s.top:
		return name
	case name == "Append":
		return "appendTo"
	}
	return strings.ToLower(name)
}

func (g *codegen) flexibleCondition() string {
	if g.m.flexible.contains(g.s.versions) {
		return ""
	}
	return "flexible"
}

func (g *codegen) appendTags() []string {
	tags := g.s.tags()
	if len(tags) == 0 {
		return []string{"dst = protocol.AppendEmptyTags(dst)"}
	}
	lines := []string{"tags := len(dst)", "dst = append(dst, 0) // the number of tagged fields, counted below"}
	for _, f := range tags {
		when := f.notDefault("m." + f.name)
		if c := f.versions.within(g.m.flexible.intersect(g.s.versions)); c != "" {
			if strings.Contains(when, "||") {
				when = "(" + when + ")"
			}
			when = c + " && " + when
		}
		lines = append(lines, "if "+when+" {", "dst[tags]++",
			fmt.Sprintf("dst = protocol.AppendUvarint(dst, %d)", f.tag), "value := len(dst)")
		lines = append(lines, g.appendField(f)...)
		lines = append(lines, "dst = insertSize(dst, value)", "}")
	}
	return lines
}

// appendField writes one field, which is known to be in the version.
func (g *codegen) appendField(f *field) []string {
	x := "m." + f.name
	if !f.array {
		return g.splitNullable(f, "version", func(v versions, nullable bool) []string {
			if f.goType() == "*string" && !nullable {
				return []string{g.appendValue(f, v, "orEmpty("+x+")", nullable)}
			}
			return []string{g.appendValue(f, v, x, nullable)}
		})
	}
	if f.shared {
		x += ".List()"
	}
	lines := g.splitNullable(f, "version", func(v versions, nullable bool) []string {
		helper := "appendLen"
		if nullable {
			helper = "appendNullableLen"
		}
		return []string{fmt.Sprintf("dst = %s(dst, %s, %s)", helper, x, g.flexibleIn(v))}
	})
	if f.kind == kindStruct {
		return append(lines, "for i := range "+x+" {", g.appendValue(f, f.versions, x+"[i]", false), "}")
	}
	return append(lines, "for _, v := range "+x+" {", g.appendValue(f, f.versions, "v", false), "}")
}

// splitNullable writes the code twice if the field is nullable in some of its
// versions only. version is the variable to ask.
func (g *codegen) splitNullable(f *field, version string, code func(v versions, nullable bool) []string) []string {
	if !f.sometimesNull() {
		return code(f.versions, f.nullable.any)
	}
	rest := versions{lo: f.versions.lo, hi: f.nullable.lo - 1, any: true}
	if f.nullable.hi != f.versions.hi {
		rest = f.versions
	}
	when := strings.ReplaceAll(f.nullable.within(f.versions), "version", version)
	lines := append([]string{"if " + when + " {"}, code(f.nullable, true)...)
	lines = append(append(lines, "} else {"), code(rest, false)...)
	return append(lines, "}")
}

// primitives are the names of the protocol package's functions for the types
// that are written alike in every version.
var primitives = map[string]string{
	"bool": "Bool", "int8": "Int8", "int16": "Int16", "uint16": "Uint16", "int32": "Int32",
	"uint32": "Uint32", "int64": "Int64", "float64": "Float64", "uuid": "UUID",
}

// appendValue returns the statement that appends x, a value of the field's kind.
func (g *codegen) appendValue(f *field, v versions, x string, nullable bool) string {
	switch {
	case f.kind == kindStruct:
		return fmt.Sprintf("dst = %s.appendTo(dst, version)", x)
	case f.kind == "errorCode":
		return fmt.Sprintf("dst = protocol.AppendInt16(dst, int16(%s))", x)
	case primitives[f.kind] != "":
		return fmt.Sprintf("dst = protocol.Append%s(dst, %s)", primitives[f.kind], x)
	}
	switch flexible := g.flexibleIn(v); flexible {
	case "true":
		return fmt.Sprintf("dst = protocol.AppendCompact%s(dst, %s)", lengthType(f, nullable), x)
	case "false":
		return fmt.Sprintf("dst = protocol.Append%s(dst, %s)", lengthType(f, nullable), x)
	default:
		return fmt.Sprintf("dst = append%s(dst, %s, %s)", lengthType(f, nullable), x, flexible)
	}
}

// lengthType names the functions of strings and bytes.
func lengthType(f *field, nullable bool) string {
	name := "Bytes"
	if f.kind == "string" {
		name = "String"
	}
	if nullable {
		return "Nullable" + name
	}
	return name
}
