//go:build !linux || !(amd64 || arm64)

package null

import (
	"errors"
	"syscall"
)

const kernelDrops = false

func kernelDrop(syscall.RawConn, int) (int, error) { return 0, errors.ErrUnsupported }
