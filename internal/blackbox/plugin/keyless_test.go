package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/quill-kafka/quill/quilltest/quillmock"
	"github.com/stretchr/testify/require"
)

// keyed sends one record with the key, as the zero value of K leaves it out, and returns what is in the log.
type keyed func(t *testing.T, p *quill.Producer[string, string], c *quilltest.Cluster) (key []byte, m quill.RecordMetadata)

// withKey sends key by a view with the serializer, and checks that the mock makes the same of it.
func withKey[K any](s quill.Serializer[K], key K) keyed {
	return func(t *testing.T, p *quill.Producer[string, string], c *quilltest.Cluster) ([]byte, quill.RecordMetadata) {
		view, err := quill.Share(p, s, quill.String)
		require.NoError(t, err)
		m, err := view.SendSync(t.Context(), quill.Record[K, string]{Topic: "t", Key: key, Value: "v"})
		require.NoError(t, err)
		records := testkit.Logged(t, c, "t", m.Partition)
		logged := records[len(records)-1].Key

		mock := quillmock.New(s, quill.String, quillmock.Options{})
		_, err = mock.SendSync(t.Context(), quill.Record[K, string]{Topic: "t", Key: key, Value: "v"})
		require.NoError(t, err)
		require.Equal(t, logged, mock.History()[0].Key, "the mock's key")
		return logged, m
	}
}

// asValue returns what the serializer makes of the same as a value.
func asValue[V any](t *testing.T, s quill.Serializer[V], v V) []byte {
	t.Helper()
	value, err := s.Serialize(make([]byte, 0, 8), "t", nil, v)
	require.NoError(t, err)
	return value
}

type customer struct{ ID int }

type stamp string

func (s stamp) MarshalText() ([]byte, error) { return []byte(s), nil }

// The table of serializer.go.
func TestALeftOutKeyIsNoKey(t *testing.T) {
	var zeros, one [16]byte
	one[15] = 1
	empty := ""
	own := quill.SerializerFunc[string](func(_ []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
		return append([]byte{}, v...), nil
	})
	for name, c := range map[string]struct {
		send keyed
		want string // "null", or the key quoted
	}{
		"Void":                                  {withKey(quill.Void, struct{}{}), "null"},
		"Bytes nil":                             {withKey(quill.Bytes, nil), "null"},
		"Bytes empty":                           {withKey(quill.Bytes, []byte{}), `""`},
		"String":                                {withKey(quill.String, ""), "null"},
		"String with a key":                     {withKey(quill.String, "k"), `"k"`},
		"UUID nil":                              {withKey(quill.UUID, zeros), "null"},
		"UUID":                                  {withKey(quill.UUID, one), `"00000000-0000-0000-0000-000000000001"`},
		"Int32 0":                               {withKey(quill.Int32, 0), `"\x00\x00\x00\x00"`},
		"Int64 0":                               {withKey(quill.Int64, 0), `"\x00\x00\x00\x00\x00\x00\x00\x00"`},
		"Bool false":                            {withKey(quill.Bool, false), `"\x00"`},
		"Float64 0":                             {withKey(quill.Float64, 0), `"\x00\x00\x00\x00\x00\x00\x00\x00"`},
		"JSON of an empty string":               {withKey(quill.JSON[string](), ""), "null"},
		"JSON of a string":                      {withKey(quill.JSON[string](), "k"), `"\"k\""`},
		"JSON of a nil pointer":                 {withKey(quill.JSON[*customer](), nil), "null"},
		"JSON of a nil interface":               {withKey(quill.JSON[any](), nil), "null"},
		"JSON of a nil slice":                   {withKey(quill.JSON[[]string](), nil), "null"},
		"JSON of an empty slice":                {withKey(quill.JSON[[]string](), []string{}), `"[]"`},
		"JSON of a nil map":                     {withKey(quill.JSON[map[string]int](), nil), "null"},
		"JSON of an inner nil map":              {withKey(quill.JSON[any](), any(map[string]int(nil))), "null"},
		"JSON of raw nothing":                   {withKey(quill.JSON[json.RawMessage](), nil), "null"},
		"JSON of zeros":                         {withKey(quill.JSON[customer](), customer{}), `"{\"ID\":0}"`},
		"text of nothing":                       {withKey(quill.TextMarshaler[netip.Addr](), netip.Addr{}), "null"},
		"text":                                  {withKey(quill.TextMarshaler[stamp](), "k"), `"k"`},
		"text of a nil pointer":                 {withKey(quill.TextMarshaler[*time.Time](), nil), "null"},
		"Nullable nil":                          {withKey(quill.Nullable(quill.String), nil), "null"},
		"Nullable of empty":                     {withKey(quill.Nullable(quill.String), &empty), `""`},
		"KeepZero":                              {withKey(quill.KeepZero(quill.String), ""), `""`},
		"KeepZero of a UUID":                    {withKey(quill.KeepZero(quill.UUID), zeros), `"00000000-0000-0000-0000-000000000000"`},
		"NullIfZero":                            {withKey(quill.NullIfZero(quill.Int64), 0), "null"},
		"NullIfZero with a key":                 {withKey(quill.NullIfZero(quill.Int32), 7), `"\x00\x00\x00\a"`},
		"NullIfZero of a struct":                {withKey(quill.NullIfZero(quill.JSON[customer]()), customer{}), "null"},
		"a serializer of one's own is believed": {withKey[string](own, ""), `""`},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, cluster *quilltest.Cluster) {
				cluster.MustCreateTopic("t", 3, quilltest.TopicConfig{})
				p := testkit.Open(t, testkit.Config(cluster))
				key, m := c.send(t, p, cluster)
				got := "null"
				if key != nil {
					got = fmt.Sprintf("%q", key)
					require.EqualValues(t, len(key), m.KeySize)
				} else {
					require.EqualValues(t, -1, m.KeySize)
				}
				require.Equal(t, c.want, got)
				testkit.CloseProducer(t, p)
			})
		})
	}
}

// What a value is does not change by what a key left out is.
func TestAnEmptyValueIsEmptyAndNoTombstone(t *testing.T) {
	require.NotNil(t, asValue(t, quill.String, ""))
	require.Equal(t, `""`, string(asValue(t, quill.JSON[string](), "")))
	require.Equal(t, "null", string(asValue(t, quill.JSON[[]int](), nil)))
	require.NotNil(t, asValue(t, quill.TextMarshaler[netip.Addr](), netip.Addr{}))
	require.NotNil(t, asValue(t, quill.TextMarshaler[stamp](), ""))
	require.Len(t, asValue(t, quill.UUID, [16]byte{}), 36)
	require.Nil(t, asValue(t, quill.NullIfZero(quill.String), ""), "a tombstone if asked for")

	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 1, quilltest.TopicConfig{})
		p := testkit.Open(t, testkit.Config(c))
		m, err := p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t"})
		require.NoError(t, err)
		require.EqualValues(t, -1, m.KeySize)
		require.Zero(t, m.ValueSize)
		require.NotNil(t, testkit.Logged(t, c, "t", 0)[0].Value)
		testkit.CloseProducer(t, p)
	})
}

// keyWatcher is an interceptor and a partitioner that remember the keys they see.
type keyWatcher struct {
	mu    sync.Mutex
	typed []string
	bytes [][]byte
	sizes []int32
}

func (w *keyWatcher) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.typed = append(w.typed, r.Key)
	return r, nil
}

func (w *keyWatcher) OnAcknowledgement(m quill.RecordMetadata, _ quill.Headers, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sizes = append(w.sizes, m.KeySize)
}

func (w *keyWatcher) Partition(in quill.PartitionInput) (int32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes = append(w.bytes, in.Key)
	return 1, nil
}

func TestPluginsSeeNoKeyWhereNoneWasGiven(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 3, quilltest.TopicConfig{})
		w := &keyWatcher{}
		cfg := testkit.Config(c)
		cfg.Partitioner = w
		p, err := quill.New(cfg, quill.String, quill.String, quill.Interceptor[string, string](w))
		require.NoError(t, err)
		_, err = p.SendSync(t.Context(), quill.Record[string, string]{Topic: "t", Value: "v"})
		require.NoError(t, err)
		testkit.CloseProducer(t, p)
		require.Equal(t, []string{""}, w.typed)
		require.Equal(t, [][]byte{nil}, w.bytes)
		require.Equal(t, []int32{-1}, w.sizes)
	})
}

// One thousand records without a key, in the way of the first line of doc.go, are everywhere.
func TestRecordsWithoutAKeySpreadOverThePartitions(t *testing.T) {
	testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, c *quilltest.Cluster) {
		c.MustCreateTopic("t", 6, quilltest.TopicConfig{})
		cfg := testkit.Config(c)
		cfg.BatchSize = 512
		p := testkit.Open(t, cfg)
		for i := range 1000 {
			p.SendFunc(t.Context(), quill.Record[string, string]{Topic: "t", Value: fmt.Sprint("value ", i)}, nil)
		}
		testkit.CloseProducer(t, p)
		for partition := range int32(6) {
			require.NotEmpty(t, testkit.Logged(t, c, "t", partition), "partition %d", partition)
		}
	})
}
