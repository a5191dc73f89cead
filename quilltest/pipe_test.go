package quilltest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func testPipe() (net.Conn, net.Conn) {
	return pipe(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2})
}

func TestPipeCarriesBytesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testPipe()
		sent := make([]byte, 3*pipeBuffer+17)
		for i := range sent {
			sent[i] = byte(rand.Uint32())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(100_000))
				_, err := a.Write(rest[:n])
				require.NoError(t, err)
				rest = rest[n:]
			}
			require.NoError(t, a.Close())
		})
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got))
		wg.Wait()
		require.NoError(t, b.Close())
	})
}

func TestPipeWriteDoesNotWaitForTheReader(t *testing.T) {
	a, _ := testPipe()
	n, err := a.Write(make([]byte, pipeBuffer))
	require.NoError(t, err)
	require.Equal(t, pipeBuffer, n)
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testPipe()
		start := time.Now()
		require.NoError(t, a.SetReadDeadline(start.Add(30*time.Second)))
		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 30*time.Second, time.Since(start))
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())

		require.NoError(t, a.SetDeadline(time.Now().Add(time.Second)))
		n, err := a.Write(make([]byte, pipeBuffer+1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, pipeBuffer, n)

		require.NoError(t, a.SetDeadline(time.Time{}))
		_, err = io.ReadFull(b, make([]byte, pipeBuffer))
		require.NoError(t, err)
		_, err = a.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, a.SetDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

func TestPipeClosesLikeTCP(t *testing.T) {
	a, b := testPipe()
	_, err := a.Write([]byte("last words"))
	require.NoError(t, err)
	require.NoError(t, a.Close())
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got))
	_, err = b.Write([]byte("x"))
	require.ErrorIs(t, err, errReset)
	_, err = a.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)

	a, b = testPipe()
	_, err = b.Write([]byte("dropped"))
	require.NoError(t, err)
	b.(*pipeConn).reset()
	_, err = a.Read(make([]byte, 1))
	require.ErrorIs(t, err, errReset)
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, errReset)

	a, b = testPipe()
	require.NoError(t, a.(*pipeConn).CloseWrite())
	_, err = b.Write([]byte("still open"))
	require.NoError(t, err)
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	got = make([]byte, 10)
	_, err = io.ReadFull(a, got)
	require.NoError(t, err)
	require.Equal(t, "still open", string(got))
}

func TestPipeCloseWakesBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testPipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := a.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		})
		wg.Go(func() {
			_, err := a.Write(make([]byte, 2*pipeBuffer))
			require.ErrorIs(t, err, errReset)
		})
		synctest.Wait()
		require.NoError(t, b.Close())
		wg.Wait()
	})
}
