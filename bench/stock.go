package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// newStock returns the reverse proxy of the standard library with the usual tuning: many idle connections, reused
// buffers, no compression.
func newStock(upstream string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: "http", Host: upstream})
			pr.SetXForwarded()
		},
		Transport:  &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true},
		BufferPool: &pool{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
	}
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *pool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }
