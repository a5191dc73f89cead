package errors_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quilltest"
	"github.com/stretchr/testify/require"
)

// provoked is a way to an error that users see.
type provoked struct {
	name string
	opts quilltest.Options
	cfg  func(cfg *quill.Config)
	do   func(x *testkit.Lab) error
}

// refused makes requests of an API fail with a code.
func refused(api protocol.APIKey, code protocol.ErrorCode, do func(x *testkit.Lab) error) func(x *testkit.Lab) error {
	return func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{api}, Times: -1, Err: code})
		return do(x)
	}
}

func sendLarge(x *testkit.Lab) error { return x.SendSync(testkit.To(0, strings.Repeat("v", 3000))) }

func transactional(cfg *quill.Config) { cfg.TransactionalID = testkit.TxnID }

func fiveSeconds(cfg *quill.Config) { cfg.MaxBlock = 5 * time.Second }

func waitsLong(cfg *quill.Config) { cfg.Linger, cfg.BatchSize = time.Hour, 10_000 }

func hasty(cfg *quill.Config) {
	cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.MaxBlock = 2*time.Second, 3*time.Second, 5*time.Second
}

// sendErrors are the errors of Send and its like.
var sendErrors = []provoked{
	{name: "no topic", do: func(x *testkit.Lab) error { return x.SendSync(quill.Record[string, string]{}) }},
	{name: "illegal topic", do: func(x *testkit.Lab) error { return x.SendSync(quill.Record[string, string]{Topic: "a b"}) }},
	{name: "negative partition", do: func(x *testkit.Lab) error { return x.SendSync(testkit.To(-1, "v")) }},
	{name: "partition beyond the last", do: func(x *testkit.Lab) error { return x.SendSync(testkit.To(7, "v")) }},
	{name: "timestamp before 1970", do: func(x *testkit.Lab) error {
		r := testkit.To(0, "v")
		r.Timestamp = time.Unix(-5, 0)
		return x.SendSync(r)
	}},
	{name: "record larger than max.request.size", cfg: func(cfg *quill.Config) { cfg.MaxRequestSize = 2000 }, do: sendLarge},
	{name: "record larger than buffer.memory", cfg: func(cfg *quill.Config) { cfg.BufferMemory, cfg.MaxRequestSize = 1000, 10_000 },
		do: sendLarge},
	{name: "record larger than the topic allows", do: refused(protocol.Produce, protocol.MessageTooLarge, sendLarge)},
	{name: "unknown topic", cfg: fiveSeconds, do: func(x *testkit.Lab) error { return x.SendSync(testkit.Rec("missing", "", "v")) }},
	{name: "unknown topic, the caller's context", do: func(x *testkit.Lab) error {
		_, err := x.P.SendSync(x.Soon(), testkit.Rec("missing", "", "v"))
		return err
	}},
	{name: "topic without rights", do: func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "secret", Times: -1, Err: protocol.TopicAuthorizationFailed})
		return x.SendSync(testkit.Rec("secret", "", "v"))
	}},
	{name: "partitions of an unknown topic", cfg: fiveSeconds, do: func(x *testkit.Lab) error {
		_, err := x.P.PartitionsFor(x.Context(), "missing")
		return err
	}},
	{name: "partitions, closed", do: func(x *testkit.Lab) error {
		testkit.CloseProducer(x.T, x.P)
		_, err := x.P.PartitionsFor(x.Context(), "t")
		return err
	}},
	{name: "send, closed", do: func(x *testkit.Lab) error {
		testkit.CloseProducer(x.T, x.P)
		return testkit.SendRecord(x)
	}},
	{name: "flush, closed", do: func(x *testkit.Lab) error {
		testkit.CloseProducer(x.T, x.P)
		return x.P.Flush(x.Context())
	}},
	{name: "flush, the caller's context", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		x.Send(0, "v")
		return x.P.Flush(x.Soon())
	}},
	{name: "close, the caller's context", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		x.Send(0, "v")
		return x.P.Close(x.Soon())
	}},
	{name: "record given up by close", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		f := x.Send(0, "v")
		_ = x.P.Close(x.Soon())
		_, err := f.Wait(x.Context())
		return err
	}},
	{name: "the broker refuses", do: refused(protocol.Produce, protocol.InvalidTimestamp, testkit.SendRecord)},
	{name: "the broker refuses the record", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{RecordErrors: map[int32]string{0: "no key in a compacted topic"}})
		return testkit.SendRecord(x)
	}},
	{name: "topic without rights to write", do: refused(protocol.Produce, protocol.TopicAuthorizationFailed, testkit.SendRecord)},
	{name: "no answers until delivery.timeout.ms", cfg: hasty, do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		x.Produce(quilltest.Fault{DropAnswer: true, Times: -1})
		return testkit.SendRecord(x)
	}},
	{name: "nodes that hang until delivery.timeout.ms", cfg: func(cfg *quill.Config) {
		hasty(cfg)
		cfg.DeliveryTimeout, cfg.SocketConnectionSetupTimeout = 8*time.Second, 2*time.Second
	}, do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		for _, id := range x.C.NodeIDs() {
			require.NoError(x, x.C.PauseNode(id))
		}
		return testkit.SendRecord(x)
	}},
	{name: "after a refusal that ends the producer", do: refused(protocol.Produce, protocol.ClusterAuthorizationFailed, func(x *testkit.Lab) error {
		require.ErrorIs(x, testkit.SendRecord(x), quill.ErrFatal)
		return testkit.SendRecord(x)
	})},
	{name: "partition beyond the only one", do: func(x *testkit.Lab) error {
		x.C.MustCreateTopic("narrow", 1, quilltest.TopicConfig{})
		return x.SendSync(quill.Record[string, string]{Topic: "narrow", Partition: quill.Partition(1)})
	}},
	{name: "too few replicas until delivery.timeout.ms", cfg: hasty, do: refused(protocol.Produce, protocol.NotEnoughReplicas, testkit.SendRecord)},
	{name: "disconnected, no retries", cfg: func(cfg *quill.Config) { cfg.Retries = 1 }, do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		x.Produce(quilltest.Fault{DisconnectBefore: true, Times: -1})
		return testkit.SendRecord(x)
	}},
	{name: "no answer, no retries", cfg: func(cfg *quill.Config) { cfg.Retries, cfg.RequestTimeout = 1, time.Second }, do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		x.Produce(quilltest.Fault{DropAnswer: true, Times: -1})
		return testkit.SendRecord(x)
	}},
	{name: "producer id denied", do: refused(protocol.InitProducerID, protocol.ClusterAuthorizationFailed, testkit.SendRecord)},
	{name: "producer id refused", do: func(x *testkit.Lab) error {
		_ = refused(protocol.InitProducerID, protocol.InvalidRequest, testkit.SendRecord)(x)
		return testkit.SendRecord(x)
	}},
	{name: "no idempotence in the cluster", opts: quilltest.Options{MaxVersions: map[protocol.APIKey]int16{protocol.InitProducerID: -1}}, do: func(x *testkit.Lab) error {
		_ = testkit.SendRecord(x)
		return testkit.SendRecord(x)
	}},
	{name: "produce is too old", opts: quilltest.Options{MaxVersions: map[protocol.APIKey]int16{protocol.Produce: 6}},
		cfg: func(cfg *quill.Config) { cfg.Compression = quill.CompressionZstd }, do: testkit.SendRecord},
	{name: "refused connection", cfg: func(cfg *quill.Config) {
		fiveSeconds(cfg)
		cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	}, do: testkit.SendRecord},
	{name: "a controller", cfg: fiveSeconds, do: func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.APIVersions}, Times: -1, Edit: func(_ *quilltest.Request, response any) {
			response.(*message.APIVersionsResponse).APIKeys = []message.APIVersion{{APIKey: 18, MaxVersion: 4}, {APIKey: 52, MaxVersion: 2}}
		}})
		return testkit.SendRecord(x)
	}},
	{name: "buffer memory is used up", cfg: func(cfg *quill.Config) { cfg.BufferMemory, cfg.BatchSize, cfg.MaxBlock = 1000, 1000, time.Second }, do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second, Times: -1})
		for range 20 {
			f := x.P.Send(x.Context(), testkit.To(0, strings.Repeat("v", 300)))
			if !f.Done() {
				continue
			}
			if _, err := f.Wait(x.Context()); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "a serializer fails", do: func(x *testkit.Lab) error {
		p, err := quill.Share(x.P, quill.SerializerFunc[string](func([]byte, string, *quill.Headers, string) ([]byte, error) { return nil, errors.New("no such schema") }), quill.String)
		require.NoError(x, err)
		_, err = p.SendSync(x.Context(), testkit.Rec("t", "k", "v"))
		return err
	}},
	{name: "no transactional id", do: func(x *testkit.Lab) error { return x.P.InitTransactions(x.Context()) }},
	{name: "send, the context was over", do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		_, err := x.P.SendSync(testkit.Ended(context.Canceled), testkit.To(0, "v"))
		return err
	}},
	{name: "send to an unknown topic, the context was over", do: func(x *testkit.Lab) error {
		_, err := x.P.SendSync(testkit.Ended(context.DeadlineExceeded), testkit.Rec("missing", "", "v"))
		return err
	}},
	{name: "send, nil context", do: func(x *testkit.Lab) error {
		var none context.Context
		_, err := x.P.SendSync(none, testkit.To(0, "v"))
		return err
	}},
	{name: "wait, the context was over", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		f := x.Send(0, "v")
		synctest.Wait()
		_, err := f.Wait(testkit.Ended(context.Canceled))
		return err
	}},
	{name: "flush, the context was over", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		x.Send(0, "v")
		synctest.Wait()
		return x.P.Flush(testkit.Ended(context.Canceled))
	}},
	{name: "partitions, the context was over", do: func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Metadata}, Topic: "missing", Times: -1, AnswerDelay: time.Minute}) // else an answer may come first, and is named
		_, err := x.P.PartitionsFor(testkit.Ended(context.Canceled), "missing")
		return err
	}},
	{name: "close, the context was over", do: func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{AnswerDelay: 5 * time.Second})
		x.Send(0, "v")
		synctest.Wait()
		return x.P.Close(testkit.Ended(context.Canceled))
	}},
	{name: "record given up by close before it left", cfg: waitsLong, do: func(x *testkit.Lab) error {
		f := x.Send(0, "v")
		_ = x.P.Close(testkit.Ended(context.Canceled))
		_, err := f.Wait(x.Context())
		return err
	}},
	{name: "no node in reach until delivery.timeout.ms", cfg: hasty, do: func(x *testkit.Lab) error {
		x.Deliver(0, "first")
		for _, n := range x.C.NodeIDs() {
			require.NoError(x, x.C.StopNode(n))
		}
		time.Sleep(time.Second) // by then it knows
		return testkit.SendRecord(x)
	}},
	{name: "a partitioner fails", cfg: func(cfg *quill.Config) {
		cfg.Partitioner = quill.PartitionerFunc(func(quill.PartitionInput) (int32, error) { return 0, errors.New("no such region") })
	}, do: func(x *testkit.Lab) error { return x.SendSync(testkit.Rec("t", "k", "v")) }},
}

// inCallback runs do in a callback.
func inCallback(do func(x *testkit.Lab) error) func(x *testkit.Lab) error {
	return func(x *testkit.Lab) error {
		said := make(chan error, 1)
		x.P.SendFunc(x.Context(), testkit.To(0, "v"), func(quill.RecordMetadata, error) { said <- do(x) })
		return <-said
	}
}

// callbackErrors are those of calls in a callback that would wait for themselves.
var callbackErrors = []provoked{
	{name: "SendSync", do: inCallback(testkit.SendRecord)},
	{name: "SendSync to an unknown topic", do: inCallback(func(x *testkit.Lab) error { return x.SendSync(testkit.Rec("missing", "", "v")) })},
	{name: "Wait", do: inCallback(func(x *testkit.Lab) error {
		_, err := x.P.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
		return err
	})},
	{name: "SendAll", do: inCallback(func(x *testkit.Lab) error {
		for _, err := range x.P.SendAll(x.Context(), slices.Values([]quill.Record[string, string]{testkit.To(0, "v")})) {
			return err
		}
		return nil
	})},
	{name: "Send that needs memory", cfg: func(cfg *quill.Config) { cfg.BufferMemory, cfg.BatchSize = 1000, 1000 },
		do: inCallback(func(x *testkit.Lab) error { return x.SendSync(testkit.To(0, strings.Repeat("v", 900))) })},
	{name: "PartitionsFor", do: inCallback(func(x *testkit.Lab) error {
		_, err := x.P.PartitionsFor(x.Context(), "missing")
		return err
	})},
	{name: "Flush", do: inCallback(func(x *testkit.Lab) error { return x.P.Flush(x.Context()) })},
	{name: "Close", do: inCallback(func(x *testkit.Lab) error { return x.P.Close(x.Context()) })},
	{name: "Close of a view", do: inCallback(func(x *testkit.Lab) error {
		view, err := quill.Share(x.P, quill.String, quill.String)
		require.NoError(x, err)
		return view.Close(x.Context())
	})},
}

// initialized runs do after InitTransactions.
func initialized(do func(x *testkit.Lab) error) func(x *testkit.Lab) error {
	return func(x *testkit.Lab) error {
		require.NoError(x, x.P.InitTransactions(x.Context()))
		return do(x)
	}
}

// inside runs do in a transaction with a record.
func inside(do func(x *testkit.Lab) error) func(x *testkit.Lab) error {
	return initialized(func(x *testkit.Lab) error {
		require.NoError(x, x.P.BeginTransaction())
		require.NoError(x, testkit.SendRecord(x))
		return do(x)
	})
}

// txnErrors are the errors of the calls about transactions.
var txnErrors = []provoked{
	{name: "send before InitTransactions", do: testkit.SendRecord},
	{name: "begin before InitTransactions", do: func(x *testkit.Lab) error { return x.P.BeginTransaction() }},
	{name: "commit before InitTransactions", do: testkit.CommitTransaction},
	{name: "offsets before InitTransactions", do: testkit.SendOffsetsToTransaction},
	{name: "InitTransactions twice", do: initialized(testkit.InitTransactions)},
	{name: "send outside of a transaction", do: initialized(testkit.SendRecord)},
	{name: "commit outside of a transaction", do: initialized(testkit.CommitTransaction)},
	{name: "begin twice", do: inside(func(x *testkit.Lab) error { return x.P.BeginTransaction() })},
	{name: "no rights to the transactional id", do: refused(protocol.InitProducerID, protocol.TransactionalIDAuthorizationFailed, testkit.InitTransactions)},
	{name: "the coordinator does not answer", cfg: fiveSeconds, do: func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.FindCoordinator}, Times: -1, DropAnswer: true})
		return testkit.InitTransactions(x)
	}},
	{name: "fenced", do: inside(refused(protocol.EndTxn, protocol.ProducerFenced, testkit.CommitTransaction))},
	{name: "send after being fenced", do: inside(func(x *testkit.Lab) error {
		_ = refused(protocol.EndTxn, protocol.ProducerFenced, testkit.CommitTransaction)(x)
		return testkit.SendRecord(x)
	})},
	{name: "commit of what failed", do: inside(func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{Err: protocol.InvalidTimestamp})
		_ = testkit.SendRecord(x)
		return testkit.CommitTransaction(x)
	})},
	{name: "send after a failure", do: inside(func(x *testkit.Lab) error {
		x.Produce(quilltest.Fault{Err: protocol.InvalidTimestamp})
		_ = testkit.SendRecord(x)
		return testkit.SendRecord(x)
	})},
	{name: "partition without rights", opts: quilltest.Options{Release: "3.9"},
		do: initialized(func(x *testkit.Lab) error {
			require.NoError(x, x.P.BeginTransaction())
			return refused(protocol.AddPartitionsToTxn, protocol.TopicAuthorizationFailed, testkit.SendRecord)(x)
		})},
	{name: "group without rights", do: inside(refused(protocol.TxnOffsetCommit, protocol.GroupAuthorizationFailed, testkit.SendOffsetsToTransaction))},
	{name: "offsets of a member that is no more", do: inside(refused(protocol.TxnOffsetCommit, protocol.IllegalGeneration, testkit.SendOffsetsToTransaction))},
	{name: "commit, the caller's context", do: inside(func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, AnswerDelay: 5 * time.Second})
		return x.P.CommitTransaction(x.Soon())
	})},
	{name: "abort while a commit is open", do: inside(func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, AnswerDelay: 5 * time.Second})
		_ = x.P.CommitTransaction(x.Soon())
		return x.P.AbortTransaction(x.Context())
	})},
	{name: "InitTransactions, closed", do: func(x *testkit.Lab) error {
		testkit.CloseProducer(x.T, x.P)
		return testkit.InitTransactions(x)
	}},
	{name: "no transactions in the cluster", opts: quilltest.Options{MaxVersions: map[protocol.APIKey]int16{protocol.EndTxn: -1, protocol.AddPartitionsToTxn: -1}}, do: testkit.InitTransactions},
	{name: "the coordinator aborted it", do: inside(refused(protocol.EndTxn, protocol.InvalidTxnState, testkit.CommitTransaction))},
	{name: "commit, the context was over", do: inside(func(x *testkit.Lab) error { return x.P.CommitTransaction(testkit.Ended(context.Canceled)) })},
	{name: "record of a transaction that is aborted", cfg: waitsLong,
		do: initialized(func(x *testkit.Lab) error {
			require.NoError(x, x.P.BeginTransaction())
			f := x.Send(0, "v")
			require.NoError(x, x.P.AbortTransaction(x.Context()))
			_, err := f.Wait(x.Context())
			return err
		})},
	{name: "record of a transaction that close aborted", cfg: waitsLong,
		do: initialized(func(x *testkit.Lab) error {
			require.NoError(x, x.P.BeginTransaction())
			f := x.Send(0, "v")
			testkit.CloseProducer(x.T, x.P)
			_, err := f.Wait(x.Context())
			return err
		})},
	{name: "offsets of a transaction that close aborted", do: inside(func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.TxnOffsetCommit}, AnswerDelay: 5 * time.Second})
		said := make(chan error, 1)
		go func() { said <- testkit.SendOffsetsToTransaction(x) }()
		synctest.Wait()
		testkit.CloseProducer(x.T, x.P)
		return <-said
	})},
	{name: "commit after close aborted the transaction", do: inside(func(x *testkit.Lab) error {
		testkit.CloseProducer(x.T, x.P)
		return testkit.CommitTransaction(x)
	})},
	{name: "InTransaction, the function fails", do: initialized(func(x *testkit.Lab) error {
		return x.P.InTransaction(x.Context(), func(*quill.Tx[string, string]) error { return errors.New("no such account") })
	})},
	{name: "InTransaction, the abort did not finish", cfg: fiveSeconds, do: initialized(func(x *testkit.Lab) error {
		x.C.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.EndTxn}, Times: -1, DropAnswer: true})
		return x.P.InTransaction(x.Soon(), func(tx *quill.Tx[string, string]) error {
			_, err := tx.Send(x.Context(), testkit.To(0, "v")).Wait(x.Context())
			require.NoError(x, err)
			return errors.New("no such account")
		})
	})},
	{name: "SendSync in a callback", do: inside(inCallback(testkit.SendRecord))},
	{name: "commit in a callback", do: inside(inCallback(testkit.CommitTransaction))},
	{name: "offsets in a callback", do: inside(inCallback(testkit.SendOffsetsToTransaction))},
	{name: "InTransaction in a callback", do: inside(inCallback(func(x *testkit.Lab) error {
		return x.P.InTransaction(x.Context(), func(*quill.Tx[string, string]) error { return nil })
	}))},
	{name: "no offsets in transactions", opts: quilltest.Options{MaxVersions: map[protocol.APIKey]int16{protocol.TxnOffsetCommit: -1}}, do: inside(testkit.SendOffsetsToTransaction)},
}

var update = flag.Bool("update", false, "rewrite testdata/errors.golden")

// varying is what is different in each run of the same case.
var varying = regexp.MustCompile(`\d+ attempts|, after [\d.µnms]+| \(after [\d.µnms]+\)|\(after [\d.µnms]+, |node \d|node-\d\S*:9092`)

// TestErrorTexts keeps what users read, and no more: testdata/errors.golden is to be read aloud when it changes.
// It is rewritten with -update.
func TestErrorTexts(t *testing.T) {
	var b strings.Builder
	for _, group := range []struct {
		name  string
		cases []provoked
		cfg   func(cfg *quill.Config)
	}{{"sends", sendErrors, func(*quill.Config) {}}, {"in a callback", callbackErrors, func(*quill.Config) {}}, {"transactions", txnErrors, transactional}} {
		for _, c := range group.cases {
			t.Run(group.name+"/"+c.name, func(t *testing.T) {
				testkit.Bubble(t, c.opts, func(t *testing.T, cluster *quilltest.Cluster) {
					cluster.MustCreateTopic("t", 2, quilltest.TopicConfig{})
					x := &testkit.Lab{T: t, C: cluster}
					cfg := testkit.Config(cluster)
					cfg.BatchSize, cfg.Linger = -1, -1
					group.cfg(&cfg)
					if c.cfg != nil {
						c.cfg(&cfg)
					}
					x.P = testkit.Open(t, cfg)
					err := c.do(x)
					require.Error(t, err)
					if e, ok := err.(*quill.Error); ok && strings.HasPrefix(e.Op, "send") {
						require.Contains(t, err.Error(), e.Outcome.String())
					}
					text := varying.ReplaceAllStringFunc(err.Error(), func(s string) string {
						switch {
						case strings.HasSuffix(s, "attempts"):
							return "N attempts"
						case strings.HasPrefix(s, "node "):
							return "node N"
						case strings.HasPrefix(s, "("):
							return "("
						case strings.HasPrefix(s, "node-"):
							return "HOST:9092"
						}
						return "" // after so long
					})
					fmt.Fprintf(&b, "%s, %s:\n  %s\n", group.name, c.name, text)
					require.NotRegexp(t, `[.?][;:]|: :|[^d]\(\)|%!|  `, text)
					_ = x.P.Close(testkit.Ended(context.Canceled))
				})
			})
		}
	}
	const file = "testdata/errors.golden"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "run the test with -update, and read what changed")
}
