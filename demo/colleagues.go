package demo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/entratest"
)

// colleagues work by themselves, so that the console shows something: they use the applications, and the tenant changes,
// offboards and restores them now and then. The tenant page leaves them out.
var colleagues = []employee{
	{"Hedy Lamarr", "Radio engineer", "Operations"},
	{"Radia Perlman", "Network engineer", "Operations"},
	{"Emmy Noether", "Researcher", "Research"},
	{"Niklaus Wirth", "Researcher", "Research"},
	{"Barbara Liskov", "Auditor", "Finance"},
	{"Edsger Dijkstra", "Clerk", "Finance"},
}

// How often the colleagues do something, each by itself, and what the tenant does about one of them in turn.
const (
	requestEvery  = time.Second
	changeEvery   = 7 * time.Second
	offboardAfter = 6 * time.Second
	restoreAfter  = 6 * time.Second
	offboardEvery = 12 * time.Second
)

// isColleague reports whether somebody works by themselves.
func isColleague(p entratest.Person) bool {
	return slices.ContainsFunc(colleagues, func(e employee) bool { return userName(e.name) == p.UPN })
}

// hireColleagues adds the colleagues to the tenant.
func (t *tenant) hireColleagues() error {
	return t.quietly(func() error {
		for _, e := range colleagues {
			if err := t.add(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// quietly makes a change that the journal does not tell of.
func (t *tenant) quietly(change func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.company == nil {
		return errNotConnected
	}
	t.exchanges = nil
	return change()
}

// work has the colleagues work until ctx ends. It begins once the tenant is connected.
func (w *Demo) work(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-w.connected:
	}
	var all sync.WaitGroup
	defer all.Wait()
	for _, p := range w.tenant.issuer.People() {
		if isColleague(p) {
			all.Go(func() { w.useApplications(ctx, p) })
			all.Go(func() { w.readNews(ctx, p) })
		}
	}
	all.Go(func() { w.changeColleagues(ctx) })
	all.Go(func() { w.offboardColleagues(ctx) })
}

// useApplications has somebody ask for pages, of which they may not open every one.
func (w *Demo) useApplications(ctx context.Context, p entratest.Person) {
	targets := []string{w.endpoints.Whoami, w.endpoints.API, w.endpoints.API + "/1001", w.endpoints.Clock, w.endpoints.Whoami + "missing"}
	for pause(ctx, requestEvery/2+rand.N(requestEvery)) {
		method := http.MethodGet
		if rand.IntN(10) == 0 {
			method = http.MethodPost
		}
		w.fetch(ctx, p, method, targets[rand.IntN(len(targets))])
	}
}

// readNews has somebody keep the news of the clock open; when the stream ends, they try again.
func (w *Demo) readNews(ctx context.Context, p entratest.Person) {
	for {
		w.fetch(ctx, p, http.MethodGet, strings.TrimSuffix(w.endpoints.Clock, "/")+"/news")
		if !pause(ctx, requestEvery/2+rand.N(requestEvery)) {
			return
		}
	}
}

// fetch sends a request with a token of somebody, and reads the response to its end.
func (w *Demo) fetch(ctx context.Context, p entratest.Person, method, url string) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+w.tenant.issuer.AccessToken(p, apiAudience, nil))
	res, err := w.client.Do(req)
	if err != nil {
		return // the server stops, or cut the request
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// changeColleagues gives the colleagues a new title in turn.
func (w *Demo) changeColleagues(ctx context.Context) {
	for i := 0; pause(ctx, changeEvery); i++ {
		e := colleagues[i%len(colleagues)]
		w.changeOne(e, func(p entratest.Person) error {
			return w.tenant.company.Update(p.OID, func(p *entratest.Person) {
				if p.Title = e.title; i/len(colleagues)%2 == 0 {
					p.Title = "Senior " + strings.ToLower(e.title)
				}
			})
		})
	}
}

// offboardColleagues offboards and restores the colleagues in turn.
func (w *Demo) offboardColleagues(ctx context.Context) {
	wait := offboardAfter
	for i := 0; pause(ctx, wait); i++ {
		e := colleagues[i%len(colleagues)]
		w.changeOne(e, func(p entratest.Person) error { return w.tenant.company.Offboard(p.OID) })
		wait = offboardEvery
		if !pause(ctx, restoreAfter) {
			return
		}
		w.changeOne(e, func(p entratest.Person) error { return w.tenant.company.Restore(p.OID) })
	}
}

// changeOne makes a change of a colleague. One that Sallyport rejects shows up in its provisioning log.
func (w *Demo) changeOne(e employee, change func(entratest.Person) error) {
	err := w.tenant.quietly(func() error {
		for _, p := range w.tenant.issuer.People() {
			if p.UPN == userName(e.name) {
				return change(p)
			}
		}
		return errNotFound
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		w.log().Debug("a change of a colleague failed", "err", err)
	}
}

// pause waits, and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// loopback returns a client for the hosts below localhost, which not every system finds.
func loopback() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
