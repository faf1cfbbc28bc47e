package sink

import (
	"encoding/hex"
	"mime"
	"os"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"sallyport/audit"
)

// OTLP is a receiver of OpenTelemetry logs over HTTP.
type OTLP struct {
	Endpoint `yaml:",inline"`
}

// otlp writes batches as OTLP has them, in protobuf. A line is the body of its log record.
type otlp struct {
	resource *resource.Resource
}

func newOTLP() otlp {
	host, _ := os.Hostname()
	return otlp{&resource.Resource{Attributes: appendText(appendText(nil, "service.name", "sallyport"), "host.name", host)}}
}

const otlpContentType = "application/x-protobuf"

func (o otlp) encode(items []item) (body []byte, contentType string, err error) {
	records := make([]*logs.LogRecord, len(items))
	for n, i := range items {
		records[n] = logRecord(i)
	}
	body, err = proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{Resource: o.resource,
		ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "sallyport/audit"}, LogRecords: records}}}}})
	return body, otlpContentType, err
}

func logRecord(i item) *logs.LogRecord {
	e := &i.entry.Event
	at := uint64(max(e.Time.UnixNano(), 0))
	r := &logs.LogRecord{TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO",
		EventName: "sallyport." + string(e.Kind), Body: textValue(string(i.text)), TraceId: traceOf(e.Detail), Attributes: attributes(e)}
	if severe(e) {
		r.SeverityNumber, r.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	}
	r.Attributes = appendNumber(r.Attributes, "sallyport.seq", int64(i.entry.Seq)) //nolint:gosec // no record is that long
	r.Attributes = appendNumber(r.Attributes, "http.response.status_code", int64(e.Code))
	return r
}

// traceDetail is the key of the detail that names the trace of a request, and traceIDLength how many bytes it has.
const (
	traceDetail   = "trace"
	traceIDLength = 16
)

// traceOf returns the id of the trace that the details of an event name, or nil.
func traceOf(detail map[string]string) []byte {
	id, err := hex.DecodeString(detail[traceDetail])
	if err != nil || len(id) != traceIDLength {
		return nil
	}
	return id
}

// attributes returns the attributes of an event, by the semantic conventions of OpenTelemetry where there are some.
func attributes(e *audit.Event) (all []*common.KeyValue) {
	for _, a := range [...]struct{ key, value string }{
		{"sallyport.kind", string(e.Kind)}, {"sallyport.replica", e.Replica}, {"sallyport.reason", e.Reason}, {"sallyport.decision", e.Decision}, {"sallyport.route", e.Route},
		{"sallyport.rule", e.Rule}, {"sallyport.actor", e.Actor.Name}, {"user.id", e.User}, {"user.name", e.UserName}, {"session.id", e.Session},
		{"http.request.method", e.Method}, {"url.path", e.Path}, {"server.address", e.Host}, {"client.address", e.Address},
	} {
		all = appendText(all, a.key, a.value)
	}
	return all
}

func textValue(text string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.ToValidUTF8(text, "\ufffd")}}
}

// appendText appends an attribute, unless it is empty.
func appendText(to []*common.KeyValue, key, value string) []*common.KeyValue {
	if value == "" {
		return to
	}
	return append(to, &common.KeyValue{Key: key, Value: textValue(value)})
}

// appendNumber appends an attribute, unless it is 0.
func appendNumber(to []*common.KeyValue, key string, value int64) []*common.KeyValue {
	if value == 0 {
		return to
	}
	return append(to, &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}})
}

// rejected reads what the response says of a batch that was accepted in part.
func (otlp) rejected(body []byte, contentType string) int {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != otlpContentType {
		return 0
	}
	var resp collector.ExportLogsServiceResponse
	if proto.Unmarshal(body, &resp) != nil {
		return 0
	}
	return int(min(max(resp.GetPartialSuccess().GetRejectedLogRecords(), 0), maxBatchLines))
}
