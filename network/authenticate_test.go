package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
	"github.com/quill-kafka/quill/protocol"
)

// wordplay is a mechanism of a test: it sends its words one after the other and expects "ok" for each.
type wordplay struct {
	name   string
	words  []string
	begin  func(ctx context.Context) error // before it begins
	answer func(challenge []byte) ([]byte, bool, error)
	starts atomic.Int32
	peer   sasl.Peer // the last one
}

func (w *wordplay) Name() string { return w.name }

func (w *wordplay) Start(ctx context.Context, peer sasl.Peer) (sasl.Session, []byte, error) {
	w.starts.Add(1)
	w.peer = peer
	if w.begin != nil {
		if err := w.begin(ctx); err != nil {
			return nil, nil, err
		}
	}
	return &wordSession{w, w.words[1:]}, []byte(w.words[0]), nil
}

type wordSession struct {
	w    *wordplay
	left []string
}

func (s *wordSession) Next(_ context.Context, challenge []byte) ([]byte, bool, error) {
	switch {
	case s.w.answer != nil:
		return s.w.answer(challenge)
	case string(challenge) != "ok":
		return nil, false, fmt.Errorf("unexpected challenge %q", challenge)
	case len(s.left) == 0:
		return nil, true, nil
	}
	word := s.left[0]
	s.left = s.left[1:]
	return []byte(word), false, nil
}

func words(list ...string) *wordplay { return &wordplay{name: "WORDS", words: list} }

func withSASL(m sasl.Mechanism) func(*Config) { return func(c *Config) { c.SASL = m } }

// doorkeeper is what a node says to SASL.
type doorkeeper struct {
	mechanisms []string // enabled; nil: WORDS
	lifetime   int64
	raw        bool               // before SaslAuthenticate
	refusal    protocol.ErrorCode // of the first message
	text       string             // with it
	answer     func(word string) []byte

	heard []string // words, and the requests between them
	ids   []int32
}

// versions returns what the node serves.
func (d *doorkeeper) versions() *message.APIVersionsResponse {
	m := versionsAnswer()
	shake := message.APIVersion{APIKey: 17, MaxVersion: 1}
	if d.raw {
		shake.MaxVersion = 0
	} else {
		m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: 36, MaxVersion: 2})
	}
	m.APIKeys = append(m.APIKeys, shake)
	return m
}

// open plays the node's part of the set-up.
func (d *doorkeeper) open(p *peer, words int) {
	p.versions(d.versions())
	d.shake(p, p.request())
	for range words {
		d.word(p)
	}
}

// shake answers a SaslHandshake.
func (d *doorkeeper) shake(p *peer, q asked) {
	rd := protocol.NewReader(q.body)
	var req message.SaslHandshakeRequest
	req.Decode(&rd, q.version)
	d.heard = append(d.heard, fmt.Sprintf("SaslHandshake v%d %s", q.version, req.Mechanism))
	d.ids = append(d.ids, q.id)
	resp := &message.SaslHandshakeResponse{Mechanisms: d.mechanisms}
	if resp.Mechanisms == nil {
		resp.Mechanisms = []string{"WORDS"}
	}
	if !slices.Contains(resp.Mechanisms, req.Mechanism) {
		resp.ErrorCode = protocol.UnsupportedSaslMechanism
	}
	p.answer(q.id, string(resp.Append(nil, q.version)))
	if resp.ErrorCode != protocol.None {
		p.must(io.EOF)
	}
}

// word reads a message of the mechanism and answers it.
func (d *doorkeeper) word(p *peer) {
	if d.raw {
		var size [4]byte
		_, err := io.ReadFull(p, size[:])
		p.must(err)
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		_, err = io.ReadFull(p, b)
		p.must(err)
		d.heard = append(d.heard, string(b))
		if d.refusal != protocol.None {
			p.must(io.EOF)
		}
		reply := d.reply(string(b))
		p.raw(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)...)
		return
	}
	d.told(p, p.request())
}

// challenge answers a SaslAuthenticate.
func (d *doorkeeper) told(p *peer, q asked) {
	rd := protocol.NewReader(q.body)
	var req message.SaslAuthenticateRequest
	req.Decode(&rd, q.version)
	d.heard = append(d.heard, string(req.AuthBytes))
	d.ids = append(d.ids, q.id)
	resp := &message.SaslAuthenticateResponse{AuthBytes: d.reply(string(req.AuthBytes)), SessionLifetimeMs: d.lifetime, ErrorCode: d.refusal}
	if d.refusal != protocol.None {
		resp.ErrorMessage, resp.AuthBytes = &d.text, nil
	}
	var b []byte
	b = message.AppendResponseHeader(b, protocol.SaslAuthenticate, q.version, q.id)
	p.answer(q.id, string(resp.Append(b[4:], q.version)))
	if d.refusal != protocol.None {
		p.must(io.EOF)
	}
}

func (d *doorkeeper) reply(word string) []byte {
	if d.answer != nil {
		return d.answer(word)
	}
	return []byte("ok")
}

func TestAuthentication(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run(fmt.Sprint("raw ", raw), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := &doorkeeper{raw: raw}
				m := words("first", "", "third")
				r := newRig(t, func(p *peer) { d.open(p, 3); echoesOn(p) }, withSASL(m))
				r.connect(-1)
				req := r.send(-1, "x")
				r.back(req)
				require.NoError(t, req.Err)
				version := map[bool]int{false: 1, true: 0}[raw]
				require.Equal(t, []string{fmt.Sprintf("SaslHandshake v%d WORDS", version), "first", "", "third"}, d.heard)
				require.Equal(t, sasl.Peer{Host: "boot", Port: 9092, Node: -1}, m.peer)
				for _, id := range d.ids {
					require.GreaterOrEqual(t, id, int32(math.MaxInt32-7), "the ids that Java reserves for SASL")
				}
			})
		})
	}
}

// echoesOn answers every request with its own body.
func echoesOn(p *peer) {
	for {
		q := p.request()
		p.answer(q.id, string(q.body))
	}
}

// unwelcome is an authentication that fails, and what is said about it.
type unwelcome struct {
	name    string
	keeper  *doorkeeper
	words   *wordplay
	node    func(d *doorkeeper, p *peer) // instead of the keeper's way
	step    string
	text    string
	hint    string
	code    protocol.ErrorCode
	passing bool
}

var errEndpoint = errors.New(`the token endpoint answers 401: "invalid_client"`)

var unwelcomeCases = []unwelcome{
	{name: "H68 not enabled", keeper: &doorkeeper{mechanisms: []string{"PLAIN", "SCRAM-SHA-512"}}, words: words(planted.Password), step: "SaslHandshake",
		text: "UNSUPPORTED_SASL_MECHANISM", hint: `has "PLAIN", "SCRAM-SHA-512": let Config.SASL (sasl.mechanism)`, code: protocol.UnsupportedSaslMechanism},
	{name: "H68 other case", keeper: &doorkeeper{mechanisms: []string{"words"}}, words: words(planted.Password), step: "SaslHandshake", hint: `the node spells it "words"`, code: protocol.UnsupportedSaslMechanism},
	{name: "H68 none", keeper: &doorkeeper{mechanisms: []string{}}, words: words(planted.Password), step: "SaslHandshake", hint: "the listener has none", code: protocol.UnsupportedSaslMechanism},
	{name: "H68 10^4 mechanisms", keeper: &doorkeeper{mechanisms: slices.Repeat([]string{"é"}, 10_000)}, words: words(planted.Password), step: "SaslHandshake",
		hint: "and 9992 more", code: protocol.UnsupportedSaslMechanism},
	{name: "H68 10^5 mechanisms", keeper: &doorkeeper{mechanisms: slices.Repeat([]string{"é"}, 100_000)}, words: words(planted.Password), step: "SaslHandshake",
		text: "too many small elements", passing: true},
	{name: "no SASL", words: words(planted.Password), node: func(d *doorkeeper, p *peer) {
		p.versions(d.versions())
		q := p.request()
		p.answer(q.id, string((&message.SaslHandshakeResponse{ErrorCode: protocol.IllegalSaslState}).Append(nil, q.version)))
	}, step: "SaslHandshake", text: "ILLEGAL_SASL_STATE", hint: "then leave Config.SASL out (security.protocol PLAINTEXT or SSL)", code: protocol.IllegalSaslState},
	{name: "H69 closes after the handshake", words: words(planted.Password), node: func(d *doorkeeper, p *peer) { d.open(p, 0); p.request() },
		step: "SaslAuthenticate", text: "the node closed the connection", passing: true},
	{name: "bad credentials", keeper: &doorkeeper{refusal: protocol.SaslAuthenticationFailed, text: "Authentication failed: \x1b[31mInvalid username"},
		words: words(planted.Password), step: "SaslAuthenticate", text: `SASL_AUTHENTICATION_FAILED: "Authentication failed: \x1b[31mInvalid username"`, hint: "Config.SASL (sasl.jaas.config)", code: protocol.SaslAuthenticationFailed},
	{name: "H70 text of 1 MB", keeper: &doorkeeper{refusal: protocol.SaslAuthenticationFailed, text: strings.Repeat("ä", 500_000)}, words: words(planted.Password), step: "SaslAuthenticate",
		text: strings.Repeat("ä", 128) + `"…`, code: protocol.SaslAuthenticationFailed},
	{name: "H70 text beyond the limit", keeper: &doorkeeper{refusal: protocol.SaslAuthenticationFailed, text: strings.Repeat("x", 1<<20)}, words: words(planted.Password), step: "SaslAuthenticate",
		text: "response too large", passing: true},
	{name: "the node's own trouble", keeper: &doorkeeper{refusal: protocol.UnknownServerError, text: "oops"}, words: words(planted.Password), step: "SaslAuthenticate",
		text: `"oops"`, code: protocol.UnknownServerError, passing: true},
	{name: "raw, refused", keeper: &doorkeeper{raw: true, refusal: protocol.SaslAuthenticationFailed}, words: words(planted.Password), step: "SaslAuthenticate",
		text: "closed the connection", hint: "brokers before 1.0 do so without a word", passing: true},
	{name: "token endpoint", words: &wordplay{name: "WORDS", begin: func(context.Context) error { return errEndpoint }}, step: "start", text: errEndpoint.Error()},
	{name: "no token in time", words: &wordplay{name: "WORDS", begin: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, step: "start",
		text: "connection setup timed out", passing: true},
	{name: "the mechanism's own error", keeper: &doorkeeper{answer: func(string) []byte { return []byte("no") }}, words: words(planted.Password), step: "SaslAuthenticate", text: `unexpected challenge "no"`},
	{name: "H73 no end", words: &wordplay{name: "WORDS", words: []string{"x"}, answer: func([]byte) ([]byte, bool, error) { return []byte("x"), false, nil }},
		node: func(d *doorkeeper, p *peer) { d.open(p, 1000) }, step: "SaslAuthenticate", text: "no end after 32 messages", passing: true},
	{name: "more after the end", words: &wordplay{name: "WORDS", words: []string{"x"}, answer: func([]byte) ([]byte, bool, error) { return []byte("x"), true, nil }},
		node: func(d *doorkeeper, p *peer) { d.open(p, 2) }, step: "SaslAuthenticate", text: "2 bytes after the mechanism's end", passing: true},
	{name: "silent", words: words(planted.Password), node: func(d *doorkeeper, p *peer) { d.open(p, 0); silent(p) }, step: "SaslAuthenticate", text: "connection setup timed out", passing: true},
}

func TestErrorsOfSASLSayWhatIsWrong(t *testing.T) {
	for _, c := range unwelcomeCases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { testUnwelcome(t, c) })
		})
	}
}

func testUnwelcome(t *testing.T, c unwelcome) {
	d := c.keeper
	if d == nil {
		d = new(doorkeeper)
	}
	if c.node == nil {
		c.node = func(d *doorkeeper, p *peer) { d.open(p, 1); echoesOn(p) }
	}
	r := newRig(t, func(p *peer) { c.node(d, p) }, withSASL(c.words))
	start := time.Now()
	require.False(t, r.Ready(-1, time.Now()))
	for r.settle(); r.LastError(-1) == nil; r.pass(10 * time.Millisecond) {
	}
	err := r.LastError(-1)
	require.LessOrEqual(t, time.Since(start), 10*time.Second+20*time.Millisecond, "the set-up time-out")
	e, ok := errors.AsType[*AuthenticationError](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, ErrAuthentication)
	require.Equal(t, []any{int32(-1), bootAddr, "WORDS", c.step, c.code, !c.passing}, []any{e.Node, e.Addr, e.Mechanism, e.Step, e.Code, e.Lasting}, "%v", err)
	if c.code != protocol.None {
		require.ErrorIs(t, err, c.code)
	}
	require.ErrorContains(t, err, c.text)
	require.Contains(t, e.Hint, c.hint)
	require.Equal(t, err.Error(), e.Error())
	require.Equal(t, 1, strings.Count(err.Error(), bootAddr), err.Error())
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, len(err.Error()), 6000)
	require.False(t, strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }), "%q", err.Error())
	require.LessOrEqual(t, len(e.Detail), 4<<10)
	require.LessOrEqual(t, len(e.Offered), 32)
}

// A refusal of the mechanism's may come with words for the node, whose answer says more (OAUTHBEARER).
func TestAMechanismThatRefusesHasTheLastWord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{}
		m := words("token")
		m.answer = func([]byte) ([]byte, bool, error) { return []byte("\x01"), false, errors.New("invalid_token") }
		r := newRig(t, func(p *peer) {
			d.open(p, 1)
			d.refusal, d.text = protocol.SaslAuthenticationFailed, "expired"
			d.word(p)
		}, withSASL(m))
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.Equal(t, []string{"SaslHandshake v1 WORDS", "token", "\x01"}, d.heard)
		e, ok := errors.AsType[*AuthenticationError](r.LastError(-1))
		require.True(t, ok)
		require.ErrorContains(t, e, `SASL_AUTHENTICATION_FAILED: "expired": invalid_token`)
		require.True(t, e.Lasting)
	})
}

func TestCloseEndsAnAuthentication(t *testing.T) { // C10
	for _, begin := range []func(context.Context) error{nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }} {
		bubble(t, func(t *testing.T) {
			m := words(planted.Password)
			m.begin = begin
			r := newRig(t, func(p *peer) { new(doorkeeper).open(p, 0); silent(p) }, withSASL(m))
			require.False(t, r.Ready(-1, time.Now()))
			r.pass(2 * time.Second)
			require.ErrorContains(t, r.Unanswered(time.Now()), `authentication with "WORDS" has not ended for 2s`)
			start := time.Now()
			r.Close()
			r.Wait()
			require.Zero(t, time.Since(start))
		})
	}
}

func TestAuthenticationFailuresAreNoStorm(t *testing.T) { // S17
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{refusal: protocol.SaslAuthenticationFailed}
		var log lockedBuffer
		r := newRig(t, func(p *peer) { d.open(p, 1) }, withSASL(words(planted.Password)), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		require.Empty(t, r.hammer())
		r.requireDials(8, 20)
		require.Contains(t, log.String(), "could not authenticate")
		require.LessOrEqual(t, strings.Count(log.String(), "level=WARN"), 2)

		d.refusal = protocol.None
		r.listen(bootAddr, func(p *peer) { d.open(p, 1); echoesOn(p) })
		r.connect(-1)
		require.NoError(t, r.LastError(-1))
	})
}

func TestCredentialsDoNotStayInTheFrame(t *testing.T) { // S11
	bubble(t, func(t *testing.T) {
		d := &doorkeeper{}
		r := newRig(t, func(p *peer) { d.open(p, 1); echoesOn(p) }, withSASL(words("a password")))
		r.connect(-1)
		buf := r.nodes[-1].conn.out.frame.Buf
		require.False(t, bytes.Contains(buf[:cap(buf)], []byte("password")))
	})
}
