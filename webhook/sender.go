// Package webhook tells other programs of events: it posts JSON to the endpoints in the configuration, signed as the
// Standard Webhooks specification says (https://www.standardwebhooks.com).
//
// [Sender.Send] only puts an event into memory, and never waits: whoever calls it may be deciding about access. Delivery
// is at least once while the process runs; what waits when the process is killed is lost, so an event is a hint to look
// at Sallyport, never the only record.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxBody is the size of the largest event, in bytes.
const maxBody = 64 << 10

// What became of an attempt or an event, as the label result.
const (
	resultDelivered = "delivered"
	resultRetried   = "retried"   // the attempt failed, and another follows
	resultAbandoned = "abandoned" // the last attempt failed
	resultDropped   = "dropped"   // without another attempt: the queue was full, the endpoint is disabled or removed, the server stops
)

// Sender sends events. Its methods may be called concurrently.
type Sender struct {
	log        *slog.Logger
	dial       func(ctx context.Context, network, addr string) (net.Conn, error) // nil: as net/http does
	deliveries *prometheus.CounterVec
	wake       chan struct{} // has room for one

	mu       sync.Mutex // guards what follows, and the queues
	names    []string   // of the endpoints, in the order of the settings
	queues   map[string]*queue
	stopping bool          // no failed attempt is followed by another
	stopped  bool          // Run has returned
	records  []slog.Record // to be logged when mu is free
}

// logLater adds a record to the log when mu is free. The caller holds mu.
func (s *Sender) logLater(level slog.Level, message string, args ...any) {
	if s.log.Enabled(context.Background(), level) {
		r := slog.NewRecord(time.Now(), level, message, 0)
		r.Add(args...)
		s.records = append(s.records, r)
	}
}

// locked runs f while it holds mu, and writes to the log afterwards.
func (s *Sender) locked(f func()) {
	s.mu.Lock()
	f()
	records := s.records
	s.records = nil
	s.mu.Unlock()
	for _, r := range records {
		_ = s.log.Handler().Handle(context.Background(), r) // as slog does
	}
}

// New returns a Sender without endpoints. [Sender.Use] gives it some.
func New(log *slog.Logger) *Sender {
	s := &Sender{log: log, wake: make(chan struct{}, 1), queues: map[string]*queue{},
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_webhook_deliveries_total",
			Help: "Attempts to deliver an event to an endpoint, and events given up, by result."}, []string{"result"})}
	for _, result := range []string{resultDelivered, resultRetried, resultAbandoned, resultDropped} {
		s.deliveries.WithLabelValues(result)
	}
	return s
}

// Collectors returns the metrics of s.
func (s *Sender) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.deliveries,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_webhook_queue",
			Help: "Events that wait for their delivery to an endpoint, or are being delivered."}, func() float64 { return float64(s.length()) })}
}

func (s *Sender) length() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		n += q.length()
	}
	return n
}

// Endpoints are endpoints whose files have been read.
type Endpoints struct{ all []*endpoint }

// Open reads the files that the settings name. It changes nothing before the result is given to [Sender.Use].
func (s *Sender) Open(settings []Settings) (*Endpoints, error) {
	all := make([]*endpoint, len(settings))
	for i, one := range settings {
		e, err := one.open(s.dial)
		if err != nil {
			return nil, fmt.Errorf("webhooks[%d].%w", i, err)
		}
		all[i] = e
	}
	return &Endpoints{all}, nil
}

// Use puts endpoints in force. What waits for an endpoint is sent to the one that now has its name, at its time; an
// endpoint that was disabled is used again.
func (s *Sender) Use(endpoints *Endpoints) { s.locked(func() { s.use(endpoints.all) }) }

func (s *Sender) use(endpoints []*endpoint) {
	former := s.queues
	s.names, s.queues = nil, map[string]*queue{}
	for _, e := range endpoints {
		q := &queue{}
		if old, ok := former[e.name]; ok {
			q = old
			q.endpoint.transport.CloseIdleConnections()
		}
		q.endpoint, q.disabled, q.paused = e, false, time.Time{}
		s.drop(q, q.clearIf(func(m *message) bool { return !e.wants(m.event) }), "the webhook no longer has these events")
		s.names = append(s.names, e.name)
		s.queues[e.name] = q
	}
	for name, q := range former {
		if s.queues[name] == nil {
			q.endpoint.transport.CloseIdleConnections()
			s.drop(q, q.clear(), "the webhook was removed from the configuration")
		}
	}
	s.wakeUp()
}

// drop counts and logs n events that are dropped. The caller holds mu.
func (s *Sender) drop(q *queue, n int, why string) {
	s.deliveries.WithLabelValues(resultDropped).Add(float64(n))
	s.logDropped(q, n, why)
}

// logDropped logs n events that were dropped, unless n is 0. The caller holds mu.
func (s *Sender) logDropped(q *queue, n int, why string) {
	if n == 0 {
		return
	}
	s.logLater(slog.LevelWarn, "events were not delivered to a webhook", "webhook", q.endpoint.name, "events", n, "reason", why)
}

func (s *Sender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // Run has yet to see the last one
	}
}

// envelope is the body of a request (Standard Webhooks, "Payload structure").
type envelope struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the event, not of the attempt
	Data      any       `json:"data"`
}

// newMessage returns an event that is due now.
func newMessage(event string, data any) (message, error) {
	if data == nil {
		data = struct{}{}
	}
	now := time.Now()
	body, err := json.Marshal(envelope{event, now.UTC().Truncate(time.Microsecond), data})
	if err != nil {
		return message{}, err
	}
	if len(body) > maxBody {
		return message{}, fmt.Errorf("the event has %d bytes; at most %d are sent", len(body), maxBody)
	}
	return message{id: "msg_" + rand.Text(), event: event, body: body, made: now, due: now}, nil
}

// Send has an event sent to every endpoint that wants it. data becomes JSON before Send returns; it must hold no secret.
func (s *Sender) Send(event string, data any) {
	s.mu.Lock()
	unused := len(s.queues) == 0
	s.mu.Unlock()
	if unused {
		return
	}
	m, err := newMessage(event, data)
	if err != nil {
		s.deliveries.WithLabelValues(resultDropped).Inc()
		s.log.Error("an event cannot be sent to webhooks", "event", event, "err", err)
		return
	}
	s.locked(func() {
		for _, q := range s.queues {
			if q.endpoint.wants(event) {
				one := m
				s.enqueue(q, &one)
			}
		}
	})
	s.wakeUp()
}

// enqueue adds m to q. The caller holds mu.
func (s *Sender) enqueue(q *queue, m *message) {
	switch {
	case q.disabled:
		s.deliveries.WithLabelValues(resultDropped).Inc()
	case s.stopped:
		s.drop(q, 1, "the server has stopped")
	case q.add(m):
		s.deliveries.WithLabelValues(resultDropped).Inc()
		s.logFull(q)
	}
}

// logFull logs events that were dropped from a full queue, once a minute. The caller holds mu.
func (s *Sender) logFull(q *queue) {
	q.dropped++
	if now := time.Now(); now.Sub(q.droppedLog) >= time.Minute {
		s.logLater(slog.LevelWarn, "the queue of a webhook is full, and the oldest events of the most frequent type are dropped", "webhook", q.endpoint.name, "events", q.dropped)
		q.dropped, q.droppedLog = 0, now
	}
}

// Result is what came of a test of one endpoint.
type Result struct {
	Name      string        `json:"name"`
	Delivered bool          `json:"delivered"`
	Status    int           `json:"status,omitempty"` // of the response; 0: there was none
	Detail    string        `json:"detail"`
	Took      time.Duration `json:"took"` // nanoseconds
}

// Test sends an event of its own to the endpoint called name, or to all if name is empty, and returns what came of it.
func (s *Sender) Test(ctx context.Context, name string) ([]Result, error) {
	queues, err := s.find(name)
	if err != nil {
		return nil, err
	}
	m, err := newMessage(testEvent, map[string]string{"message": "This is a test of the webhook. Nothing has happened."})
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(queues))
	var tests sync.WaitGroup
	for i, q := range queues {
		tests.Go(func() { results[i] = q.test(ctx, &m) })
	}
	tests.Wait()
	return results, nil
}

// Names returns the names of the endpoints in force, in the order of the file.
func (s *Sender) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// find returns copies of the queues of the endpoint called name, or of all if name is empty.
func (s *Sender) find(name string) (found []queue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) == 0 {
		return nil, errors.New("the configuration has no webhooks; write webhooks: [{url: https://…, secret_file: …}]")
	}
	if name != "" && !slices.Contains(s.names, name) {
		return nil, fmt.Errorf("there is no webhook %q; there are %s", name, strings.Join(s.names, ", "))
	}
	for _, one := range s.names {
		if name == "" || name == one {
			found = append(found, *s.queues[one])
		}
	}
	return found, nil
}

func (q *queue) test(ctx context.Context, m *message) Result {
	began := time.Now()
	o := q.endpoint.post(ctx, m)
	r := Result{Name: q.endpoint.name, Delivered: o.err == nil, Status: o.status, Took: time.Since(began)}
	switch {
	case o.err == nil && q.disabled:
		r.Detail = "delivered; but the receiver has responded with 410 Gone before, so nothing is sent until `sallyport reload`"
	case o.err == nil:
		r.Detail = fmt.Sprintf("the receiver responded with %d", o.status)
	case o.body != "":
		r.Detail = fmt.Sprintf("%v: %q", o.err, o.body)
	default:
		r.Detail = o.err.Error()
	}
	return r
}
