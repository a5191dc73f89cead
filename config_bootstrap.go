package quill

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// parseServer turns "host:port", "[ipv6]:port" or "scheme://host:port" into what net.Dial takes. As in
// Kafka's client the scheme means nothing and is dropped, and so are blanks around the whole. A reason,
// if there is one, says why the text is refused, and fix what to write.
func parseServer(server string) (addr, reason, fix string) {
	fix = "write host:port, or [address]:port for IPv6"
	rest := trimJava(server)
	if rest == "" {
		return "", "has an empty element", fix
	}
	if scheme, after, ok := strings.Cut(rest, "://"); ok && isHost(scheme) && !strings.Contains(scheme, ":") {
		if rest = after; strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			return "", "is a URL of " + strings.ToLower(scheme) + ", and Kafka speaks a protocol of its own", "write host:port of a Kafka listener"
		}
	}
	if reason, fix := bareIPv6(rest); reason != "" {
		return "", reason, fix
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 || strings.HasSuffix(rest, "]") {
		return "", "has no port", fix
	}
	host, port := rest[:colon], rest[colon+1:]
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	if bracketed {
		host = host[1 : len(host)-1]
	}
	switch {
	case strings.Contains(rest, ","):
		return "", "is a list", "give each server its own element"
	case host == "":
		return "", "has no host", fix
	case !isHost(host):
		return "", "is not a host and a port", fix
	case strings.Contains(host, ":") && !isIPv6(host):
		return "", "is neither a host nor an IPv6 address, and a port", fix
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "has no port between 1 and 65535", fix
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), "", ""
}

// bareIPv6 refuses an IPv6 address without brackets, of which nobody can say where the port begins.
// Kafka's client takes what follows the last colon for the port, so that it dials port 204 of a host
// that does not exist for 2001:db8::204.
func bareIPv6(rest string) (reason, fix string) {
	if strings.HasPrefix(rest, "[") {
		return "", ""
	}
	colon := strings.LastIndexByte(rest, ':')
	host, port := rest[:max(0, colon)], rest[colon+1:]
	whole, cut := isIPv6(rest), isIPv6(host)
	_, err := strconv.ParseUint(port, 10, 16)
	switch {
	case whole && cut && err == nil:
		return "is an IPv6 address without brackets", "write [" + rest + "]:port, or [" + host + "]:" + port + " if that is its port"
	case whole:
		return "is an IPv6 address without brackets, and without a port", "write [" + rest + "]:port"
	case cut:
		return "is an IPv6 address without brackets", "write [" + host + "]:" + port
	}
	return "", ""
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
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
