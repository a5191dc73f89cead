// Package seal closes interfaces of public packages to other modules: a method that takes a Key can't be written there, because
// its name can't be. Unexported methods would close them to our own packages, too.
package seal

// Key is the argument of a method that is never called.
type Key struct{}
