package response

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is a problem of RFC 9457 of the type about:blank, with our reason and the request's id beside it.
type Problem struct {
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Reason  string `json:"reason"`
	Request string `json:"request"`
}

// Write writes the problem with its status.
func (p Problem) Write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	const others = len(`{"title":"","status":401,"detail":"","reason":"","request":""}`) + 1
	body := make([]byte, 0, others+len(p.Title)+len(p.Detail)+len(p.Reason)+len(p.Request))
	body = append(p.append(body), '\n')
	h, values := w.Header(), []string{"application/problem+json", strconv.Itoa(len(body))}
	h["Content-Type"], h["Content-Length"] = values[0:1:1], values[1:2:2]
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// append appends the problem as JSON. It is written by hand because requests without a credential are many; the result
// equals that of encoding/json, byte for byte.
func (p Problem) append(to []byte) []byte {
	to = appendText(append(to, `{"title":`...), p.Title)
	to = strconv.AppendInt(append(to, `,"status":`...), int64(p.Status), 10)
	to = appendText(append(to, `,"detail":`...), p.Detail)
	to = appendText(append(to, `,"reason":`...), p.Reason)
	to = appendText(append(to, `,"request":`...), p.Request)
	return append(to, '}')
}

// appendText appends text as a JSON string: plain ASCII directly, anything else as encoding/json writes it.
func appendText(to []byte, text string) []byte {
	if isPlain(text) {
		return append(append(append(to, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // cannot happen: every string can be encoded
	}
	return append(to, quoted...)
}

// isPlain reports whether encoding/json writes text as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}
