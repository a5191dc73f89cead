// Package readfile reads files that settings name, such as stores of keys, tokens and values of properties: whole, but no more
// than such a file can reasonably have, and nothing that is no file. It says whether a file is still the one that was read.
//
// The errors are what a file is or does, without its name, which the caller has: "can't be read: permission denied",
// "is not a regular file", "is larger than 1 MiB".
package readfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ErrNotRegular is the error about a directory, a pipe or a device: reading one may never end.
var ErrNotRegular = errors.New("is not a regular file")

// TooLargeError is the error about a file of more bytes than it says.
type TooLargeError int

// Error implements error.
func (e TooLargeError) Error() string {
	switch {
	case e%(1<<20) == 0:
		return fmt.Sprintf("is larger than %d MiB", e>>20)
	case e%(1<<10) == 0:
		return fmt.Sprintf("is larger than %d KiB", e>>10)
	}
	return fmt.Sprintf("is larger than %d bytes", int(e))
}

// unreadableError is the operating system's error, without the path.
type unreadableError struct{ err error }

func (e unreadableError) Error() string { return "can't be read: " + e.err.Error() }
func (e unreadableError) Unwrap() error { return e.err }

// Unreadable returns the operating system's error about a file or directory, without its name.
func Unreadable(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return unreadableError{err}
}

// coarse is the time within which two writes may get the same time stamp, on any file system.
const coarse = 2 * time.Second

// Seen is a file as it was when it was read. The zero value is that of no file.
type Seen struct {
	info  fs.FileInfo // nil: none
	young bool        // it was written just before: another write may leave the same time behind
}

// Unchanged reports whether the file at path is certainly the one that was read. It looks at the target of a link, since
// Kubernetes swaps a link to a directory. A file written less than two seconds before it was read is not trusted by its time
// stamp: it is to be read again.
func (s Seen) Unchanged(path string) bool {
	if s.info == nil || s.young {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, s.info) && info.Size() == s.info.Size() && info.ModTime().Equal(s.info.ModTime())
}

// Read returns the content of the regular file at path, of at most limit bytes. The file as it was seen is returned with an
// error as well if it could be opened, so that a file that is too large is not read again until it changes.
func Read(path string, limit int) ([]byte, Seen, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe waits for who writes it
	if err == nil && !info.Mode().IsRegular() {
		return nil, Seen{}, ErrNotRegular
	}
	if err != nil {
		return nil, Seen{}, Unreadable(err)
	}
	f, err := os.Open(path) // #nosec G304 -- the path is a setting of the program's own
	if err != nil {
		return nil, Seen{}, Unreadable(err)
	}
	defer func() { _ = f.Close() }()      // nothing was written
	if info, err = f.Stat(); err != nil { // before reading: what is written meanwhile is read again
		return nil, Seen{}, Unreadable(err)
	}
	seen := Seen{info: info, young: time.Since(info.ModTime()) < coarse}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return nil, seen, Unreadable(err)
	case len(data) > limit:
		return nil, seen, TooLargeError(limit)
	}
	return data, seen, nil
}
