package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// api is a request with its response.
type api struct {
	key               int16
	name              string // Go name: InitProducerID
	request, response *message
}

// message is a definition with everything resolved that the code needs.
type message struct {
	jsonName string
	name     string
	request  bool
	versions versions     // what is generated: valid and stable
	flexible versions     // a part of versions
	structs  []*structure // the message itself first
}

// structure becomes a Go struct.
type structure struct {
	name     string
	versions versions
	fields   []*field
	top      bool
}

// field is a field of a structure. Its ranges are parts of the structure's.
type field struct {
	name      string
	about     string
	kind      string // the element's kind if array is set; kindStruct for a structure
	array     bool
	element   *structure // for kindStruct
	versions  versions
	nullable  versions
	tagged    versions
	tag       uint32
	ignorable bool
	value     string // the default as a Go expression; empty: the zero value
	shared    bool   // a list of numbers of which Decode keeps one copy for all elements
	bound     string // an array's field of Asked; empty: the question does not bound it
}

const kindStruct = "struct"

// bounds names the arrays of answers that need no more elements than the question asked for, with the field
// of Asked that says how many.
var bounds = map[string]string{
	"ProduceResponse.Responses":                           "Topics",
	"TopicProduceResponse.PartitionResponses":             "Partitions",
	"PartitionProduceResponse.RecordErrors":               "Records",
	"ProduceResponse.NodeEndpoints":                       "Partitions", // each has one leader
	"MetadataResponse.Brokers":                            "Brokers",
	"MetadataResponse.Topics":                             "Topics",
	"MetadataResponseTopic.Partitions":                    "TopicPartitions",
	"FindCoordinatorResponse.Coordinators":                "Keys",
	"AddPartitionsToTxnResponse.ResultsByTransaction":     "Keys",
	"AddPartitionsToTxnResult.TopicResults":               "Topics",
	"AddPartitionsToTxnResponse.ResultsByTopicV3AndBelow": "Topics",
	"AddPartitionsToTxnTopicResult.ResultsByPartition":    "Partitions",
	"TxnOffsetCommitResponse.Topics":                      "Topics",
	"TxnOffsetCommitResponseTopic.Partitions":             "Partitions",
}

// goTypes are Kafka's primitive types in Go. A nullable string is a *string; a
// nil slice is the null of the others.
var goTypes = map[string]string{
	"bool": "bool", "int8": "int8", "int16": "int16", "uint16": "uint16", "int32": "int32",
	"uint32": "uint32", "int64": "int64", "float64": "float64", "string": "string",
	"uuid": "protocol.UUID", "bytes": "[]byte", "records": "[]byte", "errorCode": "protocol.ErrorCode",
}

// fixedSizes are the bytes of the types whose size does not vary.
var fixedSizes = map[string]int{
	"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8,
	"float64": 8, "uuid": 16, "errorCode": 2,
}

// buildAPI resolves the two definitions of one API.
func buildAPI(defs map[string][]byte, name string) (api, error) {
	var parsed [2]*definition
	for i, suffix := range []string{"Request", "Response"} {
		text, ok := defs[name+suffix]
		if !ok {
			return api{}, fmt.Errorf("the jar has no %s%s.json", name, suffix)
		}
		d, err := parseDefinition(text)
		if err != nil {
			return api{}, fmt.Errorf("%s%s.json: %w", name, suffix, err)
		}
		parsed[i] = d
	}
	// The flag stands in the request only and holds for both.
	stable := parsed[0].ValidVersions
	if parsed[0].LatestVersionUnstable {
		stable.hi--
	}
	a := api{key: parsed[0].APIKey, name: goName(name)}
	for i, m := range []**message{&a.request, &a.response} {
		b := builder{structs: make(map[string]*structure), response: i == 1}
		built, err := b.build(parsed[i], stable)
		if err != nil {
			return api{}, fmt.Errorf("%s: %w", parsed[i].Name, err)
		}
		*m = built
	}
	return a, nil
}

// builder resolves one definition.
type builder struct {
	structs  map[string]*structure // by JSON name
	order    []*structure
	response bool
}

func (b *builder) build(d *definition, stable versions) (*message, error) {
	m := &message{jsonName: d.Name, name: goName(d.Name), request: d.Type == "request"}
	m.versions = d.ValidVersions.intersect(stable)
	m.flexible = d.FlexibleVersions.intersect(m.versions)
	if !m.versions.any {
		return nil, fmt.Errorf("no stable version")
	}
	top := &structure{name: m.name, versions: m.versions, top: true}
	b.order = append(b.order, top)
	// Common structs may use each other, so all of them exist before one is filled.
	for _, c := range d.CommonStructs {
		b.structs[c.Name] = &structure{name: goName(c.Name), versions: c.Versions.intersect(m.versions)}
	}
	if err := b.fill(top, d.Fields); err != nil {
		return nil, err
	}
	for _, c := range d.CommonStructs {
		b.order = append(b.order, b.structs[c.Name])
		if err := b.fill(b.structs[c.Name], c.Fields); err != nil {
			return nil, err
		}
	}
	m.structs = b.order
	return m, nil
}

// fill adds the fields that exist in the generated versions.
func (b *builder) fill(s *structure, defs []fieldDef) error {
	for _, d := range defs {
		if !d.Versions.intersect(s.versions).any {
			continue
		}
		f, err := b.field(s, d)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		s.fields = append(s.fields, f)
	}
	return nil
}

func (b *builder) field(s *structure, d fieldDef) (*field, error) {
	f := &field{
		name:      goName(d.Name),
		about:     strings.Join(strings.Fields(d.About), " "),
		versions:  d.Versions.intersect(s.versions),
		ignorable: d.Ignorable,
	}
	f.nullable = d.NullableVersions.intersect(f.versions)
	f.tagged = d.TaggedVersions.intersect(f.versions)
	f.kind, f.array = strings.CutPrefix(d.Type, "[]")
	if f.kind == "int16" && strings.HasSuffix(d.Name, "ErrorCode") {
		f.kind = "errorCode"
	}
	if goTypes[f.kind] == "" {
		if err := b.nested(f, f.kind, d.Fields); err != nil {
			return nil, err
		}
	}
	switch {
	case d.FlexibleVersions != nil:
		return nil, fmt.Errorf("flexible versions of a single field are supported in headers only")
	case f.tagged.any != (d.Tag != nil) || f.tagged.any && f.tagged != f.versions:
		return nil, fmt.Errorf("a field tagged in some of its versions is not supported")
	case f.nullable.any && f.kind == kindStruct && !f.array:
		return nil, fmt.Errorf("a nullable struct is not supported")
	}
	if d.Tag != nil {
		f.tag = *d.Tag
	}
	if b.response {
		f.bound = bounds[s.name+"."+f.name]
		f.shared = f.array && f.kind == "int32" && !s.top
	}
	switch {
	case f.shared && (f.tagged.any || f.nullable.any):
		return nil, fmt.Errorf("a tagged or nullable list of numbers in an answer is not supported")
	case f.bound != "" && (!f.array || f.kind != kindStruct || f.nullable.any):
		return nil, fmt.Errorf("only arrays of structs that are not null can be bounded")
	}
	var err error
	f.value, err = f.defaultValue(d.Default)
	return f, err
}

// nested finds or declares the structure of a field.
func (b *builder) nested(f *field, name string, fields []fieldDef) error {
	f.kind = kindStruct
	if common := b.structs[name]; common != nil && len(fields) == 0 {
		f.element = common
		return nil
	}
	if len(fields) == 0 {
		return fmt.Errorf("unknown type %s", name)
	}
	f.element = &structure{name: goName(name), versions: f.versions}
	b.structs[name] = f.element
	b.order = append(b.order, f.element)
	return b.fill(f.element, fields)
}

// defaultValue turns the JSON default into a Go expression. A nullable string
// without one is nil in Go, where Java has an empty string.
func (f *field) defaultValue(raw json.RawMessage) (string, error) {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", err
		}
	}
	switch {
	case text == "" || text == "null" && f.nullable.any:
		return "", nil
	case f.array || f.kind == kindStruct || f.goType() == "[]byte" || f.kind == "uuid":
		return "", fmt.Errorf("a default of %s is not supported", text)
	case f.kind == "string" && f.nullable.any:
		return "new(" + strconv.Quote(text) + ")", nil
	case f.kind == "string":
		return strconv.Quote(text), nil
	case f.kind == "bool":
		v, err := strconv.ParseBool(text)
		if !v {
			return "", err
		}
		return "true", err
	case f.kind == "float64":
		v, err := strconv.ParseFloat(text, 64)
		if v == 0 {
			return "", err
		}
		return strconv.FormatFloat(v, 'g', -1, 64), err
	}
	v, err := strconv.ParseInt(text, 0, 64)
	if v == 0 {
		return "", err
	}
	return strconv.FormatInt(v, 10), err
}

// goType returns the field's type in the Go struct.
func (f *field) goType() string {
	t := goTypes[f.kind]
	switch {
	case f.kind == kindStruct:
		t = f.element.name
	case f.kind == "string" && f.nullable.any && !f.array:
		return "*string"
	case f.shared:
		return "*Int32s"
	}
	if f.array {
		return "[]" + t
	}
	return t
}

// isSlice reports whether null is a nil slice.
func (f *field) isSlice() bool {
	return f.array || f.goType() == "[]byte"
}

// notDefault returns a Go condition: the field x says more than its default.
func (f *field) notDefault(x string) string {
	switch {
	case f.isSlice():
		return "len(" + x + ") != 0"
	case f.kind == kindStruct:
		var parts []string
		for _, g := range f.element.fields {
			parts = append(parts, g.notDefault(x+"."+g.name))
		}
		return strings.Join(parts, " || ")
	case f.goType() == "*string":
		return x + " != nil"
	case f.kind == "bool" && f.value == "true":
		return "!" + x
	case f.kind == "bool":
		return x
	case f.kind == "uuid":
		return "!" + x + ".IsZero()"
	case f.value != "":
		return x + " != " + f.value
	case f.kind == "string":
		return x + ` != ""`
	}
	return x + " != 0"
}

// plain and tags are the fields that are always written and the tagged ones, in
// the order of the wire.
func (s *structure) plain() []*field {
	return slices.DeleteFunc(slices.Clone(s.fields), func(f *field) bool { return f.tagged.any })
}

func (s *structure) tags() []*field {
	tags := slices.DeleteFunc(slices.Clone(s.fields), func(f *field) bool { return !f.tagged.any })
	slices.SortFunc(tags, func(a, b *field) int { return int(a.tag) - int(b.tag) })
	return tags
}

// minSize returns the least number of bytes an element of the array can have, in any
// of its versions.
func (f *field) minSize(flexible versions) int {
	least := -1
	for v := f.versions.lo; v <= f.versions.hi; v++ {
		element := *f
		element.array = false
		if n := element.sizeAt(v, flexible); least < 0 || n < least {
			least = n
		}
	}
	return least
}

func (f *field) sizeAt(version int, flexible versions) int {
	compact := flexible.has(version)
	switch {
	case f.array:
		return lengthSize(compact, 4)
	case f.kind == kindStruct:
		n := 0
		for _, g := range f.element.plain() {
			if g.versions.has(version) {
				n += g.sizeAt(version, flexible)
			}
		}
		if compact {
			n++ // the number of tagged fields
		}
		return n
	case f.kind == "string":
		return lengthSize(compact, 2)
	case f.goType() == "[]byte":
		return lengthSize(compact, 4)
	}
	return fixedSizes[f.kind]
}

func lengthSize(compact bool, fixed int) int {
	if compact {
		return 1
	}
	return fixed
}
