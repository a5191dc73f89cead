package driver

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Codecs are the values of Config.Compression.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// complete fills in what is not a flag by itself and refuses what makes no sense.
func (c *Config) complete(brokers, mode, acks string) error {
	c.Brokers = strings.Split(brokers, ",")
	for _, b := range c.Brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("%s: only loopback addresses are measured", b)
		}
	}
	switch n, parallel := strings.CutPrefix(mode, "parallel:"); {
	case mode == "async":
	case mode == "sync":
		c.Parallel = 1
	case parallel:
		v, err := strconv.Atoi(n)
		if err != nil || v < 1 {
			return fmt.Errorf("mode %q", mode)
		}
		c.Parallel = v
	default:
		return fmt.Errorf("mode %q", mode)
	}
	if acks != "all" && acks != "1" {
		return fmt.Errorf("acks %q", acks)
	}
	c.AcksAll = acks == "all"
	c.Idempotent = c.Idempotent && c.AcksAll
	if !slices.Contains(Codecs, c.Compression) {
		return fmt.Errorf("compression %q", c.Compression)
	}
	if c.Group < 0 || c.Group > 0 && (c.Goroutines != 1 || c.Parallel > 0) || c.Transaction && c.Group == 0 {
		return fmt.Errorf("group %d: groups are of one goroutine in async mode, transactions of groups", c.Group)
	}
	for name, v := range map[string]int{"records": c.Records, "size": c.Size, "keys": c.Keys, "batch": c.Batch, "goroutines": c.Goroutines,
		"bufbytes": c.BufBytes, "bufrecords": c.BufRecords, "inflight": c.InFlight, "chunk": c.Chunk, "parts": c.Partitions} {
		if v < 1 {
			return fmt.Errorf("%s must be positive", name)
		}
	}
	return nil
}
