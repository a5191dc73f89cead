package network

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With thousands of nodes known, what the owner does every turn must not look at all of them. The ones
// that are not in use are nil here, so that code that walks the nodes panics.
func TestTurnsDoNotLookAtNodesThatAreNotInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, echoes)
		r.connect(-1)
		for id := range int32(1000) {
			r.nodes[id] = nil
		}
		for range 3 {
			req := r.send(-1, "hello")
			require.True(t, r.Ready(-1, time.Now()))
			require.True(t, r.Connected(-1))
			require.False(t, r.Connected(7))
			require.Zero(t, r.InFlight(7))
			r.CanRetryAt(-1, time.Now())
			_, next := r.Tick(time.Now(), nil)
			require.True(t, next.After(time.Now()), "nothing is due")
			r.back(req)
			require.NoError(t, req.Err)
			time.Sleep(time.Second)
		}
		for id := range int32(1000) {
			delete(r.nodes, id)
		}
	})
}
