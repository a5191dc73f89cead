package oauthbearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quill-kafka/quill/network/sasl"
)

// maxFile bounds the files read here: tokens, keys and templates are some KiB long.
const maxFile = 1 << 20

// cachedFile is what was made of a file's content. It is made again when the file has changed, and only then, as Java's
// CachedFile with lastModifiedPolicy does; the size is looked at as well, because two writes may share a time.
type cachedFile[T any] struct {
	mu sync.Mutex
	// +checklocks:mu
	read bool
	// +checklocks:mu
	modified time.Time
	// +checklocks:mu
	size int64
	// +checklocks:mu
	value T
}

// get returns what convert made of the file at path. A file that can't be read, or that convert refuses, is an error, and is
// read again the next time.
func (f *cachedFile[T]) get(path string, convert func(content []byte) (T, error)) (value T, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.Open(path) // #nosec G304 -- the path is the program's own setting
	if err != nil {
		return value, withoutOp(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return value, withoutOp(err)
	}
	if f.read && info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return f.value, nil
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return value, withoutOp(err)
	}
	if len(content) > maxFile {
		return value, fmt.Errorf("%q is longer than 1 MiB: is it the right file?", cut(path))
	}
	value, err = convert(content)
	if err != nil {
		return value, fmt.Errorf("%q: %w", cut(path), err)
	}
	f.read, f.modified, f.size, f.value = true, info.ModTime(), info.Size(), value
	return value, nil
}

// withoutOp names a file's error by its path alone.
func withoutOp(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%q: %w", cut(pe.Path), pe.Err)
	}
	return err
}

// File reads a token from a file: Java's FileJwtRetriever. Something else has to write the file, and to
// replace what is in it before it ends; it is read again at each refresh if it has changed. Use it as a
// pointer; its methods may be called concurrently.
type File struct {
	Path string

	cache cachedFile[string]
}

// Retrieve returns the token in the file.
func (f *File) Retrieve(context.Context) (sasl.Secret, error) {
	token, err := f.cache.get(f.Path, checkedJWT)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("reading the token's file %w", err)
	}
	return sasl.NewSecret(token), nil
}

// checkedJWT returns a file's content if it looks like a JWT.
func checkedJWT(content []byte) (string, error) {
	token := strings.TrimSpace(string(content))
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return "", errNoJWT
	}
	for i, name := range []string{"header", "payload"} {
		if _, err := readPart(parts[i]); err != nil {
			return "", fmt.Errorf("the token's %s %w", name, err)
		}
	}
	return token, nil
}
