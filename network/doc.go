// Package network keeps the connections to the nodes of a Kafka cluster: it connects, agrees on API
// versions, sends requests in order, matches the answers, and gives up on what is too slow.
//
// A [Client] is a passive state machine that one goroutine owns (the producer's sender). Its methods
// take the time, never read the clock and never block. Behind it each connected node has two
// goroutines, which share nothing with the owner but values:
//
//	owner:   Ready ─▶ Send ───────────┐              ┌──▶ Handle ─▶ requests come back
//	         Tick ─▶ next deadline    │ queue, bell  │ Config.Post(Event)
//	                                  ▼              │
//	writer:  dial ─▶ TLS ─▶ ApiVersions ─▶ SASL ─▶ encode ─▶ writev ─▶ mark as written
//	                                  │              ▲
//	reader:                         read ─▶ match ─▶ decode ─▶ post, if written
//
// The writer takes all queued requests, encodes them (which may mean to compress and to sum up
// batches, so it is work for many cores and not for the owner) and joins them into one writev. The
// reader needs one system call for any number of small answers. Neither reads the clock per request:
// a time-out is the owner's decision in Tick, and closes the connection.
//
// TLS and SASL are optional. Before a session of SASL ends, the writer authenticates again between two requests.
//
// What holds:
//
//   - A [Request] that was handed to Send comes back exactly once, out of Handle, and only when it
//     is off the wire: no goroutine reads its memory any more. An answer can arrive before the write
//     of its request has returned; then the writer posts it, afterwards. And a connection
//     that ends waits for both its goroutines before it gives back what it held (KAFKA-19012).
//   - A node has at most one connection. The next one begins when the requests of the last are back,
//     so requests never overtake each other. Besides these there may be one more to one of the nodes,
//     for requests that must not queue behind others; see Soonest.
//   - Answers come in the order of their requests. Any other correlation id, an answer without a
//     request, a size out of bounds: the connection is closed, since the stream can't be trusted any
//     more. Bytes behind an answer are within its frame and ignored.
//   - Memory follows the bytes that arrived, not the size a node claims.
//   - Every wait ends: dialling and the handshakes by the set-up time-out, requests by theirs.
//   - Nothing but ApiVersions and SASL is sent to a node before both sides are who they should be: TLS has verified the node's
//     certificate, and the mechanism has what it needs (SCRAM: the node's signature).
//
// Differences from Java's NetworkClient, on purpose: one attempt tries all addresses of a name within
// the set-up time-out; while an attempt hangs for more than a second, LeastLoaded offers other nodes;
// the reconnect back-off goes back to its lowest only after a connection that stood as long as the
// longest back-off, so that a node which accepts connections and then fails is not tried every 50 ms;
// a connection that was idle for long is closed without a penalty; Soonest has a connection of its own
// while all others are busy.
//
// The package is public so that its errors can be named; what else it exports is for this module's producer and may
// change in any version. Other modules can't implement Exchange, so they can't send requests of their own.
package network
