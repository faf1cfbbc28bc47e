package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"sync"
	"time"
)

const (
	// continueTimeout is how long the body of a request with "Expect: 100-continue" waits for the target (RFC 9110
	// §10.1.1).
	continueTimeout = time.Second

	// responseAfterError bounds the wait for a response after sending failed. All of the response has usually arrived by
	// then: a target that does not want the body responds first and closes the connection afterwards.
	responseAfterError = 2 * time.Second

	bodyBuffer = 16 << 10
)

var (
	errBodyLength   = errors.New("the body of the request is not as long as its Content-Length says")
	errBodyUnwanted = errors.New("the upstream responded without asking for the body")
)

// bodySender sends the body of a request on a goroutine of its own, while the goroutine of the request reads responses:
// a target may respond before it has read the body. If sending fails, a response that arrived, or arrives soon, counts
// all the same.
type bodySender struct {
	conn    *conn
	r       *Request
	timeout time.Duration // for the header of the response, from the end of the body

	wanted     chan struct{} // closed once the target wants the body or has responded; nil: the body need not wait
	wantedOnce sync.Once     // closes wanted

	mu        sync.Mutex          // guards what follows, and the deadline for reads
	responded bool                // the header of the final response has arrived
	ended     bool                // nothing more is sent
	err       error               // why sending failed
	onEnd     func(complete bool) // called when sending ends; may be nil
}

func newBodySender(c *conn, r *Request, timeout time.Duration) *bodySender {
	s := &bodySender{conn: c, r: r, timeout: timeout}
	if r.Continue {
		s.wanted = make(chan struct{})
	}
	return s
}

// run sends the body.
func (s *bodySender) run() {
	received, err := s.send()
	s.mu.Lock()
	s.ended, s.err = true, err
	if !s.responded {
		wait := s.timeout
		if err != nil {
			wait = responseAfterError
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(wait))
	}
	if !received {
		s.conn.abort() // the target must not take what it received for the whole
	}
	onEnd := s.onEnd
	s.mu.Unlock()
	if onEnd != nil {
		onEnd(err == nil)
	}
}

// send copies the body to the connection as it arrives. received is false if reading the body failed.
func (s *bodySender) send() (received bool, err error) {
	if !s.await() {
		return true, errBodyUnwanted
	}
	out, chunked := io.Writer(s.conn.out), s.r.ContentLength < 0
	if chunked {
		out = httputil.NewChunkedWriter(s.conn.out)
	}
	left := s.r.ContentLength
	size := int64(bodyBuffer)
	if !chunked {
		size = min(size, left+1) // the body may be longer than it should be
	}
	for buf := make([]byte, size); ; {
		n, err := s.r.Body.Read(buf)
		left -= int64(n)
		ended := errors.Is(err, io.EOF) || !chunked && left == 0
		switch {
		case err != nil && !ended:
			return false, err
		case !chunked && (left < 0 || ended && left > 0):
			return false, errBodyLength
		case n > 0:
			_, _ = out.Write(buf[:n]) // Flush reports the error
		}
		if ended && chunked {
			_, _ = s.conn.out.WriteString("0\r\n\r\n")
		}
		if err := s.conn.out.Flush(); err != nil || ended {
			return true, err
		}
	}
}

// await waits until the target wants the body, or has not said so for a while. It reports false if the target has
// responded instead.
func (s *bodySender) await() bool {
	if s.wanted == nil {
		return true
	}
	timer := time.NewTimer(continueTimeout)
	defer timer.Stop()
	select {
	case <-s.wanted:
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.responded
}

// proceed says that the target wants the body. A nil sender sends none.
func (s *bodySender) proceed() {
	if s != nil && s.wanted != nil {
		s.wantedOnce.Do(func() { close(s.wanted) })
	}
}

// endWait says that the header of the final response has arrived, and clears the deadline for it.
func (s *bodySender) endWait() error {
	s.mu.Lock()
	s.responded = true
	err := s.conn.SetReadDeadline(time.Time{})
	s.mu.Unlock()
	s.proceed()
	return err
}

// then has f called once sending has ended: now if it has. complete says whether all of the body was sent.
func (s *bodySender) then(f func(complete bool)) {
	s.mu.Lock()
	if !s.ended {
		s.onEnd = f
		s.mu.Unlock()
		return
	}
	err := s.err
	s.mu.Unlock()
	f(err == nil)
}

// cause returns why there is no response, given the error of reading it. Sending may have failed first.
func (s *bodySender) cause(err error) error {
	if s == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return sendingFailed(s.err, err)
}

// sendingFailed returns the error of a request for which sending failed with sent, unless sent is nil, and reading the
// response with received.
func sendingFailed(sent, received error) error {
	switch {
	case sent == nil:
		return received
	case IsTimeout(received): // of the short wait after sent
		return sent
	}
	return fmt.Errorf("sending the request: %w; reading the response: %w", sent, received)
}
