// Package inspect has what is to be seen inside a producer at one moment: the types of quill.Producer's Inspect.
//
// A Snapshot is a plain value that encoding/json writes as it is. It has no record, no key, no header and no secret: settings that
// hold one read "***". Times that are not known are left out; durations are in nanoseconds. What each field means for those who
// look for a cause is in docs/inspection.md.
//
// quillhttp.Handler shows the same as a page.
package inspect

import "time"

// Snapshot is what there was to see of a producer at one moment.
type Snapshot struct {
	Taken       time.Time    `json:"taken"`
	ClientID    string       `json:"clientId"`
	Version     string       `json:"version"` // of the library; "devel" if it is not known
	State       State        `json:"state"`
	Fault       string       `json:"fault,omitempty"`   // why the producer has failed for good, or does not work at present
	Missing     string       `json:"missing,omitempty"` // why Nodes, Transaction, ProducerID and what Partition calls the sender's are not here
	Cluster     Cluster      `json:"cluster"`
	Partitions  []Partition  `json:"partitions"` // of the topics that are sent to, by topic and number
	Nodes       []Node       `json:"nodes"`      // by id; bootstrap servers, which have none, come first
	Memory      Memory       `json:"memory"`
	Batches     int          `json:"batches"` // that have no outcome yet
	Callbacks   Callbacks    `json:"callbacks"`
	ProducerID  *ProducerID  `json:"producerId,omitempty"`  // nil without idempotence
	Transaction *Transaction `json:"transaction,omitempty"` // nil without a transactional id
	Settings    []Setting    `json:"settings"`              // in the order of docs/configuration.md
	Errors      []Error      `json:"errors"`                // the latest kinds, at most 100, the latest first
}

// State is whether a producer takes records.
type State string

// The states of a producer.
const (
	Running State = "running"
	Closing State = "closing" // Close was called, and records may still be on their way
	Closed  State = "closed"
	Failed  State = "failed" // for good: it has to be replaced
)

// Cluster is what the brokers' last answer says of the cluster.
type Cluster struct {
	ID         string    `json:"id,omitempty"`
	Controller int32     `json:"controller"` // -1: not known
	Nodes      int       `json:"nodes"`
	Answered   time.Time `json:"answered,omitzero"`   // when a broker last described all of it
	LastError  string    `json:"lastError,omitempty"` // of the last request for metadata, if that failed
}

// Partition is a partition of a topic that is sent to. InFlight, Muted, Settling, Waits and Sequences are the sender's: they are
// zero if Snapshot.Missing is set.
type Partition struct {
	Topic       string        `json:"topic"`
	Partition   int32         `json:"partition"`
	Leader      int32         `json:"leader"`      // -1: none is known
	LeaderEpoch int32         `json:"leaderEpoch"` // -1: not known
	Queued      int           `json:"queued"`      // batches that have not left, or are to be sent again
	Records     int           `json:"records"`     // in those batches
	Bytes       int64         `json:"bytes"`       // that those batches would take on the wire now, before compression of open ones
	Age         time.Duration `json:"age"`         // since the oldest batch without an outcome was opened; 0: there is none
	InFlight    int           `json:"inFlight"`    // batches on the wire
	Muted       bool          `json:"muted"`       // no batch leaves before the one in flight is back, for the order
	Settling    bool          `json:"settling"`    // no batch leaves before it is known what was written of earlier ones
	Waits       string        `json:"waits,omitempty"`
	Sequences   *Sequences    `json:"sequences,omitempty"` // nil without idempotence, and before the first batch
}

// Sequences is where a partition is with the numbers that keep records from being written twice (KIP-98).
type Sequences struct {
	ProducerID int64 `json:"producerId"`
	Epoch      int16 `json:"epoch"`
	Next       int32 `json:"next"`      // of the next new batch's first record
	LastAcked  int32 `json:"lastAcked"` // of the last record that was acknowledged under this epoch; -1: none
}

// Node is a node of the cluster, or a bootstrap server.
type Node struct {
	ID          int32         `json:"id"` // negative: a bootstrap server
	Address     string        `json:"address"`
	Second      bool          `json:"second,omitempty"` // a second connection to that node, for requests that may take long
	Connection  string        `json:"connection"`       // idle, connecting, ready, closing or down
	Since       time.Time     `json:"since,omitzero"`   // ready: since then; connecting: this attempt began then
	InFlight    int           `json:"inFlight"`         // requests without an answer
	Waits       time.Duration `json:"waits"`            // since the oldest of them was sent
	RoundTrip   time.Duration `json:"roundTrip"`        // of the last Produce request that was answered; 0: none was
	Throttle    time.Duration `json:"throttle"`         // for how much longer it asks to get no requests (KIP-219)
	RetryIn     time.Duration `json:"retryIn"`          // down: no attempt before
	Failures    int           `json:"failures"`         // connections in a row that did not work
	Answered    time.Time     `json:"answered,omitzero"`
	LastError   string        `json:"lastError,omitempty"` // why the last connection ended
	Ready       int           `json:"ready"`               // partitions with a batch that is to leave to it
	Versions    []Version     `json:"versions,omitempty"`  // what it speaks, by key; only while it is connected
	Transaction int16         `json:"transactionVersion"`  // the finalized level of the feature transaction.version; -1: none
}

// Version is the range of versions of an API that a node speaks.
type Version struct {
	API     string `json:"api"`
	Lowest  int16  `json:"lowest"`
	Highest int16  `json:"highest"`
}

// Memory is the buffer that all batches live in.
type Memory struct {
	Total     int64   `json:"total"`     // buffer.memory
	Available int64   `json:"available"` // bytes that no batch has
	Waiters   int     `json:"waiters"`   // Sends that wait for memory now
	Shares    []Share `json:"shares"`    // by node
}

// Share is the part of the memory that the batches for one node have.
type Share struct {
	Node    int32 `json:"node"` // -1: partitions without a leader
	Held    int64 `json:"held"`
	Part    int64 `json:"part"` // what it may hold in any case
	Waiters int   `json:"waiters"`
}

// Callbacks is the application's part in the delivery: while a callback runs, all outcomes behind it wait.
type Callbacks struct {
	Running   bool          `json:"running"` // callbacks of a batch are running, or are about to
	Topic     string        `json:"topic,omitempty"`
	Partition int32         `json:"partition"`
	Waiting   int           `json:"waiting"` // batches with an outcome whose callbacks have not begun
	Slowest   time.Duration `json:"slowest"` // that the callbacks of one batch took
}

// ProducerID is the identity that sequences belong to.
type ProducerID struct {
	State string `json:"state"` // none, asked or ready
	ID    int64  `json:"id"`    // -1: none
	Epoch int16  `json:"epoch"`
	Bumps int    `json:"bumps"` // epochs and ids that were given up
	Error string `json:"error,omitempty"`
}

// Transaction is the state of a transactional producer.
type Transaction struct {
	ID          string `json:"id"`
	State       string `json:"state"` // Kafka's name: READY, IN_TRANSACTION, ABORTABLE_ERROR, …
	Version     int    `json:"version"`
	Number      int64  `json:"number"`      // of the present or last transaction of this producer
	Partitions  int    `json:"partitions"`  // that are part of it
	Offsets     int    `json:"offsets"`     // calls of SendOffsetsToTransaction that are not carried out yet
	Coordinator int32  `json:"coordinator"` // -1: not known
	Call        string `json:"call,omitempty"`
	Waits       string `json:"waits,omitempty"` // the request that is not answered
	Error       string `json:"error,omitempty"`
}

// Setting is a setting in force.
type Setting struct {
	Name   string `json:"name"` // Kafka's
	Value  string `json:"value"`
	Source Source `json:"source"`
	Field  string `json:"field,omitempty"` // of Config; empty: there is none
}

// Source is where a setting's value comes from.
type Source string

// The sources of settings.
const (
	Default  Source = "default"  // Kafka's
	Field    Source = "Config"   // a field that was set in Go
	Property Source = "property" // ParseProperties or LoadProperties
	Provider Source = "provider" // a variable in a property; the Value of a text is that variable, as it was written
	Derived  Source = "derived"  // from other settings
)

// Error is a kind of error: those of a topic with the same cause.
type Error struct {
	Kind    ErrorKind `json:"kind"`
	Topic   string    `json:"topic"`
	Text    string    `json:"text"`    // of the last one, without what the application's plug-ins said
	Records int64     `json:"records"` // how many records had it
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// ErrorKind is what became of records that had an error.
type ErrorKind string

// The kinds of errors.
const (
	Lost    ErrorKind = "failed"  // the records failed, in Send or later
	Retried ErrorKind = "retried" // their batch was put back to be sent again
)
