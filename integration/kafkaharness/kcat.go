package kafkaharness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/quill-kafka/quill/integration/ledger"
)

// Kcat is the kcat command: librdkafka, a reader and writer that shares nothing with Java or with us.
type Kcat struct{ path string }

// FindKcat finds the command. On a Debian where we are root it is installed if missing.
func FindKcat(ctx context.Context) (Kcat, error) {
	if path, err := exec.LookPath("kcat"); err == nil {
		return Kcat{path}, nil
	}
	missing := &MissingError{"kcat", "read with librdkafka (Debian package kcat)"}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Getuid() != 0 {
		return Kcat{}, missing
	}
	cmd := exec.CommandContext(ctx, apt, "install", "-y", "--no-install-recommends", "kcat")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if err := run(cmd); err != nil {
		return Kcat{}, fmt.Errorf("%w: %w", missing, err)
	}
	path, err := exec.LookPath("kcat")
	if err != nil {
		return Kcat{}, missing
	}
	return Kcat{path}, nil
}

// kcatFormat prints partition, offset, timestamp, lengths of key (-1: null) and value, then key and value, with a tab between.
const kcatFormat = `%p\t%o\t%T\t%K\t%S\t%k\t%s\n`

// Rows reads a whole topic, up to its present end. Values and keys may hold any bytes; headers are not read.
// The process ends with the sequence or with ctx.
func (k Kcat) Rows(ctx context.Context, bootstrap []string, topic string) iter.Seq2[ledger.Row, error] {
	return k.IsolatedRows(ctx, bootstrap, topic, ReadUncommitted)
}

// IsolatedRows is Rows of what a reader of that isolation sees.
func (k Kcat) IsolatedRows(ctx context.Context, bootstrap []string, topic string, isolation Isolation) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		cmd := exec.CommandContext(ctx, k.path, "-b", strings.Join(bootstrap, ","), "-t", topic,
			"-C", "-e", "-q", "-o", "beginning", "-X", "check.crcs=true", "-X", "isolation.level="+string(isolation), "-f", kcatFormat)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			yield(ledger.Row{}, fmt.Errorf("kcat: %w", err))
			return
		}
		goOn := parseKcat(out, yield)
		if !goOn {
			cancel()
		}
		if err := cmd.Wait(); err != nil && goOn {
			yield(ledger.Row{}, fmt.Errorf("kcat: %w\n%s", err, said.Bytes()))
		}
	}
}

// parseKcat yields rows until the end, and tells whether it came to a good one.
func parseKcat(out io.Reader, yield func(ledger.Row, error) bool) bool {
	in := bufio.NewReaderSize(out, 1<<20)
	for n := 0; ; n++ {
		row, err := readKcatRow(in)
		if err == io.EOF {
			return true
		}
		if err != nil {
			yield(row, fmt.Errorf("kcat row %d: %w", n, err))
			return false
		}
		if !yield(row, nil) {
			return false
		}
	}
}

// readKcatRow reads one record in kcatFormat. io.EOF, bare, is the end between two records.
func readKcatRow(in *bufio.Reader) (ledger.Row, error) {
	var numbers [5]int64
	for i := range numbers {
		word, err := in.ReadString('\t')
		if err == io.EOF && i == 0 && word == "" {
			return ledger.Row{}, io.EOF
		}
		if err != nil {
			return ledger.Row{}, fmt.Errorf("number %d: %w", i, noEOF(err))
		}
		if numbers[i], err = strconv.ParseInt(strings.TrimSuffix(word, "\t"), 10, 64); err != nil {
			return ledger.Row{}, err
		}
	}
	key, err := readPart(in, numbers[3], '\t')
	if err != nil {
		return ledger.Row{}, fmt.Errorf("key: %w", err)
	}
	value, err := readPart(in, numbers[4], '\n')
	if err != nil {
		return ledger.Row{}, fmt.Errorf("value: %w", err)
	}
	return ledger.NewRow(int32(numbers[0]), numbers[1], numbers[2], key, value, nil), nil
}

// readPart reads bytes of the given length (-1: null, nothing) and the byte that ends them.
func readPart(in *bufio.Reader, length int64, end byte) ([]byte, error) {
	var part []byte
	if length >= 0 {
		part = make([]byte, length)
		if _, err := io.ReadFull(in, part); err != nil {
			return nil, noEOF(err)
		}
	}
	b, err := in.ReadByte()
	if err != nil {
		return nil, noEOF(err)
	}
	if b != end {
		return nil, fmt.Errorf("%q where %q belongs", b, end)
	}
	return part, nil
}

// noEOF makes an end in the middle an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write has kcat produce records to a topic, one for each line "key<TAB>value". Settings are librdkafka's, "name=value".
func (k Kcat) Write(ctx context.Context, bootstrap []string, topic string, lines io.Reader, settings ...string) error {
	args := []string{"-b", strings.Join(bootstrap, ","), "-t", topic, "-P", "-K", `\t`}
	for _, setting := range settings {
		args = append(args, "-X", setting)
	}
	cmd := exec.CommandContext(ctx, k.path, args...)
	cmd.Stdin = lines
	return run(cmd)
}
