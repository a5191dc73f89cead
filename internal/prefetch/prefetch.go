// Package prefetch asks the processor for memory that is about to be written, so that it is at hand by then.
//
// The processor does so by itself for a few streams of writes. A producer that sends to a hundred
// partitions in turn has a hundred: each record is written behind its partition's last one, to memory that
// is not in the cache, and the unlock after it waits until it is. A request for it in time costs a few
// nanoseconds and spares some fifty.
//
// Requests have no other effect: nothing is read or written, an address may be any. Where it was not
// measured (all but amd64), or with the build tag purego, they are empty.
package prefetch
