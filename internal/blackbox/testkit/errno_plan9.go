package testkit

import "syscall"

// Refused is what dialling a node that does not listen fails with. Plan 9 has texts instead of numbers.
const Refused = syscall.ErrorString("connection refused")
