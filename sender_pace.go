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
//
// Before anything is known, two requests are out at a time: of five that each take long (a node that has just been
// started takes ten times as long as later) the last would have all others before it. One more may be out with each answer
// that was not held up though another request was out, one less with each that was held up for a good part of its time.
type pace struct {
	service time.Duration // for one request, smoothed
	room    int           // so many more requests than pair may be out at once
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
	if inFlight >= pair+p.room {
		return p.since.Add(max(lineWait, time.Duration(inFlight)*p.service)) // an answer comes before, or something is wrong
	}
	return p.since.Add(time.Duration(inFlight) * p.service)
}

const (
	pair     = 2 // requests that are out at once when nothing is known
	lineWait = time.Second
)

// answered notes an answer; most is how many requests may be out at once in any case.
func (p *pace) answered(sentAt, doneAt time.Time, most int) {
	between := doneAt.Sub(p.doneAt)
	heldUp := between - sentAt.Sub(p.sentAt)
	switch together := sentAt.Before(p.doneAt); {
	case together && heldUp > 0:
		p.service += (between - p.service) / 4
		if heldUp > doneAt.Sub(sentAt)/4 {
			p.room = max(p.room-1, 1-pair)
		}
	default:
		p.service = min(p.service-p.service/16, doneAt.Sub(sentAt))
		if together || p.room < 0 {
			p.room = min(p.room+1, most-pair)
		}
	}
	p.sentAt, p.doneAt, p.since = sentAt, doneAt, doneAt
}
