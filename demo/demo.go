// Package demo contains what `sallyport demo` runs around Sallyport to show it: an identity provider, a fictional
// company in Entra that pushes its changes by SCIM, and three small applications.
//
// It uses Sallyport over HTTP only, and listens on loopback only, because anybody can sign in as anybody. The times
// that it shows are read from one clock in one process; [tenant.do] says what they span.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"sallyport/entratest"
)

// Settings are the ports and the folder of the demo. A port that is in use is replaced by a free one.
type Settings struct {
	Public int    // Sallyport's listener for login and applications
	SCIM   int    // Sallyport's listener for pushes
	Ops    int    // Sallyport's listener for metrics
	Tenant int    // the start page, the tenant page and the identity provider
	Folder string // of the configuration, to show on the start page
	Log    *slog.Logger
}

// Defaults returns ports that are easy to remember.
func Defaults() Settings { return Settings{Public: 8080, SCIM: 8081, Ops: 8082, Tenant: 8090} }

// Demo is what surrounds one Sallyport. Call New and Listen, start Sallyport with Config and Secrets while Run runs,
// and then Connect, which pushes everybody to it.
type Demo struct {
	settings  Settings
	pages     *pages
	endpoints endpoints
	tenant    *tenant
	servers   []server
	config    []byte
	client    *http.Client  // with which colleagues use the applications
	connected chan struct{} // closed once the tenant pushes
}

type server struct {
	listener net.Listener
	handler  http.Handler
}

// endpoints are the URLs and addresses of everything that runs.
type endpoints struct {
	Public, Clock, API, Whoami   string // URLs for browsers
	Listen, SCIM, Ops            string // host:port of Sallyport's listeners
	Dashboard, Backend, Identity string // upstreams
	Tenant, Issuer               string // of the identity provider
}

// New returns a demo that does not listen yet.
func New(s Settings) (*Demo, error) {
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	return &Demo{settings: s, pages: pages, client: loopback(), connected: make(chan struct{})}, nil
}

// Listen opens the listeners. URL, Config and Secrets are valid after it.
func (w *Demo) Listen() error {
	mine, err := listenAll(w.settings.Tenant, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("opening the demo's listeners on 127.0.0.1: %w", err)
	}
	theirs, err := reserveAll(w.settings.Public, w.settings.SCIM, w.settings.Ops)
	if err != nil {
		return errors.Join(fmt.Errorf("looking for free ports on 127.0.0.1: %w", err), closeAll(mine))
	}
	w.endpoints = layOut(mine, theirs)
	if err := w.addServers(mine); err != nil {
		return errors.Join(err, closeAll(mine))
	}
	return nil
}

// layOut returns the endpoints: our listeners are the tenant and the three upstreams; Sallyport's ports are those of
// the public, scim and ops listeners.
func layOut(mine []net.Listener, theirs []int) endpoints {
	port := theirs[0]
	return endpoints{
		Public:    fmt.Sprintf("http://localhost:%d", port),
		Clock:     fmt.Sprintf("http://clock.localhost:%d/", port),
		API:       fmt.Sprintf("http://api.localhost:%d/orders", port),
		Whoami:    fmt.Sprintf("http://whoami.localhost:%d/", port),
		Listen:    fmt.Sprintf("127.0.0.1:%d", port),
		SCIM:      fmt.Sprintf("127.0.0.1:%d", theirs[1]),
		Ops:       fmt.Sprintf("127.0.0.1:%d", theirs[2]),
		Tenant:    "http://" + mine[0].Addr().String(),
		Dashboard: "http://" + mine[1].Addr().String(),
		Backend:   "http://" + mine[2].Addr().String(),
		Identity:  "http://" + mine[3].Addr().String(),
	}
}

// addServers makes a handler for each of our listeners.
func (w *Demo) addServers(mine []net.Listener) (err error) {
	journal := newJournal()
	clocks := newClocks(journal.touch)
	issuer := entratest.New(w.endpoints.Tenant, entratest.App{ClientID: clientID, Secret: clientSecret,
		RedirectURIs: []string{w.endpoints.Public + "/.sallyport/callback", w.endpoints.Public + "/.sallyport/logout"}})
	w.endpoints.Issuer = issuer.Issuer()
	w.tenant = &tenant{issuer: issuer, groups: addGroups(issuer), clocks: clocks, journal: journal}
	if w.config, err = writeConfig(w.endpoints, w.tenant.groups); err != nil {
		return err
	}
	whoami := &whoami{pages: w.pages, verifier: &verifier{client: &http.Client{Timeout: 5 * time.Second},
		keys: w.endpoints.Public + "/.sallyport/jwks.json", issuer: w.endpoints.Public, route: "whoami"}}
	dashboard := &dashboard{clocks: clocks, origin: hostOf(w.endpoints.Clock), pages: w.pages}
	w.servers = []server{
		{mine[0], w.tenantHandler()},
		{mine[1], dashboard.handler()},
		{mine[2], newAPI().handler()},
		{mine[3], whoami.handler()},
	}
	return nil
}

// URL returns the URL of the start page.
func (w *Demo) URL() string { return w.endpoints.Tenant + "/" }

// Config returns a sallyport.yaml for this demo. The files that it names are those of Secrets.
func (w *Demo) Config() []byte { return w.config }

// Secrets returns the contents of the secret files that Config names, by their path relative to it.
func (w *Demo) Secrets() map[string]string { return map[string]string{secretFile: clientSecret} }

// Connect makes the tenant push to base, Sallyport's SCIM URL, with a provisioning token, and pushes everybody, like
// the initial cycle of Entra. From then on the colleagues work. Call it once.
func (w *Demo) Connect(base, token string, client *http.Client) error {
	if err := w.tenant.connect(entratest.Provisioner{BaseURL: base, Token: token, Client: client}); err != nil {
		return err
	}
	if err := w.tenant.hireColleagues(); err != nil {
		return err
	}
	close(w.connected)
	return nil
}

// Run serves until ctx ends.
func (w *Demo) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, s := range w.servers {
		h := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(w.log().Handler(), slog.LevelDebug)}
		all.Go(func() { stop(h.Serve(s.listener)) })
		all.Go(func() { <-ctx.Done(); _ = h.Close() })
	}
	all.Go(func() { w.work(ctx) })
	all.Wait()
	return context.Cause(ctx)
}

func (w *Demo) log() *slog.Logger {
	if w.settings.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.settings.Log
}
