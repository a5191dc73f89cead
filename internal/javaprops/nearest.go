package javaprops

import "strings"

// foreignPrefixes are the prefixes that other libraries put before Kafka's names; the longer ones come first.
var foreignPrefixes = []string{"spring.kafka.producer.properties.", "spring.kafka.properties.", "spring.kafka.producer.", "spring.kafka.", "kafka.producer.", "kafka.", "producer."}

// Nearest returns the one of the known names that name was most likely meant to be, if one is close.
func Nearest(name string, known []string) (string, bool) {
	normal := strings.ToLower(strings.NewReplacer("_", ".", "-", ".").Replace(name))
	for _, prefix := range foreignPrefixes {
		if rest, ok := strings.CutPrefix(normal, prefix); ok {
			normal = rest
			break
		}
	}
	if len(normal) > 100 {
		return "", false
	}
	best, bestDistance := "", max(1, min(4, len(normal)/4))+1
	for _, candidate := range known {
		if d := editDistance(normal, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best, best != ""
}

// editDistance counts the bytes to insert, delete or replace, or neighbours to swap, to get from a to b.
func editDistance(a, b string) int {
	var older []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
		older, prev = prev, row
	}
	return prev[len(b)]
}
