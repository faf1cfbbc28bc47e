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
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte("{}")
	}
	h, values := w.Header(), []string{"application/problem+json", strconv.Itoa(len(body) + 1)}
	h["Content-Type"], h["Content-Length"] = values[0:1:1], values[1:2:2]
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
