package quill

import "reflect"

// KeySerializer is the optional part of a Serializer that serializes keys otherwise than values.
// New and Share call ForKeys once; the serializer that it returns serializes the keys, and is configured and
// closed instead of this one. The built-in serializers for which a key can be left out have it: see String.
type KeySerializer[T any] interface {
	Serializer[T]
	ForKeys() Serializer[T]
}

// KeepZero serializes keys with s exactly as values: with KeepZero(String) the empty string is a key
// like any other, as it is in Java, and records with it all go to one partition. It passes Configure and Close
// on to s.
func KeepZero[T any](s Serializer[T]) Serializer[T] { return wrapped[T]{s} }

// NullIfZero serializes T's zero value as null and everything else with s. With NullIfZero(Int64) a
// record whose key is left out has none, and 0 is no key; as the serializer of values it makes
// tombstones of zeros. It passes Configure and Close on to s.
func NullIfZero[T comparable](s Serializer[T]) Serializer[T] { return nullIfZero[T]{wrapped[T]{s}} }

// wrapped is a Serializer with all of its optional parts but KeySerializer.
type wrapped[T any] struct{ s Serializer[T] }

func (w wrapped[T]) trusted() bool { return isTrusted(w.s) }

func (w wrapped[T]) Serialize(dst []byte, topic string, headers *Headers, v T) ([]byte, error) {
	return w.s.Serialize(dst, topic, headers, v)
}

func (w wrapped[T]) Configure(info ClientInfo) error {
	return configurePlugin(w.s, info)
}

func (w wrapped[T]) Close() error { return closePlugin(w.s) }

type nullIfZero[T comparable] struct{ wrapped[T] }

func (n nullIfZero[T]) Serialize(dst []byte, topic string, headers *Headers, v T) ([]byte, error) {
	var zero T
	if v == zero {
		return nil, nil
	}
	return n.s.Serialize(dst, topic, headers, v)
}

// forKeys returns the serializer of keys: s.ForKeys() if s has that method, else s.
func forKeys[T any](s Serializer[T]) Serializer[T] {
	if k, ok := s.(KeySerializer[T]); ok {
		return k.ForKeys()
	}
	return s
}

// stringKey writes strings, and the empty one as null.
type stringKey struct{}

func (stringKey) trusted() bool { return true }

func (stringKey) Serialize(dst []byte, _ string, _ *Headers, v string) ([]byte, error) {
	if v == "" {
		return nil, nil
	}
	return append(dst, v...), nil
}

// uuidSerializer writes UUIDs; as a key the nil UUID, which RFC 9562 calls the absence of one, is null.
type uuidSerializer struct{ builtin[[16]byte] }

func (uuidSerializer) ForKeys() Serializer[[16]byte] { return uuidKey{} }

type uuidKey struct{}

func (uuidKey) trusted() bool { return true }

func (uuidKey) Serialize(dst []byte, _ string, _ *Headers, v [16]byte) ([]byte, error) {
	if v == [16]byte{} {
		return nil, nil
	}
	return appendUUID(dst, v), nil
}

// isAbsent reports whether v says that there is no key: a nil pointer, interface, slice or map, or an
// empty string.
func isAbsent[T any](v T) bool {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return value.IsNil()
	case reflect.String:
		return value.Len() == 0
	}
	return false
}
