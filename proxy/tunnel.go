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
)

// wantsWebSocket says whether r is the opening handshake of RFC 6455 §4.1. Any other wish to switch protocols is not
// passed on: after the switch nobody looks at the bytes any more.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && r.Method == http.MethodGet &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		isSingle(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade") &&
		isSingle(r.Header["Sec-Websocket-Version"], "13") && len(r.Header["Sec-Websocket-Key"]) == 1
}

// acceptsWebSocket says whether a 101 is the answer to the handshake it answers (RFC 6455 §4.2.2).
func acceptsWebSocket(res *http.Response) bool {
	keys := res.Request.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !isSingle(res.Request.Header["Upgrade"], "websocket") {
		return false
	}
	sum := sha1.Sum([]byte(keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return isSingle(res.Header["Upgrade"], "websocket") && hasToken(res.Header["Connection"], "upgrade") &&
		slices.Equal(res.Header["Sec-Websocket-Accept"], []string{base64.StdEncoding.EncodeToString(sum[:])})
}

// errTunneled says that a request has become a socket, which goes on without it.
var errTunneled = errors.New("the client and the upstream are joined")

// socketBuffer is what each direction of a WebSocket is copied through, in bytes: thousands may be open and idle.
const socketBuffer = 2 << 10

// tunnel sends the client the upstream's 101, and has each told from then on what the other says. The request is over
// with it, and all that net/http keeps for one: the live request stays until both have no more to say, one of them
// fails, or it is cut.
func (w *exchange) tunnel(res *http.Response) error {
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return errors.New("the upstream's connection cannot be written to after a 101")
	}
	head := *res
	head.Body, res.Body = nil, http.NoBody
	client, early, err := w.reply.hijack(&head, upstream)
	if err != nil {
		_ = upstream.Close()
		return err
	}
	live := w.live
	live.tunneled = true
	var both sync.WaitGroup
	both.Go(func() { copyHalf(client, upstream) })
	go func() {
		copyHalf(upstream, &bufferedConn{frameTracker: client, buffered: early})
		both.Wait()
		_, _ = upstream.Close(), client.Close()
		w.proxy.live.leave(live)
	}()
	return errTunneled
}

// copyHalf passes on what one says until it says no more. If that fails, both are closed.
func copyHalf(to, from io.ReadWriteCloser) {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, socketBuffer))
	if err != nil || closeWrite(to) != nil {
		_, _ = to.Close(), from.Close()
	}
}

// closeWrite says that no more comes, or fails where a connection cannot say so.
func closeWrite(conn any) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func isSingle(values []string, word string) bool {
	return len(values) == 1 && strings.EqualFold(strings.Trim(values[0], " \t"), word)
}

// hasToken says whether a comma-separated header has the token.
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

// bufferedConn is the connection of a client, and the bytes that were read from it along with the handshake.
type bufferedConn struct {
	*frameTracker
	buffered []byte
}

// Read returns the buffered bytes first.
func (c *bufferedConn) Read(p []byte) (int, error) {
	if len(c.buffered) == 0 {
		return c.frameTracker.Read(p)
	}
	n := copy(p, c.buffered)
	c.buffered = c.buffered[n:]
	return n, nil
}
