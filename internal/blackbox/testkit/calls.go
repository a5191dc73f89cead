package testkit

import (
	"context"
	"time"

	"github.com/quill-kafka/quill"
)

// SendSync sends a record and returns its error.
func (x *Lab) SendSync(r quill.Record[string, string]) error {
	_, err := x.P.SendSync(x.Context(), r)
	return err
}

// Soon returns a context that ends after a second.
func (x *Lab) Soon() context.Context {
	ctx, cancel := context.WithTimeout(x.Context(), time.Second)
	x.Cleanup(cancel)
	return ctx
}

// SendRecord makes the call of a send.
func SendRecord(x *Lab) error { return x.SendSync(To(0, "v")) }

// CommitTransaction makes the call of a commit.
func CommitTransaction(x *Lab) error { return x.P.CommitTransaction(x.Context()) }

// InitTransactions makes the call of InitTransactions.
func InitTransactions(x *Lab) error { return x.P.InitTransactions(x.Context()) }

// SendOffsetsToTransaction makes the call of SendOffsetsToTransaction.
func SendOffsetsToTransaction(x *Lab) error {
	return x.P.SendOffsetsToTransaction(x.Context(), map[quill.TopicPartition]quill.OffsetAndMetadata{{Topic: "t", Partition: 0}: {Offset: 5}}, quill.GroupMetadata{GroupID: "g"})
}
