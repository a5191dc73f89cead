package quill

import (
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"sync"
)

// Serializer turns keys or values of type T into bytes.
//
// Serialize appends v's form to dst, which has length 0 and may have capacity, and returns the
// result; or it returns a slice of its own. The producer has copied the result when Send returns
// and does not change it. nil means null: a record without a key, or a tombstone; a result that is
// empty and not nil is an empty part. headers is the record's, and may be read and changed.
// A serializer of keys should return nil for what means that there is no key; see KeySerializer.
//
// Serialize is called by many goroutines at the same time. An error or a panic fails the record
// with ErrSerialization. A serializer may also be a Configurer, a KeySerializer and an
// io.Closer.
type Serializer[T any] interface {
	Serialize(dst []byte, topic string, headers *Headers, v T) ([]byte, error)
}

// SerializerFunc is a function as a Serializer.
type SerializerFunc[T any] func(dst []byte, topic string, headers *Headers, v T) ([]byte, error)

// Serialize calls f.
func (f SerializerFunc[T]) Serialize(dst []byte, topic string, headers *Headers, v T) ([]byte, error) {
	return f(dst, topic, headers, v)
}

// The built-in serializers. What they write is what the Java serializers of the same types write,
// but for keys that are left out. They do not allocate if dst has room, and cannot fail.
//
// Go has no null for most types, so a Record whose Key is not set has a key all the same: its type's
// zero value. Where that value says "nothing", the record has no key, and the partitioner is free to
// choose; with a key in its place all such records would go to the one partition of its hash. Numbers
// have no such value: 0 is a key like any other.
//
//	serializer                      zero value         as a key           as a value
//	Void                            struct{}{}         no key             null
//	Bytes                           nil                no key             null
//	Bytes                           []byte{}           empty key          empty
//	String                          ""                 no key             empty
//	UUID                            the nil UUID       no key             its 36 characters
//	Int16, Int32, Int64             0                  a key: zero bytes  zero bytes
//	Float32, Float64, Bool          0, false           a key: zero bytes  zero bytes
//	JSON of a pointer or interface  nil                no key             null
//	JSON of a slice or map          nil                no key             the text null
//	JSON of a string                ""                 no key             the text ""
//	JSON of anything else           {}, 0, false       a key: its text    its text
//	TextMarshaler                   a nil pointer      no key             null
//	TextMarshaler                   becomes no bytes   no key             empty
//	TextMarshaler                   becomes some       a key              these bytes
//	Nullable of any                 nil                no key             null
//	Nullable of any                 points to one      as it is           as it is
//	KeepZero of any                 any                as a value is      as a value is
//	NullIfZero of any               any                no key             null
//	one of your own                 any                what it returns    what it returns
//
// To ask for the other: KeepZero(String) makes the empty string a key, NullIfZero(Int64) makes 0 no
// key; Nullable has both, nil and a pointer to the zero value. Producers that never send a key have Void.
var (
	// Bytes passes the slice itself on, without a copy. A nil slice is null.
	Bytes Serializer[[]byte] = bytesSerializer{}
	// String writes the string's bytes. The empty string is an empty value, but no key; see KeepZero and
	// Nullable. Kafka: StringSerializer, for which an empty string is a key.
	String Serializer[string] = stringSerializer{}
	// Bool writes one byte, 1 or 0. Kafka: BooleanSerializer.
	Bool Serializer[bool] = builtin[bool](appendBool)
	// Int16 writes 2 bytes, big endian. Kafka: ShortSerializer.
	Int16 Serializer[int16] = builtin[int16](func(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) })
	// Int32 writes 4 bytes, big endian. Kafka: IntegerSerializer.
	Int32 Serializer[int32] = builtin[int32](func(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) })
	// Int64 writes 8 bytes, big endian. Kafka: LongSerializer.
	Int64 Serializer[int64] = builtin[int64](func(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) })
	// Float32 writes 4 bytes, IEEE 754, big endian. Kafka: FloatSerializer.
	Float32 Serializer[float32] = builtin[float32](func(dst []byte, v float32) []byte {
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(v))
	})
	// Float64 writes 8 bytes, IEEE 754, big endian. Kafka: DoubleSerializer.
	Float64 Serializer[float64] = builtin[float64](func(dst []byte, v float64) []byte {
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
	})
	// UUID writes the 36 characters of the canonical form. The nil UUID is no key. Kafka:
	// UUIDSerializer.
	UUID Serializer[[16]byte] = uuidSerializer{appendUUID}
	// Void is always null: for producers whose records have no key. Kafka: VoidSerializer.
	Void Serializer[struct{}] = voidSerializer{}
)

// isTrusted reports whether a serializer neither uses headers nor panics, so that it can be called without
// the precautions against others.
func isTrusted(s any) bool {
	t, ok := s.(interface{ trusted() bool })
	return ok && t.trusted()
}

type bytesSerializer struct{}

func (bytesSerializer) trusted() bool { return true }

func (bytesSerializer) Serialize(_ []byte, _ string, _ *Headers, v []byte) ([]byte, error) {
	return v, nil
}

type stringSerializer struct{}

func (stringSerializer) trusted() bool { return true }

func (stringSerializer) Serialize(dst []byte, _ string, _ *Headers, v string) ([]byte, error) {
	return notNull(append(dst, v...)), nil
}

func (stringSerializer) ForKeys() Serializer[string] { return stringKey{} }

type voidSerializer struct{}

func (voidSerializer) trusted() bool { return true }

func (voidSerializer) Serialize([]byte, string, *Headers, struct{}) ([]byte, error) { return nil, nil }

// builtin is a serializer for types that have no null.
type builtin[T any] func(dst []byte, v T) []byte

func (builtin[T]) trusted() bool { return true }

func (f builtin[T]) Serialize(dst []byte, _ string, _ *Headers, v T) ([]byte, error) {
	return notNull(f(dst, v)), nil
}

// notNull returns p, or an empty slice for a nil one.
func notNull(p []byte) []byte {
	if p == nil {
		return []byte{}
	}
	return p
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendUUID(dst []byte, v [16]byte) []byte {
	for i, group := range [...][]byte{v[0:4], v[4:6], v[6:8], v[8:10], v[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, group)
	}
	return dst
}

// Nullable serializes what the pointer points to with s, and nil as null: tombstones for types that
// have no null of their own, as in Nullable(String). A key is null if the pointer is, and only then.
// It passes Configure and Close on to s.
func Nullable[T any](s Serializer[T]) Serializer[*T] { return nullable[T]{s} }

type nullable[T any] struct{ s Serializer[T] }

func (n nullable[T]) trusted() bool { return isTrusted(n.s) }

func (n nullable[T]) Serialize(dst []byte, topic string, headers *Headers, v *T) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return n.s.Serialize(dst, topic, headers, *v)
}

func (n nullable[T]) Configure(info ClientInfo) error {
	return configurePlugin(n.s, info)
}

func (n nullable[T]) Close() error { return closePlugin(n.s) }

// JSON serializes with encoding/json, as json.Marshal does. A nil pointer is null, not the JSON
// text "null"; nil maps and slices are that text, except as keys: there they, and empty strings, are
// null too.
func JSON[T any]() Serializer[T] { return jsonSerializer[T]{canBeNil: canBeNil[T]()} }

type jsonSerializer[T any] struct {
	canBeNil bool
	isKey    bool
}

func (j jsonSerializer[T]) Serialize(dst []byte, _ string, _ *Headers, v T) ([]byte, error) {
	if j.canBeNil && isNil(v) || j.isKey && isAbsent(v) {
		return nil, nil
	}
	return appendJSON(dst, v)
}

func (j jsonSerializer[T]) ForKeys() Serializer[T] { return jsonSerializer[T]{j.canBeNil, true} }

// TextMarshaler serializes by MarshalText, or by AppendText where there is one. A nil pointer is
// null; so is a key that becomes no bytes, as the zero netip.Addr does.
func TextMarshaler[T encoding.TextMarshaler]() Serializer[T] {
	return marshaler[T]{canBeNil: canBeNil[T](), marshal: func(dst []byte, v T) ([]byte, error) {
		if a, ok := any(v).(encoding.TextAppender); ok {
			return a.AppendText(dst)
		}
		return v.MarshalText()
	}}
}

// marshaler serializes by a method of the value's.
type marshaler[T any] struct {
	marshal  func(dst []byte, v T) ([]byte, error)
	canBeNil bool
	isKey    bool
}

func (m marshaler[T]) Serialize(dst []byte, _ string, _ *Headers, v T) ([]byte, error) {
	if m.canBeNil && isNil(v) {
		return nil, nil
	}
	part, err := m.marshal(dst, v)
	if err != nil || m.isKey && len(part) == 0 {
		return nil, err
	}
	return notNull(part), nil // a marshaler that returns nothing wrote no null
}

func (m marshaler[T]) ForKeys() Serializer[T] {
	return marshaler[T]{m.marshal, m.canBeNil, true}
}

// canBeNil reports whether a T may be a nil pointer or an interface without a value.
func canBeNil[T any]() bool {
	kind := reflect.TypeFor[T]().Kind()
	return kind == reflect.Pointer || kind == reflect.Interface
}

func isNil[T any](v T) bool {
	value := reflect.ValueOf(v)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

// partSerializer calls the serializer of keys or of values.
type partSerializer[T any] struct {
	s       Serializer[T]
	op      string // for errors
	trusted bool
}

// newPartSerializer prepares s, configuring it if it wants to. If it fails, s need not be closed.
func newPartSerializer[T any](s Serializer[T], info ClientInfo, isKey bool) (partSerializer[T], error) {
	p := partSerializer[T]{s: s, op: "serialize value"}
	if isKey {
		p.s, p.op = forKeys(s), "serialize key"
	}
	if p.trusted = isTrusted(p.s); !p.trusted {
		warnOfMisfits(info.Logger, s, ofConfigurer, ofCloser)
	}
	info.IsKey = isKey
	return p, configurePlugin(p.s, info)
}

// serialize returns the serialized v and the headers, which the serializer may have changed. It may write to
// dst's memory. The error is an *Error of kind ErrSerialization; the headers are then as they were.
func (p *partSerializer[T]) serialize(dst []byte, topic string, headers Headers, v T) ([]byte, Headers, error) {
	if p.trusted {
		part, err := p.s.Serialize(dst[:0], topic, nil, v)
		return part, headers, err
	}
	// Clipped, so that what is added goes to a copy: the caller's slice may be shared by records.
	changed := new(Headers)
	*changed = slices.Clip(headers)
	part, err := p.guarded(dst[:0], topic, changed, v)
	if err != nil {
		return nil, headers, newError(Error{Op: p.op, Kind: ErrSerialization, Topic: topic, Cause: err})
	}
	return part, *changed, nil
}

func (p *partSerializer[T]) guarded(dst []byte, topic string, headers *Headers, v T) (part []byte, err error) {
	defer recovered(&err)
	return p.s.Serialize(dst, topic, headers, v)
}

// jsonWriter is an encoder that appends to a slice.
type jsonWriter struct {
	dst     []byte
	encoder *json.Encoder
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.dst = append(w.dst, p...)
	return len(p), nil
}

var jsonWriters = sync.Pool{New: func() any {
	w := new(jsonWriter)
	w.encoder = json.NewEncoder(w)
	return w
}}

// appendJSON appends v's JSON, as json.Marshal writes it, to dst.
func appendJSON(dst []byte, v any) ([]byte, error) {
	w := jsonWriters.Get().(*jsonWriter)
	w.dst = dst
	err := w.encoder.Encode(v)
	dst, w.dst = w.dst, nil
	jsonWriters.Put(w) // not after a panic: the state of the encoder is unknown then
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)-1], nil // without Encode's newline
}

// scratch is memory that serializers append to; it is free again when the record is in its batch.
type scratch struct{ key, value []byte }

var scratches = sync.Pool{New: func() any { return &scratch{make([]byte, 0, 64), make([]byte, 0, 512)} }}

// maxScratch is the largest capacity that a scratch keeps.
const maxScratch = 64 << 10

// serialize turns key and value into bytes.
func (p *Producer[K, V]) serialize(r *Record[K, V], out *outgoing, lent *scratch) *Error {
	var err error
	if out.record.Key, out.record.Headers, err = p.key.serialize(lent.key, r.Topic, out.record.Headers, r.Key); err == nil {
		out.record.Value, out.record.Headers, err = p.value.serialize(lent.value, r.Topic, out.record.Headers, r.Value)
	}
	if err != nil {
		return p.e.sendError(err, r.Topic, out.chosen)
	}
	if grown := cap(out.record.Value); grown > cap(lent.value) && grown <= maxScratch {
		lent.value = make([]byte, 0, grown) // for the next record; out.Value may be a slice of the serializer's own
	}
	return nil
}
