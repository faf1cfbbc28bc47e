// Package trace ties the requests of the proxy to the traces of others: it reads and writes W3C Trace Context, and begins
// OpenTelemetry spans where a provider of them is given.
//
// A nil [*Request] and a nil [*Call] are valid and do nothing: without a provider, a request that brings no trace context
// has none, and costs a look-up in its headers. Whoever sends a request may name any trace; nothing is decided by that.
package trace

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"
)

// The modes say what becomes of the trace context that a request brings.
const (
	Pass = "pass" // the request belongs to the trace that it names
	New  = "new"  // the request begins a trace; what it names is removed
)

// Tracer begins the spans of requests. The zero value begins none.
type Tracer struct{ spans otel.Tracer }

// NewTracer returns a Tracer whose spans are made by a provider. Without one, which is nil, there are none.
func NewTracer(provider otel.TracerProvider) Tracer {
	if provider == nil {
		return Tracer{}
	}
	return Tracer{provider.Tracer("sallyport/proxy")}
}

// Request is a request as a part of a trace.
type Request struct {
	tracer  otel.Tracer // nil: no spans
	span    otel.Span   // nil without a tracer
	context otel.SpanContext
	passed  bool // the headers that the request brought say what the upstream is told
}

// Begin begins the part of a request in a trace. It returns nil if there is none: there is no tracer, and the request
// brings no trace context. Where the context that it brings is malformed, or the mode is [New], it begins a new trace.
func (t Tracer) Begin(r *http.Request, mode string) *Request {
	parent, state := r.Header[hdrParent], r.Header[hdrState]
	if t.spans == nil && mode != New && len(parent) == 0 && len(state) == 0 {
		return nil
	}
	remote, ok := parseParent(parent)
	ok = ok && mode != New
	sound := false
	if ok {
		remote.Remote = true
		remote.TraceState, sound = parseState(state)
	}
	if t.spans == nil {
		return &Request{context: withoutSpans(remote, ok, len(parent) > 0 || mode == New), passed: ok && sound && len(parent[0]) == parentBytes}
	}
	ctx := context.Background() // not the request's: nothing else may add a span to it
	if ok {
		ctx = otel.ContextWithRemoteSpanContext(ctx, otel.NewSpanContext(remote))
	}
	_, span := t.spans.Start(ctx, "request", otel.WithSpanKind(otel.SpanKindServer))
	return &Request{tracer: t.spans, span: span, context: span.SpanContext()}
}

// withoutSpans returns the context of a request for which no span is begun: what it brought, or a new one if that is
// malformed. There is none if it only brought a state, which means nothing without a trace.
func withoutSpans(remote otel.SpanContextConfig, ok, begin bool) otel.SpanContext {
	if !ok {
		if remote = (otel.SpanContextConfig{}); begin {
			_, _ = rand.Read(remote.TraceID[:]) // cannot fail
			_, _ = rand.Read(remote.SpanID[:])
		}
	}
	return otel.NewSpanContext(remote)
}

// ID returns the id of the trace; "" if there is none.
func (r *Request) ID() string {
	if r == nil || !r.context.HasTraceID() {
		return ""
	}
	return r.context.TraceID().String()
}

// Exemplar returns the id of the trace if the span of the request is exported, so that it can be looked at; else "".
func (r *Request) Exemplar() string {
	if r == nil || r.span == nil || !r.context.IsSampled() {
		return ""
	}
	return r.ID()
}

// Decided notes what was decided about the request.
func (r *Request) Decided(route, decision, reason, rule string) {
	if r == nil || r.span == nil || !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.String("sallyport.route", route), attribute.String("sallyport.decision", decision), attribute.String("sallyport.reason", reason))
	if rule != "" {
		r.span.SetAttributes(attribute.String("sallyport.rule", rule))
	}
	r.span.AddEvent("decided")
}

// Denied notes why the request got a denial.
func (r *Request) Denied(reason string) {
	if r != nil && r.span != nil {
		r.span.SetAttributes(attribute.String("sallyport.reason", reason))
	}
}

// Facts are what a span says of its request. They hold nothing about people: neither the user nor the query is in them.
type Facts struct {
	ID, Method, Host, Path, Route string
	Code                          int // of the response
}

// End ends the span of the request.
func (r *Request) End(f Facts) {
	if r == nil || r.span == nil {
		return
	}
	defer r.span.End()
	if !r.span.IsRecording() {
		return
	}
	method := bounded(f.Method)
	r.span.SetName(method + " " + f.Route)
	r.span.SetAttributes(attribute.String("http.request.method", method), attribute.String("server.address", bounded(f.Host)), attribute.String("url.path", bounded(f.Path)),
		attribute.Int("http.response.status_code", f.Code), attribute.String("sallyport.request", f.ID))
	if f.Code >= http.StatusInternalServerError || f.Code == 0 {
		r.span.SetStatus(codes.Error, "")
	}
}

// maxValue bounds what a client chose in a span: spans wait in memory until they are exported.
const maxValue = 1 << 10

// bounded returns the beginning of text, without the memory of the rest.
func bounded(text string) string {
	if len(text) <= maxValue {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxValue]), "")
}

// Call is a request that is forwarded to an upstream, as a part of a trace.
type Call struct{ span otel.Span }

// Forward sets in h, the header of a request to an upstream, to which trace it belongs, and begins the span of that
// request; it returns nil if there is no span.
func (r *Request) Forward(h http.Header, method, route string) *Call {
	if r == nil || r.passed {
		return nil
	}
	c, call := r.context, (*Call)(nil)
	if r.tracer != nil {
		_, span := r.tracer.Start(otel.ContextWithSpan(context.Background(), r.span), method, otel.WithSpanKind(otel.SpanKindClient),
			otel.WithAttributes(attribute.String("http.request.method", method), attribute.String("sallyport.route", route)))
		c, call = span.SpanContext(), &Call{span}
	}
	parent := ""
	if c.IsValid() {
		parent = formatParent(c)
	}
	set(h, hdrParent, parent)
	set(h, hdrState, c.TraceState().String())
	return call
}

// Responded ends the span when the headers of the upstream's response are there.
func (c *Call) Responded(code int) {
	if c == nil {
		return
	}
	c.span.SetAttributes(attribute.Int("http.response.status_code", code))
	if code >= http.StatusBadRequest {
		c.span.SetStatus(codes.Error, "")
	}
	c.span.End()
}

// Failed ends the span of a request that got no response, for a reason. After Responded it does nothing.
func (c *Call) Failed(reason string) {
	if c == nil {
		return
	}
	c.span.SetAttributes(attribute.String("error.type", reason))
	c.span.SetStatus(codes.Error, reason)
	c.span.End()
}
