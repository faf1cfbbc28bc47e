package webhook

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The bounds of the queue of one endpoint.
const (
	maxQueue    = 1000 // events that wait or are being sent
	maxAtOnce   = 4    // attempts under way
	maxAttempts = 10   // to deliver one event
)

// The time between two attempts: it triples each time, up to maxBackoff. All attempts together take four to seven hours.
const (
	firstBackoff = 5 * time.Second
	maxBackoff   = 2 * time.Hour
)

// backoff returns how long to wait after that many failed attempts: up to a quarter more or less, so that what failed
// together is not tried again together.
func backoff(attempts int) time.Duration {
	wait := firstBackoff
	for range attempts - 1 {
		wait = min(3*wait, maxBackoff)
	}
	return wait*3/4 + rand.N(wait/2) //nolint:gosec // nobody gains by guessing it
}

// message is one event on its way to one endpoint.
type message struct {
	id       string // the same in every attempt
	event    string
	body     []byte // shared by the endpoints
	made     time.Time
	attempts int // that failed
	due      time.Time
}

// queue holds what is to be sent to one endpoint. [Sender.mu] guards it.
type queue struct {
	endpoint   *endpoint
	waiting    []*message // the oldest first
	sending    int
	paused     time.Time // no attempt begins before: the receiver asked for that
	disabled   bool      // the receiver responded with 410; nothing is sent before a reload
	failing    bool      // the last attempt failed
	dropped    int       // events that were dropped since droppedLog
	droppedLog time.Time // when dropped events were last logged
	lost       int       // events whose last attempt failed while the sender stops
}

// length returns how many events the queue holds.
func (q *queue) length() int { return len(q.waiting) + q.sending }

// add adds m. If the queue is full, it drops the oldest event of the type of which the most wait, and reports so: many
// events of one type do not push out those of another.
func (q *queue) add(m *message) (dropped bool) {
	q.waiting = append(q.waiting, m)
	if q.length() <= maxQueue || len(q.waiting) == 1 {
		return false
	}
	count, most := map[string]int{}, m.event
	for _, one := range q.waiting {
		if count[one.event]++; count[one.event] > count[most] {
			most = one.event
		}
	}
	i := slices.IndexFunc(q.waiting, func(one *message) bool { return one.event == most })
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// putBack adds an event whose attempt failed, at the place that its age gives it.
func (q *queue) putBack(m *message) {
	i, _ := slices.BinarySearchFunc(q.waiting, m, func(a, b *message) int { return a.made.Compare(b.made) })
	q.waiting = slices.Insert(q.waiting, i, m)
}

// take removes an event that is due from those that wait, and returns it; nil if no attempt may begin now.
func (q *queue) take(now time.Time) *message {
	if q.sending >= maxAtOnce || now.Before(q.paused) {
		return nil
	}
	i := slices.IndexFunc(q.waiting, func(m *message) bool { return !now.Before(m.due) })
	if i < 0 {
		return nil
	}
	m := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.sending++
	return m
}

// forever is how long a queue waits that has nothing to send.
const forever = 24 * time.Hour

// next returns how long it takes until an attempt may begin. The end of an attempt wakes the sender anyway.
func (q *queue) next(now time.Time) time.Duration {
	if q.sending >= maxAtOnce || len(q.waiting) == 0 {
		return forever
	}
	due := slices.MinFunc(q.waiting, func(a, b *message) int { return a.due.Compare(b.due) }).due
	if due.Before(q.paused) {
		due = q.paused
	}
	return max(due.Sub(now), 0)
}

// clear drops everything that waits, and returns how much that was.
func (q *queue) clear() int { return q.clearIf(func(*message) bool { return true }) }

// clearIf drops what waits and unwanted reports, and returns how much that was.
func (q *queue) clearIf(unwanted func(*message) bool) int {
	before := len(q.waiting)
	q.waiting = slices.DeleteFunc(q.waiting, unwanted)
	return before - len(q.waiting)
}
