package kafkaharness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a child whose end is noticed. All methods may be called concurrently.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once the child was reaped
	err   error         // why it ended; read after ended
}

// spawn hands commands to the one thread that starts all children. The kernel's signal to orphans is tied to the
// parent's thread, not to its process: that thread must live as long as the process does.
var spawn = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startProcess starts a command in a process group of its own, so that a terminal's interrupt does not reach it.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = orphanAttr()
	cmd.SysProcAttr.Setpgid = true
	started := make(chan error)
	spawn() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the child
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal sends a signal; a child that ended is no error.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to process %d: %w", sig, p.cmd.Process.Pid, err)
	}
	return nil
}

// freeze stops the child (SIGSTOP). It returns when it stands still: the threads of a process run on until one of them
// has taken the signal, on a loaded machine for tens of milliseconds.
func (p *process) freeze() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for begin := time.Now(); p.running() && !standsStill(p.cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			return fmt.Errorf("process %d does not stop", p.cmd.Process.Pid)
		}
	}
	return nil
}

// standsStill reports whether all threads of a process are stopped. Where the system does not tell it waits, and hopes.
func standsStill(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		time.Sleep(100 * time.Millisecond)
		return true
	}
	for _, file := range threads {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE …, where the name may be anything
		if end := bytes.LastIndexByte(stat, ')'); end < 0 || !bytes.HasPrefix(stat[end+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

// kill ends the child at once and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// stop asks the child to end, and kills it if it does not within the grace.
func (p *process) stop(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	// A paused child would never see the signal.
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(grace):
		return p.kill()
	}
}
