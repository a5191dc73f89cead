package message

import "github.com/quill-kafka/quill/protocol"

// RequestHeaderVersion returns the version of the header in front of a request:
// 2 if the request's version is flexible, else 1. An API that is not generated
// counts as not flexible.
func RequestHeaderVersion(key protocol.APIKey, version int16) int16 {
	if from, ok := flexibleFrom(key); ok && version >= from {
		return 2
	}
	return 1
}

// ResponseHeaderVersion returns the version of the header in front of a
// response: 1 if the version is flexible, else 0. The header of an ApiVersions
// response is always 0, because a client must be able to read it before it knows
// the node's versions (KIP-511).
func ResponseHeaderVersion(key protocol.APIKey, version int16) int16 {
	if key == protocol.APIVersions {
		return 0
	}
	return RequestHeaderVersion(key, version) - 1
}

// AppendRequestHeader appends the header of a request, without the frame's size
// in front of it. An empty client id is sent as such, not as null.
func AppendRequestHeader(dst []byte, key protocol.APIKey, version int16, correlationID int32, clientID string) []byte {
	dst = protocol.AppendInt16(dst, int16(key))
	dst = protocol.AppendInt16(dst, version)
	dst = protocol.AppendInt32(dst, correlationID)
	dst = protocol.AppendString(dst, clientID) // never compact: a node of any age can read it
	if RequestHeaderVersion(key, version) >= 2 {
		dst = protocol.AppendEmptyTags(dst)
	}
	return dst
}

// DecodeRequestHeader reads the header of a request. A null client id is empty.
func DecodeRequestHeader(r *protocol.Reader) (key protocol.APIKey, version int16, correlationID int32, clientID string) {
	key = protocol.APIKey(r.Int16())
	version = r.Int16()
	correlationID = r.Int32()
	clientID = orEmpty(r.NullableString())
	if RequestHeaderVersion(key, version) >= 2 {
		r.SkipTags()
	}
	return key, version, correlationID, clientID
}

// AppendResponseHeader appends the header of a response, without the frame's
// size in front of it.
func AppendResponseHeader(dst []byte, key protocol.APIKey, version int16, correlationID int32) []byte {
	dst = protocol.AppendInt32(dst, correlationID)
	if ResponseHeaderVersion(key, version) >= 1 {
		dst = protocol.AppendEmptyTags(dst)
	}
	return dst
}

// DecodeResponseHeader reads the header of a response to a request of the given
// version and returns its correlation id.
func DecodeResponseHeader(r *protocol.Reader, key protocol.APIKey, version int16) int32 {
	correlationID := r.Int32()
	if ResponseHeaderVersion(key, version) >= 1 {
		r.SkipTags()
	}
	return correlationID
}
