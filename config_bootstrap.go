package quill

import (
	"net"
	"strconv"
	"strings"
)

// parseServer turns "host:port", "[ipv6]:port" or "scheme://host:port" into what net.Dial takes. As in
// Kafka's client the scheme means nothing and is dropped.
func parseServer(server string) (addr, reason string) {
	if server == "" {
		return "", "has an empty element"
	}
	rest := server
	if scheme, after, ok := strings.Cut(server, "://"); ok && isHost(scheme) && !strings.Contains(scheme, ":") {
		rest = after
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 || strings.HasSuffix(rest, "]") {
		return "", "has no port"
	}
	host, port := rest[:colon], rest[colon+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	switch {
	case strings.Contains(rest, ","):
		return "", "is a list; each server is an element of its own"
	case host == "":
		return "", "has no host"
	case !isHost(host):
		return "", "is not a host and a port"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "has no port between 1 and 65535"
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), ""
}

// isHost reports whether s has only characters that Kafka's client takes in a host.
func isHost(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case strings.IndexByte("-%._:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// mayExist reports whether the host of a host:port is not one of the names that are kept free for ever.
func mayExist(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	return !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".invalid")
}
