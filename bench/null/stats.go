package null

// TopicStats are the counts of one topic since the last Reset.
type TopicStats struct {
	Requests   int64 `json:"requests"`
	Records    int64 `json:"records"` // duplicates left out
	Batches    int64 `json:"batches"`
	Bytes      int64 `json:"bytes"`       // of the requests, with their sizes and headers
	BatchBytes int64 `json:"batch_bytes"` // of the batches
	Idempotent int64 `json:"idempotent_batches"`
	// Codecs are the batches by codec.
	Codecs map[string]int64 `json:"codec_batches"`

	Duplicates int64 `json:"dups"` // batches whose sequence was written before
	Gaps       int64 `json:"gaps"` // batches whose sequence is ahead of the next one
	BadCount   int64 `json:"bad_count"`
	// BadCRC, BadPayload and Decoded stay 0 without Verify.
	BadCRC     int64 `json:"bad_crc"`
	BadPayload int64 `json:"bad_payload"` // can't be decompressed, or its records can't be read
	Decoded    int64 `json:"decoded_batches"`
}

// Stats are the counts of the whole cluster since the last Reset, and those of each topic that was written to.
type Stats struct {
	TopicStats
	Topics        map[string]TopicStats `json:"topics,omitempty"`
	BadRequests   int64                 `json:"errors"`
	OtherRequests int64                 `json:"other_requests"`
	Transactions  int64                 `json:"transactions"` // ended
	Connections   int64                 `json:"conns"`
}

// Faults is how much of what was received should not have been. Duplicates are none: a producer that retries makes them.
func (s *Stats) Faults() int64 {
	return s.Gaps + s.BadCount + s.BadCRC + s.BadPayload + s.BadRequests
}

var codecNames = [8]string{"none", "gzip", "snappy", "lz4", "zstd", "codec 5", "codec 6", "codec 7"}

// Stats are the present counts. While producers run they are not those of one instant.
func (c *Cluster) Stats() Stats {
	s := Stats{BadRequests: c.badRequests.Load(), OtherRequests: c.otherRequests.Load(), Transactions: c.transactions.Load(), Connections: c.accepted.Load(),
		Topics: map[string]TopicStats{}}
	s.Codecs = map[string]int64{}
	for _, t := range c.topics {
		ts := t.stats()
		if ts.Requests == 0 {
			continue
		}
		s.Topics[t.name] = ts
		s.add(ts)
	}
	return s
}

// Reset sets all counts to zero and forgets all producers. No producer should be running.
func (c *Cluster) Reset() {
	c.badRequests.Store(0)
	c.otherRequests.Store(0)
	c.transactions.Store(0)
	c.accepted.Store(0)
	for _, t := range c.topics {
		t.requests.Store(0)
		t.bytes.Store(0)
		for i := range t.partitions {
			t.partitions[i].reset()
		}
	}
}

func (s *TopicStats) add(t TopicStats) {
	s.Requests += t.Requests
	s.Records += t.Records
	s.Batches += t.Batches
	s.Bytes += t.Bytes
	s.BatchBytes += t.BatchBytes
	s.Idempotent += t.Idempotent
	s.Duplicates += t.Duplicates
	s.Gaps += t.Gaps
	s.BadCount += t.BadCount
	s.BadCRC += t.BadCRC
	s.BadPayload += t.BadPayload
	s.Decoded += t.Decoded
	for name, n := range t.Codecs {
		s.Codecs[name] += n
	}
}

func (t *topic) stats() TopicStats {
	s := TopicStats{Codecs: map[string]int64{}}
	for i := range t.partitions {
		s.add(t.partitions[i].stats())
	}
	s.Requests, s.Bytes = t.requests.Load(), t.bytes.Load()
	return s
}

func (p *partition) stats() TopicStats {
	p.mu.Lock()
	n := p.counts
	p.mu.Unlock()
	s := TopicStats{Records: n.records, Batches: n.batches, BatchBytes: n.batchBytes, Idempotent: n.idempotent,
		Duplicates: n.duplicates, Gaps: n.gaps, BadCount: n.badCount, BadCRC: n.badCRC, BadPayload: n.badPayload,
		Decoded: n.decoded, Codecs: map[string]int64{}}
	for i, b := range n.codec {
		if b > 0 {
			s.Codecs[codecNames[i]] = b
		}
	}
	return s
}
