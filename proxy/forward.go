package proxy

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// forward sends the request to the upstream, and its answer to the client. It returns a refusal if there was none.
func (w *exchange) forward(in *http.Request) *denial {
	early := &earlyAnswers{to: w.reply}
	out := w.outgoing(in, early.watch(w.live.ctx))
	if w.body != nil {
		defer w.leaveBody()
	}
	res, err := w.route.upstream.RoundTrip(out)
	early.end()
	if err == nil {
		if err = w.answered(res); err != nil {
			_ = res.Body.Close()
		}
	}
	if err != nil {
		return w.failed(err)
	}
	w.give(res)
	return nil
}

// outgoing makes the request for the upstream out of the one that was decided on. Of the target whose turn it is,
// scheme and host are still to come.
func (w *exchange) outgoing(in *http.Request, ctx context.Context) *http.Request {
	out := in.WithContext(ctx)
	out.URL = &url.URL{Opaque: w.path}
	if w.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = w.query[1:], true
	}
	out.Host, out.Method, out.Close = w.routing.authority(w.host), w.method, false
	out.Trailer = nil // they come after the decision
	if out.Body = nil; w.body != nil && in.ContentLength != 0 {
		out.Body = w.body
	}
	trailers, socket := hasToken(in.Header["Te"], "trailers"), wantsWebSocket(in) // gRPC asks for the former
	h := w.routing.managed.strip(in.Header)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if _, sent := h["User-Agent"]; !sent {
		h["User-Agent"] = []string{""} // and not the library's
	}
	if socket {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if !w.route.passAuthorization {
		delete(h, "Authorization")
	}
	if cookies, sent := h["Cookie"]; sent {
		if h["Cookie"] = stripOurCookies(cookies); len(h["Cookie"]) == 0 {
			delete(h, "Cookie")
		}
	}
	w.route.requestEdits.apply(h)
	w.setForwarded(h)
	if w.caller != nil { // nobody is told of nobody
		maps.Copy(h, w.proxy.assertions.forCaller(w.routing, w.caller, w.route, w.received).headers)
	}
	out.Header = h
	return out
}

// give sends the client the upstream's answer as it comes in. Where it breaks off, so does ours.
func (w *exchange) give(res *http.Response) {
	w.reply.closeIfBodyUnread(w.body)
	h := w.reply.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	announced := len(res.Trailer)
	for name := range res.Trailer {
		h["Trailer"] = append(h["Trailer"], name)
	}
	w.reply.WriteHeader(res.StatusCode)
	var err error
	if res.ContentLength < 0 && res.Body != http.NoBody { // the first piece may be a while in coming
		err = w.reply.flush()
	}
	if err == nil {
		err = w.copy(res.Body)
	}
	_ = res.Body.Close()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(res.Trailer) == 0 {
		return
	}
	_ = w.reply.flush() // a short answer has trailers too
	prefix := ""
	if len(res.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	cleanTrailer(res.Trailer)
	for name, values := range res.Trailer {
		h[prefix+name] = values
	}
}

// cleanTrailer removes what only a head may say (RFC 9110 §6.5.1).
func cleanTrailer(h http.Header) {
	for _, name := range hopByHop {
		delete(h, name)
	}
	delete(h, "Content-Length")
	stripOurSetCookies(h)
}

// copy sends on what comes, at once: nobody knows when more will.
func (w *exchange) copy(from io.Reader) error {
	buf := w.proxy.buffers.Get().(*[32 << 10]byte)
	defer w.proxy.buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if _, err := w.reply.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := w.reply.flush(); err != nil {
			return err
		}
	}
}

// hopByHop are headers that are about one connection and go no further (RFC 9110 §7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// removeHopByHop removes what an answer says of its connection alone, and what it says is of it.
func removeHopByHop(h http.Header) {
	for _, name := range nominated(h["Connection"]) {
		delete(h, name)
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// nominated are the headers that a Connection header names (RFC 9110 §7.6.1).
func nominated(connection []string) (names []string) {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" && !strings.EqualFold(name, "keep-alive") && !strings.EqualFold(name, "close") {
				names = append(names, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	return names
}

// earlyAnswers are those of 1xx, which come before the answer (RFC 9110 §15.2), on whatever goroutine reads them.
type earlyAnswers struct {
	to http.ResponseWriter

	mu   sync.Mutex // guards over
	over bool       // the answer itself is here
}

// watch has them sent to the client while a request made in ctx waits for its answer.
func (e *earlyAnswers) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: e.send})
}

func (e *earlyAnswers) send(code int, said textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return nil
	}
	removeHopByHop(http.Header(said))
	h := e.to.Header()
	for name, values := range said {
		h[name] = slices.Clone(values)
	}
	e.to.WriteHeader(code)
	clear(h)
	return nil
}

func (e *earlyAnswers) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}
