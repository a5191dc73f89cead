package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// layered is an Exchange whose body alternates between copied and attached bytes.
type layered struct {
	echo
	parts []string // attached if upper case
	err   error
}

func (l *layered) Encode(f *Frame, _ int16) error {
	for _, p := range l.parts {
		if p == strings.ToUpper(p) {
			f.Attach([]byte(p))
		} else {
			f.Buf = append(f.Buf, p...)
		}
	}
	return l.err
}

func wire(f *Frame) string { return string(bytes.Join(f.Vectors(), nil)) }

// wireOf returns the frame of one request as it should be.
func wireOf(id int32, parts ...string) string {
	b := message.AppendRequestHeader(nil, protocol.Metadata, 8, id, "me")
	b = append(b, strings.Join(parts, "")...)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

func request(id int32, err error, parts ...string) *Request {
	return &Request{Exchange: &layered{parts: parts, err: err}, Version: 8, CorrelationID: id}
}

func TestFrameKeepsTheOrderOfItsPieces(t *testing.T) {
	var f Frame
	bodies := [][]string{{"a", "BB", "c"}, {"BB"}, {}, {"BB", "CC", ""}, {"a"}, {"BB", "c", "DD"}}
	var want strings.Builder
	for i, parts := range bodies {
		require.NoError(t, f.add(request(int32(i), nil, parts...), "me"))
		want.WriteString(wireOf(int32(i), parts...))
		require.Equal(t, want.String(), wire(&f))
		require.Equal(t, len(want.String()), f.size())
	}
	f.reset()
	require.Zero(t, f.size())
	require.Empty(t, f.Vectors())
	require.NoError(t, f.add(request(9, nil, "x"), "me"))
	require.Equal(t, wireOf(9, "x"), wire(&f))
}

func TestFrameIsAsBeforeAfterAnError(t *testing.T) {
	var f Frame
	oops := errors.New("oops")
	require.ErrorIs(t, f.add(request(1, oops, "a", "BB", "c"), "me"), oops)
	require.Empty(t, f.Vectors())
	require.NoError(t, f.add(request(2, nil, "a", "BB"), "me"))
	require.ErrorIs(t, f.add(request(3, oops, "CC", "d"), "me"), oops)
	require.NoError(t, f.add(request(4, nil, "DD"), "me"))
	require.Equal(t, wireOf(2, "a", "BB")+wireOf(4, "DD"), wire(&f))
}

func TestFrameLetsGoOfMemory(t *testing.T) {
	var f Frame
	require.NoError(t, f.add(request(1, nil, strings.Repeat("x", 2*keptHeader), "BB"), "me"))
	f.Vectors()
	f.reset()
	require.Zero(t, cap(f.Buf))
	require.Zero(t, f.pieces[:1][0])
	require.Nil(t, f.iov[:1][0])
}

// writes counts writes and can fail.
type writes struct {
	net.Conn
	got   bytes.Buffer
	calls int
	limit int // bytes until it fails; 0: never
}

func (w *writes) Write(b []byte) (int, error) {
	w.calls++
	if w.limit > 0 && w.got.Len()+len(b) > w.limit {
		n := w.limit - w.got.Len()
		w.got.Write(b[:n])
		return n, io.ErrClosedPipe
	}
	return w.got.Write(b)
}

func TestWritesWithoutWritevAreJoined(t *testing.T) {
	var o outbox
	var want strings.Builder
	for i := range 50 {
		parts := []string{"a", strings.Repeat("B", i*200), "c"}
		require.NoError(t, o.frame.add(request(int32(i), nil, parts...), "me"))
		want.WriteString(wireOf(int32(i), parts...))
	}
	big := strings.Repeat("Z", 3*scratchSize)
	require.NoError(t, o.frame.add(request(99, nil, "a", big, "c"), "me"))
	want.WriteString(wireOf(99, "a", big, "c"))
	var w writes
	n, err := o.write(&w, o.frame.Vectors())
	require.NoError(t, err)
	require.Equal(t, int64(len(want.String())), n)
	require.Equal(t, want.String(), w.got.String())
	require.LessOrEqual(t, w.calls, len(want.String())/scratchSize*2+2)

	for _, limit := range []int{1, 100, scratchSize - 1, scratchSize, scratchSize + 1, len(want.String()) - 1} {
		w = writes{limit: limit}
		n, err = o.write(&w, o.frame.Vectors())
		require.Error(t, err)
		require.Equal(t, int64(limit), n)
		require.Equal(t, want.String()[:limit], w.got.String())
	}
}

// What is written in parts is what would be written at once, and so is how much of it got through.
func TestALargeFrameIsWrittenWholeInParts(t *testing.T) {
	for _, vector := range []bool{true, false} {
		var c conn
		c.out.vector = vector
		var want strings.Builder
		for i, n := range []int{10, partSize, 1, 3*partSize + 1, 0, partSize - 1, scratchSize, 2*partSize - 7} {
			parts := []string{"a", strings.Repeat(string(rune('A'+i)), n), "c"}
			require.NoError(t, c.out.frame.add(request(int32(i), nil, parts...), "me"))
			want.WriteString(wireOf(int32(i), parts...))
		}
		var w writes
		n, err := c.writeFrame(&w)
		require.NoError(t, err)
		require.Equal(t, int64(want.Len()), n)
		require.True(t, want.String() == w.got.String())
		require.False(t, c.movedAt.IsZero())
		for _, limit := range []int{1, partSize - 1, partSize, partSize + 1, 4 * partSize, want.Len() - 1} {
			w = writes{limit: limit}
			n, err = c.writeFrame(&w)
			require.Error(t, err)
			require.Equal(t, int64(limit), n)
			require.True(t, want.String()[:limit] == w.got.String())
		}
	}
}

func TestInboxCutsFramesHoweverTheyArrive(t *testing.T) {
	var stream []byte
	var want [][]byte
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{4, 5, 100, inboxSize - 5, inboxSize - 4, inboxSize - 3, inboxSize, 4, firstGrow - 1, firstGrow, firstGrow + 1, 300_000, 7, keptFrame + 5, 4, 4} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rnd.Uint32())
		}
		want = append(want, body)
		stream = binary.BigEndian.AppendUint32(stream, uint32(size))
		stream = append(stream, body...)
	}
	for name, r := range map[string]io.Reader{
		"all":    bytes.NewReader(stream),
		"half":   iotest.HalfReader(bytes.NewReader(stream)),
		"byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"eof":    iotest.DataErrReader(bytes.NewReader(stream)),
		"ragged": &ragged{bytes.NewReader(stream), rnd},
	} {
		t.Run(name, func(t *testing.T) {
			var x frameReader
			for _, w := range want {
				got, err := x.next(r, 2<<20)
				require.NoError(t, err)
				require.True(t, bytes.Equal(w, got))
			}
			_, err := x.next(r, 2<<20)
			require.Equal(t, io.EOF, err)
			require.LessOrEqual(t, cap(x.large), keptFrame)
		})
	}
}

// ragged reads random amounts, sometimes none.
type ragged struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r *ragged) Read(b []byte) (int, error) { return r.r.Read(b[:r.rnd.IntN(min(len(b), 5000)+1)]) }

func TestInboxTellsWhereTheStreamEnds(t *testing.T) {
	for _, size := range []int{10, inboxSize + 10} {
		whole := append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, size)...)
		for _, cut := range []int{1, 3, 4, 5, len(whole) - 1} {
			var x frameReader
			_, err := x.next(bytes.NewReader(whole[:cut]), 1<<20)
			require.Equal(t, io.ErrUnexpectedEOF, err, "size %d cut at %d", size, cut)
		}
	}
	var x frameReader
	_, err := x.next(iotest.ErrReader(io.ErrClosedPipe), 10)
	require.Equal(t, io.ErrClosedPipe, err)
	_, err = x.next(nothing{}, 10)
	require.Equal(t, io.ErrNoProgress, err)
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// FuzzInbox: any bytes are frames or an error, and cost no more memory than they have.
func FuzzInbox(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 5, 1, 2, 3, 4, 5})
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0})
	f.Add([]byte("HTTP/1.1 200"))
	f.Add([]byte{0, 1, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var x frameReader
		r := bytes.NewReader(b)
		for rest := b; ; {
			got, err := x.next(r, 1<<20)
			if err != nil {
				break
			}
			n := int(binary.BigEndian.Uint32(rest))
			if n < minAnswer || !bytes.Equal(got, rest[sizeField:sizeField+n]) {
				t.Fatalf("frame %x of %x", got, rest)
			}
			rest = rest[sizeField+n:]
		}
		if cap(x.large) > max(2*len(b), firstGrow+8192) {
			t.Fatalf("%d bytes for an input of %d", cap(x.large), len(b))
		}
	})
}
