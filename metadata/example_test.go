package metadata_test

import (
	"fmt"

	"github.com/quill-kafka/quill/metadata"
)

// A snapshot is made from what a broker answers; each further answer makes the next one.
func ExampleSnapshot_Merge() {
	orders := metadata.Topic{Name: "orders", ID: [16]byte{1}, Partitions: []metadata.Partition{
		{Index: 0, Leader: 1, LeaderEpoch: 7},
		{Index: 1, Leader: 2, LeaderEpoch: 4},
	}}
	answer := metadata.Update{
		Nodes: []metadata.Node{
			{ID: 1, Host: "kafka-1", Port: 9092},
			{ID: 2, Host: "kafka-2", Port: 9092},
		},
		Topics: []metadata.Topic{orders},
	}
	first := metadata.NewSnapshot(answer)

	// Another broker has not heard of the latest election yet.
	answer.Topics[0].Partitions[0] = metadata.Partition{Index: 0, Leader: 2, LeaderEpoch: 6}
	second := first.Merge(answer, nil)
	leader, epoch, _ := second.Leader("orders", 0)
	fmt.Println(leader.Host, epoch, second == first)

	// A produce response has a newer one.
	third := second.WithLeaders([]metadata.LeaderChange{{Topic: "orders", Partition: 0, Leader: 2, LeaderEpoch: 8}}, nil)
	leader, epoch, _ = third.Leader("orders", 0)
	fmt.Println(leader.Host, epoch, third.Version()-second.Version())

	// Output:
	// kafka-1 7 true
	// kafka-2 8 1
}
