package main

import (
	"strings"
	"unicode"
)

// initialisms are the words of Kafka's names that Go writes in capitals.
var initialisms = map[string]string{
	"Api": "API",
	"Id":  "ID",
	"Ids": "IDs",
	"Isr": "ISR",
}

// goName turns a name of the JSON (LeaderIdAndEpoch) into Go (LeaderIDAndEpoch).
func goName(name string) string {
	ws := words(name)
	for i, w := range ws {
		if capital, ok := initialisms[w]; ok {
			ws[i] = capital
		}
	}
	return strings.Join(ws, "")
}

// fileName returns the file of a message: ProduceRequest is in produce_request_gen.go.
func fileName(jsonName string) string {
	return strings.ToLower(strings.Join(words(jsonName), "_")) + "_gen.go"
}

// words splits a camel case name in front of every capital: Enable2Pc is
// Enable2, Pc.
func words(name string) []string {
	var ws []string
	start := 0
	for i, r := range name {
		if i > start && unicode.IsUpper(r) {
			ws = append(ws, name[start:i])
			start = i
		}
	}
	return append(ws, name[start:])
}
