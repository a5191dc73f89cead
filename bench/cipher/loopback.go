package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/quill-kafka/quill/bench/driver"
	"github.com/quill-kafka/quill/quilltest"
)

func overTCP(s shape) (time.Duration, error) { return overLoopback(s, "plain") }
func overTLS(s shape) (time.Duration, error) { return overLoopback(s, "tls") }

// overLoopback returns what it costs to write all records of s to a process that reads them.
func overLoopback(s shape, kind string) (cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	size, n := write, int(float64(s.records)*s.bytes)/write
	if s.answer > 0 {
		size, n = int(s.bytes), s.records
	}
	nc, stop, err := connect(ctx, kind, size, s.answer)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	request, answer := newBuffer(), make([]byte, s.answer)
	exchange := func(n int) error {
		for range n {
			if _, err := nc.Write(request.take(size)); err != nil {
				return err
			}
			if _, err := io.ReadFull(nc, answer); err != nil {
				return err
			}
		}
		return nil
	}
	if err := exchange(min(n, 1000)); err != nil { // the handshake, and records whose size grows at first
		return 0, err
	}
	before := used()
	err = exchange(n)
	return used() - before, err
}

// connect starts the process that reads and connects to it. stop closes the connection, which ends the process.
func connect(ctx context.Context, kind string, request, answer int) (nc net.Conn, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c := exec.CommandContext(ctx, self, "-sink="+kind, "-request="+strconv.Itoa(request), "-answer="+strconv.Itoa(answer))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return nil, nil, err
	}
	nc, err = dial(ctx, kind, out)
	if err != nil {
		return nil, nil, errors.Join(err, c.Process.Kill(), c.Wait())
	}
	return nc, func() error { return errors.Join(nc.Close(), c.Wait()) }, nil
}

// dial reads the sink's line, its address and its authority, and connects.
func dial(ctx context.Context, kind string, said io.Reader) (net.Conn, error) {
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return nil, err
	}
	addr, authority, _ := strings.Cut(strings.TrimSpace(line), " ")
	if kind == "plain" {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	pem, err := base64.StdEncoding.DecodeString(authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	d := tls.Dialer{Config: driver.OnlyAES128(&tls.Config{RootCAs: pool})}
	return d.DialContext(ctx, "tcp", addr)
}

// sink serves one connection, which begins with a line to out that says where. It returns when the other side closes.
func sink(secure bool, request, answer int, out io.Writer) error {
	authority := quilltest.NewCA()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, ln.Addr(), base64.StdEncoding.EncodeToString(authority.PEM())); err != nil {
		return err
	}
	nc, err := ln.Accept()
	if err = errors.Join(err, ln.Close()); err != nil {
		return err
	}
	if secure {
		nc = tls.Server(nc, driver.OnlyAES128(authority.ServerConfig()))
	}
	buf, reply := make([]byte, request), make([]byte, answer)
	for {
		switch _, err := io.ReadFull(nc, buf); {
		case err == io.EOF:
			return nc.Close()
		case err != nil:
			return err
		}
		if answer > 0 {
			if _, err := nc.Write(reply); err != nil {
				return err
			}
		}
	}
}
