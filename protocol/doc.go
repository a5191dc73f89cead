// Package protocol holds what Kafka has frozen: API keys, error codes, the
// primitive types of the wire and the record batch.
//
// Everything here is a function of its arguments. There is no I/O, no clock, no
// goroutine and no import beyond the standard library. Values are safe to copy;
// a Reader belongs to one goroutine.
//
// Writing is by append: every Append function takes a slice, adds the encoded
// value at its end and returns it. Reading goes through Reader, which remembers
// its first error, so that a decoder reads field after field and looks at Err
// once. With any input, a Reader neither panics nor allocates more than the length
// of the input justifies: counts and lengths are checked against the bytes that are
// left before anything is made.
//
// The record batch (magic 2, Kafka 0.11 and later) is written in two steps that
// match the life of a batch in a producer. AppendRecord encodes a record the
// moment it is sent. PutBatchHeader writes the 61 bytes in front when the batch is
// sealed, with the producer id and sequence known only then. See BatchHeader for
// the picture of the bytes.
package protocol
