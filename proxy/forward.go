package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"

	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/upstream"
)

// roundTrip sends the request to the upstream and the response to the client. It returns a denial if there is no
// response from the upstream.
func (ex *exchange) roundTrip(in *http.Request) *denial {
	ex.prepare(in)
	if ex.body != nil {
		defer ex.body.CloseFor(ex.rw)
	}
	to, err := ex.route.upstream.of(ex.host)
	if err != nil {
		return ex.fail(err)
	}
	res, err := to.RoundTrip(&ex.live.ctx, &ex.out)
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

// prepare makes the request for the upstream from the request that was decided on. Of its header, it removes from that of
// in what is not forwarded; EachField adds what says where the request came from and who is calling.
func (ex *exchange) prepare(in *http.Request) {
	out := &ex.out
	out.Method, out.Host, out.Query = ex.method, ex.routing.authority(ex.host), ex.query
	if ex.body != nil && in.ContentLength != 0 {
		out.Body, out.ContentLength = ex.body, in.ContentLength
	}
	trailers, webSocket := header.HasToken(in.Header["Te"], "trailers"), header.WantsWebSocket(in) // gRPC asks for trailers
	h := ex.routing.managed.Strip(in.Header)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if out.Upgrade = webSocket; webSocket {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if out.Continue = out.Body != nil && header.IsSingle(h["Expect"], "100-continue"); !out.Continue { // servers disagree on what else it means
		delete(h, "Expect")
	}
	if !ex.route.passAuthorization {
		delete(h, "Authorization")
	}
	if cookies, ok := h["Cookie"]; ok {
		if h["Cookie"] = header.StripCookies(cookies); len(h["Cookie"]) == 0 {
			delete(h, "Cookie")
		}
	}
	ex.call = ex.trace.Forward(h, ex.method, ex.route.name)
	ex.route.requestEdits.Apply(h)
	if ex.caller != nil {
		ex.identity = ex.proxy.assertions.forCaller(ex.routing, ex.caller, ex.route, ex.host, ex.received).headers
	}
	ex.brought, out.Header, out.Informational = h, ex, ex
	if h := ex.rw.Header(); len(h) == 0 {
		out.ResponseHeader = h
	}
}

// EachField calls write for each field of the header for the upstream. No field of the client has the name of one of ours:
// the managed names, which requestEdits cannot set either, have all of them.
func (ex *exchange) EachField(write func(name, value string)) {
	upstream.HTTPHeader(ex.brought).EachField(write)
	write("X-Forwarded-For", ex.chain)
	write("X-Forwarded-Host", ex.out.Host)
	write("X-Forwarded-Proto", ex.scheme)
	upstream.HTTPHeader(ex.identity).EachField(write)
}

// writeResponse sends the client the response of the upstream as it arrives. If that breaks off, writeResponse panics, so
// that the client's response breaks off too.
func (ex *exchange) writeResponse(res *http.Response) {
	if ex.rw.CloseIfBodyUnread(ex.body) {
		response.Measure(res)
	}
	h := ex.rw.Header()
	if ex.out.ResponseHeader == nil {
		maps.Copy(h, res.Header)
	}
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
		err = ex.copyBody(res.Body, response.NewSent(ex.uses, res.Header))
	}
	_ = res.Body.Close()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ex.routing.stripped.StripIdentities(res.Trailer)
	header.CleanTrailer(res.Trailer)
	if len(res.Trailer) == 0 {
		return
	}
	_ = ex.rw.Flush() // makes a short response chunked, which trailers need
	prefix := ""
	if len(res.Trailer) != declared {
		prefix = http.TrailerPrefix
	}
	for name, values := range res.Trailer {
		h[prefix+name] = values
	}
}

// copyBody sends the body on as it arrives. It flushes after each read, since the next may take a while; then the client
// has what was read, unless it stopped reading. It notes whose side ended the body.
func (ex *exchange) copyBody(from io.Reader, sent *response.Sent) error {
	buf := ex.proxy.pools.buffers.Get().(*[32 << 10]byte)
	defer ex.proxy.pools.buffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			if _, err := ex.rw.Write(buf[:n]); err != nil {
				ex.by = response.ByClient
				return err
			}
		}
		if err != nil {
			if ex.by = response.ByUpstream; err == io.EOF {
				sent.Count(buf[:n])
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
		sent.Count(buf[:n])
	}
}

// ReceiveInformational sends the client an informational response of the upstream (RFC 9110 §15.2).
func (ex *exchange) ReceiveInformational(code int, received http.Header) {
	ex.routing.stripped.Strip(received)
	h := ex.rw.Header()
	for name, values := range received {
		h[name] = slices.Clone(values)
	}
	ex.rw.WriteHeader(code)
	clear(h)
}
