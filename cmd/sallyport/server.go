package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/console"
	"sallyport/oidc"
	"sallyport/proxy"
	"sallyport/scim"
)

// grace is how long requests under way may take to finish once we are told to stop.
const grace = 30 * time.Second

// server is the whole of a running Sallyport.
type server struct {
	rooms    *rooms
	provider *oidc.Provider
	proxy    *proxy.Proxy
	push     *scim.Server

	workloads *oidc.Workloads // nil without scim.oauth
	reloader  *reloader
	registry  *prometheus.Registry
	certs     *certificates // nil where TLS is off
	announced *announcements
	file      *config.File
	log       *slog.Logger
}

// openServer wires everything and starts nothing.
func openServer(ctx context.Context, path string, file *config.File, init bool, log *slog.Logger) (*server, error) {
	r, err := openRooms(ctx, file, init, log)
	if err != nil {
		return nil, err
	}
	s := &server{rooms: r, file: file, log: log}
	if err := s.wire(path); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return s, nil
}

func (s *server) wire(path string) error {
	public, err := url.Parse(s.file.PublicURL)
	if err != nil {
		return err
	}
	if s.provider, err = oidc.New(s.file.OIDC, public, s.log); err != nil {
		return err
	}
	pages, err := console.New()
	if err != nil {
		return err
	}
	s.proxy, err = proxy.New(proxy.Parts{Directory: s.rooms.directory, Sessions: s.rooms.sessions,
		Provider: s.provider, Audit: s.rooms.record, Pages: pages, Log: s.log})
	if err != nil {
		return err
	}
	if s.certs, err = s.openCertificates(); err != nil {
		return err
	}
	s.announced = newAnnouncements(s.proxy.Trusts, s.log)
	if err := s.wirePushes(); err != nil {
		return err
	}
	s.reloader = newReloader(path, s.file, s.apply, s.log)
	s.registry = s.metrics()
	return s.proxy.Load(s.file.Proxy())
}

func (s *server) openCertificates() (c *certificates, err error) {
	if s.file.TLS.Off {
		return nil, nil
	}
	c = &certificates{}
	if a := s.file.TLS.ACME; a != nil {
		c.orders, err = newOrders(*a, s.proxy.Hosts, s.rooms.store, s.log)
		return c, err
	}
	pair, err := loadCertificate(s.file.TLS)
	c.file.Store(pair)
	return c, err
}

// wirePushes makes the SCIM server, with whoever else's tokens it takes.
func (s *server) wirePushes() (err error) {
	o := s.file.SCIM.OAuth
	if o == nil {
		s.push = scim.New(scim.Parts{Provisioning: s.rooms.scim, Settings: s.file.SCIM, Origin: s.proxy.Origin, Log: s.log})
		return nil
	}
	s.workloads, err = oidc.NewWorkloads(oidc.WorkloadSettings{Issuer: o.Issuer, Audiences: o.Audiences, ClientIDs: o.ClientIDs, CAFile: o.CAFile}, s.log)
	if err != nil {
		return fmt.Errorf("scim.oauth: %w", err)
	}
	s.push = scim.New(scim.Parts{Provisioning: s.rooms.scim, Settings: s.file.SCIM, Workloads: s.workloads, Origin: s.proxy.Origin, Log: s.log})
	return nil
}

// apply puts a freshly loaded configuration in force, all of it or none.
func (s *server) apply(file *config.File) error {
	pair, err := loadCertificate(file.TLS)
	if err != nil {
		return err
	}
	if err := s.note(audit.KindConfig, "reloaded"); err != nil {
		return err
	}
	if err := s.proxy.Load(file.Proxy()); err != nil {
		return err
	}
	s.certs.follow(pair)
	return nil
}

// Run serves until ctx ends or a part fails, then lets requests under way finish.
func (s *server) Run(ctx context.Context, hup <-chan os.Signal) error {
	doors, err := s.open()
	if err != nil {
		return errors.Join(err, s.rooms.close())
	}
	return s.rooms.during(context.WithoutCancel(ctx), func(rooms context.Context) error {
		if err := s.note(audit.KindStart, ""); err != nil {
			return err
		}
		err := s.serve(ctx, rooms, doors, hup)
		return errors.Join(err, s.note(audit.KindStop, ""))
	})
}

// serve runs the parts that need the rooms. stop is the wish to end, rooms the
// end of the rooms themselves (a failure: then everything stops).
func (s *server) serve(stop, rooms context.Context, doors []*door, hup <-chan os.Signal) error {
	parts, quit := context.WithCancel(rooms)
	defer quit()
	g, ctx := errgroup.WithContext(parts)
	g.Go(func() error { return ignoreCancelled(s.provider.Run(ctx)) })
	g.Go(func() error { return ignoreCancelled(s.proxy.Run(ctx)) })
	g.Go(func() error { return ignoreCancelled(s.push.Run(ctx)) })
	g.Go(func() error { return ignoreCancelled(s.reloader.Run(ctx, hup)) })
	if s.workloads != nil {
		g.Go(func() error { return ignoreCancelled(s.workloads.Run(ctx)) })
	}
	if s.certs != nil && s.certs.orders != nil {
		g.Go(func() error { return ignoreCancelled(s.certs.orders.Run(ctx)) })
	}
	for _, d := range doors {
		g.Go(func() error { return d.serve() })
		s.log.Info("listening", "door", d.name, "addr", d.listener.Addr().String())
	}
	select {
	case <-stop.Done():
		s.log.Info("stopping", "grace", grace.String())
	case <-ctx.Done():
	}
	closeDoors(doors)
	quit()
	return g.Wait()
}

// open opens every listener, or none.
func (s *server) open() (doors []*door, err error) {
	for _, d := range s.doors() {
		if err := d.open(); err != nil {
			for _, opened := range doors {
				_ = opened.listener.Close()
			}
			return nil, err
		}
		doors = append(doors, d)
	}
	return doors, nil
}

func (s *server) doors() []*door {
	public := s.proxy.ServeHTTP
	if s.file.SCIM.OnPublic {
		public = s.withPushes(public)
	}
	l, secure := s.file.Listen, s.certs.config()
	doors := []*door{
		newDoor("public", limited(s.tcp("public", l.Public), s.connections()), s.certs.nothingElse(http.HandlerFunc(public)), secure, s.log),
		newDoor("ops", s.tcp("ops", l.Ops), s.ops(), nil, s.log),
		newDoor("control", func() (net.Listener, error) { return listenControl(s.file.Control.Socket) },
			s.control().handler(), nil, s.log),
	}
	if l.SCIM != "" {
		doors = append(doors, newDoor("scim", s.tcp("scim", l.SCIM), s.certs.nothingElse(s.push), secure, s.log))
	}
	if l.HTTP != "" {
		plain := newDoor("http", limited(s.tcp("http", l.HTTP), s.file.Limits.Connections), s.plain(), nil, s.log)
		plain.server.ReadTimeout, plain.server.WriteTimeout = headerTimeout, headerTimeout // nothing is long there
		doors = append(doors, plain)
	}
	return doors
}

// tcp listens for the door of that name, where clients may have to be announced.
func (s *server) tcp(door, addr string) func() (net.Listener, error) {
	return func() (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil || !slices.Contains(s.file.Listen.ProxyProtocol, door) {
			return l, err
		}
		return s.announced.listener(l), nil
	}
}

// plain answers what comes without TLS.
func (s *server) plain() http.Handler {
	send := http.HandlerFunc(s.proxy.ServePlain)
	if s.certs != nil && s.certs.orders != nil {
		return s.certs.orders.challenges(send)
	}
	return send
}

// limited takes on at most so many connections at once; more wait.
func limited(listen func() (net.Listener, error), most int) func() (net.Listener, error) {
	return func() (net.Listener, error) {
		l, err := listen()
		if err != nil || most == 0 {
			return l, err
		}
		return newCrowd(l, most), nil
	}
}

// control answers operators' verbs with what only a running server can do, too.
func (s *server) control() *control {
	c := s.rooms.control()
	c.reload = s.reloader.Reload
	return c
}

// withPushes answers SCIM on the public listener too, on public_url's host alone.
func (s *server) withPushes(next http.HandlerFunc) http.HandlerFunc {
	public, _ := url.Parse(s.file.PublicURL) // parsed before, in wire
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Host == public.Host && isPush(r.URL.Path) {
			s.push.ServeHTTP(w, r)
			return
		}
		next(w, r)
	}
}

func isPush(path string) bool {
	const root = "/scim"
	return path == root || len(path) > len(root) && path[:len(root)+1] == root+"/"
}

func (s *server) note(kind audit.Kind, reason string) error {
	err := s.rooms.record.Write(audit.Event{Time: time.Now().UTC(), Kind: kind, Reason: reason,
		Detail: map[string]string{"version": version}})
	if err != nil {
		return fmt.Errorf("writing the audit record: %w", err)
	}
	return nil
}
