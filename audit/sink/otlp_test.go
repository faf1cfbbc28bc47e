package sink_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	otel "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"sallyport/audit"
	"sallyport/audit/sink"
	"sallyport/outbound"
)

// collectorServer is an OpenTelemetry collector.
type collectorServer struct {
	*collector
	mu      sync.Mutex // guards what follows
	records []*logs.LogRecord
	reject  int64 // records of each batch
}

func (c *collectorServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" || r.URL.Path != "/v1/logs" {
		c.t.Error(err, r.URL.Path, r.Header)
		return
	}
	var m otel.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil || len(m.ProtoReflect().GetUnknown()) > 0 {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, record := range m.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords() {
		c.records = append(c.records, record)
		c.add([]byte(record.GetBody().GetStringValue() + "\n"))
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	if c.reject > 0 {
		text, err := proto.Marshal(&otel.ExportLogsServiceResponse{PartialSuccess: &otel.ExportLogsPartialSuccess{RejectedLogRecords: c.reject, ErrorMessage: "hunter2"}})
		if err != nil {
			c.t.Error(err)
		}
		_, _ = w.Write(text)
	}
}

// TestOTLP_SendsRecords: each line is a log record that a reader of the protocol understands.
func TestOTLP_SendsRecords(t *testing.T) {
	r, to := newRecord(t), &collectorServer{collector: &collector{t: t}}
	server := httptest.NewServer(to)
	defer server.Close()
	s := r.start(sink.Settings{Name: "otel", From: "start", OTLP: &sink.OTLP{Endpoint: sink.Endpoint{URL: outbound.URL(server.URL + "/v1/logs")}}})
	r.write(2)
	to.await(r)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	at := time.Date(2026, 5, 3, 9, 14, 7, 221, time.UTC)
	must(t, r.log.Write(audit.Event{Time: at, Kind: audit.KindDecision, Reason: "no_rule", Decision: "deny", User: "ada", Method: "GET", Path: "/x", Code: 403}))
	must(t, r.log.Checkpoint())
	eventually(t, "the denial arrives", func() bool { return len(to.all()) == 3 })
	s.stop()
	denial := to.records[2]
	if denial.GetTimeUnixNano() != uint64(at.UnixNano()) || denial.GetSeverityText() != "WARN" || denial.GetSeverityNumber() != 13 || denial.GetEventName() != "sallyport.decision" {
		t.Errorf("the denial is %v", denial)
	}
	got := map[string]any{}
	for _, a := range denial.GetAttributes() {
		got[a.GetKey()] = a.GetValue().GetStringValue()
		if n := a.GetValue().GetIntValue(); n != 0 {
			got[a.GetKey()] = n
		}
	}
	want := map[string]any{"sallyport.seq": int64(3), "http.response.status_code": int64(403), "sallyport.kind": "decision", "sallyport.reason": "no_rule",
		"sallyport.decision": "deny", "user.id": "ada", "http.request.method": "GET", "url.path": "/x"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the attributes of the denial: %s", d)
	}
	if id := sink.TraceOf(map[string]string{"trace": trace}); hex.EncodeToString(id) != trace {
		t.Errorf("the trace is %x", id)
	}
}

// TestOTLP_CountsWhatIsRejected: records that the receiver rejects in an accepted batch are lost, and the rest is sent.
func TestOTLP_CountsWhatIsRejected(t *testing.T) {
	r, to := newRecord(t), &collectorServer{collector: &collector{t: t}, reject: 2}
	server := httptest.NewServer(to)
	defer server.Close()
	r.write(5)
	s := r.start(sink.Settings{Name: "otel", From: "start", Kinds: []audit.Kind{audit.KindLogin}, OTLP: &sink.OTLP{Endpoint: sink.Endpoint{URL: outbound.URL(server.URL + "/v1/logs")}}})
	to.await(r)
	eventually(t, "lines are lost", func() bool { return s.metric(t, "lost_lines_total") == 2 })
	s.stop()
	if sent := s.metric(t, "sent_lines_total"); len(to.all()) != 5 || sent != 3 {
		t.Errorf("%d lines arrived, and %v are counted as sent", len(to.all()), sent)
	}
}

// TestOTLP_RejectionHasAnEnd: the event that tells of rejected lines is rejected too, and no event tells of that.
func TestOTLP_RejectionHasAnEnd(t *testing.T) {
	r, to := newRecord(t), &collectorServer{collector: &collector{t: t}, reject: 1000}
	server := httptest.NewServer(to)
	defer server.Close()
	r.write(3)
	s := r.start(sink.Settings{Name: "otel", From: "start", OTLP: &sink.OTLP{Endpoint: sink.Endpoint{URL: outbound.URL(server.URL + "/v1/logs")}}})
	eventually(t, "lines are lost", func() bool { return s.metric(t, "lost_lines_total") == 3 })
	must(t, r.log.Checkpoint())
	eventually(t, "the event is lost", func() bool { return s.metric(t, "lost_lines_total") == 4 })
	must(t, r.log.Checkpoint())
	s.stop()
	if lines := to.all(); len(lines) != 4 || lines[3].Reason != "sink_lost" || lines[3].Detail["lines"] != "3" {
		t.Errorf("arrived: %+v", lines)
	}
}
