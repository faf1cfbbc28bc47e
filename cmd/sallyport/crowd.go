package main

import (
	"net"
	"sync"
)

// crowd is a listener that takes on at most so many connections at once; more wait. Its connections can still say that
// no more comes, so that thousands of sockets can be told at once that they are over.
type crowd struct {
	net.Listener
	places chan struct{} // one for each connection
	closed chan struct{}
	close  func() error
}

func newCrowd(l net.Listener, most int) *crowd {
	c := &crowd{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
	c.close = sync.OnceValue(func() error { close(c.closed); return l.Close() })
	return c
}

// Accept waits for a place, and then for a connection.
func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.places <- struct{}{}:
	case <-c.closed:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.places
		return nil, err
	}
	return &placed{Conn: conn, leave: sync.OnceFunc(func() { <-c.places })}, nil
}

// Close stops listening; whoever waits for a place waits no longer.
func (c *crowd) Close() error { return c.close() }

// placed is a connection that takes a place until it is closed.
type placed struct {
	net.Conn
	leave func()
}

// Close gives the place to the next.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

// CloseWrite says that no more comes.
func (p *placed) CloseWrite() error { return closeWrite(p.Conn) }
