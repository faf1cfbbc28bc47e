package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

// direct speaks HTTP/1.1 to one target without encryption, on the goroutine of the request: the stock transport's two
// more for each connection are a third of what passing a request on costs. It takes requests that have no body and may
// be sent twice, opening handshakes of WebSockets among them; all others are the stock transport's.
type direct struct {
	address string
	dialer  net.Dialer
	within  time.Duration // for the answer to begin

	mu     sync.Mutex // guards what follows
	idle   []*wire    // the one used last is last
	reaper *time.Timer
}

// wire is one connection to a target.
type wire struct {
	net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	budget int64 // bytes that may still be read; for heads
	used   bool  // it has brought an answer before
	since  time.Time
	until  time.Time // when its deadline is; zero: it has none
}

const (
	wireBuffer = 4 << 10
	mostEarly  = 5 // answers of 1xx before the real one
	unlimited  = 1 << 62
)

var errLongHead = errors.New("the upstream's headers are too long")

// Read reads no more than the budget allows.
func (w *wire) Read(p []byte) (int, error) {
	if w.budget <= 0 {
		return 0, errLongHead
	}
	n, err := w.Conn.Read(p)
	w.budget -= int64(n)
	return n, err
}

func newDirect(address string, within time.Duration) *direct {
	return &direct{address: address, dialer: net.Dialer{Timeout: dialTimeout}, within: within}
}

// takes says whether d takes r; a nil *direct takes none.
func (d *direct) takes(r *http.Request) bool {
	return d != nil && (r.Body == nil || r.Body == http.NoBody) && r.ContentLength == 0 &&
		(r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions)
}

// RoundTrip sends r and reads the head of the answer. Over a kept connection that turns out to be closed before an
// answer began, it is sent once more over a new one.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if w := d.take(time.Now()); w != nil {
		res, err := d.over(w, r)
		if err == nil || w.used || r.Context().Err() != nil || isTimeout(err) {
			return res, err
		}
	}
	conn, err := d.dialer.DialContext(r.Context(), "tcp", d.address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	w.in, w.out = bufio.NewReaderSize(w, wireBuffer), bufio.NewWriterSize(conn, wireBuffer)
	return d.over(w, r)
}

func isTimeout(err error) bool {
	var slow net.Error
	return errors.As(err, &slow) && slow.Timeout()
}

// over sends r over w, which is closed if anything goes wrong. w.used afterwards says whether an answer had begun.
func (d *direct) over(w *wire, r *http.Request) (*http.Response, error) {
	w.used = false
	conn := w.Conn
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	res, clean, err := w.exchange(r, d.within)
	if err != nil {
		stop()
		_ = w.Close()
		if cut := r.Context().Err(); cut != nil {
			err = cut
		}
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		early := make([]byte, w.in.Buffered())
		_, _ = io.ReadFull(w.in, early)
		res.Body = &switched{Conn: w.Conn, early: early}
		stop() // it is no request any more
		return res, nil
	}
	b := &answerBody{ReadCloser: res.Body, direct: d, wire: w, stop: stop, keep: clean && !res.Close}
	if res.Body == http.NoBody {
		b.finish(true)
		return res, nil
	}
	res.Body = b
	return res, nil
}

// exchange writes the request and reads the head of the answer. clean says that there is one way only to read it.
func (w *wire) exchange(r *http.Request, within time.Duration) (res *http.Response, clean bool, err error) {
	w.until = time.Now().Add(within)
	if err := w.SetDeadline(w.until); err != nil {
		return nil, false, err
	}
	if err := writeHead(w.out, r); err != nil {
		return nil, false, err
	}
	if err := w.out.Flush(); err != nil {
		return nil, false, err
	}
	for range mostEarly + 1 {
		w.budget = answerHeaders
		clean = w.inspect()
		if res, err = http.ReadResponse(w.in, r); err != nil {
			return nil, false, err
		}
		switched := res.StatusCode == http.StatusSwitchingProtocols && len(r.Header["Upgrade"]) > 0
		if switched || res.StatusCode < 100 || res.StatusCode >= 200 {
			w.budget = unlimited
			if w.holds(res) {
				return res, clean, nil // nothing is waited for any more
			}
			return res, clean, w.lift()
		}
		if err := early(r, res); err != nil {
			return nil, false, err
		}
	}
	return nil, false, errors.New("the upstream gives no answer but early ones")
}

// holds says whether all of an answer has arrived; of a socket it never has.
func (w *wire) holds(res *http.Response) bool {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return false
	}
	return res.Body == http.NoBody || res.ContentLength >= 0 && int64(w.in.Buffered()) >= res.ContentLength
}

// lift lets w take as long as it likes from now on.
func (w *wire) lift() error {
	w.until = time.Time{}
	return w.SetDeadline(w.until)
}

// early passes an answer of 1xx on (RFC 9110 §15.2).
func early(r *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("the upstream switched to a protocol that nobody asked for")
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.Got1xxResponse != nil {
		return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
	}
	return nil
}

// switched is a connection that does not speak HTTP any more.
type switched struct {
	net.Conn
	early []byte // that came along with the head
}

// Read reads what came early first.
func (s *switched) Read(p []byte) (int, error) {
	if len(s.early) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.early)
	s.early = s.early[n:]
	return n, nil
}

// CloseWrite says that no more comes.
func (s *switched) CloseWrite() error { return closeWrite(s.Conn) }

// inspect looks at the head of an answer before it is read. A head that two readers could take for two different ones,
// or that is too long to be looked at, is the last on its connection: what follows it may not be what it seems.
func (w *wire) inspect() (clean bool) {
	for want := 1; want <= wireBuffer; want = w.in.Buffered() + 1 {
		if _, err := w.in.Peek(want); err != nil {
			return false
		}
		w.used = true
		seen, _ := w.in.Peek(w.in.Buffered())
		if end := headEnd(seen); end >= 0 {
			return unambiguous(seen[:end])
		}
		if first := min(len(seen), len(versionPrefix)); string(seen[:first]) != versionPrefix[:first] {
			return false
		}
	}
	return false
}

const versionPrefix = "HTTP/1.1 "

// headEnd is where the empty line is that ends a head, however its lines end; -1 if it is not there yet.
func headEnd(seen []byte) int {
	for at := 0; ; {
		next := bytes.IndexByte(seen[at:], '\n')
		if next < 0 {
			return -1
		}
		at += next + 1
		if rest := seen[at:]; bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n")) {
			return at
		}
	}
}

// unambiguous says whether a head is HTTP/1.1 in lines that end properly, none of them folded, and tells the length of
// its body once at most (RFC 9112 §2.2, §5.2, §6.3).
func unambiguous(head []byte) bool {
	if !bytes.HasPrefix(head, []byte(versionPrefix)) {
		return false
	}
	lengths := 0
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n')
		if end < 1 || bytes.IndexByte(head[:end], '\r') != end-1 || head[0] == ' ' || head[0] == '\t' || bytes.IndexByte(head[:end], 0) >= 0 {
			return false
		}
		name, _, _ := bytes.Cut(head[:end], []byte(":"))
		if framing(name) {
			lengths++
		}
		head = head[end+1:]
	}
	return lengths <= 1
}

func framing(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	return len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")) ||
		len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding"))
}

// answerBody is the body of an answer. When it has been read to its end, its connection may be used again.
type answerBody struct {
	io.ReadCloser
	direct *direct
	wire   *wire
	stop   func() bool // no more to be closed with the request
	keep   bool
	over   bool
}

// Read reads on; the end of the body gives the connection back.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.over {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.finish(err == io.EOF)
	}
	return n, err
}

// Close ends the answer, wherever it is.
func (b *answerBody) Close() error {
	b.finish(false)
	return nil
}

func (b *answerBody) finish(whole bool) {
	if b.over {
		return
	}
	b.over = true
	if !b.stop() || !whole || !b.keep || b.wire.in.Buffered() > 0 {
		_ = b.wire.Close()
		return
	}
	b.direct.give(b.wire, time.Now())
}

// take is a kept connection that is still good, or nil.
func (d *direct) take(now time.Time) *wire {
	for {
		d.mu.Lock()
		last := len(d.idle) - 1
		if last < 0 {
			d.mu.Unlock()
			return nil
		}
		w := d.idle[last]
		d.idle[last] = nil
		d.idle = d.idle[:last]
		d.mu.Unlock()
		if now.Sub(w.since) < idleTimeout && (now.Before(w.until) || w.lift() == nil) && silent(w.Conn) {
			return w
		}
		_ = w.Close()
	}
}

// give keeps a connection for the next request.
func (d *direct) give(w *wire, now time.Time) {
	w.since = now
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= idlePerTarget {
		_ = w.Close()
		return
	}
	d.idle = append(d.idle, w)
	if d.reaper == nil {
		d.reaper = time.AfterFunc(idleTimeout, func() { d.reap(time.Now()) })
	}
}

// reap closes what has been idle for too long, and comes again while anything is left.
func (d *direct) reap(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for old < len(d.idle) && now.Sub(d.idle[old].since) >= idleTimeout {
		_ = d.idle[old].Close()
		old++
	}
	d.idle = append([]*wire(nil), d.idle[old:]...)
	if d.reaper = nil; len(d.idle) > 0 {
		d.reaper = time.AfterFunc(idleTimeout, func() { d.reap(time.Now()) })
	}
}

// CloseIdleConnections closes what is kept.
func (d *direct) CloseIdleConnections() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.idle {
		_ = w.Close()
	}
	d.idle = nil
}
