package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/entratest"
)

// browser is a browser with its cookies, and the person who uses it.
type browser struct {
	t      *testing.T
	env    *env
	jar    *cookiejar.Jar
	client *http.Client
	person entratest.Person
	path   []string // the URLs that step requested since the last call of open

	mu     sync.Mutex // guards setAll
	setAll []string   // the values of all cookies that responses set
}

// browser returns a new browser that person uses.
func (h *env) browser(person entratest.Person) *browser {
	g := &browser{t: h.t, env: h, person: person, jar: must[*cookiejar.Jar](h.t)(cookiejar.New(nil))}
	transport := h.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs.AddCert(h.issuer.Certificate())
	transport.DialTLSContext = nil
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ".example.com:443") {
			addr = h.server.Listener.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	h.t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport, Jar: g.jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return g
}

// page is a response whose body was read.
type page struct {
	*http.Response
	body string
}

// ask sends one request, with headers in pairs of name and value, and follows no redirect.
func (g *browser) ask(method, target string, body io.Reader, header ...string) page {
	g.t.Helper()
	r := must[*http.Request](g.t)(http.NewRequest(method, target, body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp := must[*http.Response](g.t)(g.client.Do(r))
	defer resp.Body.Close()
	text := must[[]byte](g.t)(io.ReadAll(resp.Body))
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range resp.Cookies() {
		g.setAll = append(g.setAll, c.Value)
	}
	return page{resp, string(text)}
}

// open opens a page as a browser does, follows redirects, and signs in as its person when the provider asks.
func (g *browser) open(target string) page {
	g.t.Helper()
	g.path = nil
	for range 20 {
		p := g.step(target)
		if next := p.Header.Get("Location"); next != "" && p.StatusCode/100 == 3 {
			target = must[*url.URL](g.t)(p.Request.URL.Parse(next)).String()
			continue
		}
		return p
	}
	g.t.Fatalf("too many redirects: %q", g.path)
	return page{}
}

// step requests a URL as a browser that navigates, and follows no redirect. At the provider it signs in as its person.
func (g *browser) step(target string) page {
	g.t.Helper()
	g.path = append(g.path, target)
	if strings.Contains(target, "/authorize?") {
		target += "&account=" + url.QueryEscape(g.person.OID)
	}
	return g.ask("GET", target, nil, "Accept", navigate, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
}

// until follows redirects until the next URL contains part, and returns that URL.
func (g *browser) until(target, part string) string {
	g.t.Helper()
	for range 20 {
		if strings.Contains(target, part) {
			return target
		}
		p := g.step(target)
		next := p.Header.Get("Location")
		if next == "" {
			g.t.Fatalf("no redirect to %s: %d %s at %s", part, p.StatusCode, p.body, target)
		}
		target = must[*url.URL](g.t)(p.Request.URL.Parse(next)).String()
	}
	g.t.Fatalf("too many redirects without %s", part)
	return ""
}

// press submits the form of the sign-out page of a host, as a press of its button does.
func (g *browser) press(host, form string, header ...string) page {
	g.t.Helper()
	return g.submit("https://"+host+"/.sallyport/logout", form, header...)
}

// submit posts a form to its own host, as a press of its button does.
func (g *browser) submit(target, form string, header ...string) page {
	g.t.Helper()
	host := must[*url.URL](g.t)(url.Parse(target)).Host
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", navigate, "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Site", "same-origin", "Origin", "https://" + host}, header...)
	return g.ask("POST", target, strings.NewReader(form), header...)
}

// cookie returns the value of a cookie that the browser would send to a host.
func (g *browser) cookie(host, name string) string {
	for _, c := range g.jar.Cookies(&url.URL{Scheme: "https", Host: host, Path: "/"}) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// names returns the names of the cookies that the browser would send to a host.
func (g *browser) names(host string) (names []string) {
	for _, c := range g.jar.Cookies(&url.URL{Scheme: "https", Host: host, Path: "/"}) {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// plant stores a cookie in the browser.
func (g *browser) plant(host, name, value string) {
	g.jar.SetCookies(&url.URL{Scheme: "https", Host: host, Path: "/"}, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}
