// Package sasl authenticates a client to the nodes of a Kafka cluster. A [Mechanism] is what the
// configuration names ("SCRAM-SHA-512" and its credentials); a [Session] is one run of it, on one
// connection:
//
//	Mechanism.Start ─▶ initial message ──────────▶ node
//	                                                │
//	Session.Next ◀── challenge ─────────────────────┘
//	     └─▶ response ─▶ node ─▶ … until done
//
// What goes over the wire besides, and when, is package network's part: SaslHandshake, the frames of
// SaslAuthenticate or (for brokers before 1.0) none, and to authenticate once more before the node's
// session ends (KIP-368).
//
// A mechanism of your own needs nothing but these two interfaces; the package has no dependencies.
// Errors of a mechanism say what is wrong and never hold a credential. What they cite of a node's
// message is quoted and cut.
//
// Java: org.apache.kafka.common.security, javax.security.sasl.
package sasl
