package network

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
)

// negotiated returns the state of a node after it has answered ApiVersions like this.
func negotiated(t *testing.T, change func(*message.APIVersionsResponse)) (*versions, error) {
	t.Helper()
	m := versionsAnswer()
	change(m)
	return newVersions(m)
}

func TestVersionRangesAreChecked(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*message.APIVersionsResponse)
		err    bool
		low    int16
		high   int16
	}{
		{"plain", func(*message.APIVersionsResponse) {}, false, 3, 12},
		{"H21 empty", func(m *message.APIVersionsResponse) { m.APIKeys = nil }, true, 0, 0},
		{"H22 min above max", func(m *message.APIVersionsResponse) { m.APIKeys[0].MinVersion = 13 }, true, 0, 0},
		{"negative max", func(m *message.APIVersionsResponse) { m.APIKeys[0].MinVersion, m.APIKeys[0].MaxVersion = -3, -1 }, true, 0, 0},
		{"negative min", func(m *message.APIVersionsResponse) { m.APIKeys[0].MinVersion = -1 }, false, 0, 12},
		{"H23 huge max", func(m *message.APIVersionsResponse) { m.APIKeys[0].MaxVersion = math.MaxInt16 }, false, 3, math.MaxInt16},
		{"H24 no Produce", func(m *message.APIVersionsResponse) { m.APIKeys = m.APIKeys[1:] }, true, 0, 0},
		{"no Metadata", func(m *message.APIVersionsResponse) { m.APIKeys[1].APIKey = 77 }, true, 0, 0},
		{"H25 twice the same", func(m *message.APIVersionsResponse) { m.APIKeys = append(m.APIKeys, m.APIKeys[0]) }, false, 3, 12},
		{"H25 twice, overlapping", func(m *message.APIVersionsResponse) {
			m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: 0, MinVersion: 5, MaxVersion: 20})
		}, false, 5, 12},
		{"H25 twice, apart", func(m *message.APIVersionsResponse) {
			m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: 0, MinVersion: 13, MaxVersion: 20})
		}, true, 0, 0},
		{"unknown keys", func(m *message.APIVersionsResponse) {
			m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: -1}, message.APIVersion{APIKey: 10000}, message.APIVersion{APIKey: 127})
		}, false, 3, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := negotiated(t, c.change)
			if c.err {
				require.ErrorIs(t, err, ErrUnsupportedVersion)
				return
			}
			require.NoError(t, err)
			low, high, ok := v.get(protocol.Produce)
			require.True(t, ok)
			require.Equal(t, []int16{c.low, c.high}, []int16{low, high})
		})
	}
}

// NodeApiVersionsTest: testUsableVersionCalculation, testLatestUsableVersionOutOfRangeLow/High,
// testUnsupportedVersionsToString, testUnknownApiVersionsToString.
func TestHighestCommonVersionIsChosen(t *testing.T) {
	v, err := negotiated(t, func(m *message.APIVersionsResponse) {
		m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: 26, MinVersion: 3, MaxVersion: 4})
	})
	require.NoError(t, err)
	for _, c := range []struct{ low, high, want int16 }{
		{0, 5, 4}, {3, 3, 3}, {4, 9, 4}, {0, 2, -1}, {5, 9, -1}, {4, 3, -1}, {0, math.MaxInt16, 4},
	} {
		got, err := v.choose(&ranged{key: protocol.EndTxn, low: c.low, high: c.high})
		if c.want < 0 {
			require.ErrorIs(t, err, ErrUnsupportedVersion)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, key := range []protocol.APIKey{protocol.TxnOffsetCommit, -1, trackedAPIs, math.MaxInt16} {
		_, err := v.choose(&ranged{key: key})
		require.ErrorIs(t, err, ErrUnsupportedVersion)
		require.ErrorContains(t, err, "does not serve it")
	}
	_, _, ok := (*versions)(nil).get(protocol.Produce)
	require.False(t, ok)
}

// ranged is an Exchange of which only the versions matter.
type ranged struct {
	echo
	key       protocol.APIKey
	low, high int16
}

func (r *ranged) APIKey() protocol.APIKey  { return r.key }
func (r *ranged) Versions() (int16, int16) { return r.low, r.high }

func TestFeatures(t *testing.T) { // H28
	v, err := negotiated(t, func(m *message.APIVersionsResponse) {
		m.FinalizedFeatures = []message.FinalizedFeatureKey{
			{Name: "transaction.version", MaxVersionLevel: 99}, {Name: "transaction.version", MaxVersionLevel: 1}, {Name: "odd", MaxVersionLevel: -1},
		}
	})
	require.NoError(t, err)
	require.Equal(t, map[string]int16{"transaction.version": 99}, v.features)
	v, err = negotiated(t, func(m *message.APIVersionsResponse) { m.FinalizedFeaturesEpoch = -2 })
	require.NoError(t, err)
	require.Empty(t, v.features)
}

// NetworkClientTest.testUnsupportedApiVersionsRequestWithVersionProvidedByTheBroker and
// …WithoutVersionProvidedByTheBroker (KIP-511); B52, B53; H26.
func TestApiVersionsIsAskedWithLowerVersions(t *testing.T) {
	refusal := func(hint ...int16) string {
		m := &message.APIVersionsResponse{ErrorCode: protocol.UnsupportedVersion}
		for _, h := range hint {
			m.APIKeys = append(m.APIKeys, message.APIVersion{APIKey: 18, MaxVersion: h})
		}
		return string(m.Append(nil, 0))
	}
	for _, c := range []struct {
		name    string
		answers []string // to the questions in turn; then an ordinary one
		want    []int16  // versions asked with
	}{
		{"hint", []string{refusal(2)}, []int16{4, 2}},
		{"hint twice", []string{refusal(3), refusal(1)}, []int16{4, 3, 1}},
		{"no hint", []string{refusal()}, []int16{4, 0}},
		{"code only", []string{"\x00\x23"}, []int16{4, 0}},
		{"same hint", []string{refusal(4)}, []int16{4, 0}},
		{"higher hint", []string{refusal(9)}, []int16{4, 0}},
		{"negative hint", []string{refusal(-1)}, []int16{4, 0}},
		{"same hint later", []string{refusal(2), refusal(2)}, []int16{4, 2, 0}},
		{"never satisfied", []string{refusal(3), refusal(2), refusal(1), refusal(0), refusal(0)}, []int16{4, 3, 2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var asked []int16
				r := newRig(t, func(p *peer) {
					for _, a := range c.answers {
						q := p.request()
						asked = append(asked, q.version)
						p.answer(q.id, a)
					}
					q := p.versions(versionsAnswer())
					asked = append(asked, q.version)
					silent(p)
				})
				require.False(t, r.Ready(-1, time.Now()))
				r.settle()
				require.Equal(t, c.want, asked)
				if len(c.answers) == 5 {
					require.ErrorIs(t, r.LastError(-1), ErrUnsupportedVersion)
					require.ErrorIs(t, r.LastError(-1), protocol.UnsupportedVersion)
					return
				}
				require.True(t, r.Ready(-1, time.Now()))
				_, high, _ := r.Versions(-1, protocol.Produce)
				require.Equal(t, int16(12), high, "only the question was downgraded")
			})
		})
	}
}

// NetworkClientTest.testInvalidApiVersionsRequest; H27.
func TestErrorInApiVersionsIsNoLoop(t *testing.T) {
	for _, code := range []protocol.ErrorCode{protocol.InvalidRequest, protocol.ClusterAuthorizationFailed, 9999} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, func(p *peer) {
				p.versions(&message.APIVersionsResponse{ErrorCode: code, FinalizedFeaturesEpoch: -1})
				silent(p)
			})
			require.Empty(t, r.hammer())
			require.ErrorIs(t, r.LastError(-1), code)
			r.requireDials(8, 20)
		})
	}
}

func TestHugeHandshakeIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.request()
			p.raw(0, 0x10, 0, 1)
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorIs(t, r.LastError(-1), ErrResponseTooLarge)
	})
}

func TestHandshakeCorrelation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			q := p.request()
			p.answer(q.id+1, string(versionsAnswer().Append(nil, q.version)))
		})
		require.False(t, r.Ready(-1, time.Now()))
		r.settle()
		require.ErrorIs(t, r.LastError(-1), ErrMalformedResponse)
	})
}

// A peer that closes the connection instead of answering may not know the version of the question: proxies
// and old brokers do that. It is asked with lower ones, two times each, since brokers that are being stopped
// close connections too, and from the top again in the end.
func TestAPeerThatHangsUpIsAskedWithLowerVersions(t *testing.T) {
	for _, c := range []struct {
		name  string
		knows int16
		want  []int16
	}{
		{"version 4", 4, []int16{4}},
		{"version 3", 3, []int16{4, 4, 3}},
		{"version 0", 0, []int16{4, 4, 3, 3, 0}},
		{"none", -1, []int16{4, 4, 3, 3, 0, 0, 4, 4, 3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var mu sync.Mutex
				var versions []int16
				asked := func() []int16 {
					mu.Lock()
					defer mu.Unlock()
					return slices.Clone(versions)
				}
				r := newRig(t, func(p *peer) {
					q := p.request()
					mu.Lock()
					versions = append(versions, q.version)
					mu.Unlock()
					if q.version > c.knows {
						return // closes
					}
					p.answer(q.id, string(versionsAnswer().Append(nil, q.version)))
					p.request()
				})
				for range 1000 {
					if r.Ready(-1, time.Now()) || len(asked()) == len(c.want) {
						break
					}
					r.pass(10 * time.Millisecond)
				}
				require.Equal(t, c.want, asked())
				if c.knows < 0 {
					return
				}
				// What works is kept when we left the connection ourselves; a node that closed one may be another now.
				r.pass(10 * time.Minute)
				r.connect(-1)
				require.Equal(t, c.want[len(c.want)-1], asked()[len(asked())-1])
				r.send(-1, "x")
				r.pass(2 * time.Second)
				r.Ready(-1, time.Now())
				r.settle()
				require.Equal(t, int16(4), asked()[len(asked())-1])
			})
		})
	}
}

// Before version 2 of ApiVersions nodes keep the throttle time themselves: it is not waited for once more.
func TestAnOldNodeHasThrottledAlready(t *testing.T) {
	for version, ready := range map[int16]bool{1: true, 2: false} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, func(p *peer) {
				q := p.request()
				p.answer(q.id, string((&message.APIVersionsResponse{ErrorCode: protocol.UnsupportedVersion,
					APIKeys: []message.APIVersion{{APIKey: 18, MaxVersion: version}}}).Append(nil, 0)))
				m := versionsAnswer()
				m.ThrottleTimeMs = 5000
				p.versions(m)
				silent(p)
			})
			require.False(t, r.Ready(-1, time.Now()))
			r.settle()
			require.Equal(t, ready, r.Ready(-1, time.Now()), "version %d", version)
		})
	}
}
