package kafkaharness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// freePorts returns n ports on loopback that nobody listens on, below the range from which the kernel takes
// the ports of outgoing connections: a killed node must find its port free when it comes back.
func freePorts(n int) ([]int, error) {
	low := 32768
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(b), &low)
	}
	const first = 10000
	if low <= first+n {
		return nil, fmt.Errorf("no ports between %d and %d", first, low)
	}
	var ports []int
	taken := map[int]bool{}
	for range 1000 {
		port := first + rand.IntN(low-first)
		if taken[port] {
			continue
		}
		taken[port] = true
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports found")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
