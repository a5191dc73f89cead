//go:build !unix

package quill

import "time"

// processTime is not known here.
func processTime() time.Duration { return 0 }
