package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// The engine is the root package and network. Who starts a goroutine there, reads the clock, or sleeps on it is listed here with the number of
// places, because each of them is a promise about ownership and about cost: goroutines end where the comment at their start says, time comes in
// as an argument. A new place is a decision: take it, then write it down.
var engine = []string{".", "network"}

// budget is the places of one kind, by file and function.
type budget struct {
	kind  string
	at    func(n ast.Node) bool
	known map[string]int
}

var budgets = []budget{
	{
		kind: "starts a goroutine",
		at:   startsGoroutine,
		known: map[string]int{
			"engine.go newEngine":                     3, // dispatcher and sender, which engine.close waits for, and who looks at stores, which it stops
			"sender_seal.go sealCrew.offer":           1, // workers, for which sealCrew.end waits
			"engine_metrics.go reporting.poke":        1, // calls of reporters, until there is no change to report
			"engine_close.go engine.closeInside":      1, // what is left of a Close in a callback
			"engine_close.go pluginClose.begin":       1, // plug-ins' Close, which Close waits for
			"plugin.go guardApart":                    1, // user's code that may end its goroutine, which is waited for
			"dispatcher.go dispatcher.run":            1, // its successor, if a callback ends it
			"sender_losses.go lossLog.add":            1, // a timer, while records fail
			"sender_losses.go lossLog.minute":         1, // the next one
			"dispatcher.go dispatcher.startWatch":     1, // a timer, while callbacks run
			"dispatcher.go dispatcher.watchCallbacks": 1, // the next one
			"clock.go coarseClock.read":               1, // the ticker while sends are many
			"network/lifecycle.go Client.connect":     1, // a connection, whose end it posts
			"network/conn.go conn.run":                1, // its reader
			"network/renew.go conn.beginRenewal":      1, // a SASL mechanism that begins, which the connection waits for when it ends
			"network/hangup.go conn.speaksPlaintext":  1, // closes the connection if the client ends meanwhile
		},
	},
	{
		kind: "reads the clock",
		at:   func(n ast.Node) bool { return callsTime(n, "Now", "Since", "Until") },
		known: map[string]int{
			"sender.go sender.run":                              2, // once a turn; all else in the sender gets the time as an argument
			"inbox.go newInbox":                                 1,
			"inbox.go inbox.sleep":                              1,
			"clock.go coarseClock.read":                         1, // records' timestamps
			"clock.go coarseClock.fresh":                        1, // the ticker, and a Send that has waited
			"accumulator.go accumulator.openLocked":             1, // once a batch
			"bufferpool_share.go memoryShare.allocate":          2, // a Send that waits
			"bufferpool_share.go blockLimit.until":              1,
			"bufferpool_share.go blockLimit.waited":             1,
			"bufferpool_share.go blockLimit.over":               1, // a Send that waited in vain
			"engine_send.go engine.awaitTopic":                  3, // a Send that waits for metadata
			"bufferpool_share.go memoryShare.exhaustedError":    1, // a Send that waited in vain
			"metrics.go measures.called":                        1, // twice for the callbacks of a batch
			"dispatcher.go dispatcher.deliver":                  1,
			"metrics.go measures.sealed":                        1, // twice for a batch that is compressed
			"batch_seal.go sealer.compress":                     1,
			"metrics.go measures.took":                          1, // calls that wait, by how long they took
			"engine_close.go engine.flush":                      1,
			"engine_transaction.go engine.transact":             1,
			"producer_transaction.go Producer.BeginTransaction": 1,
			"engine_metrics.go newReporting":                    1,
			"engine_inspect.go engine.inspect":                  1, // a caller who looks into the producer
			"producer.go Producer.Metrics":                      1,
			"producer.go Producer.sendThrough":                  1, // a Send that failed
			"producer.go Producer.goroutineEnded":               1,
			"network/versions.go conn.ask":                      1, // once for a connection
			"engine_holdup.go answers.ask":                      1, // a call whose time is over
			"errors_context.go endedLate":                       1, // a wait whose deadline is over
			"engine_topic.go engine.awaitAnswer":                3, // a call that waits for a broker's answer
			"engine_topic.go engine.topicErrorAtOnce":           1, // only if the topic has a fault
			"network/writer.go conn.markWritten":                1, // once a write
			"network/writer.go conn.markMoved":                  1, // once 256 KiB
			"network/conn.go conn.open":                         1, // deadlines of setting up, on the connection's goroutine
			"network/dial.go conn.dial":                         1,
			"network/secure_explain.go tlsLine.now":             1, // for the text of an error
			"network/authenticate.go conn.authenticate":         1, // once for a connection
			"network/renew.go conn.keepSession":                 2, // once a turn of the writer, if the node's session ends
			"network/renew.go conn.renew":                       2, // once in a session
			"network/renew.go conn.await":                       2,
			"network/catchup.go attentive.look":                 3, // on the reader, after a standstill
			"network/catchup.go unhurried.Read":                 2,
			"engine_topic.go engine.topicTimeout":               1, // only if the partition does not exist
			"engine_topic.go topicState.partitionErrorAtOnce":   1, // and here
		},
	},
	{
		kind: "waits for the clock",
		at: func(n ast.Node) bool {
			return callsTime(n, "After", "AfterFunc", "NewTicker", "NewTimer", "Sleep", "Tick")
		},
		known: map[string]int{
			"sender.go sender.run":                    1, // the one wait of the sender
			"clock.go coarseClock.tick":               1,
			"bufferpool.go bufferPool.waiterLocked":   1, // a Send that waits
			"engine_send.go engine.awaitTopic":        1,
			"engine_topic.go engine.awaitAnswer":      1,
			"network/renew.go conn.await":             1, // an answer of SASL on a live connection
			"accumulator_incomplete.go await":         1, // a call whose time is over
			"sender_losses.go lossLog.add":            1, // once a minute while records fail
			"sender_losses.go lossLog.minute":         1,
			"dispatcher.go dispatcher.startWatch":     1, // a look at callbacks that do not return
			"dispatcher.go dispatcher.watchCallbacks": 1,
			"producer_tx.go sleep":                    1, // InTransaction between its attempts
		},
	},
	{
		kind:  "relies on the garbage collector",
		at:    waitsForCollector,
		known: map[string]int{},
	},
}

// Engine compares what the engine does with the lists.
func Engine(t *Tree) []string { return checkBudgets(t, budgets) }

func checkBudgets(t *Tree, budgets []budget) []string {
	var faults []string
	for _, b := range budgets {
		found := map[string][]string{}
		for _, s := range t.sources {
			if s.nested || s.test || !slices.Contains(engine, s.dir) {
				continue
			}
			s.enclosing(func(fn string, n ast.Node) {
				if b.at(n) {
					place := s.name + " " + fn
					found[place] = append(found[place], t.at(n))
				}
			})
		}
		for _, place := range slices.Sorted(maps.Keys(found)) {
			if n, known := len(found[place]), b.known[place]; n > known {
				faults = append(faults, fmt.Sprintf("%s: %s %s %d times, %d known", strings.Join(found[place], ", "), place, b.kind, n, known))
			}
		}
		for _, place := range slices.Sorted(maps.Keys(b.known)) {
			if n := len(found[place]); n < b.known[place] {
				faults = append(faults, fmt.Sprintf("%s %s %d times, %d known: lower the number in internal/lint/engine.go", place, b.kind, n, b.known[place]))
			}
		}
	}
	return faults
}

// startsGoroutine finds go statements, calls of a method Go (sync.WaitGroup's) and functions that run their argument on a goroutine.
func startsGoroutine(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "Go" || f.Sel.Name == "AfterFunc")
	}
	return false
}

// waitsForCollector finds calls of runtime.SetFinalizer and runtime.AddCleanup.
func waitsForCollector(n ast.Node) bool {
	f, ok := n.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "SetFinalizer" && f.Sel.Name != "AddCleanup" {
		return false
	}
	pkg, ok := f.X.(*ast.Ident)
	return ok && pkg.Name == "runtime"
}

// callsTime finds calls of functions of package time.
func callsTime(n ast.Node, names ...string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := f.X.(*ast.Ident)
	return ok && pkg.Name == "time" && slices.Contains(names, f.Sel.Name)
}
