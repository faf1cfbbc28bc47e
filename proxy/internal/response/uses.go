package response

import (
	"bytes"
	"net/http"
	"strings"
)

// Uses says what counts as use of the session that a request came with: content that the client sends or receives. What
// only keeps a connection open does not count, unless Pings is set.
type Uses struct {
	Session Noter // told of each use; nil: nobody counts
	Pings   bool  // pings and pongs of a WebSocket, and comments in a stream of events, count too

	// EngineIO says that the WebSocket carries Engine.IO, the protocol below Socket.IO, whose pings and pongs are text
	// messages of one byte.
	EngineIO bool
}

// Noter counts uses of a session.
type Noter interface{ Note() }

// note counts a use if something was carried.
func (u Uses) note(carried bool) {
	if carried && u.Session != nil {
		u.Session.Note()
	}
}

// Sent counts the parts of one response body that the client has received.
type Sent struct {
	uses   Uses
	events bool // the body is a stream of events
	line   lineState
}

// NewSent returns what counts the body of a response with the header h.
func NewSent(uses Uses, h http.Header) *Sent {
	return &Sent{uses: uses, events: !uses.Pings && uses.Session != nil && isEventStream(h)}
}

// isEventStream reports whether a body is a stream of events that can be read: in a compressed one nothing can be told
// apart.
func isEventStream(h http.Header) bool {
	if !IsEvents(h) {
		return false
	}
	encoding := h.Get("Content-Encoding")
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

// IsEvents reports whether a body is a stream of events for a page, by its media type.
func IsEvents(h http.Header) bool {
	types := h["Content-Type"] // faster than Get
	if len(types) == 0 {
		return false
	}
	media, _, _ := strings.Cut(types[0], ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// Count counts the next part of the body, once the client has it.
func (s *Sent) Count(p []byte) {
	s.uses.note(len(p) > 0 && (!s.events || s.line.follow(p)))
}

// lineState is where in a stream of events (HTML, "Server-sent events") the last part ended.
type lineState uint8

const (
	atLineStart lineState = iota
	inComment
	inField
)

// follow reports whether p holds any part of a field. Comments and empty lines carry nothing: the application sends them
// so that the connection stays open.
func (s *lineState) follow(p []byte) (field bool) {
	for len(p) > 0 {
		switch {
		case *s == atLineStart && p[0] == ':':
			*s = inComment
		case *s == atLineStart && p[0] != '\n' && p[0] != '\r':
			*s = inField
		}
		field = field || *s == inField
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			return field
		}
		*s, p = atLineStart, p[end+1:]
	}
	return field
}
