package quill

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/compress"
	"github.com/quill-kafka/quill/network"
	"github.com/quill-kafka/quill/protocol"
	"github.com/stretchr/testify/require"
)

// Who seals what, and when a request of which batches are sealed by others is back. Goroutines are
// held up in the middle of a batch by the sealer's scratch memory, which they take there.

// gate lets no worker begin to compress before it is opened.
func (s *sealer) gate() (open func()) {
	gate := make(chan struct{})
	s.scratch.New = func() any {
		<-gate
		return new(sealScratch)
	}
	return sync.OnceFunc(func() { close(gate) })
}

// withCrew lets workers seal batches of any size. Requests that come late are in the slice.
func withCrew(r *produceRequest, workers int) (late *[]*produceRequest) {
	late = new([]*produceRequest)
	c := &r.sealer.crew
	c.most, c.back = workers, func(r *produceRequest) { *late = append(*late, r) }
	return late
}

func (c *sealCrew) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers == 0 && len(c.waiting) == 0
}

// wire returns the request's body as it goes out.
func wire(t *testing.T, r *produceRequest) []byte {
	var f network.Frame
	require.NoError(t, r.Encode(&f, 9))
	return slices.Concat(f.Vectors()...)
}

func TestWhoeverSealsTheBytesAreTheSame(t *testing.T) {
	forCodecs(t, func(t *testing.T, codec compress.Codec) {
		synctest.Test(t, func(t *testing.T) {
			alone, _ := produceFixture(t, codec, false)
			want := wire(t, alone)
			for workers := range 4 {
				r, _ := produceFixture(t, codec, false)
				withCrew(r, workers)
				r.sealer.crew.offer(r, workers%2 == 0)
				if workers > 1 {
					synctest.Wait() // all is done when the writer comes
				}
				require.Equal(t, want, wire(t, r), "%d workers", workers)
				require.True(t, r.sealer.crew.endSealing(r))
				r.sealer.crew.wg.Wait()
				require.True(t, r.sealer.crew.idle(), "workers end when nothing waits")
			}
		})
	})
}

func TestTheWriterWaitsForWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := produceFixture(t, compress.LZ4, false)
		withCrew(r, 2)
		open := r.sealer.gate()
		r.sealer.crew.offer(r, false)
		encoded := make(chan error, 1)
		go func() { encoded <- r.Encode(&network.Frame{}, 9) }()
		synctest.Wait()
		require.Equal(t, 3, r.sealing.busy, "two workers and the writer, with a batch each")
		require.Empty(t, encoded)
		open()
		require.NoError(t, <-encoded)
		for _, b := range r.batches {
			read(t, wireBytes(b))
		}
	})
}

func TestARequestIsBackWhenNoWorkerIsBusyWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pool := produceFixture(t, compress.LZ4, false)
		late := withCrew(r, 1)
		open := r.sealer.gate()
		r.sealer.crew.offer(r, false)
		synctest.Wait()
		require.False(t, r.sealer.crew.endSealing(r), "a worker has its first batch")
		require.Empty(t, *late)
		open()
		synctest.Wait()
		require.Equal(t, []*produceRequest{r}, *late)
		require.True(t, r.sealer.crew.endSealing(r))
		require.True(t, r.batches[0].sealed)
		for _, b := range r.batches[1:] {
			require.False(t, b.sealed, "nobody begins with a request that is back")
		}
		require.True(t, r.sealer.crew.idle())
		_ = pool
	})
}

func TestAConnectionThatBreaksWhileAWorkerSealsLosesNothing(t *testing.T) {
	withRig(t, func(s *settings) { s.codec, s.idempotent = compress.LZ4, true }, func(t *testing.T, r *rig) {
		crew := &r.s.sealer.crew
		crew.most, crew.back = 1, r.s.box.giveBack
		open := r.s.sealer.gate()
		futures := []Future{r.append(0, "", numbers(rand.New(rand.NewPCG(1, 1)), 500)), r.append(1, "", "x")}
		time.Sleep(r.cfg.linger)
		require.Len(t, r.drain(0), 2)
		req := r.sent[0][0]
		crew.offer(req, false)
		synctest.Wait()

		req.Err = network.ErrDisconnected // nothing of it was sent
		r.comeBack(req)
		require.True(t, req.batches[0].onWire(), "a worker still has it")
		require.Empty(t, r.queued(0))
		require.Empty(t, r.queued(1), "all or none")
		open()
		synctest.Wait()
		r.s.box.take(&r.s.mail)
		r.s.takeEvents(time.Now())
		require.Len(t, r.queued(0), 1)
		require.Len(t, r.queued(1), 1)

		delete(r.sent, 0)
		time.Sleep(time.Second)
		require.Len(t, r.drain(0), 2)
		r.answer(0, accepted(4))
		r.dispatch()
		for _, f := range futures {
			m, err := outcomeOf(t, f)
			require.NoError(t, err)
			require.EqualValues(t, 4, m.Offset)
		}
		require.EqualValues(t, rigMemory, r.free())
	})
}

func TestAnErrorOfAWorkerReachesTheWriter(t *testing.T) {
	r, _ := produceFixture(t, compress.LZ4, false)
	withCrew(r, 0)
	c := &r.sealer.crew
	r.sealing.offered = true
	c.mu.Lock()
	b := c.nextLocked(r)
	c.mu.Unlock()
	require.Same(t, r.batches[0], b)
	broken := errors.New("broken")
	c.sealed(r, broken)
	require.ErrorIs(t, r.Encode(&network.Frame{}, 9), broken)
	require.True(t, c.endSealing(r))
}

// Two that seal the same batch at once would write to the same memory.
func TestTheWriterLeavesABatchToTheWorkerThatHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := produceFixture(t, compress.LZ4, false)
		withCrew(r, 0)
		c := &r.sealer.crew
		r.sealing.offered, r.sealing.done = true, make(chan struct{}, 1)
		c.mu.Lock()
		b := c.nextLocked(r)
		c.mu.Unlock()
		encoded := make(chan error, 1)
		go func() { encoded <- r.Encode(&network.Frame{}, 9) }()
		synctest.Wait()
		require.Empty(t, encoded)
		require.False(t, b.sealed)
		require.True(t, r.batches[len(r.batches)-1].sealed, "those that nobody has are the writer's")
		c.sealed(r, b.seal(r.sealer))
		require.NoError(t, <-encoded)
		require.True(t, c.endSealing(r))
	})
}

func TestSmallRequestsAndTheFirstBatchAreTheWriters(t *testing.T) {
	r, _ := produceFixture(t, compress.LZ4, false)
	c := &r.sealer.crew
	withCrew(r, 1)
	c.least = r.size + 1
	c.offer(r, false)
	require.False(t, r.sealing.offered)
	c.least = r.size
	c.offer(r, true)
	require.False(t, r.sealing.offered, "the writer begins with the first batch, which is not small change")
	c.offer(r, false)
	require.True(t, r.sealing.offered)
	c.wg.Wait()
}

// Three nodes on four processors: three writers are at it, so one worker is enough.
func TestWritersThatAreBusyAnywayNeedNoWorkers(t *testing.T) {
	for _, c := range []struct{ writers, workers int }{{0, 3}, {1, 3}, {2, 2}, {3, 1}, {4, 0}, {9, 0}} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := produceFixture(t, compress.LZ4, false)
			withCrew(r, 3)
			open := r.sealer.gate()
			crew := &r.sealer.crew
			crew.mu.Lock()
			crew.writers = c.writers
			crew.mu.Unlock()
			crew.offer(r, false)
			synctest.Wait()
			require.Equal(t, c.workers, r.sealing.busy, "%d writers", c.writers)
			open()
			require.NoError(t, r.Encode(&network.Frame{}, 9))
			crew.wg.Wait()
		})
	}
}

func TestTheEndOfTheCrewLeavesNobodyBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := produceFixture(t, compress.LZ4, false)
		withCrew(r, 2)
		open := r.sealer.gate()
		r.sealer.crew.offer(r, false)
		synctest.Wait()
		ended := make(chan struct{})
		go func() {
			r.sealer.crew.end()
			close(ended)
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("workers are busy")
		default:
		}
		open()
		<-ended
		sealed := slices.IndexFunc(r.batches, func(b *batch) bool { return !b.sealed })
		require.Equal(t, 2, sealed, "those that were begun, and no more")
	})
}

// Many writers and workers, connections that break at any time: a batch that is back is whole and
// no worker's, one that was written is whole.
func TestBatchesAreSealedOnceByAnybody(t *testing.T) {
	var writers sync.WaitGroup
	r, _ := produceFixture(t, compress.LZ4, false)
	s := r.sealer
	back := make(chan *produceRequest, 1000)
	s.crew.most, s.crew.back = 3, func(r *produceRequest) { back <- r }
	requests := 0
	for i := range 100 {
		r, _ := produceFixture(t, compress.LZ4, false)
		r.sealer = s
		requests++
		s.crew.offer(r, i%3 == 0)
		writers.Go(func() {
			if i%5 == 0 { // the connection breaks before the writer came to it
				if s.crew.endSealing(r) {
					back <- r
				}
				return
			}
			if err := r.Encode(&network.Frame{}, 9); err != nil {
				t.Error(err)
			}
			for _, b := range r.batches {
				if !b.sealed || protocol.BatchCRC(wireBytes(b)) == 0 {
					t.Error("not sealed")
				}
			}
			if s.crew.endSealing(r) {
				back <- r
			}
		})
	}
	for range requests {
		for _, b := range (<-back).batches {
			require.NoError(t, b.seal(s)) // as when it is sent again
			read(t, wireBytes(b))
		}
	}
	writers.Wait()
	s.crew.end()
	require.True(t, s.crew.idle())
	require.Empty(t, back)
}

// The check sum of a large batch is taken in pieces while its records are written, and joined with the header's. It has
// to be that of all bytes, for all sizes of records and chunks, and again when the header changes.
func TestASumTakenInPiecesIsThatOfTheWholeBatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 5))
	data := noise(rnd, 200_000)
	inPieces := 0
	for _, value := range []int{1, 37, 100, 1000, sumPiece - 20, sumPiece, 10_000, 100_000} {
		for _, batchSize := range []int{1000, 2 * sumPiece, 16 << 10, 100 << 10, 1_000_000} {
			for _, compressed := range []bool{false, true} {
				lim := newBatchLimits(batchSize, 64<<20, compressed)
				b := filledBatch(&lim, func() string { return data[:1+rnd.IntN(2*value)] })
				if b.sum.bytes > 0 {
					inPieces++
					require.False(t, compressed)
				}
				codec := compress.None
				if compressed {
					codec = compress.LZ4
				}
				s, err := newSealer(codec, compress.DefaultLevel)
				require.NoError(t, err)
				for epoch := range int16(2) {
					b.setIdentity(7, epoch, 12)
					require.NoError(t, b.seal(s))
					_, records := read(t, wireBytes(b))
					require.Len(t, records, int(b.records), "values of %d, batch.size %d", value, batchSize)
				}
			}
		}
	}
	require.Greater(t, inPieces, 20)
}

// filledBatch returns a closed batch with as many records as fit, one at least.
func filledBatch(lim *batchLimits, value func() string) *batch {
	pool := newBufferPool(64<<20, lim.sizes()...)
	b := &batch{res: newResult(nil)}
	in := one("", value())
	b.begin(&partitionQueue{topic: &topicState{name: "t"}}, pool.memoryShare, pool.overdraw(lim.firstSize(in.maxSize)), 1, time.Now())
	var o openBatch
	o.begin(b, lim.compress)
	for {
		switch o.tryAdd(in, 1, lim, new(ratioEstimate)) {
		case appendFull:
			o.close()
			return b
		case appendNeedChunk:
			o.grow(pool.overdraw(lim.nextChunk(b, in.maxSize)))
		default:
			in = one("", value())
		}
	}
}

// The sum of a piece is taken once, and of whole pieces: hash/crc32 takes several times as long for single records.
func TestRecordsAreSummedInWholePieces(t *testing.T) {
	lim := newBatchLimits(32<<10, 1<<20, false)
	o := newTestBatch(32 << 10)
	calls, last := 0, int32(0)
	for o.tryAdd(one("", "0123456789"), 1, &lim, nil) == appendDone {
		require.Zero(t, o.sum.bytes%sumPiece)
		require.Less(t, o.raw()-int(o.sum.bytes), sumPiece)
		require.Greater(t, int(o.sumDue), len(o.chunk))
		if o.sum.bytes != last {
			calls, last = calls+1, o.sum.bytes
		}
	}
	require.Equal(t, (32<<10-protocol.BatchOverhead)/sumPiece, calls)
}
