package quill

import "errors"

// both is two failures of one call: the one that the other came after. It is the Cause of an Error that has
// one class for the two of them.
type both struct{ first, last error }

func (b *both) Error() string { return causeText(b.last) + "; before that: " + causeText(b.first) }

func (b *both) Unwrap() []error { return []error{b.first, b.last} }

// abortFailed is the failure of InTransaction when the abort failed that the failure of the transaction led to. Its class
// says what can be done now: nothing with this producer, or to abort again.
func abortFailed(transaction, abort error) error {
	e := &Error{Op: "InTransaction", Partition: -1, Node: -1, Class: ErrAbortable, Cause: &both{transaction, abort}}
	if classOf(abort) == ErrFatal {
		e.Class = ErrFatal
	}
	if inner, ok := errors.AsType[*Error](e.Cause); ok {
		e.Fate = inner.Fate
	}
	return e
}

// withPlugins is the error of a Close whose plug-ins failed to close with an error of their own. That may be another
// producer's: it does not say what can be done about this one.
func withPlugins(err, plugins error) error {
	switch {
	case err == nil:
		return plugins
	case plugins == nil:
		return err
	}
	return errors.Join(err, classless{plugins})
}
