// Package demo is everything around Sallyport that `sallyport demo` needs to show it: an identity provider to sign in
// at by clicking a face, a make-believe Entra tenant that pushes its changes by SCIM, and three small applications.
//
// It talks to Sallyport over HTTP alone, as the real ones would, and listens on loopback alone, because here anybody
// may be anybody. The times it shows are taken by one clock in one process; see deed in tenant.go for what they span.
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

// Settings say where the demo lives. Ports are wishes: one that is taken is replaced by a free one.
type Settings struct {
	Public int    // Sallyport's listener for login and applications
	SCIM   int    // Sallyport's listener for pushes
	Ops    int    // Sallyport's listener for metrics
	Tenant int    // the start page, the tenant page and the identity provider
	Folder string // where the configuration lies, for the start page to name
	Log    *slog.Logger
}

// Defaults are the ports that people can remember.
func Defaults() Settings { return Settings{Public: 8080, SCIM: 8081, Ops: 8082, Tenant: 8090} }

// World is the demo's surroundings of one Sallyport. Its life: New, Listen, then a Sallyport is run from Config and
// Secrets while Run runs, and Connect pushes everybody to it.
type World struct {
	settings Settings
	pages    *pages
	places   places
	tenant   *tenant
	servers  []server
	config   []byte
}

type server struct {
	listener net.Listener
	handler  http.Handler
}

// places are the URLs (and, where a configuration wants them, addresses) of everything.
type places struct {
	Public, Clock, Orders, Whoami string // as browsers say them
	Listen, SCIM, Ops             string // Sallyport's listeners: host:port
	Dashboard, API, Identity      string // the upstreams behind it
	Tenant, Issuer                string // ours
}

// New makes a world that does not listen yet.
func New(s Settings) (*World, error) {
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	return &World{settings: s, pages: pages}, nil
}

// Listen takes the ports. After it, URL, Config and Secrets have their answers.
func (w *World) Listen() error {
	mine, err := listenAll(w.settings.Tenant, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("opening the demo's listeners on 127.0.0.1: %w", err)
	}
	theirs, err := reserveAll(w.settings.Public, w.settings.SCIM, w.settings.Ops)
	if err != nil {
		return errors.Join(fmt.Errorf("looking for free ports on 127.0.0.1: %w", err), closeAll(mine))
	}
	w.places = layOut(mine, theirs)
	if err := w.furnish(mine); err != nil {
		return errors.Join(err, closeAll(mine))
	}
	return nil
}

// layOut names the places: the tenant and the three upstreams are ours; login and applications, pushes and metrics
// are Sallyport's.
func layOut(mine []net.Listener, theirs []int) places {
	port := theirs[0]
	return places{
		Public:    fmt.Sprintf("http://localhost:%d", port),
		Clock:     fmt.Sprintf("http://clock.localhost:%d/", port),
		Orders:    fmt.Sprintf("http://api.localhost:%d/orders", port),
		Whoami:    fmt.Sprintf("http://whoami.localhost:%d/", port),
		Listen:    fmt.Sprintf("127.0.0.1:%d", port),
		SCIM:      fmt.Sprintf("127.0.0.1:%d", theirs[1]),
		Ops:       fmt.Sprintf("127.0.0.1:%d", theirs[2]),
		Tenant:    "http://" + mine[0].Addr().String(),
		Dashboard: "http://" + mine[1].Addr().String(),
		API:       "http://" + mine[2].Addr().String(),
		Identity:  "http://" + mine[3].Addr().String(),
	}
}

// furnish puts something behind each of our listeners.
func (w *World) furnish(mine []net.Listener) (err error) {
	journal := newJournal()
	clocks := newClocks(journal.touch)
	issuer := entratest.New(w.places.Tenant, entratest.App{ClientID: clientID, Secret: clientSecret,
		RedirectURIs: []string{w.places.Public + "/.sallyport/callback", w.places.Public + "/"}})
	w.places.Issuer = issuer.Issuer()
	w.tenant = &tenant{issuer: issuer, groups: found(issuer), clocks: clocks, journal: journal}
	if w.config, err = writeConfig(w.places, w.tenant.groups); err != nil {
		return err
	}
	whoami := &whoami{pages: w.pages, verifier: &verifier{client: &http.Client{Timeout: 5 * time.Second},
		keys: w.places.Public + "/.sallyport/jwks.json", issuer: w.places.Public, route: "whoami"}}
	dashboard := &dashboard{clocks: clocks, origin: hostOf(w.places.Clock), pages: w.pages}
	w.servers = []server{
		{mine[0], w.office()},
		{mine[1], dashboard.handler()},
		{mine[2], newOrders().handler()},
		{mine[3], whoami.handler()},
	}
	return nil
}

// URL is the start page.
func (w *World) URL() string { return w.places.Tenant + "/" }

// Config is the text of a sallyport.yaml for this world; the files it names relative to itself are Secrets.
func (w *World) Config() []byte { return w.config }

// Secrets are the contents of the secret files that Config names, by path relative to it.
func (w *World) Secrets() map[string]string { return map[string]string{secretFile: clientSecret} }

// Connect tells the tenant where to push and pushes everybody, as Entra's initial cycle does: base is Sallyport's SCIM
// URL, token a provisioning token. It returns once Sallyport knows them all.
func (w *World) Connect(base, token string, client *http.Client) error {
	return w.tenant.connect(entratest.Provisioner{BaseURL: base, Token: token, Client: client})
}

// Run serves until ctx ends.
func (w *World) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, s := range w.servers {
		h := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(w.log().Handler(), slog.LevelDebug)}
		all.Go(func() { stop(h.Serve(s.listener)) })
		all.Go(func() { <-ctx.Done(); _ = h.Close() })
	}
	all.Wait()
	return context.Cause(ctx)
}

func (w *World) log() *slog.Logger {
	if w.settings.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.settings.Log
}
