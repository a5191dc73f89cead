//go:build unix && !linux

package kafkaharness

import "syscall"

// orphanAttr: other systems have no signal for orphans.
func orphanAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
