package protocol

import "encoding/base64"

// UUID is a topic id (KIP-516) or another of Kafka's 128-bit ids.
type UUID [16]byte

// IsZero reports whether the id is the all-zero one, which Kafka uses for "none".
func (u UUID) IsZero() bool { return u == UUID{} }

// String returns the id as Kafka prints it: URL-safe base64 without padding,
// 22 characters.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }
