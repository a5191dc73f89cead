package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePictureIsTrue(t *testing.T) {
	tree := repository(t)
	picture, faults := Picture(tree)
	report(t, faults)
	text, err := tree.read(pictureFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(text, pictureBegin)
	require.True(t, ok, "%s has no picture", pictureFile)
	drawn, after, ok := strings.Cut(rest, pictureEnd)
	require.True(t, ok, "%s: the picture has no end", pictureFile)
	if *update {
		root, err := findRoot()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, pictureFile), []byte(before+pictureBegin+picture+pictureEnd+after), 0o644))
		return
	}
	require.Equal(t, picture, drawn, "the rooms or the way of a record have changed: go test ./internal/lint -update, and look at the difference")
}

func TestAWayThatIsGoneIsFoundOut(t *testing.T) {
	tree := plant(t, map[string]string{
		"engine.go":      "package p\n\nfunc (e *engine) send() { e.acc.add() }\n\nfunc (e *engine) wait() {}\n",
		"accumulator.go": "package p\n\nfunc (a *accumulator) add() {}\n",
		"network/a.go":   "package network\n\nfunc Send() { add() }\n",
	})
	drawn, faults := drawWay(tree, []stage{{"caller", "\nengine.send\n\taccumulator.add", "a queue"}, {"sender", "\nSend", ""}})
	require.Empty(t, faults)
	require.Equal(t, `caller
  engine.send                                            engine       engine.go
    accumulator.add                                      accumulator  accumulator.go
      |
      v  a queue
sender
  Send                                                   network      network/a.go
`, drawn)
	_, faults = drawWay(tree, []stage{{"caller", "\nengine.wait\n\taccumulator.add", ""}})
	require.Equal(t, []string{"the way of a record: engine.wait does not call accumulator.add any more: mend recordWay in internal/lint/picture.go"}, faults)
	_, faults = drawWay(tree, []stage{{"caller", "\nengine.sendAll", ""}})
	require.Equal(t, []string{"the way of a record: there is no function engine.sendAll any more: mend recordWay in internal/lint/picture.go"}, faults)
}
