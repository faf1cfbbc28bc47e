package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/listen"
)

// The servers for operators.
const opsServer, controlServer = "ops", "control"

// servers returns the options of each server. Those for operators, ops and control, use neither TLS nor the PROXY protocol.
func (s *server) servers() []listen.Options {
	addrs := s.file.Listen
	all := []listen.Options{
		{Name: "public", Addr: addrs.Public, Handler: s.publicHandler(), Certificates: s.certs, Connections: s.connections.public},
		{Name: opsServer, Addr: addrs.Ops, Handler: s.opsHandler()},
		{Name: controlServer, Addr: s.file.Control.Socket, Handler: s.control().handler(),
			ConnContext: withPeer},
	}
	if addrs.SCIM != "" {
		all = append(all, listen.Options{Name: "scim", Addr: addrs.SCIM, Handler: s.scimHandler(), Certificates: s.certs, Connections: s.connections.scim})
	}
	if addrs.HTTP != "" {
		all = append(all, listen.Options{Name: "http", Addr: addrs.HTTP, Handler: s.redirectHandler(),
			Connections: s.connections.public, RequestTimeout: listen.HeaderTimeout})
	}
	for i, o := range all {
		all[i].Log, all[i].Grace = s.log, func() time.Duration { return s.inForce.Load().Listen.Grace }
		if slices.Contains(s.file.Listen.ProxyProtocol, o.Name) {
			all[i].ProxyProtocol = s.proxyProto
		}
	}
	return all
}

// choose decides which listener each server uses: one that is open already, by this process's start or the process that it
// succeeds, or one that is opened now.
func (s *server) choose(all []listen.Options) error {
	for i, o := range all {
		socket, activated, err := s.succession.former.socket(o.Name, o.Addr)
		if err != nil {
			return fmt.Errorf("the %s listener of the process that is to be succeeded: %w", o.Name, err)
		}
		if socket == nil && s.sockets[o.Name] != nil {
			socket, activated = s.sockets[o.Name], true
		}
		s.succession.addrs[o.Name] = o.Addr
		if activated {
			s.succession.addrs[o.Name] = ""
		}
		delete(s.sockets, o.Name)
		switch {
		case o.Name == controlServer && socket != nil:
			all[i].Listen = func() (net.Listener, error) { return ownControl(o.Addr, socket) }
		case o.Name == controlServer:
			all[i].Listen = func() (net.Listener, error) { return listenControl(o.Addr) }
		case socket != nil:
			all[i].Listen = func() (net.Listener, error) { return socket, nil }
		}
	}
	return nil
}

// openServers opens every listener, or none.
func (s *server) openServers() (servers []*listen.Server, err error) {
	all := s.servers()
	if err := s.choose(all); err != nil {
		return nil, err
	}
	if unused := slices.Sorted(maps.Keys(s.sockets)); len(unused) > 0 {
		s.sockets.Close()
		return nil, fmt.Errorf("systemd passes a socket with the name %s, and listen.%s is not in the configuration; remove the one or write the other", unused[0], unused[0])
	}
	for _, o := range all {
		opened, err := listen.Open(o)
		if err != nil {
			for _, other := range servers {
				_ = other.Close()
			}
			return nil, err
		}
		servers = append(servers, opened)
	}
	return servers, nil
}

// runServers serves until ctx ends or one of the servers fails, and then shuts all of them down. Those for operators shut
// down last: while requests are under way, somebody may have to be suspended, and /readyz says that the server stops.
func (s *server) runServers(ctx context.Context, servers []*listen.Server) error {
	g, ctx := errgroup.WithContext(ctx)
	forOperators, stopOperators := context.WithCancel(context.WithoutCancel(ctx))
	var forClients sync.WaitGroup
	for _, srv := range servers {
		s.log.Info("listening", "server", srv.Name(), "addr", srv.Addr().String())
		if srv.Name() == opsServer || srv.Name() == controlServer {
			g.Go(func() error { return srv.Run(forOperators) })
			continue
		}
		forClients.Add(1)
		g.Go(func() error { defer forClients.Done(); return srv.Run(ctx) })
	}
	g.Go(func() error { defer stopOperators(); forClients.Wait(); return nil })
	s.notify("READY=1") // a connection waits in the queue of its listener until it is accepted
	return g.Wait()
}

// publicHandler serves the applications and, with scim.on_public, SCIM on the host of public_url.
func (s *server) publicHandler() http.Handler {
	scim := s.scimHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isSCIM(r.URL.Path) && s.isSCIMHost(r.Host) {
			scim.ServeHTTP(w, r)
			return
		}
		s.proxy.ServeHTTP(w, r)
	})
}

// scimHandler serves SCIM by the settings in force.
func (s *server) scimHandler() http.Handler {
	return s.reach.handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.scim.Load().ServeHTTP(w, r) }))
}

// isSCIMHost reports whether the public listener serves SCIM on a host, by the settings in force. It goes on with that as
// long as there is no listener for SCIM alone, which begins with a restart.
func (s *server) isSCIMHost(host string) bool {
	file := s.inForce.Load()
	publicURL, err := url.Parse(file.PublicURL)
	return err == nil && host == publicURL.Host && (file.SCIM.OnPublic || s.file.Listen.SCIM == "")
}

func isSCIM(path string) bool { return path == "/scim" || strings.HasPrefix(path, "/scim/") }

// redirectHandler serves requests that come without TLS.
func (s *server) redirectHandler() http.Handler {
	return s.certs.HTTPChallenges(http.HandlerFunc(s.proxy.ServePlain))
}

func (s *server) questions() *questions {
	return &questions{admin: s.admin, directory: s.components.directory, grants: s.components.grants, rules: s.proxy.Rules, proxy: s.proxy, record: s.file.Audit.File, store: s.components.store}
}

// control serves operators' commands.
func (s *server) control() *control {
	return &control{admin: s.admin, store: s.components.store, needRestart: s.reloader.NeedRestart, publicURL: s.reloader.PublicURL, questions: s.questions(), webhooks: s.components.webhooks, sinks: s.components.sinks, reach: &s.reach, catchUp: s.components.catchUp, log: s.log}
}
