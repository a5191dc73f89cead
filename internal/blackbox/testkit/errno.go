//go:build !plan9

package testkit

import "syscall"

// Refused is what dialling a node that does not listen fails with.
const Refused = syscall.ECONNREFUSED
