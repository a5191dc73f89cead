package app

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"
	"time"
)

// Watch logs when nothing arrives, and what that may come from.
type Watch struct {
	args       Args
	arrived    atomic.Int64 // records so far
	joined     atomic.Bool  // the group has told this member its partitions
	partitions atomic.Int32 // how many it has
}

const quietFor = 10 * time.Second

// StartWatch watches until ctx ends.
func StartWatch(ctx context.Context, a Args) *Watch {
	w := &Watch{args: a}
	go func() {
		tick := time.NewTicker(quietFor)
		defer tick.Stop()
		for last := int64(0); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := w.arrived.Load(); now != last {
				last = now
				continue
			}
			log.Printf("nothing has arrived from topic %q for %v: %s", a.In, quietFor, w.why())
		}
	}()
	return w
}

// Arrived counts records that were read.
func (w *Watch) Arrived(records int) { w.arrived.Add(int64(records)) }

// Assigned notes that the group gave this member partitions, or, below zero, took them away.
func (w *Watch) Assigned(partitions int) {
	w.partitions.Add(int32(partitions))
	w.joined.Store(true)
}

func (w *Watch) why() string {
	switch n := w.partitions.Load(); {
	case !w.joined.Load():
		return fmt.Sprintf("this process is not in group %q yet (can the cluster be reached, is another process using -id %s?)", w.args.Group, w.args.ID)
	case n == 0:
		return fmt.Sprintf("this process has no partition of it (does the topic exist? other members of group %q may have all of them)", w.args.Group)
	default:
		return fmt.Sprintf("its %d partitions here have been read up to what is committed (group %q goes on where it ended; another -group begins at the start)", n, w.args.Group)
	}
}
