package listen

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

// Reasons for which a connection is rejected: values of the label "reason".
const (
	reasonMissing   = "unannounced" // a trusted proxy sent something other than a header
	reasonMalformed = "malformed"   // the header is malformed, or names no TCP client
	reasonSilent    = "silent"      // the connection timed out or ended before the header was complete
	reasonUntrusted = "untrusted"   // a peer that is not trusted sent a header
)

// ProxyProtocol reads the PROXY protocol header (version 1 or 2) by which a trusted proxy names the client of a
// connection. A trusted proxy must send one; no other peer may.
type ProxyProtocol struct {
	trusted  func(netip.Addr) bool // called for each connection
	timeout  time.Duration         // for a header to arrive
	rejected *prometheus.CounterVec
	log      *slog.Logger
}

// NewProxyProtocol returns a reader of headers. trusted reports whether the address is that of a trusted proxy.
func NewProxyProtocol(trusted func(netip.Addr) bool, log *slog.Logger) *ProxyProtocol {
	p := &ProxyProtocol{trusted: trusted, timeout: HeaderTimeout, log: log, rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_proxy_protocol_refused_total",
		Help: "Connections closed because of their PROXY protocol header, or because it was missing."}, []string{"reason"})}
	for _, reason := range []string{reasonMissing, reasonMalformed, reasonSilent, reasonUntrusted} {
		p.rejected.WithLabelValues(reason)
	}
	return p
}

// Collectors returns the metrics of p.
func (p *ProxyProtocol) Collectors() []prometheus.Collector {
	return []prometheus.Collector{p.rejected}
}

// Listener returns a listener whose connections report the client named by their header as RemoteAddr. Accept does not
// wait for a header: each connection reads its own on the first call to Read or RemoteAddr.
func (p *ProxyProtocol) Listener(l net.Listener) net.Listener { return &proxyProtoListener{l, p} }

type proxyProtoListener struct {
	net.Listener
	protocol *ProxyProtocol
}

func (l *proxyProtoListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proxyProtoConn{Conn: conn, protocol: l.protocol}, nil
}

// proxyProtoConn is a connection whose first bytes may be a header. They are read once, by Read or RemoteAddr,
// whichever is called first.
type proxyProtoConn struct {
	net.Conn
	protocol *ProxyProtocol

	once     sync.Once
	client   net.Addr // named by the header; nil means the peer itself
	buffered []byte   // bytes read from a peer that is not trusted, which are not a header
	err      error    // the connection was rejected
}

// mustSendHeader reports whether the client is the one that a header will name.
func (c *proxyProtoConn) mustSendHeader() bool { return c.protocol.trusted(ipOf(c.Conn.RemoteAddr())) }

// RemoteAddr returns the address of the client.
func (c *proxyProtoConn) RemoteAddr() net.Addr {
	c.once.Do(c.readHeader)
	if c.client != nil {
		return c.client
	}
	return c.Conn.RemoteAddr()
}

// Read reads what follows the header.
func (c *proxyProtoConn) Read(p []byte) (int, error) {
	c.once.Do(c.readHeader)
	if c.err != nil {
		return 0, c.err
	}
	if len(c.buffered) > 0 {
		n := copy(p, c.buffered)
		c.buffered = c.buffered[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite closes the writing side of the connection.
func (c *proxyProtoConn) CloseWrite() error { return closeWrite(c.Conn) }

// readHeader reads the header, or closes the connection.
func (c *proxyProtoConn) readHeader() {
	_ = c.SetReadDeadline(time.Now().Add(c.protocol.timeout))
	reason, err := c.tryReadHeader()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.err, c.client, c.buffered = err, nil, nil
		c.protocol.rejected.WithLabelValues(reason).Inc()
		c.protocol.log.Debug("connection rejected", "reason", reason, "err", err, "peer", c.Conn.RemoteAddr().String())
		_ = c.Close()
	}
}

const (
	minHeader   = 12      // bytes: no header, no TLS handshake and no HTTP request is shorter
	maxHeaderV1 = 107     // bytes of a line of version 1, with its CRLF
	maxHeaderV2 = 4 << 10 // bytes of the addresses and TLVs of version 2
)

var (
	signatureV1 = []byte("PROXY ")
	signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// tryReadHeader reads a header and no byte beyond it. If it returns an error, reason is the metric's label for it.
func (c *proxyProtoConn) tryReadHeader() (reason string, err error) {
	start := make([]byte, minHeader)
	n, err := io.ReadFull(c.Conn, start)
	start = start[:n]
	isV1, isV2 := bytes.HasPrefix(start, signatureV1), bytes.Equal(start, signatureV2)
	switch trusted := c.protocol.trusted(ipOf(c.Conn.RemoteAddr())); {
	case !trusted && (isV1 || isV2):
		return reasonUntrusted, errors.New("the peer sent a PROXY protocol header, but is not in trusted_proxies")
	case !trusted && (err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		c.buffered = start
		return "", nil
	case err != nil:
		return reasonSilent, fmt.Errorf("waiting for the PROXY protocol header: %w", err)
	case isV1:
		start, err = c.readV1(start)
	case isV2:
		start, err = c.readV2(start)
	default:
		return reasonMissing, errors.New("a trusted proxy sent no PROXY protocol header; enable the PROXY protocol there, or remove the listener from listen.proxy_protocol")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return reasonSilent, fmt.Errorf("waiting for the rest of the PROXY protocol header: %w", err)
	}
	if err == nil {
		err = c.parse(start)
	}
	return reasonMalformed, err
}

// readV1 reads the rest of a header of version 1, byte by byte up to the end of the line.
func (c *proxyProtoConn) readV1(header []byte) ([]byte, error) {
	for next := make([]byte, 1); len(header) < maxHeaderV1; {
		if _, err := io.ReadFull(c.Conn, next); err != nil {
			return nil, err
		}
		if header = append(header, next[0]); next[0] == '\n' {
			return header, nil
		}
	}
	return nil, fmt.Errorf("the PROXY protocol header has more than %d bytes, the most that version 1 allows", maxHeaderV1)
}

// readV2 reads the rest of a header of version 2: four bytes, of which the last two hold the length of what follows.
func (c *proxyProtoConn) readV2(header []byte) ([]byte, error) {
	fixed := make([]byte, 4)
	if _, err := io.ReadFull(c.Conn, fixed); err != nil {
		return nil, asEOF(err)
	}
	length := int(fixed[2])<<8 | int(fixed[3])
	if length > maxHeaderV2 {
		return nil, fmt.Errorf("the PROXY protocol header has %d bytes of addresses and TLVs; at most %d are read", length, maxHeaderV2)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(c.Conn, rest); err != nil {
		return nil, asEOF(err)
	}
	return append(append(header, fixed...), rest...), nil
}

// asEOF returns io.EOF in place of [io.ErrUnexpectedEOF]: both mean that the connection ended.
func asEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// unknownAddr stands for a client whose address the proxy does not know. It is never a trusted proxy.
var unknownAddr = &net.TCPAddr{IP: net.IPv4zero}

// parse sets the client from a complete header.
func (c *proxyProtoConn) parse(text []byte) error {
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text)))
	if err != nil {
		return fmt.Errorf("parsing the PROXY protocol header: %w", err)
	}
	client, isTCP := header.SourceAddr.(*net.TCPAddr)
	switch {
	case header.Version == 1 && header.Command.IsLocal(): // UNKNOWN
		c.client = unknownAddr
	case header.Command.IsLocal(): // LOCAL: a health check by the proxy itself
	case !isTCP || !header.TransportProtocol.IsStream():
		return errors.New("the PROXY protocol header names a client that does not use TCP")
	default:
		c.client = client
	}
	return nil
}

// ipOf returns the IP address of addr, or the unspecified address, which is never trusted, if it has none.
func ipOf(addr net.Addr) netip.Addr {
	parsed, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return parsed.Addr().Unmap().WithZone("")
}
