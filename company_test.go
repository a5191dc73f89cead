package quill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// busyNode is connections to nodes that have so many requests in flight.
type busyNode struct {
	connections
	inFlight int
}

func (b busyNode) InFlight(int32) int { return b.inFlight }

// The fewer requests a node may still have in flight, the longer the next one waits to be fuller. What
// is not full waits as well when anything is in flight, but never long.
func TestTheLastRequestsOfANodeWaitForCompany(t *testing.T) {
	const answers = 160 * time.Millisecond
	for _, c := range []struct {
		most, inFlight, forced int
		want                   time.Duration
	}{
		{5, 0, 0, 0},
		{5, 0, 3, 0},
		{5, 1, 0, companyWait},
		{5, 4, 0, companyWait},
		{5, 1, 1, answers / 128},
		{5, 3, 1, answers / 32},
		{5, 4, 1, answers / 16},
		{2, 1, 1, answers / 16},
		{1, 0, 1, 0},
		{100, 1, 1, 0},
	} {
		s := &sender{cfg: &settings{maxInFlight: c.most}, client: busyNode{inFlight: c.inFlight}}
		require.Equal(t, c.want, s.company(&nodeOut{forced: c.forced, answerTime: answers}), "%+v", c)
	}
}
