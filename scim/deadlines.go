package scim

import (
	"net/http"
	"time"
)

// How long a client may take. net/http bounds neither the body of a request nor the reading of a response.
const (
	bodyTimeout     = time.Minute     // to send the body: 32 MiB at half a MiB a second
	responseTimeout = time.Minute     // to read the response: Entra ID waits no longer
	drainTimeout    = 5 * time.Second // to send a body without credentials, or what is left of one after the response
)

// setDeadlines bounds how long the client may take to send the request's body. The caller calls finish once the response
// was written; that bounds how long the client may take to read it, and to send the rest of its body.
// Errors are ignored: they mean that a test's ResponseWriter has no deadlines.
func setDeadlines(w http.ResponseWriter, r *http.Request) (finish func()) {
	control, timeout := http.NewResponseController(w), bodyTimeout
	if len(r.Header["Authorization"]) == 0 {
		timeout = drainTimeout
	}
	if r.ContentLength != 0 {
		_ = control.SetReadDeadline(time.Now().Add(timeout))
	}
	if r.ProtoMajor > 1 {
		return func() { flushWithin(control, responseTimeout) }
	}
	_ = control.SetWriteDeadline(time.Time{}) // clear the one of the previous response on this connection
	return func() {
		now := time.Now()
		_ = control.SetWriteDeadline(now.Add(responseTimeout))
		_ = control.SetReadDeadline(now.Add(drainTimeout))
	}
}

// flushWithin flushes an HTTP/2 response, and resets the stream if the client does not read it in time. A write deadline
// in the future would not do: on HTTP/2 it is a timer that outlives the connection.
func flushWithin(control *http.ResponseController, timeout time.Duration) {
	expire := time.AfterFunc(timeout, func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) })
	defer expire.Stop()
	_ = control.Flush()
}
