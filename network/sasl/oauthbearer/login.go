package oauthbearer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/quill-kafka/quill/internal/backoff"
	"github.com/quill-kafka/quill/network/sasl"
)

// Retriever gets a token: Java's JwtRetriever. Retrieve returns a JWT in its compact form; it may block until
// ctx ends. A Login has one call of it at a time.
type Retriever interface {
	Retrieve(ctx context.Context) (token sasl.Secret, err error)
}

// Login is the mechanism OAUTHBEARER with a token that it replaces before it ends: Java's
// OAuthBearerRefreshingLogin. Its fields are set before its first use and are not changed after it. Its
// methods may be called concurrently.
//
//	config.SASL = &oauthbearer.Login{Retriever: &oauthbearer.ClientCredentials{…}}
//
// The first connection gets the first token, and New does not: unlike in Java, a producer can be made while
// the identity provider is down. From then on a timer replaces the token, until Close. While that fails, the old
// token stays in use until it ends, and a line is logged for each attempt.
type Login struct {
	Retriever Retriever

	// Extensions go to the brokers with each token (KIP-342), such as logicalCluster and identityPoolId of
	// Confluent Cloud.
	Extensions map[string]string

	// SubjectClaim names the claim of the subject. A token without one is refused before it is used.
	// Kafka: sasl.oauthbearer.sub.claim.name. If empty, "sub".
	SubjectClaim string
	// ScopeClaim names the claim of the scope. Kafka: sasl.oauthbearer.scope.claim.name. If empty, "scope".
	ScopeClaim string

	Refresh Refresh

	// RetryBackoff is how long the first attempt that failed answers for the calls after it, so that many
	// connections don't bother an identity provider that refuses: the time doubles with each failure.
	// Kafka: sasl.login.retry.backoff.ms. If zero, 100ms; if negative, none.
	RetryBackoff time.Duration
	// RetryBackoffMax bounds it. Kafka: sasl.login.retry.backoff.max.ms. If zero, 10s; if negative, none.
	RetryBackoffMax time.Duration

	// Logger gets a line for each token and each failure, without the token. If nil, nothing is logged.
	Logger *slog.Logger

	mu sync.Mutex // held while no Retriever and no Logger is called
	// +checklocks:mu
	held held
	// +checklocks:mu
	flight *flight // the call of Retriever that is under way, nil if none is
	// +checklocks:mu
	last *flight // the one that began last, whose end Close waits for
	// +checklocks:mu
	failed failure
	// +checklocks:mu
	timer *time.Timer // replaces the token; nil before the first one and after Close
	// +checklocks:mu
	closed bool
}

// held is a token with what is known of it.
type held struct {
	token     sasl.Token
	refreshAt time.Time
}

func (h held) good(now time.Time) bool { return now.Before(h.token.ExpiresAt) }

// flight is a call of a Retriever that all who need a token wait for.
type flight struct {
	done   chan struct{} // closed when token and err are set
	ended  chan struct{} // closed when its goroutine does nothing any more
	cancel context.CancelFunc
	before <-chan struct{} // ended of the flight before it; nil if it is the first
	token  sasl.Token
	err    error
}

// failure is the last error of a Retriever, and until when it answers for others.
type failure struct {
	err   error
	until time.Time
	times int
}

// Name returns OAUTHBEARER. With Start it implements [sasl.Mechanism].
func (l *Login) Name() string { return "OAUTHBEARER" }

// Start begins an authentication with the token in force.
func (l *Login) Start(ctx context.Context, peer sasl.Peer) (sasl.Session, []byte, error) {
	return sasl.OAuthBearer(l.Token).Start(ctx, peer)
}

// Token returns the token in force. If there is none, it waits for the Retriever, at most until ctx ends.
// All who wait share one call of the Retriever, which goes on if one of them gives up.
func (l *Login) Token(ctx context.Context) (sasl.Token, error) {
	l.mu.Lock()
	now := time.Now()
	if l.held.good(now) {
		if l.timer == nil && !now.Before(l.held.refreshAt) {
			l.takeOffLocked(now) // after Close nothing else would replace it
		}
		token := l.held.token
		l.mu.Unlock()
		return token, nil
	}
	if l.flight == nil && now.Before(l.failed.until) {
		err := l.failed.err
		l.mu.Unlock()
		return sasl.Token{}, err
	}
	f := l.takeOffLocked(now)
	l.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return sasl.Token{}, fmt.Errorf("waiting for a token: %w", context.Cause(ctx))
	}
}

// takeOffLocked begins a flight unless one is under way.
//
// +checklocks:l.mu
func (l *Login) takeOffLocked(now time.Time) *flight {
	if l.flight != nil || now.Before(l.failed.until) {
		return l.flight
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{done: make(chan struct{}), ended: make(chan struct{}), cancel: cancel}
	if l.last != nil {
		f.before = l.last.ended
	}
	l.flight = f
	l.last = f
	go l.fly(ctx, f) // ends with the Retriever, whose waits are bounded, and which Close cancels and waits for
	return f
}

// fly calls the Retriever, keeps what comes of it, and then logs it: the application's log handler runs under no lock.
func (l *Login) fly(ctx context.Context, f *flight) {
	defer f.end()
	token, start, err := l.retrieve(ctx)
	now := time.Now()
	if line := l.land(f, token, start, now, err); line.text != "" {
		l.log(line.level, line.text, line.attrs...)
	}
}

// end is the last of a flight, and of those before it, which may still be at their logging.
func (f *flight) end() {
	f.cancel()
	if f.before != nil {
		<-f.before
	}
	close(f.ended)
}

// line is what is to be logged.
type line struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// land keeps what came of a flight, for those who wait too.
func (l *Login) land(f *flight, token sasl.Token, start, now time.Time, err error) line {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.token, f.err = token, err
	l.flight = nil
	close(f.done)
	if err != nil {
		return l.failLocked(now, err)
	}
	l.failed = failure{}
	l.held = held{token, l.Refresh.at(now, start, token.ExpiresAt, roll())}
	l.scheduleLocked(now, l.held.refreshAt)
	return line{slog.LevelInfo, "got a token", []slog.Attr{slog.Time("expires_at", token.ExpiresAt), slog.Time("refresh_at", l.held.refreshAt)}}
}

// failLocked notes that there is no new token.
//
// +checklocks:l.mu
func (l *Login) failLocked(now time.Time, err error) line {
	wait := retries(l.RetryBackoff, l.RetryBackoffMax).Next(l.failed.times, backoff.Exact)
	l.failed = failure{err, now.Add(wait), l.failed.times + 1}
	if l.held.token.ExpiresAt.IsZero() {
		return line{} // whoever asked has the error; nothing is to be replaced
	}
	next := again(now, l.held.token.ExpiresAt)
	l.scheduleLocked(now, next)
	attrs := []slog.Attr{slog.Any("err", err), slog.Time("next_attempt_at", next)}
	if l.held.good(now) {
		attrs = append(attrs, slog.Time("old_token_expires_at", l.held.token.ExpiresAt))
	}
	return line{slog.LevelWarn, "could not replace the token", attrs}
}

// retries returns the waits between attempts that are set by two fields of that name.
func retries(first, longest time.Duration) backoff.Backoff {
	return backoff.New(orDefault(first, 100*time.Millisecond), orDefault(longest, 10*time.Second))
}

// scheduleLocked sets the timer, unless the login is closed.
//
// +checklocks:l.mu
func (l *Login) scheduleLocked(now, at time.Time) {
	if l.closed {
		return
	}
	wait := max(at.Sub(now), time.Second) // however short a life is, there is no storm
	if l.timer != nil {
		l.timer.Reset(wait)
		return
	}
	l.timer = time.AfterFunc(wait, l.replace)
}

// replace is the timer's function.
func (l *Login) replace() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.failed.until = time.Time{} // the timer's own pause is long enough
	l.takeOffLocked(time.Now())
}

// Close ends the timer and a call of the Retriever, and waits for its end. It returns nil. A producer that is
// closed calls it. Token can still be called, by another producer with the same Login: then it replaces the token when
// one is asked for after its time, and no longer by itself.
func (l *Login) Close() error {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.flight != nil {
		l.flight.cancel()
	}
	last := l.last
	l.mu.Unlock()
	if last != nil {
		<-last.ended
	}
	return nil
}

// retrieve gets a token and looks at it, as Java's OAuthBearerLoginCallbackHandler does. start is when its life began.
func (l *Login) retrieve(ctx context.Context) (token sasl.Token, start time.Time, err error) {
	if l.Retriever == nil {
		return sasl.Token{}, start, errors.New("oauthbearer: Login.Retriever is nil")
	}
	jwt, err := l.Retriever.Retrieve(ctx)
	if err != nil {
		return sasl.Token{}, start, err
	}
	_, unsecured := l.Retriever.(*Unsecured)
	c, err := readJWT(jwt.Reveal(), cmp.Or(l.SubjectClaim, "sub"), cmp.Or(l.ScopeClaim, "scope"), unsecured)
	if err != nil {
		return sasl.Token{}, start, err
	}
	now := time.Now()
	if late := now.Sub(c.expires); late >= 0 {
		return sasl.Token{}, start, fmt.Errorf("the token expired %s before it came, at %s: is the clock of this machine right?", late.Round(time.Second), c.expires.UTC().Format(time.RFC3339))
	}
	if early := c.start.Sub(now); early > 0 {
		l.log(slog.LevelWarn, "the token is not valid yet by the clock of this machine: is it right?", slog.Duration("valid_in", early.Round(time.Second)))
	}
	start = now
	if !c.issued.IsZero() {
		start = c.issued
	}
	return sasl.Token{Value: jwt, Extensions: maps.Clone(l.Extensions), ExpiresAt: c.expires}, start, nil
}

func (l *Login) log(level slog.Level, message string, attrs ...slog.Attr) {
	if l.Logger != nil {
		l.Logger.LogAttrs(context.Background(), level, "oauthbearer: "+message, attrs...)
	}
}
