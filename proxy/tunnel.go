package proxy

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sallyport/proxy/internal/response"
)

// wantsWebSocket reports whether r is the opening handshake of a WebSocket (RFC 6455 §4.1). No other upgrade is
// forwarded: after one, the proxy could not tell what the bytes mean.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && r.Method == http.MethodGet &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		isSingle(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade") &&
		isSingle(r.Header["Sec-Websocket-Version"], "13") && len(r.Header["Sec-Websocket-Key"]) == 1
}

// acceptsWebSocket reports whether a 101 completes the handshake of its request (RFC 6455 §4.2.2).
func acceptsWebSocket(res *http.Response) bool {
	keys := res.Request.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !isSingle(res.Request.Header["Upgrade"], "websocket") {
		return false
	}
	sum := sha1.Sum([]byte(keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return isSingle(res.Header["Upgrade"], "websocket") && hasToken(res.Header["Connection"], "upgrade") &&
		slices.Equal(res.Header["Sec-Websocket-Accept"], []string{base64.StdEncoding.EncodeToString(sum[:])})
}

// errTunneled ends an exchange that goes on as a tunnel.
var errTunneled = errors.New("the exchange has become a tunnel")

// tunnelBuffer is the size of the buffer of one direction of a tunnel. It is small because thousands may be idle.
const tunnelBuffer = 2 << 10

// tunnel sends the client the 101 of the upstream and then copies bytes both ways, on goroutines of its own. The handler
// returns meanwhile, and with it goes the memory that net/http keeps for a request. The request stays live until both
// sides have ended, one of them fails, or it is cut.
func (ex *exchange) tunnel(res *http.Response) error {
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return errors.New("the upstream's connection cannot be written to after a 101")
	}
	head := *res
	head.Body, res.Body = nil, http.NoBody
	client, buffered, err := ex.rw.BeginTunnel(&head, upstream)
	if err != nil {
		_ = upstream.Close()
		return err
	}
	ex.live.tunneled = true
	go ex.runTunnel(&bufferedConn{FrameTracker: client, buffered: buffered}, upstream)
	return errTunneled
}

// runTunnel copies both ways until both directions have ended.
func (ex *exchange) runTunnel(client *bufferedConn, upstream io.ReadWriteCloser) {
	var first atomic.Pointer[response.Cause] // the side that ended first
	var received, sent int64
	var both sync.WaitGroup
	both.Go(func() {
		n, by := copyHalf(side{client, response.ByClient}, side{upstream, response.ByUpstream})
		first.CompareAndSwap(nil, &by)
		sent = n
	})
	n, by := copyHalf(side{upstream, response.ByUpstream}, side{client, response.ByClient})
	first.CompareAndSwap(nil, &by)
	received = n
	both.Wait()
	_, _ = upstream.Close(), client.Close()
	ex.proxy.live.leave(ex.live)
	ex.reportEnd(*first.Load(), received, sent)
}

// side is one of the two ends of a tunnel.
type side struct {
	io.ReadWriteCloser
	name response.Cause
}

// copyHalf copies from one side of a tunnel to the other, and closes the writing side of to when from ends. If reading
// or writing fails, it closes both. It returns how many bytes it copied, and which side ended the copying.
func copyHalf(to, from side) (n int64, by response.Cause) {
	buf := make([]byte, tunnelBuffer)
	for {
		read, err := from.Read(buf)
		if read > 0 {
			if _, err := to.Write(buf[:read]); err != nil {
				_, _ = to.Close(), from.Close()
				return n, to.name
			}
			n += int64(read)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || response.CloseWrite(to.ReadWriteCloser) != nil {
				_, _ = to.Close(), from.Close()
			}
			return n, from.name
		}
	}
}

// bufferedConn is the connection of a client, and the bytes that were read from it along with the handshake.
type bufferedConn struct {
	*response.FrameTracker
	buffered []byte
}

// Read returns the buffered bytes first.
func (c *bufferedConn) Read(p []byte) (int, error) {
	if len(c.buffered) == 0 {
		return c.FrameTracker.Read(p)
	}
	n := copy(p, c.buffered)
	c.buffered = c.buffered[n:]
	return n, nil
}

// isSingle reports whether a header has one value, which is the given word.
func isSingle(values []string, word string) bool {
	return len(values) == 1 && strings.EqualFold(strings.Trim(values[0], " \t"), word)
}

// hasToken reports whether a comma-separated header contains the token.
func hasToken(values []string, token string) bool {
	for _, line := range values {
		for word := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(word, " \t"), token) {
				return true
			}
		}
	}
	return false
}
