// Package listen opens the sockets of Sallyport and runs the HTTP servers on them: TLS certificates, limits on
// connections, the PROXY protocol and ACME are decided here.
//
// Everything a client can do before its request is handled must be bounded here: how many connections it opens, how
// long each may be idle, how long headers may take, how large they may be. A server that handles requests of unlimited
// length (WebSockets, streams) has no timeout for the whole request; its handler sets deadlines instead.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport/deadline"
)

// HeaderTimeout is how long a client may take for the TLS handshake and the headers of a request.
const HeaderTimeout = 10 * time.Second

const (
	defaultGrace       = 30 * time.Second
	defaultStreamGrace = 5 * time.Second

	idleTimeout   = 2 * time.Minute // for the next request on a connection
	maxHeaderSize = 64 << 10        // bytes, all headers of a request together
	maxStreams    = 100             // HTTP/2 streams on one connection
)

// Options describe a [Server]. Name, Addr or Listen, Handler and Log are required.
type Options struct {
	Name    string                       // in log messages and errors
	Addr    string                       // TCP address to listen on
	Listen  func() (net.Listener, error) // opens the listener instead of Addr
	Handler http.Handler
	Log     *slog.Logger

	Certificates   *Certificates  // nil means plain HTTP
	ProxyProtocol  *ProxyProtocol // nil means that no PROXY protocol header is read
	Connections    *Connections   // bounds the connections; nil means no limit
	RequestTimeout time.Duration  // for reading a whole request, and for writing its response; 0 means none

	// Grace returns how long requests under way may take to finish. It is called when the server stops; nil means 30 s.
	Grace func() time.Duration

	ConnContext func(context.Context, net.Conn) context.Context // as in http.Server
}

// Server is an HTTP server on an open listener. It serves once [Server.Run] is called.
type Server struct {
	name     string
	grace    func() time.Duration
	socket   net.Listener // as it was opened
	listener net.Listener // what connections are accepted from
	http     *http.Server
	cancel   context.CancelFunc // ends the contexts of all requests

	leaving     atomic.Bool  // see StopAccepting
	connections atomic.Int64 // that net/http has
}

// Open opens the listener that o describes and returns a server for it. The caller must call Run or Close.
func Open(o Options) (*Server, error) {
	l, err := o.listen()
	if err != nil {
		return nil, fmt.Errorf("opening the %s listener: %w", o.Name, err)
	}
	s := &Server{name: o.Name, grace: o.Grace, socket: l}
	if s.grace == nil {
		s.grace = func() time.Duration { return defaultGrace }
	}
	l = deadlineListener{l}
	if o.ProxyProtocol != nil {
		l = o.ProxyProtocol.Listener(l)
	}
	if o.Connections != nil {
		l = &limitListener{Listener: l, connections: o.Connections}
	}
	base, cancel := context.WithCancel(context.Background())
	s.listener, s.cancel = l, cancel
	s.http = &http.Server{
		Handler:           s.lastOnConnection(o.Certificates.rejectChallengeConns(o.Handler)),
		TLSConfig:         o.Certificates.tlsConfig(),
		ReadHeaderTimeout: HeaderTimeout,
		ReadTimeout:       o.RequestTimeout,
		WriteTimeout:      o.RequestTimeout,
		ConnState:         s.trackStates(newIdleTracker(idleTimeout)),
		MaxHeaderBytes:    maxHeaderSize,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(o.Log.With("server", o.Name).Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       o.connContext,

		DisableGeneralOptionsHandler: true, // the handler sees OPTIONS * too
	}
	return s, nil
}

// trackStates returns the ConnState hook of an [http.Server].
func (s *Server) trackStates(idle *idleTracker) func(net.Conn, http.ConnState) {
	return func(nc net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.connections.Add(-1)
		}
		idle.track(nc, state)
		if c, ok := rawConn(nc).(*conn); ok {
			c.of.track(c, state)
		}
	}
}

// connContext is the ConnContext hook of an [http.Server]. It makes [Authenticated] find the connection of a request.
func (o Options) connContext(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := rawConn(nc).(*conn); ok {
		ctx = context.WithValue(ctx, connKey{}, c)
	}
	if o.ConnContext != nil {
		ctx = o.ConnContext(ctx, nc)
	}
	return ctx
}

// rawConn returns the connection under TLS.
func rawConn(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

func (o Options) listen() (net.Listener, error) {
	if o.Listen != nil {
		return o.Listen()
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, explained(err)
	}
	return l, nil
}

// deadlineListener accepts connections whose deadlines cost little: net/http sets seven for each request.
type deadlineListener struct{ net.Listener }

// Accept waits for the next connection.
func (l deadlineListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return deadline.New(conn), nil
}

// Name returns the name of the server.
func (s *Server) Name() string { return s.name }

// Addr returns the address of the listener.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close closes the listener of a server that does not run.
func (s *Server) Close() error {
	s.cancel()
	return s.listener.Close()
}

// Run serves until ctx ends or the listener fails; after [Server.StopAccepting], until ctx ends. Requests under way may then
// take as long as Grace of [Options] says; those that take longer are ended. Run returns nil if ctx ended.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	select {
	case err := <-served:
		if s.leaving.Load() {
			<-ctx.Done()
			err = nil
		}
		s.shutDown()
		return err
	case <-ctx.Done():
		s.shutDown()
		if err := <-served; !s.leaving.Load() { // after StopAccepting, the listener is closed without http.Server's knowing
			return err
		}
		return nil
	}
}

func (s *Server) serve() error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving on the %s listener: %w", s.name, err)
}

// shutDown lets requests under way finish within the grace period, then ends what is left. [http.Server.Shutdown] does
// not track hijacked connections (WebSockets): canceling the context of their request ends them.
func (s *Server) shutDown() {
	ctx, stop := context.WithTimeout(context.Background(), s.grace())
	defer stop()
	_ = s.http.Shutdown(ctx)
	s.Abort()
}

// Abort ends every request at once.
func (s *Server) Abort() {
	s.cancel()
	_ = s.http.Close()
}
