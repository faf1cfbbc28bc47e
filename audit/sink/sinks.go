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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

// Sinks are the sinks of a configuration.
type Sinks struct {
	all     []*sink
	metrics *metrics
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
	s := &Sinks{metrics: newMetrics()}
	for i, one := range settings {
		to, err := one.receiver()
		if err != nil {
			return nil, fmt.Errorf("audit.sinks[%d]: %w", i, err)
		}
		k := &sink{name: one.Name, path: path, kinds: one.Kinds, to: to, render: one.render(), record: record, cursor: newCursor(path, one.Name), metrics: s.metrics,
			log: log.With("sink", one.Name), pace: usualPace(), limits: one.limits()}
		k.begin(path, one.From)
		s.all = append(s.all, k)
	}
	return s, nil
}

// begin finds where the sink goes on.
func (k *sink) begin(path, from string) {
	end := k.record.Durable()
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
	k.follower = audit.NewFollower(path, at)
	k.at.Store(at.Line)
	for _, c := range []*prometheus.CounterVec{k.metrics.sent, k.metrics.failed, k.metrics.lost} {
		c.WithLabelValues(k.name)
	}
}

// Run sends what is recorded until ctx ends. Then it tries for a few seconds to send the rest.
func (s *Sinks) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, k := range s.all {
		g.Go(func() error { return k.run(ctx) })
	}
	g.Go(func() error { <-ctx.Done(); return ctx.Err() })
	return g.Wait()
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
	for _, k := range l.sinks.all {
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
