package scim

import (
	"net/http"
	"time"
)

// How long a client may take. net/http bounds neither the body of a request nor the reading of a response.
const (
	bodyTimeout     = time.Minute     // to send the body: 32 MiB at half a MiB a second
	responseTimeout = time.Minute     // to read the response once it begins: Entra ID waits no longer
	drainTimeout    = 5 * time.Second // to send a body without credentials, or what is left of one after the response
)

// responseWriter sets the deadlines of a request and remembers the status of its response. Errors of deadlines are
// ignored: they mean that a test's ResponseWriter has none.
type responseWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	http2   bool
	status  int         // 0: the response has not begun
	expire  *time.Timer // resets an HTTP/2 stream whose response is not read in time
}

// newResponseWriter bounds how long the client may take to send the body of r. The caller calls finish when the request
// was handled.
func newResponseWriter(w http.ResponseWriter, r *http.Request) *responseWriter {
	rw := &responseWriter{ResponseWriter: w, control: http.NewResponseController(w), http2: r.ProtoMajor > 1}
	timeout := bodyTimeout
	if len(r.Header["Authorization"]) == 0 {
		timeout = drainTimeout
	}
	if r.ContentLength != 0 {
		_ = rw.control.SetReadDeadline(time.Now().Add(timeout))
	}
	return rw
}

// WriteHeader begins the response; from then on the client must read it in time. net/http clears the deadline before the
// next request on the connection.
func (w *responseWriter) WriteHeader(status int) {
	w.status = status
	if w.http2 { // a write deadline in the future would be a timer that outlives the connection
		w.expire = time.AfterFunc(responseTimeout, func() { _ = w.control.SetWriteDeadline(time.Unix(1, 0)) })
	} else {
		_ = w.control.SetWriteDeadline(time.Now().Add(responseTimeout))
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the response if WriteHeader has not.
func (w *responseWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap is for [http.ResponseController].
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish bounds how long the client may take to send the rest of its body, which net/http reads after the response.
func (w *responseWriter) finish() {
	if !w.http2 {
		now := time.Now()
		_ = w.control.SetReadDeadline(now.Add(drainTimeout))
		if w.status == 0 { // net/http begins the response
			_ = w.control.SetWriteDeadline(now.Add(responseTimeout))
		}
		return
	}
	_ = w.control.Flush()
	if w.expire != nil {
		w.expire.Stop()
	}
}
