package kafkaharness

import "syscall"

// orphanAttr has the kernel kill the child when the thread that started it ends.
func orphanAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
