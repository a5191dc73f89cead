package kafkaharness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is one broker and controller. Its methods may be called concurrently for different nodes, not for the same.
type Node struct {
	ID   int32
	Addr string // of the client listener

	controllerPort int
	further        []int // ports of Options.Listeners
	dir            string
	tools          Tools
	heap           string
	flags          []string
	process        *process // nil before the first start
	logStart       int64    // size of the log when the process was started
}

// ControllerAddr is the address of the controller listener, which serves no clients.
func (n *Node) ControllerAddr() string { return address(n.controllerPort) }

// DataDir is the directory that holds a subdirectory for each partition.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "data") }

// LogFile is what the broker logged, of all its starts.
func (n *Node) LogFile() string { return filepath.Join(n.dir, "broker.log") }

// PID is the id of the node's process.
func (n *Node) PID() int { return n.process.cmd.Process.Pid }

// Running tells whether the process lives; a paused one does.
func (n *Node) Running() bool { return n.process != nil && n.process.running() }

// Start starts the process and returns at once; WaitReady waits.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("node %d runs already", n.ID)
	}
	logFile, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close() // the child has its own descriptor
	if n.logStart, err = logFile.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	// A broker of a test lives for minutes: what the second compiler saves, it does not earn.
	flags := append([]string{"-Xmx" + n.heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"}, n.flags...)
	if n.tools.Archive != "" {
		flags = append(flags, "-XX:SharedArchiveFile="+n.tools.Archive)
	}
	cmd := exec.Command(n.tools.Java, append(flags,
		"-Dlog4j2.configurationFile="+filepath.Join(n.dir, "log4j2.properties"),
		"-Dlog4j.configuration=file:"+filepath.Join(n.dir, "log4j.properties"), "-Dkafka.logs.dir="+n.dir,
		"-cp", classPath(n.tools.BrokerJars), "kafka.Kafka", filepath.Join(n.dir, "server.properties"))...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	n.process, err = startProcess(cmd)
	return err
}

// WaitReady returns once the started node serves clients: it said so in its log and answers on its port.
func (n *Node) WaitReady(ctx context.Context) error {
	for {
		if !n.process.running() {
			return fmt.Errorf("node %d ended: %w\n%s", n.ID, n.process.err, n.LogTail(40))
		}
		if n.ready() {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("node %d is not ready: %w\n%s", n.ID, err, n.LogTail(40))
		}
	}
}

func (n *Node) ready() bool {
	log, err := os.Open(n.LogFile())
	if err != nil {
		return false
	}
	defer log.Close()
	said, err := io.ReadAll(io.NewSectionReader(log, n.logStart, 1<<30))
	if err != nil || !bytes.Contains(said, []byte("Kafka Server started")) {
		return false
	}
	conn, err := net.DialTimeout("tcp", n.Addr, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// Version is the version of Kafka that the node says it runs, empty if it did not say so yet.
func (n *Node) Version() string {
	log, err := os.ReadFile(n.LogFile())
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(log), "Kafka version: ")
	version, _, _ := strings.Cut(rest, " ")
	return version
}

// Stop ends the node in order: its partitions move first.
func (n *Node) Stop() error { return n.process.stop(time.Minute) }

// Kill ends the node at once, as a crash would (kill -9). It returns when the process is gone.
func (n *Node) Kill() error { return n.process.kill() }

// Pause freezes the node: its connections stay open and nothing answers (SIGSTOP). It returns when that is so.
func (n *Node) Pause() error { return n.process.freeze() }

// Resume ends a Pause.
func (n *Node) Resume() error { return n.process.signal(syscall.SIGCONT) }

// Restart starts an ended node again and waits until it serves clients.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Start(); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// LogTail returns the last lines of the node's log.
func (n *Node) LogTail(lines int) string { return tail(n.LogFile(), lines) }

// ResidentMB is the node's resident memory in MiB, 0 if the system does not tell.
func (n *Node) ResidentMB() int { return residentMB(strconv.Itoa(n.PID())) }

// ResidentMB is this process's resident memory in MiB, 0 if the system does not tell.
func ResidentMB() int { return residentMB("self") }

func residentMB(pid string) int {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0
	}
	return kb >> 10
}

// tail returns the last lines of a file.
func tail(file string, lines int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// sleep waits, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	case <-timer.C:
		return nil
	}
}
