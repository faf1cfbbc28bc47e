package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"sallyport/audit"
	"sallyport/outbound"
)

// Syslog is a receiver of syslog messages (RFC 5424).
type Syslog struct {
	Address  string `yaml:"address" doc:"host:port"`
	Network  string `yaml:"network" doc:"tls (the default), tcp or udp"`
	Facility string `yaml:"facility" doc:"audit (the default), auth, authpriv, daemon, user, or local0 to local7"`
	Insecure bool   `yaml:"insecure" doc:"whether tcp or udp may lead to another machine, where everybody on the way can read and change what is sent"`
	TLS      `yaml:",inline"`
}

// The networks of syslog.
const (
	networkTLS = "tls"
	networkTCP = "tcp"
	networkUDP = "udp"
)

// facilities are the numbers of facilities (RFC 5424, table 1).
var facilities = map[string]int{"": 13, "audit": 13, "user": 1, "daemon": 3, "auth": 4, "authpriv": 10,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23}

func (s *Syslog) network() string {
	if s.Network == "" {
		return networkTLS
	}
	return s.Network
}

func (s *Syslog) check(fault func(key, problem string)) {
	host, port, err := net.SplitHostPort(s.Address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		fault(".address", fmt.Sprintf("%q is no address; write host:port, such as logs.example.com:6514", s.Address))
	}
	switch network := s.network(); {
	case network != networkTLS && network != networkTCP && network != networkUDP:
		fault(".network", fmt.Sprintf("%q is unknown; write tls, tcp or udp", network))
	case network != networkTLS && s.TLS != (TLS{}):
		fault(".network", "is "+network+", which has no TLS; leave out ca_file, cert_file and key_file, or write tls")
	case network != networkTLS && !s.Insecure && !outbound.IsLocal(host):
		fault(".network", "is "+network+": the record would be sent in the clear; write tls, or insecure: true if the way is protected by other means")
	}
	if _, ok := facilities[s.Facility]; !ok {
		fault(".facility", fmt.Sprintf("%q is unknown; write audit, auth, authpriv, daemon, user, or local0 to local7", s.Facility))
	}
	s.TLS.check(fault)
}

// syslogReceiver sends messages over one connection. Syslog has no acknowledgements: items are accepted once the
// receiver's system has them all and the connection holds for a while after that, in which the receiver reads them.
type syslogReceiver struct {
	settings Syslog
	prefix   string   // of a message, after its time
	conn     net.Conn // nil: dial
	raw      net.Conn // the connection below TLS
	closed   chan struct{}
}

func newSyslogReceiver(s *Syslog) *syslogReceiver {
	host, _ := os.Hostname()
	return &syslogReceiver{settings: *s, prefix: headerField(host, 255) + " sallyport " + strconv.Itoa(os.Getpid())}
}

// headerField returns a field of the header: printable ASCII without blanks, or "-" (RFC 5424, section 6).
func headerField(text string, most int) string {
	if text == "" || len(text) > most {
		return "-"
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return "-"
		}
	}
	return text
}

// syslogTime is the form of TIMESTAMP, which has six digits at most for parts of a second.
const syslogTime = "2006-01-02T15:04:05.000000Z"

// The severities of messages.
const (
	severityWarning = 4
	severityInfo    = 6
)

// severe reports whether an event is more than information: somebody was denied or cut, or something failed.
func severe(e *audit.Event) bool {
	return e.Decision == "deny" || e.Kind == audit.KindCut || e.Kind == audit.KindBreakGlass || e.Reason == "failed" || e.Reason == "refused" || e.Reason == "sink_lost"
}

// message returns an item as a message.
func (s *syslogReceiver) message(i item) []byte {
	severity := severityInfo
	if severe(&i.entry.Event) {
		severity = severityWarning
	}
	m := fmt.Appendf(nil, "<%d>1 %s %s %s - ", 8*facilities[s.settings.Facility]+severity, i.entry.Time.UTC().Format(syslogTime), s.prefix, headerField(string(i.entry.Kind), 32))
	return append(m, i.text...)
}

func (s *syslogReceiver) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		if s.settings.network() != networkUDP {
			<-s.closed
		}
		s.conn = nil
	}
}

// send writes the items, and waits until they have arrived.
func (s *syslogReceiver) send(ctx context.Context, items []item, p pace) (accepted int, err error) {
	if s.settings.network() == networkUDP {
		accepted, err = s.sendDatagrams(ctx, items)
	} else {
		accepted, err = s.sendStream(ctx, items, p)
	}
	if lost := (*lossError)(nil); err != nil && !errors.As(err, &lost) {
		s.close()
	}
	return accepted, err
}

// maxDatagram is the longest message of UDP, in bytes.
const maxDatagram = 65507

// sendDatagrams sends a datagram for each item (RFC 5426). Nobody can tell whether it arrives.
func (s *syslogReceiver) sendDatagrams(ctx context.Context, items []item) (accepted int, err error) {
	if err := s.dial(ctx); err != nil {
		return 0, err
	}
	for n, i := range items {
		m := s.message(i)
		if len(m) > maxDatagram {
			return n, &lossError{errors.New("it is too long for UDP; use tls or tcp"), 0}
		}
		_, err := s.conn.Write(m)
		if errors.Is(err, syscall.EMSGSIZE) {
			return n, &lossError{errors.New("it is too long for UDP; use tls or tcp"), 0}
		}
		if err != nil {
			return n, err
		}
	}
	return len(items), nil
}

// sendStream sends frames that begin with their length (RFC 5425, RFC 6587).
func (s *syslogReceiver) sendStream(ctx context.Context, items []item, p pace) (accepted int, err error) {
	if err := s.dial(ctx); err != nil {
		return 0, err
	}
	var frames []byte
	for _, i := range items {
		m := s.message(i)
		frames = append(strconv.AppendInt(frames, int64(len(m)), 10), ' ')
		frames = append(frames, m...)
	}
	defer context.AfterFunc(ctx, interrupt(s.raw))()
	if _, err = s.conn.Write(frames); err != nil {
		err = fmt.Errorf("writing to the receiver: %w", err)
	} else {
		err = s.settle(ctx, p)
	}
	switch {
	case err == nil:
		return len(items), nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return 0, &retryError{error: err, smaller: true, slow: true}
	}
	return 0, err
}

// settle waits until the receiver's system has acknowledged what was written, and then whether the connection holds.
func (s *syslogReceiver) settle(ctx context.Context, p pace) error {
	settled := time.NewTimer(p.settle)
	defer settled.Stop()
	tick := time.NewTicker(max(p.settle/20, time.Millisecond))
	defer tick.Stop()
	arrived := false
	for {
		select {
		case <-ctx.Done():
			return errors.New("the receiver does not read what is sent to it")
		case <-s.closed:
			return errors.New("the receiver closed the connection; what it may not have read is sent again")
		case <-settled.C:
			if arrived {
				return nil
			}
			settled.Reset(p.settle)
		case <-tick.C:
			if left, known := unacknowledged(s.raw); !arrived && (!known || left == 0) {
				arrived = true
				settled.Reset(p.settle)
			}
		}
	}
}

// dial connects, if there is no connection, with the files as they are now.
func (s *syslogReceiver) dial(ctx context.Context) error {
	if s.conn != nil {
		select {
		case <-s.closed:
			s.close()
		default:
			return s.deadline(ctx)
		}
	}
	network := s.settings.network()
	if network == networkTLS {
		network = networkTCP
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, s.settings.Address)
	if err != nil {
		return err
	}
	s.raw, s.conn = conn, conn
	if s.settings.network() == networkTLS {
		if s.conn, err = s.handshake(ctx, conn); err != nil {
			_ = conn.Close()
			s.conn = nil
			return err
		}
	}
	s.closed = make(chan struct{})
	if network == networkUDP {
		return s.deadline(ctx)
	}
	go watch(s.conn, s.closed)
	return s.deadline(ctx)
}

func (s *syslogReceiver) deadline(ctx context.Context) error {
	at, _ := ctx.Deadline()
	return s.conn.SetWriteDeadline(at)
}

// interrupt returns what ends a write to conn.
func interrupt(conn net.Conn) func() {
	return func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) }
}

func (s *syslogReceiver) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config, err := s.settings.TLS.config()
	if err != nil {
		return nil, err
	}
	if config.ServerName, _, err = net.SplitHostPort(s.settings.Address); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	return secure, secure.HandshakeContext(ctx)
}

// watch closes closed when the connection ends. A receiver sends nothing; what it sends nevertheless is not looked at.
func watch(conn net.Conn, closed chan<- struct{}) {
	defer close(closed)
	_, _ = io.Copy(io.Discard, conn)
}
