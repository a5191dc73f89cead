// Package saslprep has SASLprep (RFC 4013), which makes texts comparable that look alike: names and
// passwords are mapped, normalized by NFKC, and refused if they have characters that a name must not
// have. It is for SCRAM with servers that ask for it (RFC 5802 §2.2); set sasl.Scram's Prepare to it.
// Kafka's brokers, its tools and its Java client don't use it.
//
// It is a package of its own, because its tables, those of Unicode 3.2 that the RFC names, take 30 kB.
package saslprep
