package quillmock

import (
	"context"
	"errors"

	"github.com/quill-kafka/quill"
)

// endOf returns why nothing is done for ctx any more: its error and the cause that was given for it, if there is
// one. errors.Is finds both, as with the real producer. It is nil if ctx has not ended.
func endOf(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(cause, err) {
		return err
	}
	return &contextEnd{err, cause}
}

var errNilContext = errors.New("nil Context; pass context.Background() for one without an end")

// contextEnd is the end of a context for a reason of its user's.
type contextEnd struct{ err, cause error }

func (e *contextEnd) Error() string { return e.err.Error() + ": " + e.cause.Error() }

func (e *contextEnd) Unwrap() []error { return []error{e.err, e.cause} }

// notBegun returns the error of a call whose ctx had ended before it did anything.
func notBegun(op string, end error) error {
	return newError(quill.Error{Op: op, Kind: end, Reason: reasonOver(end, "nothing was done")})
}

// reasonOver returns the reason for an error about a context that had ended before the call, and what came of it.
func reasonOver(end error, so string) string {
	const over = "the context had ended before the call"
	switch {
	case end == errNilContext: // which the kind of the error says
		return so
	case so == "":
		return over
	}
	return over + "; " + so
}

// orBackground returns ctx, or for a nil one a context that interceptors can work with.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}
