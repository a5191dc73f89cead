package lint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsWithoutAPartitionAreFound(t *testing.T) {
	tree := plant(t, map[string]string{
		"a.go":                     "package quill\n\nvar a = &Error{Op: \"send\", Partition: -1, Node: -1}\nvar b = newError(Error{Op: \"send\"})\nvar c = Error{Partition: 1}\nvar d = RecordMetadata{Partition: -1}\n",
		"a_test.go":                "package quill\n\nvar a = &Error{Partition: -1}\n",
		"network/b.go":             "package network\n\nvar a = &Error{Partition: -1}\n",
		"quilltest/quillmock/c.go": "package quillmock\n\nvar a = &quill.Error{Partition: -1}\n",
	})
	require.Equal(t, []string{
		"a.go:3: an Error with Partition: -1 is made by newError or nodeError",
		"quilltest/quillmock/c.go:3: an Error with Partition: -1 is made by newError or nodeError",
	}, Literals(tree))
}
