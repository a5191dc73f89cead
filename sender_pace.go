package quill

import "time"

// pace is how long a node is busy with one Produce request. It answers those of a connection one after the other, and
// with acks=all each waits for replicas. A request that leaves while the node is busy gains nothing: it stands in line,
// and what comes meanwhile can't go with it.
//
// What is seen of that is the line. If two answers are further apart than their requests were, the second one was held
// up by the first, and the time between them is what the node took for it, however far away the node is. As long as
// nothing is held up the estimate falls. So a node that works on several requests at once is not waited for, and one that
// was slow for a while is waited for in vain only a few times.
type pace struct {
	service time.Duration // for one request, smoothed
	since   time.Time     // it has been busy with the oldest request in flight

	sentAt, doneAt time.Time // of the request that was answered last
}

// sent notes that a request leaves; alone says that nothing else is in flight.
func (p *pace) sent(alone bool, now time.Time) {
	if alone {
		p.since = now
	}
}

// freeAt is when the node will be through with the requests in flight.
func (p *pace) freeAt(inFlight int) time.Time {
	return p.since.Add(time.Duration(inFlight) * p.service)
}

// answered notes an answer.
func (p *pace) answered(sentAt, doneAt time.Time) {
	between := doneAt.Sub(p.doneAt)
	switch {
	case sentAt.Before(p.doneAt) && between > sentAt.Sub(p.sentAt): // held up
		p.service += (between - p.service) / 4
	default:
		p.service = min(p.service-p.service/16, doneAt.Sub(sentAt))
	}
	p.sentAt, p.doneAt, p.since = sentAt, doneAt, doneAt
}
