package main

// mutation is one way to break the producer.
type mutation struct {
	name     string
	file     string // from the module's root
	old, new string
	breaks   string // what goes wrong
	txn      bool   // in transactions
}

var mutations = []mutation{
	{
		name: "end-does-not-wait-for-the-wire", file: "transaction_requests.go", txn: true,
		old: "return t.s.onWire == 0 && t.s.acc.count() == 0 }", new: "return t.s.acc.count() == 0 }",
		breaks: "EndTxn leaves while a batch that was given up is on the wire",
	},
	{
		name: "same-epoch-after-a-lost-end", file: "transaction_answers.go", txn: true,
		old: "		t.bump = t.bump || r.kind != askFind && r.kind != askInit && !t.version2 && t.canBump\n", new: "",
		breaks: "in version 1 a late EndTxn ends the next transaction (KAFKA-17754)",
	},
	{
		name: "partitions-not-added", file: "transaction.go", txn: true,
		old: "		t.toAdd = append(t.toAdd, q)\n	}\n	return false\n", new: "		q.out.joined = t.number\n	}\n	return q.out.joined == t.number\n",
		breaks: "in version 1 partitions are not added to the transaction",
	},
	{
		name: "sends-after-the-commit", file: "transaction.go", txn: true,
		old: "	if t.state == txnInTransaction || t.state == txnFatalError {", new: "	if t.state == txnInTransaction || t.state == txnCommitting || t.state == txnFatalError {",
		breaks: "records are taken into a transaction that is being committed",
	},
	{
		name: "doubtful-commit-can-be-aborted", file: "transaction_answers.go", txn: true,
		old: "		r.lost = true\n		t.straggler", new: "		r.lost = r.kind != askEnd\n		t.straggler",
		breaks: "a commit whose answer got lost passes for one that was not asked for",
	},
	{
		name: "dropped-records-out-of-turn", file: "inflight.go", txn: true,
		old: "		b.inLine = true\n		line.PushBack(b)\n", new: "		s.tell(b)\n",
		breaks: "records that an abort drops are told before those on the wire",
	},
	{
		name: "joined-or-not", file: "transaction_requests.go", txn: true,
		old: "		return k == askEnd || k.joins()\n", new: "		return k == askEnd\n",
		breaks: "what a coordinator added although it said that it is none stays open",
	},
	{
		name: "lost-commit-is-an-abort", file: "transaction_answers.go", txn: true,
		old: "	if req.MaybeSent {\n", new: "	if r.kind == askEnd && r.commit && req.MaybeSent {\n		t.pending.end(&Error{Op: r.kind.String(), Class: ErrAbortable, Partition: -1, Node: -1})\n	}\n	if req.MaybeSent {\n",
		breaks: "a commit whose answer got lost is told to have failed",
	},
	{
		name: "no-unmute", file: "inflight.go",
		old: "	q.out.muted = false\n", new: "",
		breaks: "with one request in flight, a partition stays muted after its first batch",
	},
	{
		name: "memory-back-while-on-the-wire", file: "inflight.go",
		old: "	if !onWire {\n		b.drop(s.acc)\n	}\n", new: "	_ = onWire\n	b.drop(s.acc)\n",
		breaks: "the memory of a batch that expires in flight is used again while a socket reads it (KAFKA-19012)",
	},
	{
		name: "memory-of-failed-batches-leaks", file: "inflight.go",
		old: "	if !onWire {\n		b.drop(s.acc)\n	}\n", new: "	if !onWire && out.err == nil {\n		b.drop(s.acc)\n	}\n",
		breaks: "failed batches keep their memory",
	},
	{
		name: "sequences-reused-in-doubt", file: "outcome.go",
		old: "v.gap, v.unsure, v.barred = !v.maybe, v.maybe, refusesContent(f.code)", new: "v.gap, v.unsure, v.barred = true, false, refusesContent(f.code)",
		breaks: "a batch that is given up and may be written leaves its sequences to the next (KAFKA-14397)",
	},
	{
		name: "told-twice", file: "inflight.go",
		old: "	s.dispatch.push(b)\n", new: "	s.dispatch.push(b)\n	if b.attempts > 1 {\n		s.dispatch.push(b)\n	}\n",
		breaks: "records of a batch that was sent again complete twice",
	},
	{
		name: "retries-go-to-the-end", file: "queue.go",
		old: "	for at < q.batches.Len() && q.batches.At(at).number < b.number {\n", new: "	for at < q.batches.Len() {\n",
		breaks: "a batch that is sent again goes behind those that came after it",
	},
	{
		name: "delivery-timeout-ignored", file: "sender.go",
		old: "b != nil && !b.createdAt.Add(s.acc.deliveryTimeout).After(now); b = s.acc.oldest() {", new: "b != nil && !b.createdAt.Add(2*s.acc.deliveryTimeout).After(now); b = s.acc.oldest() {",
		breaks: "batches expire too late",
	},
	{
		name: "duplicate-is-a-failure", file: "outcome.go",
		old: "	if f.code == protocol.DuplicateSequenceNumber {\n", new: "	if f.code == protocol.DuplicateSequenceNumber && !f.idempotent {\n",
		breaks: "DUPLICATE_SEQUENCE_NUMBER fails a batch that is in the log",
	},
	{
		name: "not-sent-for-maybe-written", file: "inflight.go",
		old: "	case b.maybeWritten || b.elsewhere || b.onWire:\n", new: "	case b.onWire:\n",
		breaks: "an error says NotSent for a batch whose answer was lost",
	},
	{
		name: "no-doubt-on-the-wire", file: "inflight.go",
		old: "	case b.maybeWritten || b.elsewhere || b.onWire:\n", new: "	case b.maybeWritten:\n",
		breaks: "an error says NotSent for a batch that expires in flight",
	},
	{
		name: "no-new-epoch-after-a-gap", file: "idempotence.go",
		old: "		p.gap = true\n", new: "",
		breaks: "sequences that will never be written are not followed by a new epoch",
	},
	{
		name: "epoch-bump-amid-a-partition", file: "idempotence.go",
		old: "	if p.id != i.id || p.epoch != i.epoch {\n", new: "	if p.id != i.id {\n",
		breaks: "a partition does not follow to the new epoch",
	},
	{
		name: "split-forgets-a-part", file: "split.go",
		old: "	s.replace(b, parts)\n	s.enqueue(parts)\n", new: "	s.replace(b, parts)\n	s.enqueue(parts[1:])\n",
		breaks: "the first part of a split batch is not sent",
	},
	{
		name: "split-in-the-wrong-order", file: "split.go",
		old: "		part.number = b.number + int64(i)*part.width\n", new: "		part.number = b.number + int64(len(parts)-i)*part.width\n",
		breaks: "the parts of a split batch are sent in reverse",
	},
	{
		name: "split-loses-its-doubt", file: "outcome.go",
		old: "f.records > 1 && !(f.idempotent && v.maybe): ", new: "f.records > 1: ",
		breaks: "a batch that may be written is split, and its parts are written again",
	},
	{
		name: "flush-forgets-the-parts", file: "closing.go",
		old: "	for _, c := range r.children {\n", new: "	for _, c := range r.children[:0] {\n",
		breaks: "a flush does not wait for the parts of split batches (KAFKA-19479)",
	},
	{
		name: "second-batch-does-not-wait", file: "idempotence.go",
		old: "	return p.known && !p.gap", new: "	return !p.gap",
		breaks: "the first batch of an id does not travel alone",
	},
	{
		name: "renumbered-with-earlier-ones-in-flight", file: "outcome.go",
		old: "	missing := f.head && !f.doubt && !forgotten\n", new: "	missing := !f.doubt && !forgotten\n",
		breaks: "an out-of-order batch is renumbered although an earlier one is only late (KAFKA-14034)",
	},
	{
		name: "out-of-order-proves-loss", file: "outcome.go",
		old: "	missing := f.head && !f.doubt && !forgotten\n", new: "	missing := f.head && !forgotten\n",
		breaks: "a batch is renumbered although a late copy of it and of one before may arrive",
	},
	{
		name: "snapshots-remember-all", file: "outcome.go",
		old: "	forgotten := f.wasMaybe && ", new: "	forgotten := false && ",
		breaks: "a batch is written twice if the node was started anew and remembers only a later one",
	},
	{
		name: "put-aside-for-ever", file: "parked.go",
		old: "	if slices.ContainsFunc(seq.inFlight[len(parked):], (*batch).mayBeThere) {\n", new: "	if len(seq.inFlight) > 0 {\n",
		breaks: "a batch that is put aside is not asked for again when the one behind it is given up",
	},
	{
		name: "trust-in-memory-for-ever", file: "idempotence.go",
		old: "now.Sub(p.heardAt) >= remembered {", new: "now.Sub(p.heardAt) >= 1000*time.Hour {",
		breaks: "after an idle time the first batch does not travel alone, though the broker may have forgotten the producer",
	},
	{
		name: "new-log-not-noticed", file: "idempotence.go",
		old: "	if b.log = log; log != p.log {\n", new: "	if b.log = log; log != p.log && p.log.IsZero() {\n",
		breaks: "batches for a topic that was made anew are taken for acknowledged by the old one",
	},
	{
		name: "leader-hint-of-another-topic", file: "inflight.go",
		old: "info != nil && info.ID != b.log {", new: "info == nil {",
		breaks: "an answer about the topic before sets the leader of the one that was made anew",
	},
	{
		name: "used-up-epochs", file: "idempotence.go",
		old: "	if i.state != idReady { // used up", new: "	if i.state == idAsked { // used up",
		breaks: "batches leave without a producer id when the epochs are used up",
	},
	{
		name: "header-not-rewritten", file: "batch.go",
		old: "	b.sequenced, b.headerDone, b.renumber = true, false, false\n", new: "	b.sequenced, b.renumber = true, false\n",
		breaks: "a renumbered batch goes out under its old sequence",
	},
	{
		name: "offsets-off-by-one", file: "future.go",
		old: "max(r.baseOffset+int64(i), -1)", new: "max(r.baseOffset+int64(i)+1, -1)",
		breaks: "metadata name the wrong offset",
	},
	{
		name: "futures-share-recycled-results", file: "incomplete.go",
		old: "	if res.shared || res.flushed ||", new: "	if res.flushed ||",
		breaks: "results that futures look at are used for other batches",
	},
	{
		name: "late-answers-count", file: "outcome.go",
		old: "	if decided {\n		return actForget\n	}\n	return actAccept\n", new: "	return actAccept\n",
		breaks: "an answer to a batch that has expired completes it again",
	},
	{
		name: "expired-in-flight-is-settled", file: "sender.go",
		old: "		if b.sequenced {\n			q.out.seq.settle(b,", new: "		if b.sequenced && !b.maybeWritten {\n			q.out.seq.settle(b,",
		breaks: "a batch that expires while it waits to be sent again blocks its partition for ever",
	},
	{
		name: "bell-does-not-ring", file: "inbox.go",
		old: "	x.in.events = append(x.in.events, e)\n	x.mu.Unlock()\n	x.ring(hintNow)\n", new: "	x.in.events = append(x.in.events, e)\n	x.mu.Unlock()\n",
		breaks: "answers do not wake the sender",
	},
	{
		name: "callbacks-out-of-order", file: "inflight.go",
		old:    "	for line.Len() > 0 && line.Front().decided {\n		s.tell(line.PopFront())\n	}\n",
		new:    "	for i := 0; i < line.Len(); {\n		if !line.At(i).decided {\n			i++\n			continue\n		}\n		s.tell(line.At(i))\n		line.Remove(i)\n	}\n",
		breaks: "a batch is told before an earlier one of its partition",
	},
	{
		name: "request-too-large", file: "inflight.go",
		old: "	if size > 0 && size+q.sizeLocked(b) > s.cfg.maxRequestSize {\n", new: "	if size > 0 && size > s.cfg.maxRequestSize {\n",
		breaks: "requests exceed max.request.size",
	},
}
