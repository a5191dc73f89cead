package message

import "github.com/quill-kafka/quill/protocol"

// The functions here append strings, bytes and array lengths in the form that the
// version asks for: lengths of fixed size in old versions, compact ones in
// flexible versions (KIP-482). The generated code calls them where one line
// serves both.

func appendString(dst []byte, s string, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactString(dst, s)
	}
	return protocol.AppendString(dst, s)
}

func appendNullableString(dst []byte, s *string, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactNullableString(dst, s)
	}
	return protocol.AppendNullableString(dst, s)
}

func appendBytes(dst, b []byte, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactBytes(dst, b)
	}
	return protocol.AppendBytes(dst, b)
}

func appendNullableBytes(dst, b []byte, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactNullableBytes(dst, b)
	}
	return protocol.AppendNullableBytes(dst, b)
}

// appendLen appends the number of elements in s, 0 if s is nil.
func appendLen[T any](dst []byte, s []T, flexible bool) []byte {
	if flexible {
		return protocol.AppendCompactArrayLen(dst, len(s))
	}
	return protocol.AppendArrayLen(dst, len(s))
}

// appendNullableLen appends the number of elements in s, -1 if s is nil.
func appendNullableLen[T any](dst []byte, s []T, flexible bool) []byte {
	if s != nil {
		return appendLen(dst, s, flexible)
	}
	if flexible {
		return protocol.AppendCompactArrayLen(dst, -1)
	}
	return protocol.AppendArrayLen(dst, -1)
}

// insertSize inserts, in front of what follows dst[:start], its size. A tagged
// field is preceded by it.
func insertSize(dst []byte, start int) []byte {
	size := len(dst) - start
	dst = protocol.AppendUvarint(dst, uint32(size)) // at the end, to make room
	width := len(dst) - start - size
	copy(dst[start+width:], dst[start:start+size])
	protocol.AppendUvarint(dst[:start], uint32(size))
	return dst
}

// orEmpty returns the string, an empty one for null.
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
