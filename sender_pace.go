package quill

import "time"

// pace estimates how long a node is busy with one Produce request. A node answers those of a connection one after the
// other, and with acks=all each waits for replicas. A request that leaves while the node is busy gains nothing: it waits
// there, and batches that become ready meanwhile can't be sent with it.
//
// The times of the answers show that. If two answers are further apart than their requests were, the second request was
// held up by the first, and the time between the answers is what the node took for it, whatever the distance to the node.
// As long as no request is held up the estimate falls. So the sender does not wait for a node that works on several
// requests at once, and waits in vain only a few times for one that was slow for a while.
//
// At first two requests may be out at a time. If it were five, and each took long (a node that has just been started
// takes ten times as long as later), the last would have to wait for all others. Each answer that was not held up though
// another request was out allows one more, and each that was held up for a good part of its time one less.
type pace struct {
	service time.Duration // for one request, smoothed
	room    int           // how many more requests than pair may be out at once
	since   time.Time     // it has been busy with the oldest request in flight

	sentAt, doneAt time.Time // of the request that was answered last
}

// sent notes that a request leaves; alone says that nothing else is in flight.
func (p *pace) sent(alone bool, now time.Time) {
	if alone {
		p.since = now
	}
}

// freeAt returns when the node will be through with the requests in flight, by the estimate.
func (p *pace) freeAt(inFlight int) time.Time {
	if inFlight >= pair+p.room {
		return p.since.Add(max(answerWait, time.Duration(inFlight)*p.service)) // normally an answer comes before that
	}
	return p.since.Add(time.Duration(inFlight) * p.service)
}

const (
	pair       = 2 // requests that are out at once when nothing is known
	answerWait = time.Second
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
