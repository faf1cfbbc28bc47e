package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a connection is refused where clients are announced.
const (
	unannounced = "unannounced" // a trusted proxy says something else first
	malformed   = "malformed"   // an announcement that says nothing, or nonsense
	silent      = "silent"      // none came in time, or the connection ended
	untrusted   = "untrusted"   // an announcement by somebody who is not believed
)

// announcements are what the PROXY protocol says before the first byte of a client:
// who that is, by the word of a trusted proxy.
type announcements struct {
	believes func(netip.Addr) bool // asked anew for every connection
	within   time.Duration         // for an announcement to arrive
	refused  *prometheus.CounterVec
	log      *slog.Logger
}

func newAnnouncements(believes func(netip.Addr) bool, log *slog.Logger) *announcements {
	a := &announcements{believes: believes, within: headerTimeout, log: log, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_proxy_protocol_refused_total", Help: "Connections closed for what was announced of them, or was not."}, []string{"reason"})}
	for _, reason := range []string{unannounced, malformed, silent, untrusted} {
		a.refused.WithLabelValues(reason)
	}
	return a
}

// Collectors are the metrics of announcements.
func (a *announcements) Collectors() []prometheus.Collector { return []prometheus.Collector{a.refused} }

// listener expects an announcement on every connection of a trusted proxy, and none
// on others. Accept waits for no announcement: each connection waits for its own.
func (a *announcements) listener(l net.Listener) net.Listener { return &announcing{l, a} }

type announcing struct {
	net.Listener
	*announcements
}

// Accept takes the next connection on.
func (a *announcing) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &announced{Conn: conn, by: a.announcements}, nil
}

// announced is a connection whose first bytes may say who the client is. They are
// read when that is asked for, or what the client says.
type announced struct {
	net.Conn
	by *announcements

	once   sync.Once
	client net.Addr // as announced; nil: the peer itself
	early  []byte   // read in looking for an announcement that there is not
	err    error
}

// RemoteAddr is the client's.
func (c *announced) RemoteAddr() net.Addr {
	c.once.Do(c.listen)
	if c.client != nil {
		return c.client
	}
	return c.Conn.RemoteAddr()
}

// Read reads what the client says.
func (c *announced) Read(p []byte) (int, error) {
	c.once.Do(c.listen)
	if c.err != nil {
		return 0, c.err
	}
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite says that no more comes.
func (c *announced) CloseWrite() error { return closeWrite(c.Conn) }

// listen hears the announcement out, or closes the connection.
func (c *announced) listen() {
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.by.within))
	reason, err := c.hear()
	if err == nil {
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.err, c.client, c.early = err, nil, nil
		c.by.refused.WithLabelValues(reason).Inc()
		c.by.log.Debug("connection refused", "reason", reason, "err", err, "peer", c.Conn.RemoteAddr().String())
		_ = c.Conn.Close()
	}
}

const (
	shortestAnnouncement = 12      // bytes: what any announcement has, and so has any TLS or HTTP
	longestLine          = 107     // of version 1, with its end
	longestBlock         = 4 << 10 // of version 2: addresses, and what else is said of the client
)

var (
	signature1 = []byte("PROXY ")
	signature2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// hear reads an announcement and not one byte more. The reason is for an error.
func (c *announced) hear() (reason string, err error) {
	start := make([]byte, shortestAnnouncement)
	n, err := io.ReadFull(c.Conn, start)
	start = start[:n]
	is1, is2 := bytes.HasPrefix(start, signature1), bytes.Equal(start, signature2)
	switch trusted := c.by.believes(addressOf(c.Conn.RemoteAddr())); {
	case !trusted && (is1 || is2):
		return untrusted, errors.New("the peer announces a client, and is none of trusted_proxies")
	case !trusted && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		c.early = start
		return "", nil
	case err != nil:
		return silent, fmt.Errorf("waiting for the PROXY protocol: %w", err)
	case is1:
		start, err = c.line(start)
	case is2:
		start, err = c.block(start)
	default:
		return unannounced, errors.New("a trusted proxy announces no client; have it speak the PROXY protocol, or take the listener out of listen.proxy_protocol")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return silent, fmt.Errorf("waiting for the rest of an announcement: %w", err)
	}
	if err == nil {
		err = c.understand(start)
	}
	return malformed, err
}

// line is the rest of version 1: text up to the end of the line.
func (c *announced) line(start []byte) ([]byte, error) {
	for one := make([]byte, 1); len(start) < longestLine; {
		if _, err := io.ReadFull(c.Conn, one); err != nil {
			return nil, err
		}
		if start = append(start, one[0]); one[0] == '\n' {
			return start, nil
		}
	}
	return nil, errors.New("the announcement is too long for version 1")
}

// block is the rest of version 2: four bytes, and as many as the last two of them say.
func (c *announced) block(start []byte) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return nil, ended(err)
	}
	length := int(head[2])<<8 | int(head[3])
	if length > longestBlock {
		return nil, fmt.Errorf("the announcement has %d bytes; at most %d are read", length, longestBlock)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(c.Conn, rest); err != nil {
		return nil, ended(err)
	}
	return append(append(start, head...), rest...), nil
}

// ended makes one of the two errors for a connection that has ended.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// nobody is an address that is nobody's, and so believed of nothing.
var nobody = &net.TCPAddr{IP: net.IPv4zero}

// understand takes the client from a whole announcement.
func (c *announced) understand(text []byte) error {
	rest := bufio.NewReaderSize(bytes.NewReader(text), len(text))
	header, err := proxyproto.Read(rest)
	if err != nil {
		return fmt.Errorf("reading an announcement: %w", err)
	}
	client, isTCP := header.SourceAddr.(*net.TCPAddr)
	switch {
	case header.Version == 1 && header.Command.IsLocal(): // UNKNOWN: a client, of whom the proxy cannot say more
		c.client = nobody
	case header.Command.IsLocal(): // the proxy itself, seeing whether we are well
	case !isTCP || !header.TransportProtocol.IsStream():
		return errors.New("the announcement is of a client that does not come by TCP")
	default:
		c.client = client
	}
	return nil
}

// addressOf is the IP address in a; the unspecified one, believed of nothing, if there is none.
func addressOf(a net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return at.Addr().Unmap().WithZone("")
}

// closeWrite says on conn that no more comes, where that can be said.
func closeWrite(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
