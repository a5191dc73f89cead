package plugin_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/internal/blackbox/testkit"
	"github.com/quill-kafka/quill/metadata"
	"github.com/quill-kafka/quill/quilltest"
)

// passes is an interceptor that does nothing.
type passes struct{}

func (passes) OnSend(_ context.Context, r quill.Record[string, string]) (quill.Record[string, string], error) {
	return r, nil
}

type badAcknowledgement struct{ passes }

func (badAcknowledgement) OnAcknowledgement(quill.RecordMetadata, error) {}

type badConfigure struct{ passes }

func (badConfigure) Configure(map[string]string) error { return nil }

type badClose struct{ passes }

func (badClose) Close() {}

type badContext struct{ passes }

func (badContext) OnSendContext(ctx context.Context, r quill.Record[string, []byte]) (context.Context, quill.Record[string, []byte], error) {
	return ctx, r, nil
}

func (badContext) OnAcknowledgementContext(context.Context, quill.RecordMetadata, quill.Headers, error) {
}

type halfContext struct{ passes }

func (halfContext) OnSendContext(ctx context.Context, r quill.Record[string, string]) (context.Context, quill.Record[string, string], error) {
	return ctx, r, nil
}

type onPointer struct{ passes }

func (*onPointer) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error) {}

// fits is an interceptor with all there is, and a method of another name that means nothing.
type fits struct{ passes }

func (fits) OnSendContext(ctx context.Context, r quill.Record[string, string]) (context.Context, quill.Record[string, string], error) {
	return ctx, r, nil
}

func (fits) OnAcknowledgementContext(context.Context, quill.RecordMetadata, quill.Headers, error) {}
func (fits) OnAcknowledgement(quill.RecordMetadata, quill.Headers, error)                         {}
func (fits) Configure(quill.ClientInfo) error                                                     { return nil }
func (fits) Close() error                                                                         { return nil }
func (fits) Flush(int)                                                                            {}

type first struct{}

func (first) Partition(quill.PartitionInput) (int32, error) { return 0, nil }

type badPartitioner struct{ first }

func (badPartitioner) OnNewBatch(topic string, _ int32) {}
func (badPartitioner) PartitionTyped(quill.PartitionInput, string, string) (int32, error) {
	return 0, nil
}
func (badPartitioner) Configure(quill.ClientInfo)  {}
func (badPartitioner) Close(context.Context) error { return nil }

type goodPartitioner struct{ first }

func (goodPartitioner) OnNewBatch(*metadata.Topic, int32)                            {}
func (goodPartitioner) PartitionTyped(quill.PartitionInput, any, any) (int32, error) { return 0, nil }

type badSerializer struct{}

func (badSerializer) Serialize(dst []byte, _ string, _ *quill.Headers, v string) ([]byte, error) {
	return append(dst, v...), nil
}
func (badSerializer) Configure(quill.ClientInfo, bool) error { return nil }
func (badSerializer) Close()                                 {}

// A method that does not fit the optional interface it is meant for is never called. New says so, once for each.
func TestMethodsOfPluginsThatAreNotCalledAreWarnedOf(t *testing.T) {
	for name, c := range map[string]struct {
		interceptor quill.Interceptor[string, string]
		partitioner quill.Partitioner
		serializer  quill.Serializer[string]
		want        [][]string // of each line
	}{
		"acknowledgement": {interceptor: badAcknowledgement{}, want: [][]string{{"type=plugin_test.badAcknowledgement", "method=OnAcknowledgement",
			`has="func(quill.RecordMetadata, error)"`, `wants="func(quill.RecordMetadata, quill.Headers, error)"`, "interface=quill.AcknowledgementInterceptor"}}},
		"configure": {interceptor: badConfigure{}, want: [][]string{{"method=Configure", `has="func(map[string]string) error"`, `wants="func(quill.ClientInfo) error"`}}},
		"close":     {interceptor: badClose{}, want: [][]string{{"method=Close", `has=func()`, `wants="func() error"`}}},
		"records of another type": {interceptor: badContext{}, want: [][]string{{"method=OnSendContext",
			`has="func(context.Context, quill.Record[string,[]uint8]) (context.Context, quill.Record[string,[]uint8], error)"`,
			`wants="func(context.Context, quill.Record[string,string]) (context.Context, quill.Record[string,string], error)"`}}},
		"one of two":                   {interceptor: halfContext{}, want: [][]string{{"it lacks methods of the interface", "type=plugin_test.halfContext", "interface=quill.ContextInterceptor[string,string]"}}},
		"a value whose pointer has it": {interceptor: onPointer{}, want: [][]string{{"method=OnAcknowledgement", "on the pointer; pass a *plugin_test.onPointer"}}},
		"partitioner": {partitioner: badPartitioner{}, want: [][]string{
			{"method=OnNewBatch", `has="func(string, int32)"`, `wants="func(*metadata.Topic, int32)"`},
			{"method=PartitionTyped", `has="func(quill.PartitionInput, string, string) (int32, error)"`},
			{"method=Configure", `has=func(quill.ClientInfo)`},
			{"method=Close", `has="func(context.Context) error"`}}},
		"serializer": {serializer: badSerializer{}, want: [][]string{
			{"method=Configure", "type=plugin_test.badSerializer", `has="func(quill.ClientInfo, bool) error"`, `wants="func(quill.ClientInfo) error"`},
			{"method=Close", "type=plugin_test.badSerializer"}}},
		"what fits":         {interceptor: fits{}, partitioner: goodPartitioner{}},
		"pointers that fit": {interceptor: &onPointer{}},
		"built-ins":         {partitioner: new(quill.RoundRobinPartitioner)},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, quilltest.Options{}, func(t *testing.T, cluster *quilltest.Cluster) {
				log := new(testkit.LogText)
				cfg := testkit.Config(cluster)
				cfg.Logger, cfg.Partitioner = log.Logger(), c.partitioner
				value := quill.Serializer[string](quill.String)
				if c.serializer != nil {
					value = c.serializer
				}
				var chain []quill.Interceptor[string, string]
				if c.interceptor != nil {
					chain = append(chain, c.interceptor)
				}
				p, err := quill.New(cfg, quill.String, value, chain...)
				require.NoError(t, err)
				defer testkit.CloseProducer(t, p)
				require.Len(t, log.Loud(), len(c.want), "%s", log)
				for _, parts := range c.want {
					found := log.Lines(parts[0])
					for _, part := range parts[1:] {
						require.Len(t, found, 1)
						require.Contains(t, found[0], part)
					}
				}
			})
		})
	}
}
