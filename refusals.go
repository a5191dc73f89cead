package quill

// refusal is a reason why no appends are taken, the gravest first.
type refusal uint8

const (
	refusedByFatal       refusal = iota // the producer can't go on
	refusedByClose                      // it is closed
	refusedByTransaction                // no transaction is open, or the one that is has failed
	refusals
)

// refuse sets a reason, or with nil takes it back. Of those that hold, append is told the gravest. Once
// refuse has returned no batch is opened until all are taken back; batches that are open may still get
// records, until they are closed.
func (a *accumulator) refuse(why refusal, err *Error) {
	a.mu.Lock() // as open: whoever opens a batch has listed it by now, or sees the reason
	defer a.mu.Unlock()
	a.reasons[why] = err
	var gravest *Error
	for _, err := range a.reasons {
		if gravest = err; gravest != nil {
			break
		}
	}
	a.refused.Store(gravest)
}

// refusedOr is why appends are refused, or else err.
func (a *accumulator) refusedOr(err *Error) *Error {
	if r := a.refused.Load(); r != nil {
		return r
	}
	return err
}
