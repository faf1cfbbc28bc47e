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
	"sync"

	"sallyport/proxy/internal/header"

	"sallyport/proxy/internal/response"
)

// roundTrip sends the request to the upstream and the response to the client. It returns a denial if there is no
// response from the upstream.
func (ex *exchange) roundTrip(in *http.Request) *denial {
	informational := &informationalResponses{to: ex.rw, strip: ex.routing.stripResponse}
	out := ex.upstreamRequest(in, informational.trace(ex.live.ctx))
	if ex.body != nil {
		defer ex.body.CloseFor(ex.rw)
	}
	res, err := ex.route.upstream.RoundTrip(out)
	informational.end()
	if err == nil {
		if err = ex.checkResponse(res); err != nil {
			_ = res.Body.Close()
		}
	}
	if err != nil {
		return ex.fail(err)
	}
	ex.writeResponse(res)
	return nil
}

// upstreamRequest returns the request for the upstream, made from the request that was decided on. The upstream fills in
// scheme and host of the target.
func (ex *exchange) upstreamRequest(in *http.Request, ctx context.Context) *http.Request {
	out := in.WithContext(ctx)
	out.URL = &url.URL{Opaque: ex.path}
	if ex.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = ex.query[1:], true
	}
	out.Host, out.Method, out.Close = ex.routing.authority(ex.host), ex.method, false
	out.Trailer = nil // trailers arrive after the decision
	if out.Body = nil; ex.body != nil && in.ContentLength != 0 {
		out.Body = ex.body
	}
	trailers, webSocket := header.HasToken(in.Header["Te"], "trailers"), header.WantsWebSocket(in) // gRPC asks for trailers
	h := ex.routing.managed.Strip(in.Header)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if webSocket {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if !ex.route.passAuthorization {
		delete(h, "Authorization")
	}
	if cookies, ok := h["Cookie"]; ok {
		if h["Cookie"] = header.StripCookies(cookies); len(h["Cookie"]) == 0 {
			delete(h, "Cookie")
		}
	}
	ex.route.requestEdits.apply(h)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or net/http would send its own
	}
	ex.setForwarded(h)
	if ex.caller != nil {
		maps.Copy(h, ex.proxy.assertions.forCaller(ex.routing, ex.caller, ex.route, ex.received).headers)
	}
	out.Header = h
	return out
}

// writeResponse sends the client the response of the upstream as it arrives. If that breaks off, writeResponse panics, so
// that the client's response breaks off too.
func (ex *exchange) writeResponse(res *http.Response) {
	ex.rw.CloseIfBodyUnread(ex.body)
	h := ex.rw.Header()
	maps.Copy(h, res.Header)
	declared := len(res.Trailer)
	for name := range res.Trailer {
		h["Trailer"] = append(h["Trailer"], name)
	}
	ex.rw.WriteHeader(res.StatusCode)
	var err error
	if res.ContentLength < 0 && res.Body != http.NoBody { // the first bytes of the body may take a while
		if err = ex.rw.Flush(); err != nil {
			ex.by = response.ByClient
		}
	}
	if err == nil {
		err = ex.copyBody(res.Body)
	}
	_ = res.Body.Close()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ex.routing.stripResponse(res.Trailer)
	if len(res.Trailer) == 0 {
		return
	}
	_ = ex.rw.Flush() // makes a short response chunked, which trailers need
	prefix := ""
	if len(res.Trailer) != declared {
		prefix = http.TrailerPrefix
	}
	cleanTrailer(res.Trailer)
	for name, values := range res.Trailer {
		h[prefix+name] = values
	}
}

// cleanTrailer removes the fields that must not stand in a trailer (RFC 9110 §6.5.1).
func cleanTrailer(h http.Header) {
	for _, name := range header.HopByHop {
		delete(h, name)
	}
	delete(h, "Content-Length")
}

// copyBody sends the body on as it arrives. It flushes after each read, since the next may take a while. It notes whose
// side ended the body.
func (ex *exchange) copyBody(from io.Reader) error {
	buf := ex.proxy.pools.buffers.Get().(*[32 << 10]byte)
	defer ex.proxy.pools.buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if _, err := ex.rw.Write(buf[:n]); err != nil {
				ex.by = response.ByClient
				return err
			}
			ex.sent += int64(n)
		}
		if err != nil {
			if ex.by = response.ByUpstream; err == io.EOF {
				return nil
			}
			if ex.live.ctx.Err() != nil { // the read failed because the client went away
				ex.by = response.ByClient
			}
			return err
		}
		if err := ex.rw.Flush(); err != nil {
			ex.by = response.ByClient
			return err
		}
	}
}

// informationalResponses sends the client the 1xx responses of the upstream (RFC 9110 §15.2). They may arrive on another
// goroutine than the request's.
type informationalResponses struct {
	to    http.ResponseWriter
	strip func(http.Header)

	mu    sync.Mutex // guards ended; held while one is sent
	ended bool       // the final response has arrived
}

// trace returns a context in which a request hands its informational responses to i.
func (i *informationalResponses) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: i.send})
}

func (i *informationalResponses) send(code int, received textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return nil
	}
	header.RemoveHopByHop(http.Header(received))
	i.strip(http.Header(received))
	h := i.to.Header()
	for name, values := range received {
		h[name] = slices.Clone(values)
	}
	i.to.WriteHeader(code)
	clear(h)
	return nil
}

// end makes send do nothing from now on. It waits for one that is being sent.
func (i *informationalResponses) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}
