package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"sallyport/config"
	"sallyport/listen"
)

// prepareListeners loads the certificates, and opens every listener that the running server does not have. It is the last to
// prepare: what it has opened is used.
func (s *server) prepareListeners(_ context.Context, file *config.File) (use func(), err error) {
	certs, useCerts, err := s.prepareCertificates(file)
	if err != nil {
		return nil, err
	}
	wanted := s.openings(file, certs)
	if !s.listeners.differ(wanted) {
		return func() { useCerts(); s.listeners.setOutdated(false) }, nil
	}
	unlock, err := s.lockListeners()
	if err != nil {
		return nil, err
	}
	if unlock == nil {
		if certs != s.certs() {
			useCerts = func() {}
		}
		return func() { useCerts(); s.keepListeners() }, nil
	}
	change, err := s.listeners.reopen(wanted)
	if err != nil {
		unlock()
		return nil, err
	}
	return func() {
		defer unlock()
		s.useListeners(change)
		useCerts() // an authority then reaches the new listeners
	}, nil
}

// useListeners puts a replacement in force. succession.mu is held.
func (s *server) useListeners(c replacement) {
	for _, srv := range c.next {
		addr := c.addrs[srv.Name()]
		if srv.activated && addr != srv.addr {
			s.log.Warn("systemd has opened this listener, and the address in its unit counts, not the one in the configuration", "server", srv.Name(), "addr", srv.Addr().String(), "configured", addr)
		}
		srv.addr = addr
	}
	s.listeners.replace(c.next, c.gone)
	s.listeners.setOutdated(false)
	s.succession.use(c.next)
	s.writeRunFile()
}

// use notes which listeners are passed to a process that takes over.
func (u *succession) use(servers []*serving) {
	u.servers, u.addrs = nil, map[string]string{}
	for _, srv := range servers {
		u.servers = append(u.servers, srv.Server)
		u.addrs[srv.Name()] = srv.addr
		if srv.activated {
			u.addrs[srv.Name()] = ""
		}
	}
}

// keepListeners notes that a reload came too late to change listeners.
func (s *server) keepListeners() {
	s.log.Warn("the listeners stay as they are, since this process is about to end")
	s.listeners.setOutdated(true)
}

// lockListeners keeps an upgrade, and the end of the process, from beginning until unlock is called. A server that is stopping,
// or that another process has succeeded, changes no listeners: unlock is nil.
func (s *server) lockListeners() (unlock func(), err error) {
	u := s.succession
	if !u.mu.TryLock() {
		if s.stopping.Load() || u.isHanded() {
			return nil, nil
		}
		return nil, errors.New("an upgrade is under way, or the server begins to stop, and listeners are not changed meanwhile; reload again when the upgrade has ended")
	}
	if u.isHanded() || u.ctx != nil && u.ctx.Err() != nil {
		u.mu.Unlock()
		return nil, nil
	}
	return u.mu.Unlock, nil
}

// prepareCertificates returns where certificates come from by file: from where they come now, if that has not changed.
func (s *server) prepareCertificates(file *config.File) (certs *listen.Certificates, use func(), err error) {
	current := s.certs()
	if file.TLS.SameSource(s.inForce.Load().TLS) {
		cert, err := listen.LoadCertificate(file.TLS)
		return current, func() { current.Reload(cert) }, err
	}
	if certs, err = listen.NewCertificates(file.TLS, s.proxy.Hosts, s.components.store, s.log); err != nil {
		return nil, nil, err
	}
	certs.Follow(current)
	return certs, func() { s.certificates.Put(certs) }, nil
}

// needRestart returns the changed keys that are not in force before a restart.
func (s *server) needRestart() []string {
	keys := s.reloader.NeedRestart()
	if s.listeners.isOutdated() {
		keys = append([]string{"listen"}, keys...)
	}
	return keys
}

func (l *listeners) setOutdated(outdated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outdated = outdated
}

func (l *listeners) isOutdated() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outdated
}

// stays reports whether srv already is what o would open.
func (srv *serving) stays(o opening) bool {
	return srv.Name() == controlServer || srv.hasAddress(o) && srv.certs == o.certs && srv.proxyProtocol == o.proxyProtocol
}

// hasAddress reports whether srv has the listener that o names. One that systemd has opened stays, whatever address is
// configured, as at a start.
func (srv *serving) hasAddress(o opening) bool {
	return srv.activated || srv.addr == o.addr || srv.ListensOn(o.addr)
}

// differ reports whether anything has to be done for the current servers to be those that are wanted.
func (l *listeners) differ(wanted []opening) bool {
	for _, o := range wanted {
		if srv := l.find(o.Name); srv == nil || !srv.stays(o) || srv.addr != o.addr {
			return true
		}
	}
	return len(wanted) != len(l.servers())
}

// replacement is what a reload does to the listeners.
type replacement struct {
	next  []*serving        // those that stay, and new ones
	gone  []*serving        // those whose place new ones take, or nobody
	addrs map[string]string // as configured from now on, by name
}

// reopen opens the servers that are wanted and not there. With an error, it has opened none.
func (l *listeners) reopen(wanted []opening) (c replacement, err error) {
	c.addrs = map[string]string{}
	var opened []*serving
	faults := []error{l.checkGone(wanted)}
	for _, o := range wanted {
		c.addrs[o.Name] = o.addr
		srv := l.find(o.Name)
		if srv == nil || !srv.stays(o) {
			next, err := l.openFor(o, srv, wanted)
			if err != nil {
				faults = append(faults, fmt.Errorf("listen.%s: %w", o.Name, err))
				continue
			}
			srv, opened = next, append(opened, next)
		}
		c.next = append(c.next, srv)
	}
	if err := errors.Join(faults...); err != nil {
		for _, srv := range opened {
			_ = srv.Close()
		}
		return replacement{}, err
	}
	c.gone = slices.DeleteFunc(l.servers(), func(srv *serving) bool { return slices.Contains(c.next, srv) })
	return c, nil
}

// checkGone returns an error if a listener that systemd has opened is not wanted: connections to it would wait for ever.
func (l *listeners) checkGone(wanted []opening) error {
	for _, srv := range l.servers() {
		if srv.activated && find(wanted, srv.Name()) == nil {
			return fmt.Errorf("listen.%s is not in the configuration, and systemd keeps its socket open: write it again; or stop and disable the socket unit (sallyport-%s.socket), then restart the server", srv.Name(), srv.Name())
		}
	}
	return nil
}

func find(wanted []opening, name string) *opening {
	for i := range wanted {
		if wanted[i].Name == name {
			return &wanted[i]
		}
	}
	return nil
}

// openFor opens the server o in place of former; nil if there is none. The socket is that of a server which has the address
// now, if there is one: so that no connection is refused, and since nobody can open another.
func (l *listeners) openFor(o opening, former *serving, wanted []opening) (*serving, error) {
	if former != nil && former.hasAddress(o) {
		o.activated, o.Listen = former.activated, former.Share
		return o.open()
	}
	var beside []*listen.Server
	for _, srv := range l.servers() {
		stays := find(wanted, srv.Name())
		switch {
		case srv.ListensOn(o.addr) && stays != nil && srv.hasAddress(*stays):
			return nil, fmt.Errorf("%s is the address on which this server listens for listen.%s; write another one", o.addr, srv.Name())
		case srv.ListensOn(o.addr):
			o.Listen = srv.Share
			return o.open()
		case srv.Overlaps(o.addr):
			beside = append(beside, srv.Server)
		}
	}
	if len(beside) > 0 {
		o.Listen = func() (net.Listener, error) { return listen.Beside(o.addr, beside) }
	}
	return o.open()
}
