package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"sallyport/audit"
)

// The bounds of a batch. Bytes are those of the lines in the record.
const (
	maxBatchLines = 1000
	maxBatchBytes = 512 << 10
)

// item is a line as it is sent.
type item struct {
	entry *audit.Entry
	text  []byte // in the format of the sink
}

// receiver is what a sink sends to. One goroutine calls its methods.
type receiver interface {
	// send makes one attempt. It returns how many of the items, from the first on, were accepted; if not all, the error
	// says why. An error beside all items accepted is a [*lossError].
	send(ctx context.Context, items []item, p pace) (accepted int, err error)
	close()
}

// retryError is an attempt that failed, and what the receiver asks for.
type retryError struct {
	error
	after   time.Duration // 0: nothing
	smaller bool          // fewer items at once may be accepted: they are too many, or one of them is at fault
	slow    bool          // there was no time for all of them
}

func (e *retryError) Unwrap() error { return e.error }

// lossError means that the receiver never accepts some lines.
type lossError struct {
	error
	lines int // 0: the first item that was not accepted
}

func (e *lossError) Unwrap() error { return e.error }

// sink sends the record to one receiver.
type sink struct {
	name     string
	settings Settings
	path     string       // of the record
	kinds    []audit.Kind // nil: all
	to       receiver
	render   func(*audit.Entry) ([]byte, error)
	record   *audit.Log
	follower *audit.Follower
	cursor   cursor
	metrics  *metrics
	log      *slog.Logger
	pace     pace
	limits   audit.Limits

	failed  int           // attempts since the last that was accepted
	batch   int           // lines that are sent at once, if more failed; 0: as many as the limits allow
	slow    bool          // since there was no time for more
	unsaved bool          // the cursor could not be saved
	at      atomic.Uint64 // the line of the cursor
	oldest  atomic.Int64  // when the oldest line was written that is being sent, in Unix nanoseconds; 0: none is
	lost    atomic.Uint64 // lines that are never sent
	fault   atomic.Pointer[Fault]
}

// lag returns how many lines on the disk are not sent, and how old the oldest of those is that are being sent.
func (k *sink) lag(now time.Time) (lines uint64, age time.Duration) {
	at, oldest := k.at.Load(), k.oldest.Load()
	if end := k.record.Durable().Line; end > at {
		lines = end - at
	}
	if oldest != 0 {
		age = max(now.Sub(time.Unix(0, oldest)), 0)
	}
	return lines, age
}

// run sends until ctx ends. Then what is under way may still end, and what is left is tried once.
func (k *sink) run(ctx context.Context) error {
	defer k.to.close()
	defer func() { _ = k.follower.Close() }()
	sending, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(k.pace.stopping, abort) })()
	for ctx.Err() == nil {
		if !k.step(ctx, sending) {
			sleep(ctx, k.pace.poll)
		}
	}
	for k.failed == 0 && sending.Err() == nil && k.step(ctx, sending) {
		continue
	}
	return ctx.Err()
}

// step sends the next batch, and waits until it is accepted or ctx ends. It reports whether there was something to send.
func (k *sink) step(ctx, sending context.Context) (more bool) {
	s, err := k.follower.Next(k.record.Durable().Line, k.limits)
	if s.Replaced {
		k.log.Error("the record is not the one that the sink has sent: its lines are sent from the first on", "line", k.at.Load())
		k.at.Store(0)
	}
	if err != nil {
		k.goBack() // to what the step has read already, too
		k.fails(fmt.Errorf("reading the record: %w", err), false)
		sleep(ctx, k.pace.backoff(k.failed))
		return false
	}
	for _, gap := range s.Lost {
		k.lose(ctx, gap, 0, "they are not in the record any more, or damaged")
	}
	if len(s.Entries) == 0 {
		return false
	}
	k.oldest.Store(s.Entries[0].Time.UnixNano())
	if k.deliver(ctx, sending, k.wanted(ctx, s.Entries)) {
		k.keep(s.End)
		k.oldest.Store(0)
	} else {
		k.goBack()
	}
	return true
}

// goBack has the follower read again what was not accepted.
func (k *sink) goBack() {
	_ = k.follower.Close()
	k.follower = audit.NewFollower(k.path, k.cursor.saved)
	k.at.Store(k.cursor.saved.Line)
}

// wanted renders the entries of the kinds that the sink is for.
func (k *sink) wanted(ctx context.Context, entries []audit.Entry) (items []item) {
	for i := range entries {
		e := &entries[i]
		if k.kinds != nil && !slices.Contains(k.kinds, e.Kind) {
			continue
		}
		text, err := k.render(e)
		if err != nil {
			k.lose(ctx, audit.Gap{From: e.Seq, To: e.Seq}, 0, "it cannot be written in the format of the sink: "+err.Error())
			continue
		}
		items = append(items, item{e, text})
	}
	return items
}

// deliver sends items until all are accepted, and reports that; false if an attempt failed after ctx ended. Attempts end
// with sending.
func (k *sink) deliver(ctx, sending context.Context, items []item) bool {
	narrowed := false // to one line of a batch that the receiver refused
	for len(items) > 0 {
		n := k.atOnce(len(items))
		attempt, stop := context.WithTimeout(sending, k.pace.attempt)
		accepted, err := k.to.send(attempt, items[:n], k.pace)
		stop()
		sent, lost := accepted, (*lossError)(nil)
		if errors.As(err, &lost) {
			sent -= lost.lines
			accepted = k.reject(ctx, items[:n], accepted, lost)
			err = nil
		}
		k.metrics.sent.WithLabelValues(k.name).Add(float64(sent))
		if accepted > 0 {
			k.keep(items[accepted-1].entry.End)
			items = items[accepted:]
		}
		if len(items) > 0 {
			k.oldest.Store(items[0].entry.Time.UnixNano())
		}
		if err == nil {
			k.works(n)
			continue
		}
		k.fails(err, narrowed && n == 1, items[:min(n, len(items))]...)
		wait, refused := k.pace.backoff(k.failed), (*retryError)(nil)
		if errors.As(err, &refused) {
			wait = max(wait, refused.after)
		}
		if narrowed = refused != nil && refused.smaller && n > 1; narrowed {
			k.batch, k.slow = n/2, refused.slow
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
	return true
}

// atOnce returns how many of so many items are sent at once.
func (k *sink) atOnce(items int) int {
	if n := min(items, k.limits.Lines); k.batch == 0 || n < k.batch {
		return n
	}
	return k.batch
}

// reject counts lines that the receiver never accepts, and returns how many items are done with.
func (k *sink) reject(ctx context.Context, items []item, accepted int, loss *lossError) int {
	if loss.lines > 0 {
		k.lose(ctx, audit.Gap{From: items[0].entry.Seq, To: items[len(items)-1].entry.Seq}, loss.lines, loss.Error(), items...)
		return accepted
	}
	line := items[accepted].entry.Seq
	k.lose(ctx, audit.Gap{From: line, To: line}, 0, loss.Error())
	return accepted + 1
}

// works notes that a batch was accepted. If the receiver refused a larger one, one item more is sent the next time: it may always
// refuse more than some number, and each attempt to find out costs time. If it was slow, batches grow faster: it may have been
// so for a while only.
func (k *sink) works(batch int) {
	if k.batch > 0 && batch == k.batch {
		if k.batch++; k.slow {
			k.batch += k.batch / 4
		}
	}
	if k.failed > 0 {
		k.log.Info("lines of the audit record are sent to a sink again", "failed_attempts", k.failed)
		k.failed = 0
		recovered := *k.fault.Load()
		recovered.Recovered = true
		k.fault.Store(&recovered)
	}
}

// fails logs that the sink fails from now on, and with which items. If it failed before, it is logged again if loud.
func (k *sink) fails(err error, loud bool, items ...item) {
	k.metrics.failed.WithLabelValues(k.name).Inc()
	k.fault.Store(&Fault{Time: time.Now().UTC(), Error: err.Error()})
	log := k.log.With("err", err)
	if len(items) > 0 {
		log = log.With("first", items[0].entry.Seq, "lines", len(items))
	}
	if k.failed++; k.failed == 1 || loud {
		log.Warn("lines of the audit record cannot be sent to a sink; they stay in the record, and are tried again")
	} else {
		log.Debug("lines of the audit record cannot be sent to a sink", "failed_attempts", k.failed)
	}
}

// keep saves what was accepted. If that fails, a restart sends it again.
func (k *sink) keep(at audit.Place) {
	k.at.Store(at.Line)
	err := k.cursor.save(at)
	if err != nil && !k.unsaved {
		k.log.Error("what a sink has sent cannot be saved; until it can be, a restart sends it again", "file", k.cursor.path, "err", err)
	}
	if k.unsaved = err != nil; k.unsaved {
		k.cursor.saved, k.cursor.there = at, false
	}
}

// lose counts and records lines that are never sent: all of a gap, or as many as lines of the items. If these are events of
// the record itself, it records nothing: a receiver that rejects everything would reject that event too, without end.
func (k *sink) lose(ctx context.Context, gap audit.Gap, lines int, why string, items ...item) {
	n := gap.To - gap.From + 1
	if lines > 0 {
		n = uint64(lines)
	}
	k.metrics.lost.WithLabelValues(k.name).Add(float64(n))
	k.lost.Add(n)
	k.log.Error("lines of the audit record are lost for a sink", "first", gap.From, "last", gap.To, "lines", n, "why", why)
	if len(items) > 0 && !slices.ContainsFunc(items, func(i item) bool { return i.entry.Kind != audit.KindAudit }) {
		return
	}
	for {
		err := k.record.Write(audit.SinkLost(k.name, gap, lines, why))
		if err == nil || !errors.Is(err, audit.ErrUnwritable) || k.record.Writable(ctx) != nil {
			return
		}
	}
}
