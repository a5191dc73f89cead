// Package java carries the source of the Java helper: Kafka's own admin client, consumer, producer and tools,
// compiled at first use against the cached jars.
package java

import "embed"

// Main is the helper's main class.
const Main = "Helper"

// Sources holds every .java file of the helper.
//
//go:embed *.java
var Sources embed.FS
