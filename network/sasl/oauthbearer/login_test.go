package oauthbearer

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill/internal/planted"
	"github.com/stretchr/testify/require"
)

// S9: one flight for all connections.
func TestManyConnectionsShareOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{life: time.Hour, delay: 3 * time.Second}
		l := &Login{Retriever: idp}
		defer l.Close()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				token, err := l.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, time.Now().Add(-3*time.Second).Add(time.Hour).Unix()+3, token.ExpiresAt.Unix())
			})
		}
		wg.Wait()
		require.Equal(t, 1, idp.times())
	})
}

// S9: refreshed at 80 % of the life and up to 5 % later.
func TestATokenIsReplacedAheadOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{life: time.Hour}
		l := &Login{Retriever: idp}
		defer l.Close()
		first, err := l.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(48*time.Minute - time.Second)
		require.Equal(t, 1, idp.times())
		time.Sleep(3*time.Minute + 2*time.Second)
		require.Equal(t, 2, idp.times(), "replaced by itself")
		second, err := l.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, reveal(t, first), reveal(t, second))
		time.Sleep(24 * time.Hour)
		require.InDelta(t, 2+24*60/50, idp.times(), 3, "and on and on")
	})
}

// S9: a failure keeps the old token until its end, and not longer.
func TestAFailedReplacementKeepsTheOldTokenUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		idp := &issuer{life: 10 * time.Minute}
		l := &Login{Retriever: idp, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		defer l.Close()
		old, err := l.Token(t.Context())
		require.NoError(t, err)
		idp.set(errDown)
		time.Sleep(10*time.Minute - 2*time.Second)
		token, err := l.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, reveal(t, old), reveal(t, token))
		require.InDelta(t, 38, idp.times(), 4, "every 10 s for five minutes, oftener towards the end")
		time.Sleep(3 * time.Second)
		_, err = l.Token(t.Context())
		require.ErrorIs(t, err, errDown)
		idp.set(nil)
		time.Sleep(11 * time.Second)
		token, err = l.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, reveal(t, old), reveal(t, token))
		require.NoError(t, l.Close())
		require.Contains(t, log.String(), "could not replace the token")
		require.NotContains(t, log.String(), reveal(t, old))
	})
}

// An endpoint that is down for half of a token's life does no harm, wherever the half begins before the time of the refresh.
func TestHalfALifeWithoutAnEndpointHarmsNothing(t *testing.T) {
	for _, from := range []time.Duration{0, 5 * time.Second, 9 * time.Second} {
		t.Run(from.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				idp := &issuer{life: 20 * time.Second}
				l := &Login{Retriever: idp}
				defer l.Close()
				_, err := l.Token(t.Context())
				require.NoError(t, err)
				time.AfterFunc(from, func() { idp.set(errDown) })
				time.AfterFunc(from+10*time.Second, func() { idp.set(nil) })
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					_, err := l.Token(t.Context())
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{life: time.Hour, delay: 5 * time.Second}
		l := &Login{Retriever: idp}
		defer l.Close()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.Token(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "waiting for a token: context deadline exceeded")
		begun := time.Now()
		_, err = l.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4*time.Second, time.Since(begun))
		require.Equal(t, 1, idp.times())
	})
}

// An identity provider that refuses is not asked by each connection, or it might lock the client out.
func TestARefusalAnswersForThoseWhoComeAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{down: errDown}
		l := &Login{Retriever: idp}
		defer l.Close()
		for range 6000 { // a minute of a hundred connections a second
			_, err := l.Token(t.Context())
			require.ErrorIs(t, err, errDown)
			time.Sleep(10 * time.Millisecond)
		}
		require.InDelta(t, 12, idp.times(), 2)
	})
}

func TestCloseEndsTheTimerAndTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		idp := &issuer{life: time.Hour}
		l := &Login{Retriever: idp}
		_, err := l.Token(t.Context())
		require.NoError(t, err)
		require.NoError(t, l.Close())
		time.Sleep(time.Hour)
		require.Equal(t, 1, idp.times())

		slow := &Login{Retriever: &issuer{life: time.Hour, delay: time.Hour}}
		go func() { _, _ = slow.Token(context.Background()) }()
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, slow.Close())
		require.NoError(t, slow.Close())
		require.Zero(t, time.Since(begun))
	})
}

// Two producers may share a Login, and one of them ends.
func TestAClosedLoginStillGivesTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{life: time.Hour}
		l := &Login{Retriever: idp}
		require.NoError(t, l.Close())
		old, err := l.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(55 * time.Minute)
		require.Equal(t, 1, idp.times(), "not by itself")
		token, err := l.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, reveal(t, old), reveal(t, token), "which asks for the next one")
		synctest.Wait()
		token, err = l.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, reveal(t, old), reveal(t, token))
	})
}

func TestATokenThatHasEndedNamesTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Login{Retriever: &issuer{life: -37 * time.Second}}
		_, err := l.Token(t.Context())
		require.EqualError(t, err, "the token expired 37s before it came, at 1999-12-31T23:59:23Z: is the clock of this machine right?")

		var log bytes.Buffer
		early := &Login{Logger: slog.New(slog.NewTextHandler(&log, nil)), Retriever: retrieved(func() string {
			return jwtOf(map[string]any{"sub": "a", "nbf": time.Now().Add(90 * time.Second).Unix(), "exp": time.Now().Add(time.Hour).Unix()})
		})}
		_, err = early.Token(t.Context())
		require.NoError(t, err, "the brokers' clock decides")
		require.NoError(t, early.Close())
		require.Contains(t, log.String(), `the token is not valid yet by the clock of this machine: is it right?" valid_in=1m30s`)
	})
}

func TestRefreshIsJavas(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for name, c := range map[string]struct {
		r           Refresh
		start, life time.Duration // from now
		roll        float64
		want        time.Duration
	}{
		"80 %":                          {life: time.Hour, want: 48 * time.Minute},
		"and the whole jitter":          {life: time.Hour, roll: 1, want: 51 * time.Minute},
		"no jitter":                     {r: Refresh{WindowJitter: -1}, life: time.Hour, roll: 1, want: 48 * time.Minute},
		"life that began before":        {start: -30 * time.Minute, life: 30 * time.Minute, want: 18 * time.Minute},
		"the buffer comes first":        {life: 20 * time.Minute, roll: 1, want: 15 * time.Minute},
		"life that is as long as both":  {life: 6 * time.Minute, want: 288*time.Second - 228*time.Second},
		"shorter than both":             {life: 6*time.Minute - time.Second, want: time.Duration(0.8 * float64(359*time.Second))},
		"most of the life over":         {start: -52 * time.Minute, life: 8 * time.Minute, want: time.Minute},
		"no earlier than MinPeriod":     {r: Refresh{MinPeriod: 15 * time.Minute, Buffer: -1}, start: -60 * time.Minute, life: 16 * time.Minute, want: 15 * time.Minute},
		"half, without limits":          {r: Refresh{WindowFactor: 0.5, MinPeriod: -1, Buffer: -1}, life: 10 * time.Second, want: 5 * time.Second},
		"a token of which all is known": {r: Refresh{WindowFactor: 1, WindowJitter: -1, Buffer: -1, MinPeriod: -1}, life: time.Hour, want: time.Hour},
	} {
		got := c.r.at(now, now.Add(c.start), now.Add(c.life), c.roll)
		require.Equal(t, c.want, got.Sub(now), name)
	}
}

func TestALoginPrintsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := planted.NewWatch(t, t.Output())
		idp := &issuer{life: time.Hour}
		l := &Login{Retriever: idp, Logger: w.Logger()}
		token, err := l.Token(t.Context())
		require.NoError(t, err)
		w.Add("token", reveal(t, token))
		idp.set(errDown) // which is logged until the token ends
		time.Sleep(2 * time.Hour)
		_, err = l.Token(t.Context())
		require.NoError(t, l.Close())
		require.NotEmpty(t, w.String())
		w.Check(l, token, err)
	})
}
