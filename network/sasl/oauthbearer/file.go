package oauthbearer

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/quill-kafka/quill/internal/foreign"
	"github.com/quill-kafka/quill/internal/readfile"
	"github.com/quill-kafka/quill/network/sasl"
)

// maxFile bounds the files read here: tokens, keys and templates are some KiB long.
const maxFile = 1 << 20

// cachedFile is what was made of a file's content. It is made again when the file has changed, and only then, as Java's
// CachedFile with lastModifiedPolicy does; readfile.Seen says when a file may have changed though its time is the same.
type cachedFile[T any] struct {
	mu sync.Mutex
	// +checklocks:mu
	seen readfile.Seen
	// +checklocks:mu
	value T
}

// get returns what convert made of the file at path. A file that can't be read, or that convert refuses, is an error, and is
// read again the next time.
func (f *cachedFile[T]) get(path string, convert func(content []byte) (T, error)) (value T, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.Unchanged(path) {
		return f.value, nil
	}
	content, seen, err := readfile.Read(path, maxFile)
	if err != nil {
		return value, fmt.Errorf("%s %w", foreign.Quote(path), err)
	}
	value, err = convert(content)
	if err != nil {
		return value, fmt.Errorf("%s: %w", foreign.Quote(path), err)
	}
	f.seen, f.value = seen, value
	return value, nil
}

// File reads a token from a file: Java's FileJwtRetriever. Something else has to write the file, and to
// replace what is in it before it ends; it is read again at each refresh if it has changed. Use it as a
// pointer; its methods may be called concurrently.
type File struct {
	Path string

	cache cachedFile[sasl.Secret]
}

// Retrieve returns the token in the file.
func (f *File) Retrieve(context.Context) (sasl.Secret, error) {
	token, err := f.cache.get(f.Path, checkedJWT)
	if err != nil {
		return sasl.Secret{}, fmt.Errorf("reading the token's file %w", err)
	}
	return token, nil
}

// checkedJWT returns a file's content if it looks like a JWT.
func checkedJWT(content []byte) (sasl.Secret, error) {
	token := strings.TrimSpace(string(content))
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return sasl.Secret{}, errNoJWT
	}
	for i, name := range []string{"header", "payload"} {
		if _, err := readPart(parts[i]); err != nil {
			return sasl.Secret{}, fmt.Errorf("the token's %s %w", name, err)
		}
	}
	return sasl.NewSecret(token), nil
}
