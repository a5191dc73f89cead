//go:build unix

package network

import (
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// socketOption returns an option of the socket that the client's connection has, or of nc if that is not nil.
func socketOption(t *testing.T, nc *net.TCPConn, level, name int) (v int) {
	t.Helper()
	raw, err := nc.SyscallConn()
	require.NoError(t, err)
	var opErr error
	require.NoError(t, raw.Control(func(fd uintptr) { v, opErr = syscall.GetsockoptInt(int(fd), level, name) }))
	require.NoError(t, opErr)
	return v
}

// socket returns the client's end of its connection.
func (c *tcpClient) socket() *net.TCPConn {
	x := c.nodes[-1].conn
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.nc.(*net.TCPConn)
}

func TestSocketOptions(t *testing.T) {
	nc := newTCPClient(t, tcpNode(t, tcpEcho(10))).socket()
	require.NotZero(t, socketOption(t, nc, syscall.IPPROTO_TCP, syscall.TCP_NODELAY))
	require.NotZero(t, socketOption(t, nc, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE))
}

// The two sizes differ from each other and from those of a socket with the system's defaults.
func TestSocketBuffersReachTheSocket(t *testing.T) {
	addr := tcpNode(t, tcpEcho(10))
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer plain.Close()
	buffers := func(nc *net.TCPConn) (send, receive int) {
		return socketOption(t, nc, syscall.SOL_SOCKET, syscall.SO_SNDBUF), socketOption(t, nc, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	}
	untouchedSend, untouchedReceive := buffers(plain.(*net.TCPConn))

	send, receive := buffers(newTCPClient(t, addr, func(cfg *Config) { cfg.SendBuffer, cfg.ReceiveBuffer = 20_000, 10_000 }).socket())
	if runtime.GOOS == "linux" { // which counts its own overhead in
		send, receive = send/2, receive/2
	}
	require.Equal(t, 20_000, send)
	require.Equal(t, 10_000, receive)

	send, receive = buffers(newTCPClient(t, addr, func(cfg *Config) { cfg.SendBuffer, cfg.ReceiveBuffer = -1, -1 }).socket())
	if runtime.GOOS == "linux" { // others size buffers as they go
		require.Equal(t, untouchedSend, send)
		require.Equal(t, untouchedReceive, receive)
	}

	// What the system does not give is no reason to fail.
	send, _ = buffers(newTCPClient(t, addr, func(cfg *Config) { cfg.SendBuffer = 1<<31 - 1 }).socket())
	require.GreaterOrEqual(t, send, 20_000)
}
