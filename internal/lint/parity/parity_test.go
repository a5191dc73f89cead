package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestEveryJavaBehaviourHasItsTest(t *testing.T) {
	root, err := findRoot()
	require.NoError(t, err)
	var out strings.Builder
	err = run(&out, os.DirFS(root), java)
	require.NoError(t, err, out.String())
}

// fixture is a list and a repository in which every kind of line is met.
const fixture = `# a comment
SenderTest.testA Y now
SenderTest.testB A now
SenderTest.testC Y now Go has no such thing
SenderTest.testD Y transactions
SenderTest.testE A metrics
SenderTest.testF N none brokers do that

PoolTest.testA Y now
PoolTest.testB Y now
PoolTest.testC Y telemetry
ByteTest.testA Y beside
`

func repository(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

// outcome runs the program over the fixture's list and a repository of one test file with this text.
func outcome(text string) (out string, err error) {
	var b strings.Builder
	err = run(&b, repository(map[string]string{"a_test.go": "package a\n" + text}), fixture)
	return b.String(), err
}

const whole = `
// A word before.
//
// Java: SenderTest.testA, PoolTest.testA
// Java: ByteTest.testA
func TestOne() {
	for range []int{
		// Java: PoolTest.testB
		1,
	} {
	}
}

// Java: SenderTest.testA
func TestAgain() {}

var rows = []int{
	1, // Java: SenderTest.testB
}
`

func TestCoveredTestsAreCountedOnce(t *testing.T) {
	out, err := outcome(whole)
	require.NoError(t, err)
	require.Equal(t, `SenderTest                   2/3  left out: 1  later: 2 (transactions 1, metrics 1)  none: 1
  left out: SenderTest.testC: Go has no such thing
PoolTest                     2/2  later: 1 (telemetry 1)
all                          4/5  left out: 1  later: 3 (transactions 1, metrics 1, telemetry 1)  none: 1
`, out)
}

func TestMissingTestsAreNamed(t *testing.T) {
	out, err := outcome("// Java: SenderTest.testA\nfunc TestOne() {}\n")
	require.EqualError(t, err, "3 tests are missing without a reason")
	require.Contains(t, out, "SenderTest                   1/3")
	for _, name := range []string{"SenderTest.testB", "PoolTest.testA", "PoolTest.testB"} {
		require.Contains(t, out, "  missing: "+name+"\n")
	}
	require.NotContains(t, out, "missing: SenderTest.testC")
	last := out[strings.LastIndex(strings.TrimSuffix(out, "\n"), "\n")+1:]
	require.Contains(t, last, "all                          1/5")
}

func TestCommentsThatCannotCountAreFaults(t *testing.T) {
	for text, fault := range map[string]string{
		"// Java: SenderTest.testX\nfunc TestX() {}":                         "a_test.go:%: SenderTest.testX is not in java.txt",
		"// Java: SendrTest.testA\nfunc TestX() {}":                          "a_test.go:%: SendrTest.testA is not in java.txt",
		"// Java: SenderTest.testA, testB\nfunc TestX() {}":                  `a_test.go:%: "testB" is not File.method`,
		"// Java: SenderTest.testA is the model\nfunc TestX() {}":            `a_test.go:%: "SenderTest.testA is the model" is not File.method`,
		"// Java: SenderTest.testA,\n// SenderTest.testB\nfunc TestX() {}":   `a_test.go:%: "" is not File.method`,
		"// Java: SenderTest.testA\n\nfunc TestX() {}":                       "a_test.go:%: stands at no test",
		"// Java: SenderTest.testA\nfunc helper() {}":                        "a_test.go:%: stands at no test",
		"type x int\n// Java: SenderTest.testA\nfunc (x) TestX() {}":         "a_test.go:%: stands at no test",
		"// Java: SenderTest.testA\nconst x = 1":                             "a_test.go:%: stands at no test",
		"// Java: SenderTest.testC\nfunc TestX() {}":                         "a_test.go:%: SenderTest.testC needs no reason in java.txt any more",
		"func helper() {\n\t// Java: SenderTest.testA\n}\nfunc TestX() {}\n": "a_test.go:%: stands at no test",
	} {
		_, err := outcome(whole + text)
		require.Error(t, err, text)
		line := 1 + strings.Count("package a\n"+whole+text[:strings.Index(text, "// Java:")], "\n")
		require.Equal(t, strings.ReplaceAll(fault, "%", strconv.Itoa(line)), err.Error(), text)
	}
}

func TestOnlyTestFilesCount(t *testing.T) {
	var out strings.Builder
	err := run(&out, repository(map[string]string{
		"deep/down/a_test.go":  "package a\n" + whole,
		"a.go":                 "package a\n// Java: SenderTest.testX\nfunc TestX() {}",
		"testdata/a_test.go":   "not Go",
		".hidden/a_test.go":    "not Go",
		"deep/testdata/a.txt":  "// Java: SenderTest.testX",
		"notes_test.go.backup": "// Java: SenderTest.testX",
	}), fixture)
	require.NoError(t, err)
	require.ErrorContains(t, run(&out, repository(map[string]string{"a_test.go": "not Go"}), fixture), "a_test.go:1")
}

func TestAListThatIsWrongIsRefused(t *testing.T) {
	for line, fault := range map[string]string{
		"SenderTest.testZ Y":                        "want: File.method kind scope reason",
		"Sender.testZ Y now":                        "want: File.method kind scope reason",
		"SenderTest.testZ B now":                    "B is no kind",
		"SenderTest.testZ Y never":                  "never is no scope",
		"SenderTest.testZ N now":                    "kind N has nothing to cover: its scope is none",
		"SenderTest.testZ Y none":                   "scope none needs a reason",
		"SenderTest.testZ Y transactions with time": "scope transactions is reason enough",
		"SenderTest.testA Y now":                    "SenderTest.testA is listed twice",
	} {
		_, err := parseList(fixture + line)
		require.EqualError(t, err, "java.txt:13: "+fault)
	}
}

// The list is complete: as many tests as each of Java's files has.
func TestTheListHasAllTests(t *testing.T) {
	tests, err := parseList(java)
	require.NoError(t, err)
	counts := map[string]int{}
	for _, test := range tests {
		if test.scope != beside {
			counts[test.file]++
		}
	}
	require.Equal(t, map[string]int{"SenderTest": 76, "RecordAccumulatorTest": 35, "BufferPoolTest": 13, "ProducerBatchTest": 11,
		"TransactionManagerTest": 140, "KafkaProducerTest": 82, "DefaultRecordBatchTest": 22, "MemoryRecordsBuilderTest": 24}, counts)
}
