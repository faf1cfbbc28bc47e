package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"sallyport/audit"
	"sallyport/proxy/internal/trace"
)

const (
	clientsTrace = "0af7651916cd43dd8448eb211c80319c"
	clientsSpan  = "b7ad6b7169203331"
	traceparent  = "00-" + clientsTrace + "-" + clientsSpan + "-01"
)

// spansOf makes the proxy begin spans, and returns what records them.
func (w *world) spansOf(options ...sdktrace.TracerProviderOption) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	w.proxy.tracer = trace.NewTracer(sdktrace.NewTracerProvider(append(options, sdktrace.WithSpanProcessor(spans))...))
	return spans
}

// ended waits for n spans to end, and returns them by kind: those of requests and those of calls to upstreams.
func (w *world) ended(spans *tracetest.SpanRecorder, n int) (requests, calls []sdktrace.ReadOnlySpan) {
	w.t.Helper()
	w.eventually("the spans end", func() bool { return len(spans.Ended()) >= n })
	for _, s := range spans.Ended() {
		if s.SpanKind() == oteltrace.SpanKindServer {
			requests = append(requests, s)
		} else {
			calls = append(calls, s)
		}
	}
	return requests, calls
}

// facts returns what a span says, in the order of names.
func facts(s sdktrace.ReadOnlySpan) string {
	set := attribute.NewSet(s.Attributes()...)
	var list []string
	for _, kv := range set.ToSlice() {
		list = append(list, fmt.Sprintf("%s=%v", kv.Key, kv.Value.AsInterface()))
	}
	return s.Name() + " " + strings.Join(list, " ")
}

// TestTrace_WithoutSpans checks that the trace of a client reaches the upstream, the record and the log where no spans are
// made, and that a request without a trace stays without one.
func TestTrace_WithoutSpans(t *testing.T) {
	w := newWorld(t, nil)
	log := w.logDebug()
	w.setUpstream(mirror)
	_, alice := w.signIn("alice", appHost)
	c := w.client(true)
	_, body := w.get(c, "https://"+appHost+"/", "Cookie", alice, "Traceparent", traceparent, "Tracestate", "vendor=1")
	if !strings.Contains(body, "Traceparent: "+traceparent+"\r\n") || !strings.Contains(body, "Tracestate: vendor=1\r\n") {
		t.Errorf("the upstream gets\n%s", body)
	}
	if e := w.event(audit.KindDecision, 1); e.Detail["trace"] != clientsTrace {
		t.Errorf("the record has %v", e.Detail)
	}
	if _, body = w.get(c, "https://"+appHost+"/", "Cookie", alice, "Tracestate", "vendor=1"); strings.Contains(body, "Trace") {
		t.Errorf("without a trace the upstream gets\n%s", body)
	}
	if e := w.event(audit.KindDecision, 2); e.Detail != nil {
		t.Errorf("without a trace the record has %v", e.Detail)
	}
	w.get(c, "https://"+appHost+"/secret/x", "Cookie", alice, "Traceparent", traceparent)
	if e := w.event(audit.KindDecision, 3); e.Decision != decisionDeny || e.Detail["trace"] != clientsTrace {
		t.Errorf("the record has %+v", e)
	}
	w.eventually("the log has the trace", func() bool { return strings.Contains(log.text(), `"trace":"`+clientsTrace+`"`) })
}

// TestTrace_Malformed checks that a malformed context is replaced, and stands nowhere.
func TestTrace_Malformed(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(mirror)
	_, alice := w.signIn("alice", appHost)
	_, body := w.get(w.client(false), "https://"+appHost+"/", "Cookie", alice, "Traceparent", "00-canary", "Tracestate", "canary")
	e := w.event(audit.KindDecision, 1)
	if strings.Contains(body, "canary") || len(e.Detail["trace"]) != 32 || !strings.Contains(body, "Traceparent: 00-"+e.Detail["trace"]) {
		t.Errorf("the record has %v, the upstream gets\n%s", e.Detail, body)
	}
}

// TestTrace_NewAfterReload checks that trace_context: new takes effect at once.
func TestTrace_NewAfterReload(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(mirror)
	s := w.settings
	s.TraceContext = trace.New
	w.must(w.proxy.Load(s))
	_, body := w.get(w.client(false), "https://"+openHost+"/", "Traceparent", traceparent)
	if strings.Contains(body, clientsTrace) || !strings.Contains(body, "Traceparent: 00-") {
		t.Errorf("the upstream gets\n%s", body)
	}
}

// TestTrace_Spans checks the spans of a request: how they hang together, what they say, and that they say nothing about
// people.
func TestTrace_Spans(t *testing.T) {
	w := newWorld(t, nil)
	spans := w.spansOf()
	w.setUpstream(mirror)
	_, alice := w.signIn("alice", appHost)
	_, body := w.get(w.client(true), "https://"+appHost+"/a/b?password=canary", "Cookie", alice, "Traceparent", traceparent, "Tracestate", "vendor=1")
	requests, calls := w.ended(spans, 2)
	request, call := requests[0], calls[0]
	if request.Parent().SpanID().String() != clientsSpan || request.SpanContext().TraceID().String() != clientsTrace {
		t.Errorf("the span of the request belongs to %v", request.Parent())
	}
	if call.Parent().SpanID() != request.SpanContext().SpanID() {
		t.Errorf("the span of the call belongs to %v", call.Parent())
	}
	if want := "Traceparent: 00-" + clientsTrace + "-" + call.SpanContext().SpanID().String() + "-01\r\n"; !strings.Contains(body, want) || !strings.Contains(body, "Tracestate: vendor=1\r\n") {
		t.Errorf("the upstream does not get %q, but\n%s", want, body)
	}
	e := w.event(audit.KindDecision, 1)
	want := "GET app http.request.method=GET http.response.status_code=200 sallyport.decision=allow sallyport.reason=rule_allow sallyport.request=" + e.Request +
		" sallyport.route=app sallyport.rule=staff[0] server.address=" + appHost + " url.path=/a/b"
	if got := facts(request); got != want || e.Detail["trace"] != clientsTrace {
		t.Errorf("the request says\n%s, want\n%s", got, want)
	}
	if got := facts(call); got != "GET http.request.method=GET http.response.status_code=200 sallyport.route=app" {
		t.Errorf("the call says\n%s", got)
	}
}

// TestTrace_SpansOfAll checks that each request has one span that ends, however the request ends.
func TestTrace_SpansOfAll(t *testing.T) {
	w := newWorld(t, nil)
	spans := w.spansOf()
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/gone") {
			panic(http.ErrAbortHandler)
		}
		echo(rw, r)
	})
	_, alice := w.signIn("alice", appHost)
	c := w.client(false)
	w.get(c, "https://nowhere.example.com/")
	w.get(c, "https://"+appHost+"/.sallyport/jwks.json")
	w.get(c, "https://"+appHost+"/", "Cookie", "other=1")
	w.get(c, "https://"+appHost+"/secret/x", "Cookie", alice)
	w.get(c, "https://"+openHost+"/gone")
	conn, _ := w.openTunnel("")
	w.must(conn.CloseWrite())
	_, _ = io.Copy(io.Discard, conn)
	requests, calls := w.ended(spans, 8)
	var got []string
	for _, s := range requests {
		set := attribute.NewSet(s.Attributes()...)
		code, _ := set.Value("http.response.status_code")
		reason, _ := set.Value("sallyport.reason")
		got = append(got, fmt.Sprintf("%s %d %s %s", s.Name(), code.AsInt64(), reason.AsString(), s.Status().Code))
	}
	want := []string{"GET _none 404 no_route Unset", "GET _internal 200  Unset", "GET app 401 not_signed_in Unset", "GET app 403 rule_deny Unset",
		"GET open 502 upstream_unavailable Error", "GET open 101 rule_allow Unset"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the spans are\n%s", strings.Join(got, "\n"))
	}
	if len(calls) != 2 || calls[0].Status().Description != string(upstreamUnavailable) {
		t.Errorf("%d calls", len(calls))
	}
	if n, started := len(spans.Ended()), len(spans.Started()); n != started {
		t.Errorf("%d spans have begun, %d ended", started, n)
	}
}

// TestTrace_BoundsWhatClientsChoose checks that a span, which waits in memory until it is exported, is short whatever the
// client sends.
func TestTrace_BoundsWhatClientsChoose(t *testing.T) {
	w := newWorld(t, nil)
	spans := w.spansOf()
	long := strings.Repeat("x", 60_000)
	res, _ := w.get(w.client(true), "https://"+openHost+"/"+long[:4000]+"?"+long, "Traceparent", traceparent, "Tracestate", "a="+long)
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	_, _ = io.ReadAll(w.sendRaw(strings.ToUpper(long) + " / HTTP/1.1\r\nHost: " + openHost + "\r\nConnection: close\r\n\r\n"))
	requests, _ := w.ended(spans, 3)
	for _, s := range requests {
		if n := len(facts(s)) + len(s.SpanContext().TraceState().String()); n > 2500 {
			t.Errorf("a span has %d bytes", n)
		}
	}
}

// TestTrace_NotSampled checks that a request that is not sampled costs no exemplar and tells the upstream so.
func TestTrace_NotSampled(t *testing.T) {
	w := newWorld(t, nil)
	w.spansOf(sdktrace.WithSampler(sdktrace.NeverSample()))
	w.setUpstream(mirror)
	if _, body := w.get(w.client(false), "https://"+openHost+"/"); !strings.Contains(body, "-00\r\n") || strings.Contains(w.openMetrics(), "trace_id") {
		t.Errorf("the upstream gets\n%s", body)
	}
}

// openMetrics returns the metrics of the proxy as OpenMetrics.
func (w *world) openMetrics() string {
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	rw := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(rw, r)
	return rw.Body.String()
}

// TestTrace_Exemplars checks that the histograms of requests name a trace.
func TestTrace_Exemplars(t *testing.T) {
	w := newWorld(t, nil)
	w.spansOf()
	w.get(w.client(false), "https://"+openHost+"/", "Traceparent", traceparent)
	w.eventually("the request is measured", func() bool { n, _ := w.measured("sallyport_http_request_duration_seconds"); return n == 1 })
	text := w.openMetrics()
	for _, name := range []string{"http_request_duration_seconds", "upstream_request_duration_seconds"} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, "sallyport_"+name+"_bucket") && strings.Contains(line, `# {trace_id="`+clientsTrace+`"}`)
		}
		if !found {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

// TestTrace_OfCheck checks that the request that a front proxy asks about has the trace of the check, and that the response
// to the check brings none.
func TestTrace_OfCheck(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.TrustedProxies = []string{"127.0.0.1"} })
	_, alice := w.signIn("alice", appHost)
	headers := append(forwardedHeaders("GET", "https://"+appHost+"/x"), "Cookie", alice, "Traceparent", traceparent)
	res, _ := w.get(w.client(false), checkURL, headers...)
	if e := w.event(audit.KindDecision, 1); res.StatusCode != http.StatusOK || e.Detail["trace"] != clientsTrace || res.Header.Get("Traceparent") != "" {
		t.Errorf("%s, the record has %v", res.Status, e.Detail)
	}
}

// TestTrace_OfCut checks that the event of a cut names the trace of the request.
func TestTrace_OfCut(t *testing.T) {
	w := newWorld(t, nil)
	w.serveStreams()
	_, alice := w.signIn("alice", appHost)
	s := openEvents(w, w.client(false), "https://"+appHost, "Cookie", alice, "Traceparent", traceparent)
	w.setActive("alice", false)
	await(t, "the stream is cut", s.done)
	if e := w.event(audit.KindCut, 1); e.Detail["trace"] != clientsTrace {
		t.Errorf("the record has %v", e.Detail)
	}
}

// TestSettings_TraceContext checks that only the two modes are accepted.
func TestSettings_TraceContext(t *testing.T) {
	for mode, ok := range map[string]bool{"pass": true, "new": true, "": true, "off": false, "Pass": false} {
		s := usualSettings("http://127.0.0.1:1")
		s.TraceContext = mode
		faulty := false
		s.Check(func(path, _ string) { faulty = faulty || path == "trace_context" })
		if faulty == ok {
			t.Errorf("%q is a fault: %v", mode, faulty)
		}
	}
}
