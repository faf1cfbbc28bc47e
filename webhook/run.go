package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// stopTime is how long a sender that stops may take to try once more what waits.
const stopTime = 3 * time.Second

// Run sends events until ctx ends. Then it tries what waits once more, for a few seconds at most, and logs what is lost.
func (s *Sender) Run(ctx context.Context) error {
	sending, abort := context.WithCancel(context.WithoutCancel(ctx))
	var attempts sync.WaitGroup
	s.sendUntil(ctx.Done(), sending, &attempts)
	s.beginStop()
	atLast := time.AfterFunc(stopTime, abort)
	defer atLast.Stop()
	s.sendRest(sending, &attempts)
	abort()
	attempts.Wait()
	s.locked(s.endStop)
	return ctx.Err()
}

// sendUntil begins every attempt at its time, until done is closed.
func (s *Sender) sendUntil(done <-chan struct{}, sending context.Context, attempts *sync.WaitGroup) {
	for {
		timer := time.NewTimer(s.begin(sending, attempts))
		select {
		case <-done:
			timer.Stop()
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sendRest begins attempts until nothing waits or is being sent, or until sending ends.
func (s *Sender) sendRest(sending context.Context, attempts *sync.WaitGroup) {
	for {
		s.begin(sending, attempts)
		if s.length() == 0 {
			return
		}
		select {
		case <-sending.Done():
			return
		case <-s.wake:
		}
	}
}

// begin begins the attempts that are due, and returns how long it takes until the next is.
func (s *Sender) begin(sending context.Context, attempts *sync.WaitGroup) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, now := forever, time.Now()
	for _, q := range s.queues {
		for m := q.take(now); m != nil; m = q.take(now) {
			e := q.endpoint
			attempts.Go(func() {
				o := e.post(sending, m)
				s.locked(func() { s.finish(q, e, m, o) })
				s.wakeUp()
			})
		}
		next = min(next, q.next(now))
	}
	return next
}

// finish does what the outcome of an attempt demands. e is the endpoint to which m was posted; a reload may have changed
// that of q since. The caller holds mu.
func (s *Sender) finish(q *queue, e *endpoint, m *message, o outcome) {
	q.sending--
	s.logChange(q, m, o)
	if o.status == http.StatusGone && q.endpoint == e && !q.disabled {
		q.disabled = true
		s.logLater(slog.LevelError, "a webhook is disabled, since its receiver responded with 410 Gone; a reload enables it again", "webhook", e.name)
		s.drop(q, q.clear()+1, "the webhook is disabled")
		return
	}
	m.attempts++
	switch {
	case o.err == nil:
		s.deliveries.WithLabelValues(resultDelivered).Inc()
	case s.stopping:
		s.deliveries.WithLabelValues(resultDropped).Inc()
		q.lost++ // logged by endStop
	case q.disabled || s.queues[e.name] != q:
		s.drop(q, 1, "the webhook is disabled or removed")
	case m.attempts >= maxAttempts:
		s.deliveries.WithLabelValues(resultAbandoned).Inc()
		s.logLater(slog.LevelError, "an event is not delivered to a webhook, since every attempt failed", "webhook", e.name, "event", m.event,
			"id", m.id, "attempts", m.attempts, "err", o.err)
	default:
		s.retry(q, m, o)
	}
}

// retry has m tried again later. The caller holds mu.
func (s *Sender) retry(q *queue, m *message, o outcome) {
	now := time.Now()
	if o.retryAfter > 0 {
		q.paused = now.Add(o.retryAfter)
	}
	m.due = now.Add(backoff(m.attempts))
	s.deliveries.WithLabelValues(resultRetried).Inc()
	s.logLater(slog.LevelDebug, "an event could not be delivered to a webhook, and is tried again", "webhook", q.endpoint.name, "event", m.event,
		"id", m.id, "attempts", m.attempts, "next", m.due, "err", o.err)
	q.putBack(m)
}

// logChange logs that an endpoint fails from now on, or no longer. The caller holds mu.
func (s *Sender) logChange(q *queue, m *message, o outcome) {
	switch failing := o.err != nil; {
	case failing && !q.failing:
		s.logLater(slog.LevelWarn, "events cannot be delivered to a webhook, and are tried again; `sallyport webhook test` says more",
			"webhook", q.endpoint.name, "event", m.event, "err", o.err)
	case !failing && q.failing:
		s.logLater(slog.LevelInfo, "events are delivered to a webhook again", "webhook", q.endpoint.name)
	}
	q.failing = o.err != nil
}

// beginStop makes everything that waits due now.
func (s *Sender) beginStop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, q := range s.queues {
		q.paused = time.Time{}
		for _, m := range q.waiting {
			m.due = time.Time{}
		}
	}
}

// endStop gives up what still waits, and logs once for each queue how much is lost. The caller holds mu.
func (s *Sender) endStop() {
	s.stopped = true
	for _, q := range s.queues {
		left := q.clear()
		s.deliveries.WithLabelValues(resultDropped).Add(float64(left))
		s.logDropped(q, q.lost+left, "the server stops; a last attempt failed, or there was no time for one")
	}
}
