package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

const (
	maxInformational      = 5              // informational responses, and one more for each second: some report progress
	maxInformationalBytes = MaxHeaderBytes // of their headers together
)

// ErrInformational means that the target sends informational responses without end.
var ErrInformational = errors.New("the upstream sends too many informational responses, or too long ones")

// informational receives the informational responses (RFC 9110 §15.2) to one request, bounds them and passes them on.
// They may arrive on another goroutine than the request's. A 101 is none of them.
type informational struct {
	pass Receiver // nil: they are dropped

	mu           sync.Mutex // guards what follows; held while one is passed on
	begun        time.Time  // the attempt under way
	count, bytes int        // of its responses so far
	passed       bool       // at least one was passed on
	repeated     bool       // an attempt before the one under way passed some on: the same would arrive again
	exceeded     bool       // the attempt under way sent too many
	ended        bool       // the final response has arrived
}

// begin says that the request is sent now, perhaps not for the first time.
func (i *informational) begin(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.repeated = i.passed
	i.begun, i.count, i.bytes, i.exceeded = now, 0, 0, false
}

// receive passes one on. It returns ErrInformational if there were too many.
func (i *informational) receive(code int, h textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return nil
	}
	i.count++
	for name, values := range h {
		for _, value := range values {
			i.bytes += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	if i.count > maxInformational+int(time.Since(i.begun)/time.Second) || i.bytes > maxInformationalBytes {
		i.exceeded = true
		return ErrInformational
	}
	if i.pass != nil && !i.repeated {
		i.passed = true
		i.pass.ReceiveInformational(code, http.Header(h))
	}
	return nil
}

// cause returns ErrInformational if there were too many, else err: net/http does not wrap what receive returns.
func (i *informational) cause(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.exceeded {
		return ErrInformational
	}
	return err
}

// end makes receive do nothing from now on. It waits for one that is being passed on.
func (i *informational) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}

// trace returns a context of a request that has net/http's transport call begin and receive.
func (i *informational) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:        func(httptrace.GotConnInfo) { i.begin(time.Now()) },
		Got1xxResponse: i.receive,
	})
}
