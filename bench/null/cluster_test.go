package null_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/bench/null"
)

// produce sends n records to t12 by one library and waits for them.
type produce func(t *testing.T, addrs []string, codec string, batch, n int)

// linger is so long that batches fill also on a busy machine; Close and Flush cut it.
const linger = 10 * time.Second

var libraries = map[string]produce{"quill": produceQuill, "franz-go": produceFranz}

func produceQuill(t *testing.T, addrs []string, codec string, batch, n int) {
	var c quill.Compression
	for ; c.String() != codec; c++ {
		require.Less(t, c, quill.Compression(5))
	}
	p, err := quill.New(quill.Config{BootstrapServers: addrs, Compression: c, BatchSize: batch, Linger: linger, MaxRequestSize: 8 << 20}, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	for i := range n {
		p.SendFunc(t.Context(), quill.Record[[]byte, []byte]{Topic: "t12", Key: key(i), Value: value(i)}, func(_ quill.RecordMetadata, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	require.NoError(t, p.Close(t.Context()))
}

func produceFranz(t *testing.T, addrs []string, codec string, batch, n int) {
	c := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[codec]
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.DefaultProduceTopic("t12"), kgo.ProducerBatchCompression(c), kgo.ProducerBatchMaxBytes(int32(batch)), kgo.ProducerLinger(linger))
	require.NoError(t, err)
	defer cl.Close()
	for i := range n {
		cl.Produce(t.Context(), &kgo.Record{Key: key(i), Value: value(i)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	require.NoError(t, cl.Flush(t.Context()))
}

func key(i int) []byte { return fmt.Appendf(nil, "key-%d", i%100) }
func value(i int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"text":"a value that a codec can make smaller, %d times over"}`, i, i)
}

func start(t *testing.T, o null.Options) *null.Cluster {
	c, err := null.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestCountsAreRightForEveryCodec(t *testing.T) {
	const n = 10_000
	for name, produce := range libraries {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			for _, verify := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/verify=%t", name, codec, verify), func(t *testing.T) {
					t.Parallel()
					c := start(t, null.Options{Verify: verify})
					produce(t, c.Addrs(), codec, 16384, n)
					s := c.Stats()
					require.EqualValues(t, n, s.Records)
					require.Zero(t, s.Faults(), "%+v", s)
					require.Zero(t, s.Duplicates)
					// a batch that a codec would make larger may be sent without
					require.GreaterOrEqual(t, s.Codecs[codec]*10, s.Batches*8, "%v", s.Codecs)
					require.Equal(t, s.Batches, s.Idempotent)
					require.Equal(t, s.TopicStats, s.Topics["t12"])
					require.Positive(t, s.Requests)
					require.Greater(t, s.Bytes, s.BatchBytes)
					require.Equal(t, verify, s.Decoded > 0)
				})
			}
		}
	}
}

func TestLargeBatchesAreDroppedAndCounted(t *testing.T) {
	for name, produce := range libraries {
		t.Run(name, func(t *testing.T) {
			c := start(t, null.Options{Nodes: 1})
			produce(t, c.Addrs(), "none", 1_000_000, 100_000)
			s := c.Stats()
			require.EqualValues(t, 100_000, s.Records)
			require.Zero(t, s.Faults(), "%+v", s)
			require.Greater(t, s.BatchBytes/s.Batches, int64(16384))
		})
	}
}

func TestResetForgetsProducers(t *testing.T) {
	c := start(t, null.Options{})
	produceFranz(t, c.Addrs(), "none", 16384, 100)
	c.Reset()
	require.Zero(t, c.Stats().Records)
	produceQuill(t, c.Addrs(), "none", 16384, 200)
	s := c.Stats()
	require.EqualValues(t, 200, s.Records)
	require.Zero(t, s.Faults())
}

func TestLatencyHoldsAnswersBackAndEnds(t *testing.T) {
	c := start(t, null.Options{Latency: time.Second})
	took := func() time.Duration {
		begun := time.Now()
		produceQuill(t, c.Addrs(), "none", 16384, 1)
		return time.Since(begun)
	}
	require.GreaterOrEqual(t, took(), 3*time.Second) // versions, metadata, produce at the least
	c.SetLatency(0)
	require.Less(t, took(), 3*time.Second)
}

func TestAcksLeaderAndUnknownTopic(t *testing.T) {
	c := start(t, null.Options{Topics: []null.Topic{{Name: "one", Partitions: 1}}})
	p, err := quill.New(quill.Config{BootstrapServers: c.Addrs(), Acks: quill.AcksLeader, MaxBlock: 200 * time.Millisecond}, quill.Bytes, quill.Bytes)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close(context.Background())) }()
	m, err := p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "one", Value: []byte("v")})
	require.NoError(t, err)
	require.Zero(t, m.Offset)
	_, err = p.SendSync(t.Context(), quill.Record[[]byte, []byte]{Topic: "other", Value: []byte("v")})
	require.Error(t, err)
	require.Zero(t, c.Stats().Idempotent)
	require.EqualValues(t, 1, c.Stats().Records)
}

// A request that makes no sense costs its connection and is counted; the cluster goes on.
func TestBadRequestsEndTheirConnection(t *testing.T) {
	c := start(t, null.Options{Nodes: 1})
	header := func(key, version int16) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(b, 0, 0, 0, 7, 0xff, 0xff)
	}
	bad := [][]byte{
		header(0, 2),                        // a version that has no record batches
		header(0, 9),                        // nothing after the header
		append(header(0, 9), 0, 0xff),       // a string beyond the end
		header(3, 9),                        // metadata, cut off
		header(1, 11),                       // fetch
		header(999, 0),                      // no such API
		append(header(22, 4), 1, 2, 3),      // garbage
		append(header(0, 3), 0xff, 0xff, 0), // cut off in acks
	}
	for _, b := range bad {
		nc, err := net.Dial("tcp", c.Addrs()[0])
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
		require.NoError(t, err)
		_, err = nc.Read(make([]byte, 1))
		require.Error(t, err, "%x", b)
		var timeout net.Error
		require.NotErrorAs(t, err, &timeout, "%x", b)
		require.NoError(t, nc.Close())
	}
	require.Eventually(t, func() bool { return c.Stats().BadRequests == int64(len(bad)) }, 5*time.Second, time.Millisecond)
	c.Reset()
	produceFranz(t, c.Addrs(), "none", 16384, 10)
	s := c.Stats()
	require.EqualValues(t, 10, s.Records)
	require.Zero(t, s.Faults())
}

func TestControlSteersTheCluster(t *testing.T) {
	c := start(t, null.Options{})
	srv := httptest.NewServer(c.Handler())
	defer srv.Close()
	call := func(method, path string) (s null.Stats, code int) {
		q, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		require.NoError(t, err)
		r, err := http.DefaultClient.Do(q)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Body.Close()) }()
		if r.StatusCode == http.StatusOK {
			require.NoError(t, json.NewDecoder(r.Body).Decode(&s))
		}
		return s, r.StatusCode
	}
	_, code := call("POST", "/verify?on=true")
	require.Equal(t, 200, code)
	produceQuill(t, c.Addrs(), "lz4", 16384, 50)
	s, _ := call("GET", "/stats")
	require.EqualValues(t, 50, s.Records)
	require.EqualValues(t, 50, s.Topics["t12"].Records)
	require.Positive(t, s.Decoded)
	s, _ = call("POST", "/reset")
	require.Zero(t, s.Records)
	_, code = call("POST", "/latency?d=soon")
	require.Equal(t, 400, code)
	_, code = call("POST", "/verify?on=perhaps")
	require.Equal(t, 400, code)
}
