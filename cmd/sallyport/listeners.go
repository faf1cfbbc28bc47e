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
	"time"

	"sallyport/config"
	"sallyport/listen"
)

// The servers by what they are for. Those for operators are ops and control.
const publicServer, scimServer, httpServer, opsServer, controlServer = "public", "scim", "http", "ops", "control"

func isForOperators(server string) bool { return server == opsServer || server == controlServer }

// terms are what a server is opened by. One that a reload would open by others is replaced.
type terms struct {
	addr          string               // as configured
	certs         *listen.Certificates // that it presents, or to whose challenges it responds
	proxyProtocol bool
}

// opening is a server that is to be opened.
type opening struct {
	listen.Options
	terms
	activated bool // systemd has opened the listener
}

// openings returns the servers of a configuration. Those for operators use neither TLS nor the PROXY protocol.
func (s *server) openings(file *config.File, certs *listen.Certificates) []opening {
	addrs := file.Listen
	all := []listen.Options{
		{Name: publicServer, Addr: addrs.Public, Handler: s.publicHandler(), Certificates: certs, Connections: s.connections.public},
		{Name: opsServer, Addr: addrs.Ops, Handler: s.opsHandler()},
		{Name: controlServer, Addr: s.file.Control.Socket, Handler: s.control().handler(), ConnContext: withPeer},
	}
	if addrs.SCIM != "" {
		all = append(all, listen.Options{Name: scimServer, Addr: addrs.SCIM, Handler: s.scimHandler(), Certificates: certs, Connections: s.connections.scim})
	}
	if addrs.HTTP != "" {
		all = append(all, listen.Options{Name: httpServer, Addr: addrs.HTTP, Handler: s.redirectHandler(certs),
			Connections: s.connections.public, RequestTimeout: listen.HeaderTimeout})
	}
	openings := make([]opening, len(all))
	for i, o := range all {
		o.Log, o.Grace = s.log, func() time.Duration { return s.inForce.Load().Listen.Grace }
		openings[i].terms = terms{addr: o.Addr}
		if !isForOperators(o.Name) {
			openings[i].certs = certs
		}
		if slices.Contains(addrs.ProxyProtocol, o.Name) {
			o.ProxyProtocol, openings[i].proxyProtocol = s.proxyProto, true
		}
		openings[i].Options = o
	}
	return openings
}

// choose decides which listener each server uses: one that is open already, by this process's start or the process that it
// succeeds, or one that is opened now.
func (s *server) choose(all []opening) error {
	for i, o := range all {
		socket, activated, err := s.succession.former.socket(o.Name, o.Addr)
		if err != nil {
			return fmt.Errorf("the %s listener of the process that is to be succeeded: %w", o.Name, err)
		}
		if socket == nil && s.sockets[o.Name] != nil {
			socket, activated = s.sockets[o.Name], true
		}
		all[i].activated = activated
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
func (s *server) openServers() error {
	all := s.openings(s.file, s.certs())
	if err := s.choose(all); err != nil {
		return err
	}
	if unused := slices.Sorted(maps.Keys(s.sockets)); len(unused) > 0 {
		s.sockets.Close()
		return fmt.Errorf("systemd passes a socket with the name %s, and listen.%s is not in the configuration; remove the one or write the other", unused[0], unused[0])
	}
	var servers []*serving
	for _, o := range all {
		opened, err := o.open()
		if err != nil {
			for _, other := range servers {
				_ = other.Close()
			}
			return err
		}
		servers = append(servers, opened)
	}
	s.listeners.replace(servers, nil)
	s.succession.use(servers)
	return nil
}

// open opens the server.
func (o opening) open() (*serving, error) {
	srv, err := listen.Open(o.Options)
	if err != nil {
		return nil, err
	}
	alive, ended := context.WithCancel(context.Background())
	return &serving{Server: srv, terms: o.terms, activated: o.activated, alive: alive, ended: ended}, nil
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

// isSCIMHost reports whether the public listener serves SCIM on a host, by the settings in force.
func (s *server) isSCIMHost(host string) bool {
	file := s.inForce.Load()
	publicURL, err := url.Parse(file.PublicURL)
	return err == nil && host == publicURL.Host && file.SCIM.OnPublic
}

func isSCIM(path string) bool { return path == "/scim" || strings.HasPrefix(path, "/scim/") }

// redirectHandler serves requests that come without TLS.
func (s *server) redirectHandler(certs *listen.Certificates) http.Handler {
	return certs.HTTPChallenges(http.HandlerFunc(s.proxy.ServePlain))
}

func (s *server) questions() *questions {
	return &questions{admin: s.admin, directory: s.components.directory, grants: s.components.grants, rules: s.proxy.Rules, proxy: s.proxy, recordReader: recordReader{s.file.Audit.File, s.components.store}}
}

// control serves operators' commands.
func (s *server) control() *control {
	return &control{admin: s.admin, store: s.components.store, needRestart: s.needRestart, publicURL: s.reloader.PublicURL, questions: s.questions(), webhooks: s.components.webhooks, sinks: s.components.sinks, reach: &s.reach, catchUp: s.components.catchUp, log: s.log}
}
