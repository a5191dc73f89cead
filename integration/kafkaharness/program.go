package kafkaharness

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is a client in a process of its own, which a test may kill at any time. It ends with the test process.
type Program struct {
	process *process
	log     string
}

// StartProgram starts a program. What it prints is appended to a file.
func StartProgram(logFile, path string, args ...string) (*Program, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	return &Program{process: p, log: logFile}, nil
}

// Kill ends the program at once (kill -9). It returns when the process is gone.
func (p *Program) Kill() error { return p.process.kill() }

// Stop asks the program to end (SIGTERM), and kills it after the grace. The error is the one it ended with.
func (p *Program) Stop(grace time.Duration) error {
	if err := p.process.stop(grace); err != nil {
		return err
	}
	return p.process.err
}

// Signal sends the process a signal.
func (p *Program) Signal(sig syscall.Signal) error { return p.process.signal(sig) }

// Pause makes the process stand still (SIGSTOP). It returns when it does.
func (p *Program) Pause() error { return p.process.freeze() }

// Resume ends a Pause.
func (p *Program) Resume() error { return p.process.signal(syscall.SIGCONT) }

// Running tells whether the process lives.
func (p *Program) Running() bool { return p.process.running() }

// LogTail returns the last lines of what it printed.
func (p *Program) LogTail(lines int) string { return tail(p.log, lines) }
