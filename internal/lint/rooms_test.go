package lint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoomsNameEachOtherAsListed(t *testing.T) { report(t, Rooms(repository(t))) }

func TestTheListingTellsTheRooms(t *testing.T) { report(t, Listing(repository(t))) }

func TestALongListingIsFoundOut(t *testing.T) {
	tree := plant(t, map[string]string{
		"batch.go":              "package p\n",
		"batch_queue.go":        "package p\n",
		"batch_test.go":         "package p\n",
		"batch_reading_test.go": "package p\n",
		"bench_batch_test.go":   "package p\n",
		"testkit_rig_test.go":   "package p\n",
		"example_test.go":       "package p\n",
		"stray_test.go":         "package p\n",
		"far/away_test.go":      "package far\n",
	})
	stray := "stray_test.go: the test file belongs to no room: name it by one of those in internal/lint/rooms.go, or by one of bench, testkit, example; a black-box test goes to internal/blackbox"
	code := "the root directory has 2 code files, at most 1 are to be there: put a small one into another of its room"
	tests := "the root directory has 6 test files, at most 5 are to be there: put a small one into another of its room, or black-box tests into internal/blackbox"
	words := house{"batches": {[]string{"batch"}, nil}}
	require.Equal(t, []string{stray}, checkListing(tree, words, 2, 6))
	require.Equal(t, []string{stray, code, tests}, checkListing(tree, words, 1, 5))
}

func TestRoomsAreFoundOut(t *testing.T) {
	tree := plant(t, map[string]string{
		"memory.go":      "package p\n\ntype pool struct{ free int }\n\nfunc (p *pool) take() *batch { p.free--; return nil }\n",
		"batch.go":       "package p\n\nimport \"sync\"\n\ntype batch struct {\n\tsync.Mutex\n\tp *pool\n}\n",
		"batch_queue.go": "package p\n\nfunc (b *batch) end() { b.p.free++ }\n",
		"batch_test.go":  "package p\n\nfunc test() { _ = stray }\n",
		"stray.go":       "package p\n\nvar stray = 1\n",
	})
	stray := "stray.go: the file belongs to no room: name it by one of those in internal/lint/rooms.go"
	for _, row := range []struct {
		memory, batches []string // what they may name
		faults          []string
	}{
		{[]string{"batches"}, []string{"memory"}, []string{stray}},
		{nil, []string{"memory"}, []string{stray, "memory.go:5 batch: memory may not name what belongs to batches (1 places)"}},
		{[]string{"batches"}, nil, []string{stray, "batch.go:7 pool, batch_queue.go:3 free: batches may not name what belongs to memory (2 places)"}},
		{[]string{"batches"}, []string{"memory", "stray"}, []string{stray, "batches names nothing of stray any more: take it off the table in internal/lint/rooms.go"}},
	} {
		require.Equal(t, row.faults, checkRooms(tree, house{"memory": {[]string{"memory"}, row.memory}, "batches": {[]string{"batch"}, row.batches}}))
	}
}
