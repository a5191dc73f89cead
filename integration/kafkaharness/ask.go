package kafkaharness

import (
	"context"
	"errors"
	"time"
)

// lags are the refusals, as Java classes, of a node that has not heard yet of what the controller or another node decided a
// moment ago. The admin client takes any node for its questions, so that even after one answered the next one may refuse.
var lags = map[string]bool{
	"UnknownTopicOrPartitionException":     true,
	"UnknownTopicIdException":              true,
	"LeaderNotAvailableException":          true,
	"NotLeaderOrFollowerException":         true,
	"PreferredLeaderNotAvailableException": true,
	"CoordinatorLoadInProgressException":   true,
	"CoordinatorNotAvailableException":     true,
	"NotCoordinatorException":              true,
	"NotControllerException":               true,
	"ReassignmentInProgressException":      true,
	"DisconnectException":                  true,
}

// patience is how long a node may lag behind.
const patience = 30 * time.Second

// ask is [Helper.Call] for commands that may be carried out more than once: it asks again as long as it meets nodes that lag.
func (c *Cluster) ask(ctx context.Context, command string, words ...string) ([][]string, error) {
	for end := time.Now().Add(patience); ; {
		rows, err := c.helper.Call(ctx, command, words...)
		refused, ok := errors.AsType[*HelperError](err)
		if !ok || !lags[refused.Class] || time.Now().After(end) {
			return rows, err
		}
		if ended := sleep(ctx, 100*time.Millisecond); ended != nil {
			return nil, errors.Join(err, ended)
		}
	}
}
