package quillhttp

import (
	"math"

	"github.com/quill-kafka/quill/inspect"
	"github.com/quill-kafka/quill/metrics"
)

// view is an event: what the page shows, with the partitions in columns, because there may be very many.
type view struct {
	inspect.Snapshot
	Partitions columns  `json:"partitions"`
	Rates      rates    `json:"rates"`
	Latency    latency  `json:"latency"`
	Callbacks  callback `json:"callbackTimes"`
}

// columns are the partitions: place i of each list is one of them. Topics are numbers of Names.
type columns struct {
	Names    []string       `json:"names"`
	Topic    []int          `json:"topic"`
	Number   []int32        `json:"number"`
	Leader   []int32        `json:"leader"`
	Queued   []int          `json:"queued"`
	Records  []int          `json:"records"`
	Bytes    []int64        `json:"bytes"`
	Age      []int64        `json:"age"` // ms
	InFlight []int          `json:"inFlight"`
	State    []int          `json:"state"` // bits: 1 muted, 2 settling
	Next     []int32        `json:"next"`  // -1: no sequences
	Acked    []int32        `json:"acked"` // -1: none
	Waits    map[int]string `json:"waits"` // by place
}

// rates are totals; the page makes rates of them.
type rates struct {
	Records float64 `json:"records"`
	Bytes   float64 `json:"bytes"`
	Errors  float64 `json:"errors"`
	Retries float64 `json:"retries"`
}

// latency is percentiles in milliseconds, null if there were none in the windows: p50, p95, p99.
type latency struct {
	Queue    [3]*float64 `json:"queue"`
	Request  [3]*float64 `json:"request"`
	EndToEnd [3]*float64 `json:"endToEnd"`
}

// callback is how long the callbacks of a batch take, in milliseconds.
type callback struct {
	Average *float64 `json:"average"`
	Topic   string   `json:"topic"` // of the slowest
}

func viewOf(s inspect.Snapshot, m metrics.Snapshot) view {
	v := view{Snapshot: s, Partitions: columnsOf(s.Partitions)}
	v.Snapshot.Partitions = nil
	v.Rates = rates{Records: m.Producer.RecordSend.Total, Bytes: bytesOf(m),
		Errors: m.Producer.RecordError.Total, Retries: m.Producer.RecordRetry.Total}
	v.Latency = latency{percentiles(m.Latency.Queue), percentiles(m.Latency.Request), percentiles(m.Latency.EndToEnd)}
	v.Callbacks = callback{number(m.Callbacks.Average.Avg), m.Callbacks.Slowest.Topic}
	return v
}

func bytesOf(m metrics.Snapshot) (n float64) {
	for _, t := range m.Topics {
		n += t.Bytes.Total
	}
	return n
}

func percentiles(h metrics.Histogram) (p [3]*float64) {
	for i, q := range [...]float64{0.5, 0.95, 0.99} {
		if d := h.Quantile(q); d > 0 {
			p[i] = number(float64(d) / 1e6)
		}
	}
	return p
}

// number returns what JSON has for a number: nothing for NaN.
func number(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func columnsOf(list []inspect.Partition) columns {
	n := len(list)
	c := columns{Names: []string{}, Topic: make([]int, n), Number: make([]int32, n), Leader: make([]int32, n), Queued: make([]int, n),
		Records: make([]int, n), Bytes: make([]int64, n), Age: make([]int64, n), InFlight: make([]int, n), State: make([]int, n),
		Next: make([]int32, n), Acked: make([]int32, n), Waits: map[int]string{}}
	for i := range list {
		p := &list[i]
		if i == 0 || p.Topic != list[i-1].Topic {
			c.Names = append(c.Names, p.Topic)
		}
		c.Topic[i], c.Number[i], c.Leader[i] = len(c.Names)-1, p.Partition, p.Leader
		c.Queued[i], c.Records[i], c.Bytes[i], c.Age[i], c.InFlight[i] = p.Queued, p.Records, p.Bytes, p.Age.Milliseconds(), p.InFlight
		if p.Muted {
			c.State[i] |= 1
		}
		if p.Settling {
			c.State[i] |= 2
		}
		c.Next[i], c.Acked[i] = -1, -1
		if p.Sequences != nil {
			c.Next[i], c.Acked[i] = p.Sequences.Next, p.Sequences.LastAcked
		}
		if p.Waits != "" {
			c.Waits[i] = p.Waits
		}
	}
	return c
}

// metric is a metric as JSON has it.
type metric struct {
	Group string            `json:"group"`
	Name  string            `json:"name"`
	Tags  map[string]string `json:"tags"`
	Value any               `json:"value"`
}

// numbers lists the metrics that have a value.
func numbers(s metrics.Snapshot) []metric {
	list := []metric{}
	for m := range s.All() {
		x := metric{Group: m.Group, Name: m.Name, Tags: map[string]string{}, Value: m.Text}
		if m.Text == "" {
			value := number(m.Value)
			if value == nil {
				continue
			}
			x.Value = *value
		}
		for _, t := range m.Tags {
			x.Tags[t.Key] = t.Value
		}
		list = append(list, x)
	}
	return list
}
