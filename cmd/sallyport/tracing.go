package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// tracing exports the spans of requests by OTLP over HTTP, as the environment says (OTEL_*). Without that it makes none.
type tracing struct {
	provider *sdktrace.TracerProvider // nil: no spans
	exporter *otlptrace.Exporter
	spans    *prometheus.CounterVec
	log      *slog.Logger
}

// newTracing returns what the environment asks for. A fault there leaves the server without spans, and is logged: others
// often set these variables for all programs of a machine.
func newTracing(log *slog.Logger) *tracing {
	t := &tracing{log: log, spans: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_trace_spans_total",
		Help: "Spans that were exported, or failed to be."}, []string{"result"})}
	for _, result := range []string{spansExported, spansFailed} {
		t.spans.WithLabelValues(result)
	}
	ok, err := wantsSpans(os.Getenv)
	if err != nil {
		log.Warn("requests are not traced, since the environment asks for what there is not", "err", err)
	}
	if !ok || err != nil {
		return t
	}
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "sallyport"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		log.Warn("OTEL_RESOURCE_ATTRIBUTES is not wholly valid; write key=value, separated by commas", "err", err)
	}
	t.logFaults()
	t.exporter = otlptrace.NewUnstarted(otlptracehttp.NewClient())
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(about))
	return t
}

// logFaults has the faults that OpenTelemetry finds logged: in the environment, and in exports that fail.
func (t *tracing) logFaults() {
	var last atomic.Int64 // when a fault was logged, in nanoseconds since 1970
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now := time.Now().UnixNano()
		if before := last.Load(); now-before > int64(time.Minute) && last.CompareAndSwap(before, now) {
			t.log.Warn("requests are not traced as they should be; the log says so once a minute at most", "err", err)
		}
	}))
}

// wantsSpans reports whether the environment names a receiver of spans, or why they cannot be sent to it. The error has
// no value of a variable that may hold a secret.
func wantsSpans(env func(string) string) (bool, error) {
	trace := func(name string) (key, value string) {
		if key = "OTEL_EXPORTER_OTLP_TRACES_" + name; env(key) == "" {
			key = "OTEL_EXPORTER_OTLP_" + name
		}
		return key, strings.TrimSpace(env(key))
	}
	endpointKey, endpoint := trace("ENDPOINT")
	exporter := env("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || exporter == "none" || exporter == "" && endpoint == "" {
		return false, nil
	}
	if exporter != "" && exporter != "otlp" {
		return false, errors.New("OTEL_TRACES_EXPORTER names an exporter that there is not; write otlp, or none")
	}
	if key, protocol := trace("PROTOCOL"); cmp.Or(protocol, "http/protobuf") != "http/protobuf" {
		return false, errors.New(key + " names a protocol that is not spoken; write http/protobuf, and the port of the receiver for it, which usually is 4318")
	}
	if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return false, errors.New(endpointKey + " is no URL; write for example http://127.0.0.1:4318")
	}
	if key, headers := trace("HEADERS"); headers != "" {
		for pair := range strings.SplitSeq(headers, ",") {
			name, value, ok := strings.Cut(pair, "=")
			if _, err := url.PathUnescape(value); !ok || err != nil || strings.TrimSpace(name) == "" {
				return false, errors.New(key + " is not valid; write name=value, separated by commas, and values percent-encoded")
			}
		}
	}
	return true, nil
}

// Collectors returns the metrics of the export.
func (t *tracing) Collectors() []prometheus.Collector { return []prometheus.Collector{t.spans} }

// Provider returns what makes spans, or nil.
func (t *tracing) Provider() oteltrace.TracerProvider {
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// tracingTimeout is how long the export of the last spans may take when the server stops.
const tracingTimeout = 3 * time.Second

// Run exports spans until ctx ends, and then those that are left. A receiver that is slow or down costs spans, which
// wait in a bounded queue, and never a request.
func (t *tracing) Run(ctx context.Context) error {
	if t.provider == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := t.exporter.Start(ctx); err != nil {
		t.log.Warn("spans cannot be exported", "err", err)
	}
	t.provider.RegisterSpanProcessor(sdktrace.NewBatchSpanProcessor(countingExporter{t.exporter, t.spans}))
	<-ctx.Done()
	stopping, stop := context.WithTimeout(context.WithoutCancel(ctx), tracingTimeout)
	defer stop()
	if err := t.provider.Shutdown(stopping); err != nil {
		t.log.Warn("the last spans were not exported", "err", err)
	}
	return ctx.Err()
}

// The values of the label result of the spans.
const (
	spansExported = "exported"
	spansFailed   = "failed"
)

// countingExporter counts the spans that are exported.
type countingExporter struct {
	sdktrace.SpanExporter
	spans *prometheus.CounterVec
}

// ExportSpans exports spans and counts them.
func (e countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	result := spansExported
	if err != nil {
		result = spansFailed
	}
	e.spans.WithLabelValues(result).Add(float64(len(spans)))
	return err
}
