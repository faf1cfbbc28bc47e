package trace

import (
	"encoding/hex"
	"net/http"
	"strings"

	otel "go.opentelemetry.io/otel/trace"
)

// The headers of W3C Trace Context (https://www.w3.org/TR/trace-context/), in canonical spelling.
const (
	hdrParent = "Traceparent"
	hdrState  = "Tracestate"
)

// parentBytes is the length of a traceparent of version 00: version, trace id, parent id and flags, joined by dashes.
const parentBytes = 2 + 1 + 32 + 1 + 16 + 1 + 2

// parseParent returns the trace and the span that the lines of traceparent name, and reports whether they are valid: one
// line, in lower case, neither id zero. Whoever speaks a later version may append fields, which are left out (§4.2.3).
func parseParent(lines []string) (c otel.SpanContextConfig, ok bool) {
	if len(lines) != 1 || len(lines[0]) < parentBytes {
		return c, false
	}
	text := lines[0]
	if version := text[:2]; version == "ff" || version == "00" && len(text) != parentBytes || len(text) > parentBytes && text[parentBytes] != '-' {
		return c, false
	}
	if text[2] != '-' || text[35] != '-' || text[52] != '-' || strings.Trim(text[:parentBytes], "0123456789abcdef-") != "" {
		return c, false
	}
	var version, flags [1]byte
	for _, field := range []struct {
		text string
		to   []byte
	}{{text[:2], version[:]}, {text[3:35], c.TraceID[:]}, {text[36:52], c.SpanID[:]}, {text[53:55], flags[:]}} {
		if n, err := hex.Decode(field.to, []byte(field.text)); err != nil || n != len(field.to) {
			return c, false
		}
	}
	c.TraceFlags = otel.TraceFlags(flags[0])
	return c, c.TraceID.IsValid() && c.SpanID.IsValid()
}

// formatParent returns the traceparent of a span.
func formatParent(c otel.SpanContext) string {
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// maxStateBytes bounds a tracestate. At least 512 have to be passed on (§3.3.1.5).
const maxStateBytes = 4 << 10

// parseState returns what the lines of tracestate say; nothing if any of them is not valid (§3.3.1), or they are too long.
func parseState(lines []string) (otel.TraceState, bool) {
	text := strings.Join(lines, ",")
	if len(text) > maxStateBytes {
		return otel.TraceState{}, false
	}
	state, err := otel.ParseTraceState(text)
	return state, err == nil
}

// set sets a header, or deletes it if the value is "".
func set(h http.Header, name, value string) {
	if value == "" {
		delete(h, name)
		return
	}
	h[name] = []string{value}
}
