// Package sink sends the audit record to other systems while it grows: each line at least once, and in order.
//
// The record itself is the queue: a sink reads its files from where it was, which a small file beside the record remembers.
// So nobody waits for a sink, a restart sends again at most what was not acknowledged, and lines are lost only if their
// file is deleted before they were sent, which is counted, logged and recorded.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

// Sinks are the sinks of a configuration.
type Sinks struct {
	path    string // of the record
	record  *audit.Log
	log     *slog.Logger
	metrics *metrics
	changed chan struct{} // has room for one

	mu  sync.Mutex // guards all
	all []*sink    // in force; replaced, never altered
}

// metrics are the metrics of all sinks.
type metrics struct {
	sent, failed, lost *prometheus.CounterVec
	lagLines, lagTime  *prometheus.Desc
}

func newMetrics() *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_audit_sink_" + name, Help: help}, []string{"sink"})
	}
	return &metrics{
		sent:   counter("sent_lines_total", "Lines of the audit record that a sink has accepted."),
		failed: counter("failed_attempts_total", "Attempts to send lines of the audit record to a sink that failed, and are made again."),
		lost:   counter("lost_lines_total", "Lines of the audit record that were not sent to a sink, and never will be."),
		lagLines: prometheus.NewDesc("sallyport_audit_sink_lag_lines", "Lines of the audit record that are on the disk and not sent to a sink yet.",
			[]string{"sink"}, nil),
		lagTime: prometheus.NewDesc("sallyport_audit_sink_lag_seconds", "How old the oldest line of the audit record is that a sink has not accepted yet; 0 if there is none.",
			[]string{"sink"}, nil),
	}
}

// Open makes the sinks of a record at path, which log writes. A sink that is new gets its beginning now. Call
// [Sinks.Run] to send.
func Open(settings []Settings, path string, record *audit.Log, log *slog.Logger) (*Sinks, error) {
	s := &Sinks{path: path, record: record, log: log, metrics: newMetrics(), changed: make(chan struct{}, 1)}
	use, err := s.Prepare(settings)
	if err != nil {
		return nil, err
	}
	use()
	return s, nil
}

// Prepare makes the sinks of other settings, and changes nothing; use puts them in force, which cannot fail and is called before any other Prepare. A sink that has
// the same settings goes on. Any other that has the name of a former one goes on where that one was, once it has ended.
func (s *Sinks) Prepare(settings []Settings) (use func(), err error) {
	next := make([]*sink, len(settings))
	for i, one := range settings {
		if next[i], err = s.sink(one); err != nil {
			return nil, fmt.Errorf("audit.sinks[%d]: %w", i, err)
		}
	}
	return func() {
		former := s.inForce()
		for _, k := range next {
			if !slices.ContainsFunc(former, func(f *sink) bool { return f.name == k.name }) {
				k.begin()
			}
		}
		s.mu.Lock()
		s.all = next
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default: // Run has not seen the change before
		}
	}, nil
}

// sink returns the sink in force that has these settings, or a new one.
func (s *Sinks) sink(one Settings) (*sink, error) {
	for _, k := range s.inForce() {
		if reflect.DeepEqual(k.settings, one) {
			return k, nil
		}
	}
	to, err := one.receiver()
	if err != nil {
		return nil, err
	}
	return &sink{name: one.Name, settings: one, path: s.path, kinds: one.Kinds, to: to, render: one.render(), record: s.record, cursor: newCursor(s.path, one.Name), metrics: s.metrics,
		log: s.log.With("sink", one.Name), pace: usualPace(), limits: one.limits()}, nil
}

func (s *Sinks) inForce() []*sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// begin finds where the sink goes on, unless that was found.
func (k *sink) begin() {
	if k.follower != nil {
		return
	}
	from, end := k.settings.From, k.record.Durable()
	at, isNew, err := k.cursor.begin(from, end)
	switch {
	case err != nil && isNew:
		k.log.Error("where a new sink begins cannot be saved; a restart has it begin anew", "file", k.cursor.path, "err", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		k.log.Error("what a sink has sent cannot be read, so that it sends the whole record again", "err", err)
		at = audit.Place{}
	case isNew && from == fromStart:
		k.log.Info("a sink is new, and begins with the first line of the record")
	case isNew:
		k.log.Info("a sink is new, and begins with what is recorded from now on; `from: start` in its settings would send what the record has already", "line", end.Line)
	}
	k.follower = audit.NewFollower(k.path, at)
	k.at.Store(at.Line)
	for _, c := range []*prometheus.CounterVec{k.metrics.sent, k.metrics.failed, k.metrics.lost} {
		c.WithLabelValues(k.name)
	}
}

// Run sends what is recorded until ctx ends. Then it tries for a few seconds to send the rest.
func (s *Sinks) Run(ctx context.Context) error {
	running := map[*sink]func(){} // what ends each, and waits for that
	for {
		s.follow(ctx, running)
		select {
		case <-s.changed:
			continue
		case <-ctx.Done():
		}
		var ending sync.WaitGroup
		for _, end := range running {
			ending.Go(end)
		}
		ending.Wait()
		return ctx.Err()
	}
}

// follow ends the sinks that are no longer in force, and then begins those that are and do not run.
func (s *Sinks) follow(ctx context.Context, running map[*sink]func()) {
	var ending sync.WaitGroup
	all := s.inForce()
	for k, end := range running {
		if !slices.Contains(all, k) {
			delete(running, k)
			ending.Go(end)
		}
	}
	ending.Wait()
	for _, k := range all {
		if running[k] == nil {
			k.begin()
			running[k] = k.start(ctx)
		}
	}
}

// start runs the sink until end is called, or ctx ends.
func (k *sink) start(ctx context.Context) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = k.run(ctx) }()
	return func() { stop(); <-done }
}

// Collectors returns the metrics of the sinks.
func (s *Sinks) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.sent, s.metrics.failed, s.metrics.lost, lag{s}}
}

// lag collects how far the sinks are behind.
type lag struct{ sinks *Sinks }

// Describe implements [prometheus.Collector].
func (l lag) Describe(out chan<- *prometheus.Desc) {
	out <- l.sinks.metrics.lagLines
	out <- l.sinks.metrics.lagTime
}

// Collect implements [prometheus.Collector].
func (l lag) Collect(out chan<- prometheus.Metric) {
	for _, k := range l.sinks.inForce() {
		lines, age := k.lag(time.Now())
		out <- prometheus.MustNewConstMetric(l.sinks.metrics.lagLines, prometheus.GaugeValue, float64(lines), k.name)
		out <- prometheus.MustNewConstMetric(l.sinks.metrics.lagTime, prometheus.GaugeValue, age.Seconds(), k.name)
	}
}

// receiver returns what the settings name.
func (s Settings) receiver() (receiver, error) {
	switch {
	case s.Syslog != nil:
		return newSyslogReceiver(s.Syslog), nil
	case s.HTTPS != nil:
		return newHTTPReceiver(s.HTTPS.Endpoint, ndjson{})
	case s.OTLP != nil:
		return newHTTPReceiver(s.OTLP.Endpoint, newOTLP())
	}
	return &fileReceiver{path: s.File.Path}, nil
}

// limits returns the bounds of a batch. Those of syslog are larger, since each batch takes a second at least.
func (s Settings) limits() audit.Limits {
	if s.Syslog != nil {
		return audit.Limits{Lines: 10 * maxBatchLines, Bytes: 10 * maxBatchBytes}
	}
	return audit.Limits{Lines: maxBatchLines, Bytes: maxBatchBytes}
}

// render returns what writes a line in the format of the settings.
func (s Settings) render() func(*audit.Entry) ([]byte, error) {
	if s.Format == formatOCSF {
		return func(e *audit.Entry) ([]byte, error) { return ocsf.Encode(&e.Line, e.Text) }
	}
	return func(e *audit.Entry) ([]byte, error) { return e.Text, nil }
}
