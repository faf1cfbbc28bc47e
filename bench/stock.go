package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// newStock is the proxy that the standard library makes of a few lines, tuned as one would: many connections are kept,
// buffers are used again, nothing is compressed.
func newStock(to string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: "http", Host: to})
			pr.SetXForwarded()
		},
		Transport:  &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true},
		BufferPool: &pool{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
	}
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *pool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }
