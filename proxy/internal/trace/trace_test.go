package trace_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"sallyport/proxy/internal/trace"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	parent  = "00-" + traceID + "-b7ad6b7169203331-01"
)

// request returns a request that brings lines of traceparent and of tracestate.
func request(parents, states []string) *http.Request {
	h := http.Header{}
	if parents != nil {
		h["Traceparent"] = parents
	}
	if states != nil {
		h["Tracestate"] = states
	}
	return &http.Request{Header: h}
}

// sendOn returns the header that an upstream gets of a request, without spans, and the id of its trace.
func sendOn(r *http.Request, mode string) (http.Header, string) {
	traced := trace.NewTracer(nil).Begin(r, mode)
	h := r.Header.Clone()
	traced.Forward(h, "GET", "app")
	return h, traced.ID()
}

// TestBegin_WithoutSpans says what becomes of the context that a request brings: a valid one is passed on, a malformed one
// is replaced, and a state without a trace is removed.
func TestBegin_WithoutSpans(t *testing.T) {
	replaced := "a new trace"
	longState := "" // each member is valid
	for i := range 20 {
		longState += fmt.Sprintf(",k%d=%s", i, strings.Repeat("x", 250))
	}
	longState = longState[1:]
	for name, c := range map[string]struct {
		parents, states []string
		want            string // traceparent at the upstream; "" for none
		wantState       []string
	}{
		"none":                 {},
		"valid":                {parents: []string{parent}, want: parent},
		"not_sampled":          {parents: []string{parent[:53] + "00"}, want: parent[:53] + "00"},
		"random_flag":          {parents: []string{parent[:53] + "03"}, want: parent[:53] + "03"},
		"with_state":           {[]string{parent}, []string{"a=1,b@c=2"}, parent, []string{"a=1,b@c=2"}},
		"state_in_two_lines":   {[]string{parent}, []string{"a=1", "b=2"}, parent, []string{"a=1", "b=2"}},
		"empty_state":          {[]string{parent}, []string{""}, parent, []string{""}},
		"state_alone":          {states: []string{"a=1"}},
		"bad_state":            {[]string{parent}, []string{"no value"}, parent, nil},
		"state_twice":          {[]string{parent}, []string{"a=1", "a=2"}, parent, nil},
		"long_state":           {[]string{parent}, []string{"a=" + strings.Repeat("x", 257)}, parent, nil},
		"many_states":          {[]string{parent}, []string{strings.Repeat("a=1,", 40)}, parent, nil},
		"states_too_long":      {[]string{parent}, []string{longState}, parent, nil},
		"later_version":        {parents: []string{"01-" + parent[3:] + "-more"}, want: parent},
		"later_version_longer": {parents: []string{"01-" + parent[3:] + "more"}, want: replaced},
		"version_ff":           {parents: []string{"ff-" + parent[3:]}, want: replaced},
		"version_letters":      {parents: []string{"zz-" + parent[3:]}, want: replaced},
		"empty":                {parents: []string{""}, want: replaced},
		"too_long":             {parents: []string{parent + "-00"}, want: replaced},
		"too_short":            {parents: []string{parent[:54]}, want: replaced},
		"blank":                {parents: []string{" " + parent}, want: replaced},
		"upper_case":           {parents: []string{strings.ToUpper(parent)}, want: replaced},
		"no_trace":             {parents: []string{"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"}, want: replaced},
		"no_span":              {parents: []string{"00-" + traceID + "-0000000000000000-01"}, want: replaced},
		"dash_in_id":           {parents: []string{"00-0af7651916cd43dd-448eb211c80319c-b7ad6b7169203331-01"}, want: replaced},
		"wrong_dashes":         {parents: []string{"00_" + traceID + "_b7ad6b7169203331_01"}, want: replaced},
		"two_lines":            {parents: []string{parent, parent}, want: replaced},
		"two_in_one":           {parents: []string{parent + "," + parent}, want: replaced},
		"bad_with_state":       {[]string{"x"}, []string{"a=1"}, replaced, nil},
		"not_hexadecimal":      {parents: []string{"00-" + traceID + "-b7ad6b716920333g-01"}, want: replaced},
	} {
		t.Run(name, func(t *testing.T) {
			h, id := sendOn(request(c.parents, c.states), trace.Pass)
			got := h.Get("Traceparent")
			switch c.want {
			case replaced:
				if again, _ := sendOn(request([]string{got}, nil), trace.Pass); len(h["Traceparent"]) != 1 || got == c.parents[0] ||
					again.Get("Traceparent") != got || strings.Contains(got, traceID) || !strings.HasSuffix(got, "-00") {
					t.Errorf("it is replaced by %q", h["Traceparent"])
				}
			default:
				if got != c.want || len(h["Traceparent"]) > 1 {
					t.Errorf("the upstream gets %q, want %q", h["Traceparent"], c.want)
				}
			}
			if !reflect.DeepEqual(h["Tracestate"], c.wantState) {
				t.Errorf("the upstream gets the state %q, want %q", h["Tracestate"], c.wantState)
			}
			if want, _, _ := strings.Cut(strings.TrimPrefix(got, "00-"), "-"); id != want {
				t.Errorf("the id is %q, want %q", id, want)
			}
		})
	}
}

// TestBegin_NewTraces checks that the mode new believes nothing that a request brings.
func TestBegin_NewTraces(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range []*http.Request{request(nil, nil), request([]string{parent}, []string{"a=1"}), request([]string{"x"}, nil), request(nil, []string{"a=1"})} {
		h, id := sendOn(r, trace.New)
		if id == "" || id == traceID || seen[id] || !strings.Contains(h.Get("Traceparent"), id) || h["Tracestate"] != nil {
			t.Errorf("the upstream gets %v of trace %s", h, id)
		}
		seen[id] = true
	}
}

// TestBegin_CostsNothingWhenOff checks that a request without trace context costs no memory where there are no spans.
func TestBegin_CostsNothingWhenOff(t *testing.T) {
	tracer, r := trace.NewTracer(nil), &http.Request{Header: http.Header{"Accept": {"text/html"}}}
	if n := testing.AllocsPerRun(100, func() { traverse(tracer, r) }); n != 0 {
		t.Errorf("%f allocations", n)
	}
}

// traverse does for a request what the proxy does.
func traverse(tracer trace.Tracer, r *http.Request) {
	traced := tracer.Begin(r, trace.Pass)
	traced.Decided("app", "allow", "rule_allow", "staff[0]")
	call := traced.Forward(r.Header, "GET", "app")
	call.Responded(200)
	_, _ = traced.Exemplar(), traced.ID()
	traced.End(trace.Facts{Method: "GET", Code: 200})
}

// BenchmarkOff measures what a request costs where there are no spans and it brings no trace context.
func BenchmarkOff(b *testing.B) {
	tracer, r := trace.NewTracer(nil), &http.Request{Header: http.Header{"Accept": {"text/html"}}}
	b.ReportAllocs()
	for b.Loop() {
		traverse(tracer, r)
	}
}

// FuzzBegin checks that no upstream ever gets a malformed context, whatever a client sends.
func FuzzBegin(f *testing.F) {
	f.Add(parent, "a=1")
	f.Add("01-"+parent[3:]+"-more", "a=1,,b=2")
	f.Add("00-"+traceID+"-b7ad6b716920333\x00-01", "\x7f")
	f.Fuzz(func(t *testing.T, sent, state string) {
		h, id := sendOn(request([]string{sent}, []string{state}), trace.Pass)
		got := h["Traceparent"]
		if len(got) != 1 || len(got[0]) != len(parent) || got[0][:3] != "00-" || strings.Trim(got[0], "0123456789abcdef-") != "" || len(id) != 32 {
			t.Fatalf("%q %q leads to %q", sent, state, got)
		}
		again, sameID := sendOn(&http.Request{Header: h.Clone()}, trace.Pass)
		if !reflect.DeepEqual(h, again) || id != sameID {
			t.Fatalf("%v is not passed on, but becomes %v", h, again)
		}
	})
}
