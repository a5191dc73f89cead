// Package kafkaharness runs real Kafka brokers for tests, and reads what they wrote without our help.
//
// Start brings up a Cluster of one or three nodes on loopback: Kafka in KRaft mode, each node broker and controller, from
// jars that Maven puts once into the user's cache directory. Nodes can be stopped, killed, paused
// and restarted. One further JVM, the helper, holds Kafka's admin client, consumer, producer and tools behind a
// line protocol; kcat is the second reader, DumpLogSegments the third.
//
// Every process is a child of the test process, ended by its id when the Cluster is closed; on Linux the kernel ends
// them too if the test process dies. Nothing is written outside the cache directory and the cluster's own directory.
//
// Needed are java, javac (17 or later) and, for the first run, mvn. Where they are missing, tests are skipped,
// unless the environment says CI=true: there a missing tool fails.
package kafkaharness
