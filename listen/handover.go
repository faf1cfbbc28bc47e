package listen

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

// File returns a descriptor of the listener, for another process. While one of both is open, connections wait in one queue.
func (s *Server) File() (*os.File, error) {
	l, ok := s.socket.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("the %s listener cannot be passed on", s.name)
	}
	return l.File()
}

// Socket returns the listener as it was opened.
func (s *Server) Socket() net.Listener { return s.socket }

// StopAccepting accepts no more connections, which another process does from now on. Requests on connections that are open are
// served: each response says that it is the last on its connection, so that no request is lost as when a connection is closed
// while the client sends the next.
func (s *Server) StopAccepting() {
	s.leaving.Store(true)
	_ = s.listener.Close()
}

// Connections returns how many connections of clients are open. Those of WebSockets are not among them.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// lastOnConnection has responses say that the connection ends after [Server.StopAccepting]: by Connection: close, for which net/http
// sends GOAWAY over HTTP/2.
func (s *Server) lastOnConnection(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
