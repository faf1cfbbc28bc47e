package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// spanReceiver receives spans over OTLP.
type spanReceiver struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	bodies [][]byte
	header http.Header
}

func newSpanReceiver(t *testing.T) *spanReceiver {
	r := new(spanReceiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if req.URL.Path == "/v1/traces" && req.Header.Get("Content-Type") == "application/x-protobuf" {
			r.bodies, r.header = append(r.bodies, body), req.Header
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// received returns all that was received, and the last header.
func (r *spanReceiver) received() ([]byte, http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Join(r.bodies, nil), r.header
}

// TestTracing_ExportsSpans: with OTEL_* set, the spans of a request arrive at the receiver when the server stops at the
// latest, with the trace of the client, and /metrics has it as an exemplar. No secret is in them.
func TestTracing_ExportsSpans(t *testing.T) {
	to := newSpanReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary%20key")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
	s := newStage(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+appHost+"/some/page?query=canary", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", "00-"+id+"-b7ad6b7169203331-01")
	resp, err := s.browser.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	metrics, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.server.addrs["ops"]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err = http.DefaultClient.Do(metrics)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.Contains(string(text), `# {trace_id="`+id+`"}`) || !strings.HasSuffix(string(text), "# EOF\n") {
		t.Errorf("/metrics has no exemplar of the trace")
	}
	s.server.signal(syscall.SIGTERM)
	if err := <-s.server.exited; err != nil {
		t.Errorf("the server ends with %v", err)
	}
	s.server.exited <- nil
	spans, header := to.received()
	trace, _ := hex.DecodeString(id)
	for _, want := range []string{string(trace), "sallyport", "staging", "GET app", "/some/page", "rule_allow"} {
		if !bytes.Contains(spans, []byte(want)) {
			t.Errorf("the spans have no %q", want)
		}
	}
	for _, secret := range []string{"canary", "alice", s.alice, "sallyport="} {
		if bytes.Contains(spans, []byte(secret)) || strings.Contains(s.server.log(), "canary") {
			t.Errorf("the spans, or the log, have %q", secret)
		}
	}
	if header.Get("Api-Key") != "canary key" {
		t.Errorf("the receiver gets %v", header)
	}
}

// TestTracing_ReceiverDown: a receiver that does not respond costs spans, which are counted, and neither a request nor the
// end of the server.
func TestTracing_ReceiverDown(t *testing.T) {
	hanging := make(chan struct{})
	to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(to.Close)
	t.Cleanup(func() { close(hanging) })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
	s := newStage(t)
	for range 20 {
		if code := s.browser.fetch("/"); code != http.StatusOK {
			t.Fatalf("Alice gets %d", code)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Contains(scrape(t, s.server), "sallyport_trace_spans_total{result=\"failed\"} 0\n"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no span has failed")
		}
	}
	awaitLog(t, s.server, "requests are not traced as they should be")
	if log := s.server.log(); strings.Count(log, "requests are not traced as they should be") != 1 {
		t.Errorf("the log does not say so once:\n%s", log)
	}
	s.server.signal(syscall.SIGTERM)
	select {
	case err := <-s.server.exited:
		if s.server.exited <- nil; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the server does not end")
	}
}

// TestTracing_OfEnvironment: what the environment asks for is done, or refused with the name of the variable and without
// its value.
func TestTracing_OfEnvironment(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
	for _, c := range []struct {
		env  string
		want bool
		err  string
	}{
		{"", false, ""},
		{"OTEL_SERVICE_NAME=x", false, ""},
		{endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://otel.example.com/v1/traces", true, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_TRACES_EXPORTER=none " + endpoint, false, ""},
		{"OTEL_SDK_DISABLED=true " + endpoint, false, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_HEADERS=a=1,b=2%203 " + endpoint, true, ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc " + endpoint, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"OTEL_TRACES_EXPORTER=canary", false, "OTEL_TRACES_EXPORTER"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=canary:4318", false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://canary:%zz@x", false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{"OTEL_EXPORTER_OTLP_HEADERS=canary " + endpoint, false, "OTEL_EXPORTER_OTLP_HEADERS"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS=a=canary%zz " + endpoint, false, "OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
	} {
		env := map[string]string{}
		for pair := range strings.FieldsSeq(c.env) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		got, err := wantsSpans(func(name string) string { return env[name] })
		switch {
		case got != c.want, (err != nil) != (c.err != ""):
			t.Errorf("%s: %v, %v", c.env, got, err)
		case err != nil && (!strings.HasPrefix(err.Error(), c.err+" ") || strings.Contains(err.Error(), "canary")):
			t.Errorf("%s: %v", c.env, err)
		}
	}
}
