package main

import (
	"fmt"
	"strings"
)

// decode writes the decoder. Only messages export a method; what it calls is the
// same for every structure.
func (g *codegen) decode() {
	if g.s.top {
		flexible := g.m.flexible.within(g.m.versions)
		if flexible == "" {
			flexible = "true"
		}
		g.w.line("// Decode implements [Message].")
		g.w.line("func (m *%s) Decode(r *protocol.Reader, version int16) {", g.s.name)
		if g.m.request {
			g.w.line("d := newDecoder(r, version, %s, Asked{})\nm.decode(&d)\n}\n", flexible)
		} else {
			g.w.line("m.DecodeWithin(r, version, Asked{})\n}\n")
			g.w.line("// DecodeWithin implements [Response].")
			g.w.line("func (m *%s) DecodeWithin(r *protocol.Reader, version int16, asked Asked) {", g.s.name)
			g.w.line("d := newDecoder(r, version, %s, asked)\nm.decode(&d)\n}\n", flexible)
		}
	}
	b := blocks{{code: []string{"m.Reset()"}}}
	for _, f := range g.s.plain() {
		b.add(g.decoderHas(f.versions), g.decodeField(f)...)
	}
	if g.m.flexible.intersect(g.s.versions).any {
		when := "d.flexible"
		if g.m.flexible.contains(g.s.versions) {
			when = ""
		}
		b.add(when, g.decodeTags()...)
	}
	g.w.line("func (m *%s) decode(d *decoder) {\n%s\n}\n", g.s.name, strings.Join(b.lines(), "\n"))
}

// decoderHas returns the condition on the decoder's version that selects v.
func (g *codegen) decoderHas(v versions) string {
	return strings.ReplaceAll(v.within(g.s.versions), "version", "d.version")
}

func (g *codegen) decodeTags() []string {
	tags := g.s.tags()
	if len(tags) == 0 {
		return []string{"d.SkipTags()"}
	}
	flexible := g.m.flexible.intersect(g.s.versions)
	lines := []string{"d.Tags(func(tag uint32, _ *protocol.Reader) {", "switch tag {"}
	for _, f := range tags {
		var b blocks
		b.add(strings.ReplaceAll(f.versions.within(flexible), "version", "d.version"), g.decodeField(f)...)
		lines = append(append(lines, fmt.Sprintf("case %d:", f.tag)), b.lines()...)
	}
	return append(lines, "}", "})")
}

// decodeField reads one field, which is known to be in the version.
func (g *codegen) decodeField(f *field) []string {
	x := "m." + f.name
	switch {
	case !f.array && f.kind == kindStruct:
		return []string{x + ".decode(d)"}
	case !f.array:
		return g.splitNullable(f, "d.version", func(_ versions, nullable bool) []string {
			value := readValue(f, nullable)
			if f.goType() == "*string" && !nullable {
				value = "d.stringPointer()"
			}
			return []string{x + " = " + value}
		})
	}
	if f.shared {
		return []string{x + " = d.sharedInt32s()"}
	}
	lines := g.splitNullable(f, "d.version", func(_ versions, nullable bool) []string {
		helper := "array"
		if nullable {
			helper = "nullableArray"
		}
		if f.bound != "" {
			return []string{fmt.Sprintf("%s, more%s = boundedArray(d, %s, %d, d.asked.%s)", x, f.name, x, f.minSize(g.m.flexible), f.bound)}
		}
		return []string{fmt.Sprintf("%s = %s(d, %s, %d)", x, helper, x, f.minSize(g.m.flexible))}
	})
	element := x + "[i].decode(d)"
	if f.kind != kindStruct {
		element = x + "[i] = " + readValue(f, false)
	}
	lines = append(lines, "for i := range "+x+" {", element, "}")
	if f.bound != "" {
		more := "more" + f.name
		lines = append([]string{"var " + more + " int"}, lines...)
		lines = append(lines, "if "+more+" > 0 {", "was := d.skipping", "d.skipping = true", "skip(d, "+more+", new("+f.element.name+"))", "d.skipping = was", "}")
	}
	return lines
}

// readValue returns the expression that reads a value of the field's kind.
func readValue(f *field, nullable bool) string {
	switch {
	case f.kind == "errorCode":
		return "protocol.ErrorCode(d.Int16())"
	case primitives[f.kind] != "":
		return "d." + primitives[f.kind] + "()"
	}
	name := lengthType(f, nullable)
	return "d." + strings.ToLower(name[:1]) + name[1:] + "()"
}
