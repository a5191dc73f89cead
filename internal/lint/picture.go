package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// The picture in internal/DESIGN.md: which room names which, and the way of a record from the call of Send to its callback. Both are made
// from the sources, so that they stay true: go test ./internal/lint -update.
const (
	pictureFile  = "internal/DESIGN.md"
	pictureBegin = "<!-- picture: made by go test ./internal/lint -update -->\n```\n"
	pictureEnd   = "```\n<!-- end of picture -->"
)

// stage is what one goroutine does on the way of a record.
type stage struct {
	goroutine string
	calls     string // a function a line, deeper by a tab if the one above calls it
	handOver  string // how it goes on
}

var recordWay = []stage{
	{"the caller's goroutine", `
Producer.SendFunc
	Producer.sendFast
		engine.sendFast
			openBatch.add
				WriteRecord
	Producer.sendSlow
		Producer.send
			Producer.sendThrough
				Producer.sendRecord
					engine.topicFor
					engine.send
						accumulator.append
							memoryShare.tryAllocate
							accumulator.place
								accumulator.placeLocked
									accumulator.openLocked
									openBatch.tryAdd
								inbox.notify`, "the inbox, once a batch"},
	{"the sender", `
sender.run
	sender.step
		sender.act
			sender.drainAll
				sender.drain
					sender.build
						sender.take
					sender.send
						sealCrew.offer
						Client.Send`, "the connection's queue, once a request"},
	{"a connection's writer", `
conn.write
	conn.writeQueued
		conn.writeTaken
			conn.join
				Frame.add
					produceRequest.Encode
						sealCrew.seal
							batch.seal`, "the socket"},
	{"a connection's reader", `
conn.read
	conn.answer
		conn.deliver`, "Config.Post, which is the inbox"},
	{"the sender", `
sender.takeEvents
	Client.Handle
	sender.finishAll
		sender.finishProduce
			sender.finishBatch
				decide
				sender.apply
					sender.conclude
						sender.complete
							dispatcher.push`, "the dispatcher's queue, once a batch"},
	{"the dispatcher", `
dispatcher.run
	dispatcher.deliver
		dispatcher.callUntil
		dispatcher.release
			result.finish
			batch.drop
				memoryShare.release`, ""},
}

// Picture returns the text between pictureBegin and pictureEnd.
func Picture(t *Tree) (string, []string) {
	found, faults := rooms.arrows(t)
	way, more := drawWay(t, recordWay)
	return drawRooms(found) + "\n" + way, append(faults, more...)
}

// drawRooms has a line for each room, with a mark for each one that it names. Those that name many and that few name are on top, so that
// a mark left of the diagonal is a room that looks up.
func drawRooms(found map[string]map[string][]string) string {
	names := slices.Sorted(maps.Keys(rooms))
	named := map[string]int{}
	for _, row := range found {
		for to := range row {
			named[to]++
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return named[a] - len(found[a]) - named[b] + len(found[b]) })
	var b strings.Builder
	for i, name := range names {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", 13)+strings.Repeat("|  ", i), name)
	}
	for i, from := range names {
		fmt.Fprintf(&b, "%-11s", from)
		for j, to := range names {
			switch {
			case i == j:
				b.WriteString("  \\")
			case len(found[from][to]) > 0:
				b.WriteString("  o")
			default:
				b.WriteString("  .")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// drawWay has a line for each function, with its place. A call that is not there any more is a fault.
func drawWay(t *Tree, stages []stage) (string, []string) {
	functions := map[string]*function{}
	for _, s := range t.sources {
		if s.test || !slices.Contains([]string{".", "network", "protocol"}, s.dir) {
			continue
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				functions[funcName(f)] = &function{f, s}
			}
		}
	}
	var b strings.Builder
	var faults []string
	for _, stage := range stages {
		fmt.Fprintf(&b, "%s\n", stage.goroutine)
		var above []*function // by depth
		for line := range strings.Lines(strings.TrimPrefix(stage.calls, "\n")) {
			name := strings.TrimSpace(line)
			depth := len(line) - len(strings.TrimLeft(line, "\t"))
			f := functions[name]
			switch {
			case f == nil:
				faults = append(faults, fmt.Sprintf("the way of a record: there is no function %s any more: mend recordWay in internal/lint/picture.go", name))
				return "", faults
			case depth > 0 && !above[depth-1].names(name):
				faults = append(faults, fmt.Sprintf("the way of a record: %s does not call %s any more: mend recordWay in internal/lint/picture.go", funcName(above[depth-1].decl), name))
			}
			above = append(above[:depth], f)
			fmt.Fprintf(&b, "  %-54s %-12s %s\n", strings.Repeat("  ", depth)+name, f.room(), f.in.name)
		}
		if stage.handOver != "" {
			fmt.Fprintf(&b, "      |\n      v  %s\n", stage.handOver)
		}
	}
	return b.String(), faults
}

// function is one of the way, with its file.
type function struct {
	decl *ast.FuncDecl
	in   *source
}

// room returns the room that f belongs to, or its package outside of the root.
func (f *function) room() string {
	if f.in.dir != "." {
		return f.in.dir
	}
	return rooms.of(f.in.name)
}

// names reports whether f's body has the last part of the name.
func (f *function) names(name string) (found bool) {
	last := name[strings.LastIndex(name, ".")+1:]
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == last
		return !found
	})
	return found
}
