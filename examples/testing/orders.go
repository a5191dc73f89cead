// Package orders is a small service that produces, and the way to test such a thing: see its test. There an in-memory cluster and the real producer
// run in a testing/synctest bubble, so brokers can fail and time-outs pass without a test that waits.
package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/quill-kafka/quill"
)

// Order is one order.
type Order struct {
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

// ErrTryAgain says that the order was not placed, and that placing it again is safe.
var ErrTryAgain = errors.New("order was not placed, try again")

// ErrUnclear says that it is not known whether the order was placed.
var ErrUnclear = errors.New("order may have been placed")

// Service places orders.
type Service struct {
	Producer *quill.Producer[string, Order]
}

// Place writes an order to the log and returns once it is there. Its errors are ErrTryAgain and ErrUnclear, or that the order itself is wrong.
func (s *Service) Place(ctx context.Context, o Order) error {
	if o.ID == "" || o.Cents <= 0 {
		return fmt.Errorf("order %q over %d cents is not valid", o.ID, o.Cents)
	}
	_, err := s.Producer.SendSync(ctx, quill.Record[string, Order]{Topic: "orders", Key: o.ID, Value: o})
	if err == nil {
		return nil
	}
	if quill.OutcomeOf(err) != quill.MaybeWritten {
		return fmt.Errorf("%w: %w", ErrTryAgain, err)
	}
	return fmt.Errorf("%w: %w", ErrUnclear, err)
}
