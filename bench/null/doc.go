// Package null is a Kafka cluster that keeps nothing: it exists to be cheap, so that a producer
// measured against it is the one that costs.
//
// Some nodes listen on loopback and speak what a producer needs (ApiVersions, Metadata,
// InitProducerId, Produce, in the versions of Kafka 4). Of every batch only the 61 bytes of its
// header are looked at. The rest is dropped, on Linux by the kernel, which then does not even copy
// it. What the headers say is counted by topic and held against the producer's sequences, so a run
// in which a record was lost or written twice is noticed:
//
//	request  → counts → answer
//	  batch header → codec, records, sequence: next one? a duplicate? a gap?
//	  payload      → dropped; with Verify: CRC-32C, record count, a sample decompressed
//
// Verify costs the cluster much CPU and the client none; a series that is to be believed has been
// played once with it.
package null
