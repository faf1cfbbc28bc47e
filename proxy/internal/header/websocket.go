package header

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// WantsWebSocket reports whether r is the opening handshake of a WebSocket (RFC 6455 §4.1). No other upgrade is
// forwarded: after one, the proxy could not tell what the bytes mean.
func WantsWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) && r.Method == http.MethodGet &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		IsSingle(r.Header["Upgrade"], "websocket") && HasToken(r.Header["Connection"], "upgrade") &&
		IsSingle(r.Header["Sec-Websocket-Version"], "13") && len(r.Header["Sec-Websocket-Key"]) == 1
}

// AcceptsWebSocket reports whether a 101 completes the handshake of a request with the header sent (RFC 6455 §4.2.2).
func AcceptsWebSocket(res *http.Response, sent http.Header) bool {
	keys := sent["Sec-Websocket-Key"]
	if len(keys) != 1 || !IsSingle(sent["Upgrade"], "websocket") {
		return false
	}
	sum := sha1.Sum([]byte(keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return IsSingle(res.Header["Upgrade"], "websocket") && HasToken(res.Header["Connection"], "upgrade") &&
		slices.Equal(res.Header["Sec-Websocket-Accept"], []string{base64.StdEncoding.EncodeToString(sum[:])})
}

// IsSingle reports whether a header has one value, which is the given word.
func IsSingle(values []string, word string) bool {
	return len(values) == 1 && strings.EqualFold(strings.Trim(values[0], " \t"), word)
}

// HasToken reports whether a comma-separated header contains the token.
func HasToken(values []string, token string) bool {
	for _, line := range values {
		for word := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(word, " \t"), token) {
				return true
			}
		}
	}
	return false
}
