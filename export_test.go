package quill

// BufferAvailable is the buffer memory that no batch holds, for tests of what comes back.
func (p *Producer[K, V]) BufferAvailable() int64 {
	free, _ := p.e.acc.pool.available()
	return free
}

// EpochBumps is how many epochs and producer ids were given up. Only after Close.
func (p *Producer[K, V]) EpochBumps() int { return p.e.sender.idem.bumps }
