// Command cipher prints the limits that no producer with TLS can pass: what it costs one process to encrypt and to write the bytes
// of the workloads W1bT, W2bT and W7T, if it does nothing else.
//
//	go run ./cipher                         # with the sizes that quill's requests have; half a minute
//	go run ./cipher -results results.jsonl  # with those of quill's runs in the file; and each peer's share of the limit
//
// The figures are records per CPU-second, as everywhere in bench: of the process that writes. Who reads is another process.
//
//	AES alone    AES-128-GCM over records of TLS, in memory
//	TCP alone    write the bytes to a connection over loopback, without TLS
//	TLS          the same with crypto/tls, 64 KiB to a write: TLS 1.3 with AES-128-GCM
//
// What is written comes from 32 MiB in turns, as from a producer's buffer, since memory out of the cache costs more to encrypt.
// In W7T a record is a request that is waited for, so its answer is read, and decrypted, as well.
package main

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"

	"github.com/quill-kafka/quill/bench/driver"
)

// shape is what a workload writes: so many bytes to a record, on average, and whether each waits for an answer.
type shape struct {
	name    string
	bytes   float64 // to a record, with all that is around it in its request
	records int     // in one measuring
	answer  int     // bytes of the answer to each record; 0: none is waited for
}

// shapes has the sizes that quill's requests had with the null cluster.
func shapes() []shape {
	return []shape{
		{name: "W1bT", bytes: 107.1, records: 10_000_000},
		{name: "W2bT", bytes: 1032.1, records: 1_500_000},
		{name: "W7T", bytes: 242, records: 40_000, answer: 67},
	}
}

const (
	tlsRecord = 16 << 10      // plaintext of a full record of TLS
	write     = 4 * tlsRecord // to one write: as quill's writer does
	overhead  = 1 + 16        // type and tag of a record of TLS 1.3
)

func main() {
	results := flag.String("results", "", "results file of run: take quill's sizes from it, and print each peer's share of the limit")
	rounds := flag.Int("rounds", 3, "how often each is measured; the best counts")
	scale := flag.Float64("scale", 1, "multiplies the number of records")
	serve := flag.String("sink", "", "be the process that reads: plain or tls (used by the command itself)")
	request := flag.Int("request", write, "bytes after which the sink answers")
	answer := flag.Int("answer", 0, "bytes of the sink's answer; if 0, none")
	flag.Parse()
	var err error
	if *serve != "" {
		err = sink(*serve == "tls", *request, *answer, os.Stdout)
	} else {
		err = run(*results, *rounds, *scale, os.Stdout)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(results string, rounds int, scale float64, out io.Writer) error {
	all, err := read(results)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "| workload | bytes/record | AES alone | TCP alone | TLS |%s\n|---|---|---|---|---|%s\n", all.heads(), all.rule())
	for _, s := range shapes() {
		s.bytes = cmp.Or(all.bytes(s.name), s.bytes)
		s.records = max(1, int(float64(s.records)*scale))
		var best [3]float64
		for range rounds {
			for i, measure := range []func(shape) (time.Duration, error){alone, overTCP, overTLS} {
				cpu, err := measure(s)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				best[i] = max(best[i], float64(s.records)/cpu.Seconds())
			}
		}
		_, _ = fmt.Fprintf(out, "| %s | %.0f | %s | %s | %s |%s\n", s.name, s.bytes, millions(best[0]), millions(best[1]), millions(best[2]), all.shares(s.name, best[2]))
	}
	return nil
}

// millions prints records per CPU-second.
func millions(v float64) string {
	if v < 1e6 {
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return fmt.Sprintf("%.2f M", v/1e6)
}

// buffer is what is written, piece by piece.
type buffer struct {
	all  []byte
	next int
}

func newBuffer() *buffer {
	b := &buffer{all: make([]byte, 32<<20)}
	for i := range b.all {
		b.all[i] = byte(i) // touched, or all of it would be one page of zeros
	}
	return b
}

func (b *buffer) take(n int) []byte {
	if b.next+n > len(b.all) {
		b.next = 0
	}
	b.next += n
	return b.all[b.next-n : b.next]
}

// alone returns what AES-128-GCM costs for all records of s.
func alone(s shape) (time.Duration, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return 0, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return 0, err
	}
	var nonce [12]byte
	var header [5]byte
	size, n := tlsRecord, int(float64(s.records)*s.bytes)/tlsRecord
	if s.answer > 0 {
		size, n = int(s.bytes), s.records
	}
	plain, sealed := newBuffer(), make([]byte, 0, size+overhead)
	answer := gcm.Seal(nil, nonce[:], make([]byte, s.answer+1), header[:])
	opened := make([]byte, 0, s.answer+1)
	before := used()
	for range n {
		sealed = gcm.Seal(sealed[:0], nonce[:], plain.take(size), header[:])
		if s.answer > 0 {
			if opened, err = gcm.Open(opened[:0], nonce[:], answer, header[:]); err != nil {
				return 0, err
			}
		}
	}
	return used() - before, nil
}

// used is the processor time of this process so far.
func used() time.Duration {
	user, system := driver.CPUTime()
	return user + system
}

// runs are the lines of a results file that count, of the workloads with TLS.
type runs []outcome

// outcome is what this command reads of a line.
type outcome struct {
	Workload string        `json:"workload"`
	Peer     string        `json:"peer"`
	OK       bool          `json:"ok"`
	Result   driver.Result `json:"r"`
	Null     *struct {
		Records int64 `json:"records"`
		Bytes   int64 `json:"bytes"`
	} `json:"null"`
}

func read(file string) (all runs, err error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for dec := json.NewDecoder(f); ; {
		var o outcome
		switch err := dec.Decode(&o); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if o.OK && o.Null != nil && o.Null.Records > 0 && slices.ContainsFunc(shapes(), func(s shape) bool { return s.name == o.Workload }) {
			all = append(all, o)
		}
	}
}

// bytes returns how many bytes a record of quill's had, with its share of the request; 0 if quill did not play it.
func (all runs) bytes(workload string) float64 {
	for _, o := range all {
		if o.Workload == workload && o.Peer == "quill" {
			return float64(o.Null.Bytes) / float64(o.Null.Records)
		}
	}
	return 0
}

// peers in the order in which they first played.
func (all runs) peers() (names []string) {
	for _, o := range all {
		if !slices.Contains(names, o.Peer) {
			names = append(names, o.Peer)
		}
	}
	return names
}

func (all runs) heads() (s string) {
	for _, p := range all.peers() {
		s += fmt.Sprintf(" %s, share of TLS |", p)
	}
	return s
}

func (all runs) rule() (s string) {
	for range all.peers() {
		s += "---|"
	}
	return s
}

// shares prints each peer's median by the limit.
func (all runs) shares(workload string, limit float64) (s string) {
	for _, p := range all.peers() {
		var v []float64
		for _, o := range all {
			if o.Workload == workload && o.Peer == p {
				v = append(v, o.Result.PerCPU)
			}
		}
		if len(v) == 0 {
			s += " – |"
			continue
		}
		slices.Sort(v)
		s += fmt.Sprintf(" %s, %.0f %% |", millions(v[len(v)/2]), 100*v[len(v)/2]/limit)
	}
	return s
}
