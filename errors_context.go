package quill

import (
	"context"
	"errors"
	"time"
	"unsafe"
)

// over reports whether ctx has ended or is nil. Each Send calls it. A call of ctx.Err would be a few per cent of
// the cost of Send, and most callers pass context.Background(), which never ends: over recognizes it by its type.
func over(ctx context.Context) bool {
	return typeOf(ctx) != backgroundType && (ctx == nil || ctx.Err() != nil)
}

// typeOf returns the word of an interface value that stands for its type. It is only used to spare a call: if
// equal types had different words, over would make the call.
func typeOf(ctx context.Context) uintptr { return *(*uintptr)(unsafe.Pointer(&ctx)) }

var backgroundType = typeOf(context.Background())

// endOf returns why ctx ended: its error and the cause that was given for it, if there is one. errors.Is finds
// both.
func endOf(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return err
	}
	return &contextEnd{err, cause}
}

// endedLate reports whether ctx was ended by its deadline, and that passed more than by ago.
func endedLate(ctx context.Context, by time.Duration) bool {
	at, ok := ctx.Deadline()
	return ok && errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(at) > by
}

var errNilContext = errors.New("nil Context; pass context.Background() for one without an end")

// orBackground returns ctx, or for a nil one a context that interceptors can work with.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// contextEnd is the error of a context that was ended with a cause.
type contextEnd struct{ err, cause error }

func (e *contextEnd) Error() string { return e.err.Error() + ": " + causeText(e.cause) }

func (e *contextEnd) Unwrap() []error { return []error{e.err, e.cause} }

// notBegun returns the error of a call whose ctx had ended before the call, nil if it was not.
func notBegun(ctx context.Context, op string) *Error {
	if !over(ctx) {
		return nil
	}
	return newError(Error{Op: op, Kind: endOf(ctx), Reason: reasonOver(ctx, "nothing was done")})
}

// reasonOver returns the Reason of an error about a ctx that had ended before the call. so says what that led to.
func reasonOver(ctx context.Context, so string) string {
	if ctx == nil { // which the kind of the error says
		return so
	}
	if so == "" {
		return contextWasOver
	}
	return contextWasOver + "; " + so
}

// lateCall says whether the ctx of a call had ended before the call.
type lateCall bool

// begun returns whether ctx has ended when a call begins that goes on all the same.
func begun(ctx context.Context) lateCall { return lateCall(over(ctx)) }

// reason returns the Reason of an error about the end of the call's ctx: what that led to, after the note that it had ended
// before the call, or otherwise if it had not.
func (late lateCall) reason(so, otherwise string) string {
	if !late {
		return otherwise
	}
	return contextWasOver + "; " + so
}

// contextWasOver distinguishes a context that had ended before the call from one that ended meanwhile.
const contextWasOver = "the context had ended before the call"
