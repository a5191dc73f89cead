package main

// What is counted for Metrics, and how it is measured.
var ofMetrics = []mutation{
	{
		name: "missing-windows-do-not-count", file: "internal/stat/ring.go",
		old: "missing > 0 {", new: "missing > 1<<40 {",
		breaks: "the first event is a rate of a thousand a second",
		by:     by("TestTheFirstWindowCountsAsIfOthersHadPassed"),
	},
	{
		name: "windows-never-too-old", file: "internal/stat/ring.go",
		old: "at-x.last >= w.age()", new: "at-x.last > 100*w.age()",
		breaks: "a rate of long ago stays",
		by:     by("TestTheFirstWindowCountsAsIfOthersHadPassed"),
	},
	{
		name: "totals-lose-old-windows", file: "internal/stat/sensor.go",
		old: "s.past.merge(s.ring.advance(s.windows, at))", new: "s.ring.advance(s.windows, at)",
		breaks: "totals go back when a window's place is taken",
		by:     by("TestTotalsKeepWhatLeavesTheWindows"),
	},
	{
		name: "retries-uncounted", file: "sender_answer.go",
		old: "	s.acc.measures.retried(q.topic.name, s.topicMeasures(q.topic), b.lastError, b.records, now)\n", new: "",
		breaks: "record-retry-total stays 0",
		by:     by("TestRetriesAndErrorsAreCounted"),
	},
	{
		name: "failed-sends-uncounted", file: "producer.go",
		old: "		p.e.acc.measures.failed(r.Topic, nil, err, 1, time.Now())\n	}\n	if err != nil && p.chain", new: "	}\n	if err != nil && p.chain",
		breaks: "record-error-total leaves out records that fail in Send",
		by:     by("TestRetriesAndErrorsAreCounted"),
	},
	{
		name: "compressed-sizes-uncounted", file: "sender_produce.go",
		old: "		if !b.sealed {\n			continue", new: "		if b.sealed {\n			continue",
		breaks: "batch-size and compression-rate are NaN with a codec",
		by:     by("TestCompressionIsMeasured"),
	},
	{
		name: "requests-counted-by-write", file: "network/writer.go",
		old: "requests, bytes, largest = requests+1, bytes+size, max(largest, size)", new: "requests, bytes, largest = 1, bytes+size, max(largest, size)",
		breaks: "request-total counts writes",
		by:     by("TestJoinedRequestsAreCountedOneByOne"),
	},
	{
		name: "reports-of-known-topics", file: "engine_metrics.go",
		old: "r.topics[t.Name] = true\n", new: "r.topics[t.Name] = false\n",
		breaks: "reporters hear of a topic's metrics again and again",
		by:     by("TestReportersHearOfEachMetricOnceWhenItIsAddedAndRemoved"),
	},
	{
		name: "inspection-shows-secrets", file: "properties_inspect.go",
		old: "	if row.shown(value) != value {\n		return hidden", new: "	if row.shown(value) != value {\n		return value",
		breaks: "Inspect shows passwords",
		by:     by("TestInspectShowsSettingsAndTheirSources"),
	},
	{
		name: "inspection-shows-what-providers-have", file: "properties_inspect.go",
		old: "if !row.isNumber() {", new: "if false && !row.isNumber() {",
		breaks: "Inspect shows values that come from a provider",
		by:     by("TestInspectShowsSettingsAndTheirSources"),
	},
	{
		name: "inspection-quotes-serializers", file: "errors_text.go",
		old: "case own.Kind == ErrSerialization || own.Kind == ErrPartitioner:", new: "case own.Kind == ErrPartitioner:",
		breaks: "Inspect shows a serializer's error, which may quote the record",
		by:     by("TestInspectQuotesNoRecord"),
	},
	{
		name: "inspection-stops-after-a-piece", file: "sender_inspect.go",
		old: "	if len(v.partitions) < len(v.queues) {\n		s.box.command(v.goOn)\n		return", new: "	if len(v.partitions) < len(v.queues) {\n		return",
		breaks: "Inspect of more than 1,024 partitions lacks the sender's part",
		by:     by("TestInspectOfManyPartitionsIsWhole"),
	},
	{
		name: "errors-without-bound", file: "metrics.go",
		old: "if len(k.kinds) < maxErrors {", new: "if true || len(k.kinds) < maxErrors {",
		breaks: "a producer whose topics all fail remembers each of them",
		by:     by("TestInspectKeepsAHundredKindsOfErrors"),
	},
	{
		name: "oldest-error-is-the-newest", file: "metrics.go",
		old: "x.last.Before(oldest.last)", new: "x.last.After(oldest.last)",
		breaks: "the latest error makes room for the next, and old ones stay",
		by:     by("TestInspectKeepsAHundredKindsOfErrors"),
	},
}
