package quill

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func serialized[T any](t *testing.T, s Serializer[T], v T) []byte {
	t.Helper()
	p, err := newPartSerializer(s, ClientInfo{}, false)
	require.NoError(t, err)
	part, _, err := p.serialize(make([]byte, 7, 100), "topic", nil, v)
	require.NoError(t, err)
	fresh, _, err := p.serialize(nil, "topic", nil, v)
	require.NoError(t, err)
	require.Equal(t, part, fresh, "the same with and without memory to append to")
	require.Equal(t, part == nil, fresh == nil)
	return part
}

// The expected bytes were written by the serializers of kafka-clients 4.4.0.
func TestBuiltInSerializersWriteWhatJavaWrites(t *testing.T) {
	uuid := [16]byte{0x01, 0x23, 0xab, 0xcd, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0x11, 0x22, 0x33, 0xff, 0xee}
	for name, c := range map[string]struct {
		part []byte
		want string
	}{
		"string":       {serialized(t, String, "grüße €"), "6772c3bcc39f6520e282ac"},
		"empty string": {serialized(t, String, ""), ""},
		"true":         {serialized(t, Bool, true), "01"},
		"false":        {serialized(t, Bool, false), "00"},
		"int16":        {serialized(t, Int16, -2), "fffe"},
		"int32":        {serialized(t, Int32, -559038737), "deadbeef"},
		"int64":        {serialized(t, Int64, math.MinInt64+1), "8000000000000001"},
		"float32":      {serialized(t, Float32, -1.5), "bfc00000"},
		"float32 NaN":  {serialized(t, Float32, float32(math.NaN())), "7fc00000"},
		"float64":      {serialized(t, Float64, math.Pi), "400921fb54442d18"},
		"uuid":         {serialized(t, UUID, uuid), hex.EncodeToString([]byte("0123abcd-4567-89ab-cdef-00112233ffee"))},
	} {
		require.NotNil(t, c.part, name)
		require.Equal(t, c.want, hex.EncodeToString(c.part), name)
	}
	require.Nil(t, serialized(t, Void, struct{}{}))
}

func TestBytesArePassedOnWithoutCopy(t *testing.T) {
	value := []byte("value")
	part, err := Bytes.Serialize(make([]byte, 0, 100), "t", nil, value)
	require.NoError(t, err)
	require.Equal(t, &value[0], &part[0])
	require.Nil(t, serialized(t, Bytes, nil))
	require.NotNil(t, serialized(t, Bytes, []byte{}))
}

func TestNullAndEmptyStayDistinct(t *testing.T) {
	empty, text := "", "text"
	require.Nil(t, serialized(t, Nullable(String), nil))
	require.NotNil(t, serialized(t, Nullable(String), &empty))
	require.Equal(t, "text", string(serialized(t, Nullable(String), &text)))

	require.Nil(t, serialized(t, JSON[*int](), nil))
	require.Nil(t, serialized(t, JSON[any](), nil))
	require.Nil(t, serialized(t, JSON[any](), any((*int)(nil))))
	require.Equal(t, "null", string(serialized(t, JSON[[]int](), nil)))
	require.Equal(t, "null", string(serialized(t, JSON[map[string]int](), nil)))
	require.Equal(t, `""`, string(serialized(t, JSON[string](), "")))

	require.NotNil(t, serialized(t, TextMarshaler[quiet](), quiet{}))
	require.Nil(t, serialized(t, TextMarshaler[*time.Time](), nil))
}

type quiet struct{}

func (quiet) MarshalText() ([]byte, error) { return nil, nil }

func TestJSONIsWhatMarshalWrites(t *testing.T) {
	type order struct {
		ID   int               `json:"id"`
		Note string            `json:"note,omitempty"`
		Tags map[string]string `json:"tags"`
	}
	v := order{ID: 7, Note: "<a> & \u2028", Tags: map[string]string{"k": "v"}}
	want, err := json.Marshal(v)
	require.NoError(t, err)
	require.Equal(t, string(want), string(serialized(t, JSON[order](), v)))
	require.Equal(t, string(want), string(serialized(t, JSON[*order](), &v)))

	_, err = JSON[float64]().Serialize(nil, "t", nil, math.NaN())
	require.Error(t, err)
	require.Equal(t, "1.5", string(serialized(t, JSON[float64](), 1.5)), "an error leaves nothing behind")
}

func TestMarshalersAreUsed(t *testing.T) {
	at := time.Unix(1700000000, 5).UTC()
	want, err := at.MarshalText()
	require.NoError(t, err)
	require.Equal(t, want, serialized(t, TextMarshaler[time.Time](), at))
	require.Equal(t, want, serialized(t, TextMarshaler[*time.Time](), &at))
	require.Equal(t, "10.0.0.1", string(serialized(t, TextMarshaler[netip.Addr](), netip.MustParseAddr("10.0.0.1"))))
	require.Equal(t, "bad", string(serialized(t, TextMarshaler[textOnly](), "bad")))
	_, err = TextMarshaler[textOnly]().Serialize(nil, "t", nil, "fail")
	require.ErrorIs(t, err, errPlugin)
}

// textOnly has no append methods.
type textOnly string

var errPlugin = errors.New("plug-in failed")

func (s textOnly) MarshalText() ([]byte, error) {
	if s == "fail" {
		return nil, errPlugin
	}
	return []byte(s), nil
}

func TestSerializersDoNotAllocateWhenThereIsRoom(t *testing.T) {
	var (
		s, _     = newPartSerializer(String, ClientInfo{}, true)
		i, _     = newPartSerializer(Int64, ClientInfo{}, true)
		b, _     = newPartSerializer(Bytes, ClientInfo{}, true)
		u, _     = newPartSerializer(UUID, ClientInfo{}, true)
		n, _     = newPartSerializer(Nullable(String), ClientInfo{}, true)
		k, _     = newPartSerializer(KeepZero(String), ClientInfo{}, true)
		z, _     = newPartSerializer(NullIfZero(Int64), ClientInfo{}, true)
		scratch  = make([]byte, 0, 64)
		value    = []byte("value")
		text     = strings.Repeat("x", 20)
		headers  = Headers{{Key: "h"}}
		parts    = 0
		allocate = testing.AllocsPerRun(100, func() {
			for _, serialize := range [...]func() ([]byte, Headers, error){
				func() ([]byte, Headers, error) { return s.serialize(scratch, "t", headers, text) },
				func() ([]byte, Headers, error) { return i.serialize(scratch, "t", headers, 5) },
				func() ([]byte, Headers, error) { return b.serialize(scratch, "t", headers, value) },
				func() ([]byte, Headers, error) { return u.serialize(scratch, "t", headers, [16]byte{}) },
				func() ([]byte, Headers, error) { return n.serialize(scratch, "t", headers, &text) },
				func() ([]byte, Headers, error) { return k.serialize(scratch, "t", headers, text) },
				func() ([]byte, Headers, error) { return z.serialize(scratch, "t", headers, 5) },
			} {
				part, _, _ := serialize()
				parts += len(part)
			}
		})
	)
	require.Zero(t, allocate)
	require.NotZero(t, parts)
}

func TestSerializerFaultIsATypedError(t *testing.T) {
	headers := Headers{{Key: "h"}}
	for name, s := range map[string]SerializerFunc[int]{
		"error": func([]byte, string, *Headers, int) ([]byte, error) { return []byte("x"), errPlugin },
		"panic": func([]byte, string, *Headers, int) ([]byte, error) { panic(errPlugin) },
		"changed the headers first": func(_ []byte, _ string, h *Headers, _ int) ([]byte, error) {
			h.Add("more", nil)
			return nil, errPlugin
		},
	} {
		p, err := newPartSerializer(Serializer[int](s), ClientInfo{}, true)
		require.NoError(t, err)
		part, after, err := p.serialize(nil, "orders", headers, 1)
		require.Nil(t, part, name)
		require.Equal(t, headers, after, name)
		require.ErrorIs(t, err, ErrSerialization, name)
		require.ErrorIs(t, err, errPlugin, name)
		e, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		require.Equal(t, "orders", e.Topic)
		require.EqualValues(t, -1, e.Partition)
		require.Equal(t, "serialize key", e.Op)
		require.Equal(t, NotSent, e.Outcome)
	}
	p, err := newPartSerializer(Serializer[int](SerializerFunc[int](func([]byte, string, *Headers, int) ([]byte, error) {
		panic("text")
	})), ClientInfo{}, false)
	require.NoError(t, err)
	_, _, err = p.serialize(nil, "orders", nil, 1)
	require.ErrorContains(t, err, "panic: text")
	require.ErrorContains(t, err, "serialize value")
}

func TestSerializerMayChangeHeaders(t *testing.T) {
	shared := make(Headers, 1, 10)
	shared[0] = Header{Key: "first"}
	p, err := newPartSerializer(Serializer[int](SerializerFunc[int](
		func(dst []byte, topic string, h *Headers, v int) ([]byte, error) {
			h.Add("schema", []byte(topic))
			h.Remove("first")
			return append(dst, byte(v)), nil
		})), ClientInfo{}, false)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 { // the race detector sees whether records share memory
		wg.Go(func() {
			part, after, err := p.serialize(nil, "t", shared, 3)
			if err != nil || len(part) != 1 || len(after) != 1 || after[0].Key != "schema" {
				t.Error("serialize")
			}
		})
	}
	wg.Wait()
	require.Equal(t, Headers{{Key: "first"}, {}}, shared[:2], "nor is what lies behind them changed")
}

// configured is a serializer with everything a serializer may have.
type configured struct {
	info      ClientInfo
	isKey     bool
	closed    int
	configErr error
}

func (c *configured) Serialize(dst []byte, _ string, _ *Headers, v string) ([]byte, error) {
	return append(dst, v...), nil
}

func (c *configured) Configure(info ClientInfo) error {
	c.info, c.isKey = info, info.IsKey
	return c.configErr
}

func (c *configured) Close() error {
	c.closed++
	return errPlugin
}

// forKeysOnly is a serializer whose form for keys is another one.
type forKeysOnly struct {
	*configured
	keys Serializer[string]
}

func (f forKeysOnly) ForKeys() Serializer[string] { return f.keys }

func TestSerializerIsConfiguredAndClosed(t *testing.T) {
	info := ClientInfo{ClientID: "producer-7", Logger: slog.New(slog.DiscardHandler)}
	s := new(configured)
	for _, wrapped := range []func() error{
		func() error {
			p, err := newPartSerializer(Serializer[string](s), info, true)
			require.NoError(t, err)
			return closeApart(p.s)
		},
		func() error {
			p, err := newPartSerializer(Nullable[string](s), info, true)
			require.NoError(t, err)
			return closeApart(p.s)
		},
		func() error {
			p, err := newPartSerializer(KeepZero[string](s), info, true)
			require.NoError(t, err)
			return closeApart(p.s)
		},
		func() error {
			p, err := newPartSerializer(NullIfZero[string](s), info, true)
			require.NoError(t, err)
			return closeApart(p.s)
		},
		func() error {
			p, err := newPartSerializer(Serializer[string](forKeysOnly{configured: &configured{configErr: errPlugin}, keys: s}), info, true)
			require.NoError(t, err, "only the form for keys is configured")
			return closeApart(p.s)
		},
	} {
		*s = configured{}
		require.ErrorIs(t, wrapped(), errPlugin)
		want := info
		want.IsKey = true
		require.Equal(t, want, s.info)
		require.True(t, s.isKey)
		require.Equal(t, 1, s.closed)
	}
	_, err := newPartSerializer(Serializer[string](&configured{configErr: errPlugin}), info, false)
	require.ErrorIs(t, err, errPlugin)
	p, err := newPartSerializer(String, info, false)
	require.NoError(t, err)
	require.NoError(t, closeApart(p.s))
}

func BenchmarkSerializeString(b *testing.B) {
	p, _ := newPartSerializer(String, ClientInfo{}, false)
	dst := make([]byte, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = p.serialize(dst, "t", nil, "some value of a usual length")
	}
}

func BenchmarkSerializeJSON(b *testing.B) {
	p, _ := newPartSerializer(JSON[*Header](), ClientInfo{}, false)
	dst := make([]byte, 0, 100)
	v := &Header{Key: "k"}
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = p.serialize(dst, "t", nil, v)
	}
}
