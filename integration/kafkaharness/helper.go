package kafkaharness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/quill-kafka/quill/integration/java"
)

// Helper is the Java process that holds Kafka's own clients and tools. Calls are served one after another
// and may come from any goroutine.
type Helper struct {
	process *process
	in      io.WriteCloser
	answers chan answer   // one for each call, in order; closed when the process ends
	turn    chan struct{} // holds one token: whoever has it may write a call and wait for its answer
	log     string        // file of the process's standard error
}

// HelperError is an error that Kafka's Java code raised.
type HelperError struct {
	Command string
	Class   string // simple name of the Java class
	Message string
}

func (e *HelperError) Error() string {
	return fmt.Sprintf("helper %s: %s: %s", e.Command, e.Class, e.Message)
}

// answer is what one call brings back.
type answer struct {
	rows [][]string
	err  *HelperError
}

// StartHelper starts the process; its log goes to dir. It is ended by Close, or with the test process.
func StartHelper(tools Tools, dir string) (*Helper, error) {
	config, err := writeLogConfig(dir, "helper-log4j2.properties", "WARN", "SYSTEM_ERR")
	if err != nil {
		return nil, err
	}
	h := &Helper{answers: make(chan answer), turn: make(chan struct{}, 1), log: filepath.Join(dir, "helper.log")}
	h.turn <- struct{}{}
	logFile, err := os.Create(h.log)
	if err != nil {
		return nil, err
	}
	defer logFile.Close() // the child has its own descriptor
	cmd := exec.Command(tools.Java, "-Xmx384m", "-XX:+UseSerialGC", "-Dlog4j2.configurationFile="+config,
		"-cp", classPath(tools.Jars, tools.Classes), java.Main)
	cmd.Stderr = logFile
	if h.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: the one of exec.Cmd would be closed as soon as the process ends, unread lines or not.
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer childOut.Close()
	cmd.Stdout = childOut
	if h.process, err = startProcess(cmd); err != nil {
		out.Close()
		return nil, err
	}
	go h.read(out) // ends with the process
	return h, nil
}

// Close ends the process. Calls under way fail.
func (h *Helper) Close() error { return h.process.kill() }

// Call runs a command and returns its rows. It waits for its turn, then for the answer, until ctx ends;
// an answer that did not come in time ends the process, since later ones could not be told apart.
func (h *Helper) Call(ctx context.Context, command string, words ...string) ([][]string, error) {
	select {
	case <-h.turn:
		defer func() { h.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, fmt.Errorf("helper %s: %w", command, context.Cause(ctx))
	}
	var line strings.Builder
	line.WriteString(url.QueryEscape(command))
	for _, word := range words {
		line.WriteString("\t" + url.QueryEscape(word))
	}
	if _, err := io.WriteString(h.in, line.String()+"\n"); err != nil {
		return nil, fmt.Errorf("helper %s: %w\n%s", command, err, tail(h.log, 20))
	}
	select {
	case a, ok := <-h.answers:
		if !ok {
			return nil, fmt.Errorf("helper %s: the process ended\n%s", command, tail(h.log, 20))
		}
		if a.err != nil {
			a.err.Command = command
			return a.rows, a.err
		}
		return a.rows, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("helper %s: %w\n%s", command, context.Cause(ctx), tail(h.log, 20)), h.Close())
	}
}

// read turns the process's output into answers.
func (h *Helper) read(out io.ReadCloser) {
	defer out.Close()
	defer close(h.answers)
	lines := bufio.NewReaderSize(out, 1<<16)
	for {
		a, err := readAnswer(lines)
		if err != nil {
			return
		}
		select {
		case h.answers <- a:
		case <-h.process.ended: // the caller gave up and ended the process
			return
		}
	}
}

// readAnswer reads the lines of one answer.
func readAnswer(lines *bufio.Reader) (answer, error) {
	var a answer
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return a, err
		}
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		switch kind {
		case ".":
			return a, nil
		case "+", "!":
			words, err := unescape(strings.Split(rest, "\t"))
			if err != nil {
				return a, err
			}
			if kind == "+" {
				a.rows = append(a.rows, words)
				continue
			}
			a.err = &HelperError{Class: words[0], Message: strings.Join(words[1:], " ")}
			return a, nil
		default:
			return a, fmt.Errorf("helper answered %q", line)
		}
	}
}

func unescape(words []string) ([]string, error) {
	for i, word := range words {
		plain, err := url.QueryUnescape(word)
		if err != nil {
			return nil, err
		}
		words[i] = plain
	}
	return words, nil
}
