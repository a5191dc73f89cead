package quill

import (
	"testing"
	"time"

	"github.com/quill-kafka/quill/internal/message"
	"github.com/quill-kafka/quill/network"
	"github.com/stretchr/testify/require"
)

// Whatever was asked since: an answer is as fresh as its own question.
func TestAnAnswerIsAsFreshAsItsQuestion(t *testing.T) {
	withRig(t, nil, func(t *testing.T, r *rig) {
		f := r.s.refresh
		ask := func(name string, node int32) (*topicState, *network.Request) {
			topic := r.acc.ensureTopic(name, func(name string) *topicState { return &topicState{name: name} })
			f.want(topic, time.Now())
			req := f.request(node, time.Now())
			require.Equal(t, []*topicState{topic}, req.Tag.(*metadataAsk).topics)
			return topic, req
		}
		answer := func(req *network.Request, name string) {
			m := req.Exchange.(*network.Message).Response.(*message.MetadataResponse)
			m.Reset()
			m.Brokers = []message.MetadataResponseBroker{{NodeID: 0, Host: "a", Port: 1}}
			m.Topics = []message.MetadataResponseTopic{{Name: &name, Partitions: []message.MetadataResponsePartition{{LeaderID: 0}}}}
			f.answered(req, time.Now())
		}
		one, first := ask("one", 0)
		two, second := ask("two", 1)
		answer(first, "one")
		require.Equal(t, one.asks.Load(), one.looks.Load())
		require.EqualValues(t, 1, one.looks.Load(), "not the second, which did not name it")
		answer(second, "two")
		require.EqualValues(t, 2, two.looks.Load())
		require.EqualValues(t, 1, one.looks.Load())
	})
}
