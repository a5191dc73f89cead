package readfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// write writes a file that is as old as said.
func write(t *testing.T, path, content string, age time.Duration) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	then := time.Now().Add(-age)
	require.NoError(t, os.Chtimes(path, then, then))
}

func TestAFileIsReadUpToItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, strings.Repeat("x", 1024), time.Hour)
	data, seen, err := Read(path, 1024)
	require.NoError(t, err)
	require.Len(t, data, 1024)
	require.True(t, seen.Unchanged(path))
	for limit, text := range map[int]string{1023: "is larger than 1023 bytes", 0: "is larger than 0 MiB"} {
		data, seen, err = Read(path, limit)
		require.Equal(t, TooLargeError(limit), err)
		require.EqualError(t, err, text)
		require.Nil(t, data)
		require.True(t, seen.Unchanged(path), "a file that is too large need not be read again")
	}
	require.EqualError(t, TooLargeError(64<<10), "is larger than 64 KiB")
	require.EqualError(t, TooLargeError(16<<20), "is larger than 16 MiB")
}

func TestWhatIsNoFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	_, seen, err := Read(dir, 1)
	require.Equal(t, ErrNotRegular, err)
	require.False(t, seen.Unchanged(dir))
	_, seen, err = Read(filepath.Join(dir, "none"), 1)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "can't be read: no such file or directory")
	require.False(t, seen.Unchanged(filepath.Join(dir, "none")))
}

// Each way in which a file may be another, and the one in which it may not.
func TestAChangedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var read time.Time
	set := func(path string) { require.NoError(t, os.Chtimes(path, read, read)) }
	for name, c := range map[string]struct {
		change    func()
		unchanged bool
	}{
		"nothing": {func() {}, true},
		"size":    {func() { write(t, path, "four and more", 0); set(path) }, false},
		"time":    {func() { read = read.Add(time.Second); set(path) }, false},
		"other file": {func() {
			other := path + "2"
			write(t, other, "five", 0)
			set(other)
			require.NoError(t, os.Rename(other, path))
		}, false},
		"gone": {func() { require.NoError(t, os.Remove(path)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, "four", time.Hour)
			info, err := os.Stat(path)
			require.NoError(t, err)
			read = info.ModTime()
			_, seen, err := Read(path, 10)
			require.NoError(t, err)
			c.change()
			require.Equal(t, c.unchanged, seen.Unchanged(path))
		})
	}
}

// The time stamp of a file says nothing about writes within the resolution of its file system.
func TestAYoungFileIsNotTrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for age, trusted := range map[time.Duration]bool{-time.Hour: false, coarse + time.Minute: true} {
		write(t, path, "x", age)
		_, seen, err := Read(path, 10)
		require.NoError(t, err)
		require.Equal(t, trusted, seen.Unchanged(path))
	}
}

func TestALinkIsItsTarget(t *testing.T) {
	dir := t.TempDir()
	one, two, link := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "link")
	write(t, one, "1", time.Hour)
	write(t, two, "2", time.Hour)
	require.NoError(t, os.Symlink(one, link))
	data, seen, err := Read(link, 10)
	require.NoError(t, err)
	require.Equal(t, "1", string(data))
	require.True(t, seen.Unchanged(link))
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(two, link))
	require.False(t, seen.Unchanged(link))
}
