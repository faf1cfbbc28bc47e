package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/rollup"
	"sallyport/audit/sink"
	"sallyport/config"
	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/console/pins"
	"sallyport/grant"
	"sallyport/listen"
	"sallyport/notice"
	"sallyport/oidc"
	"sallyport/oidc/claimed"
	"sallyport/proxy"
	"sallyport/scim"
)

// server is a running Sallyport.
type server struct {
	components   *components
	proxy        *proxy.Proxy
	scim         atomic.Pointer[scim.Server] // by the settings in force
	provider     *successive                 // runs the *oidc.Provider in force
	workloads    *successive                 // runs the *oidc.Workloads in force; none without scim.oauth
	certificates *successive                 // runs the *listen.Certificates in force
	proxyProto   *listen.ProxyProtocol
	reloader     *reloader
	admin        *admin.Admin
	inspector    *inspector
	tracing      *tracing
	expiring     *notice.Expiring
	registry     *prometheus.Registry
	rollup       *rollup.Rollup
	findings     *findings
	started      time.Time

	connections struct{ public, scim *listen.Connections }
	sockets     listen.Sockets // that were open before this process; taken by openServers
	listeners   listeners

	stopping   atomic.Bool // SIGTERM or SIGINT came
	reach      reach
	succession *succession

	file    *config.File                // of the start
	inForce atomic.Pointer[config.File] // the settings that a reload changes are those of the last one
	log     *slog.Logger
}

// openServer wires everything together and starts nothing.
func openServer(ctx context.Context, path string, file *config.File, init bool, succession *succession, log *slog.Logger) (*server, error) {
	c, err := openComponents(ctx, file, init, succession.former, log)
	if err != nil {
		return nil, err
	}
	s := &server{components: c, succession: succession, file: file, log: log}
	if err := s.wire(path); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return s, nil
}

func (s *server) wire(path string) error {
	publicURL, err := url.Parse(s.file.PublicURL)
	if err != nil {
		return err
	}
	provider, err := oidc.New(s.file.OIDC, publicURL, s.log)
	if err != nil {
		return err
	}
	provider.KeepKeys(keyStore{s.components.store})
	tokenGroups := claimed.New()
	provider.TellOfGroups(noteGroups(tokenGroups))
	s.provider = newSuccessive(provider)
	s.components.sessions.Configure(s.file.Session, provider.Basis())
	s.inForce.Store(s.file)
	if s.components.sinks, err = sink.Open(s.file.Audit.Sinks, s.file.Audit.File, s.components.record, s.log); err != nil {
		return err
	}
	pages, err := console.New()
	if err != nil {
		return err
	}
	s.rollup = rollup.New()
	s.rollup.Follow(s.components.record)
	s.findings, s.started = newFindings(path, s.rollup), time.Now().UTC()
	s.reloader = newReloader(path, s.file, s.apply, s.log)
	inForce := &rulesInForce{rules: func() *proxy.Rules { return s.proxy.Rules() }, file: s.inForce.Load}
	s.admin = s.components.admin(inForce, s.file.Audit.File, admin.Parts{Reload: s.reloader.Reload, Upgrade: s.upgrade,
		PublicURL: s.reloader.PublicURL, Configuration: s.reloader.Configuration, Peers: s.components.peers, Record: s.recordSource(), Rollup: s.rollup, Replica: s.facts, Doctor: s.findings.get,
		BreakGlass: grant.NewBreakGlass(s.components.grants), Live: s.liveRequests(), TokenGroups: tokenGroups})
	s.tracing = newTracing(s.log)
	manager := manage.New(manage.Parts{Admin: s.admin, Sessions: s.components.sessions, Pages: pages, Log: s.log})
	s.proxy, err = proxy.New(proxy.Parts{Directory: s.components.directory, Sessions: s.components.sessions, Grants: s.components.grants,
		Provider: provider, Audit: s.components.record, Enforcer: s.components.enforcer, Pages: pages, Console: console.NewHandler(console.Parts{Pages: pages, Admin: s.admin, Pins: pins.New(s.components.store)}), Manage: manager, Log: s.log,
		Tracing: s.tracing.Provider(), Authenticated: listen.Authenticated})
	if err != nil {
		return err
	}
	if err := s.wireSCIM(); err != nil {
		return err
	}
	certs, err := listen.NewCertificates(s.file.TLS, s.proxy.Hosts, s.components.store, s.log)
	if err != nil {
		return err
	}
	s.certificates = newSuccessive(certs)
	s.connections.public, s.connections.scim = s.clientConnections()
	s.proxyProto = listen.NewProxyProtocol(s.proxy.Trusts, s.log)
	s.inspector = &inspector{store: s.components.store, log: s.log}
	s.findings.inspector = s.inspector
	s.expiring = &notice.Expiring{Leads: s.components.leads, Certificates: func() []listen.InUse { return s.certs().InUse() }, Tokens: s.components.provisioning.Tokens, Send: s.components.webhooks.Send, Log: s.log}
	s.registry = s.metrics()
	s.warn(s.file)
	if err := s.checkTests(s.file); err != nil { // a test may be about somebody who has left since
		s.log.Warn("the rules fail their tests; a reload would be refused", "err", err)
	}
	return s.proxy.Load(s.file.Proxy())
}

// certs returns the certificates in force.
func (s *server) certs() *listen.Certificates { return s.certificates.now().(*listen.Certificates) }

// wireSCIM makes the SCIM server. With scim.oauth, it accepts the tokens of another authorization server too.
func (s *server) wireSCIM() error {
	parts := scim.Parts{Provisioning: s.components.provisioning, Settings: s.file.SCIM, Origin: s.proxy.Origin, Enforcer: s.components.enforcer, Log: s.log,
		Authenticated: listen.Authenticated}
	workloads, err := s.workloadsOf(s.file.SCIM.OAuth, nil)
	if err != nil {
		return fmt.Errorf("scim.oauth: %w", err)
	}
	s.workloads = newSuccessive(nil)
	if workloads != nil {
		parts.Workloads = workloads
		s.workloads = newSuccessive(workloads)
	}
	s.scim.Store(scim.New(parts))
	return nil
}

// Run serves until ctx ends, a component fails, or another process has taken over. Requests under way may then finish. On
// SIGHUP among signals, the configuration is read again; on SIGUSR2, another process takes over.
func (s *server) Run(ctx context.Context, signals <-chan os.Signal) error {
	if err := s.openServers(); err != nil {
		return errors.Join(err, s.components.close())
	}
	former := s.succession.former
	if err := former.ready(); err != nil {
		for _, srv := range s.listeners.all() {
			err = errors.Join(err, srv.Close())
		}
		return errors.Join(err, s.components.close())
	}
	peer := former.addPeer(s.components, s.log) // before anything can change the store
	return s.components.during(context.WithoutCancel(ctx), func(running context.Context) error {
		defer s.leaveRunFile()()
		former.removeControl(s.file.Control.Socket, s.log)
		if err := s.recordEvent(audit.KindStart, ""); err != nil {
			return err
		}
		err := s.serve(ctx, running, signals, func(ctx context.Context) { former.serve(ctx, peer, s.components, s.log) })
		s.components.leave()
		if s.succession.isHanded() { // the record is the other process's
			return err
		}
		return errors.Join(err, s.recordEvent(audit.KindStop, ""), s.components.record.Checkpoint())
	})
}

// serve runs everything that stands on the components. It returns after stop ends, after another process has taken over, or
// after running ends, which means that a component has failed. Whatever handles requests runs until the last of them has
// ended. What one process does for all ends once another does it.
func (s *server) serve(stop, running context.Context, signals <-chan os.Signal, serveFormer func(context.Context)) error {
	running, quit := context.WithCancel(running)
	defer quit()
	g, ctx := errgroup.WithContext(running)
	own := func(run func(context.Context) error) {
		g.Go(func() error { return ignoreCanceled(s.components.custody.unlessHanded(ctx, run)) })
	}
	g.Go(func() error { return ignoreCanceled(s.provider.Run(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.proxy.Run(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.scim.Load().Run(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.tracing.Run(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.runFigures(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.findings.Run(ctx)) })
	g.Go(func() error { return ignoreCanceled(s.runWatchdog(ctx)) })
	own(s.certificates.Run)
	own(s.inspector.Run)
	own(s.expiring.Run)
	own(s.admin.Run)
	own(s.runReviews)
	own(s.admin.RunRecordChecks)
	hup := make(chan os.Signal, 1)
	g.Go(func() error { return ignoreCanceled(s.reloader.Run(ctx, hup, s.reload)) })
	g.Go(func() error { return ignoreCanceled(s.workloads.Run(ctx)) })

	upgrading, endUpgrade := context.WithCancel(ctx)
	defer endUpgrade()
	defer context.AfterFunc(stop, endUpgrade)()
	s.succession.begin(upgrading)
	g.Go(func() error { s.handleSignals(ctx, signals, hup); return nil })
	g.Go(func() error { serveFormer(ctx); return nil })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.succession.failed:
			return err
		}
	})

	accepting, shutDown := context.WithCancel(ctx)
	defer shutDown()
	g.Go(func() error { s.stopOn(stop, ctx, shutDown); return nil })
	g.Go(func() error { defer quit(); return s.runServers(accepting) })
	return g.Wait()
}

// handleSignals passes SIGHUP on to hup, and upgrades on SIGUSR2.
func (s *server) handleSignals(ctx context.Context, signals <-chan os.Signal, hup chan<- os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			if sig == syscall.SIGUSR2 {
				_, _ = s.admin.Upgrade(ctx, admin.System("SIGUSR2")) // upgrade logs the error
				continue
			}
			select {
			case hup <- sig:
			default: // it is about to be read again anyway
			}
		}
	}
}

// reload reads the configuration again. Once another process serves, that one records what it reads.
func (s *server) reload(ctx context.Context, actor admin.Actor) error {
	if s.succession.isHanded() {
		return s.reloader.Reload(ctx)
	}
	return s.admin.Reload(ctx, actor)
}

// recordEvent writes an event of the server itself to the audit record.
func (s *server) recordEvent(kind audit.Kind, reason string) error {
	err := s.components.record.Write(audit.Event{Time: time.Now().UTC(), Kind: kind, Reason: reason,
		Detail: map[string]string{"version": version}})
	if err != nil {
		return fmt.Errorf("writing the audit record: %w", err)
	}
	return nil
}
