package proxy

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// wantsWebSocket says whether r is the opening handshake of RFC 6455 §4.1. Any other wish to switch protocols is not
// passed on: after the switch nobody looks at the bytes any more.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && r.Method == http.MethodGet &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		isOne(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade") &&
		isOne(r.Header["Sec-Websocket-Version"], "13") && len(r.Header["Sec-Websocket-Key"]) == 1
}

// keepWebSocket leaves in out the wish for a WebSocket, if that is what in is, and no other.
func keepWebSocket(in, out *http.Request) {
	if wantsWebSocket(in) {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		return
	}
	delete(out.Header, "Connection")
	delete(out.Header, "Upgrade")
}

// acceptsWebSocket says whether a 101 is the answer to the handshake it answers (RFC 6455 §4.2.2).
func acceptsWebSocket(res *http.Response) bool {
	keys := res.Request.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !isOne(res.Request.Header["Upgrade"], "websocket") {
		return false
	}
	sum := sha1.Sum([]byte(keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return isOne(res.Header["Upgrade"], "websocket") && hasToken(res.Header["Connection"], "upgrade") &&
		slices.Equal(res.Header["Sec-Websocket-Accept"], []string{base64.StdEncoding.EncodeToString(sum[:])})
}

// thrifty is a connection that is copied to and from through little memory:
// thousands of WebSockets may be open and idle.
type thrifty struct{ net.Conn }

// socketBuffer is what each direction of a WebSocket is copied through, in bytes.
const socketBuffer = 2 << 10

// ReadFrom copies what src says to the client.
func (c thrifty) ReadFrom(src io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, struct{ io.Reader }{src}, make([]byte, socketBuffer))
}

// WriteTo copies what the client says to dst.
func (c thrifty) WriteTo(dst io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{c.Conn}, make([]byte, socketBuffer))
}

// CloseWrite says that no more comes, where the connection can say so.
func (c thrifty) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func isOne(values []string, word string) bool {
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
