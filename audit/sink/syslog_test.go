package sink_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/sink"
)

// syslogd is a syslog server. It can be killed, and begin to listen again at its address.
type syslogd struct {
	*collector
	addr   string
	config *tls.Config // nil: without TLS
	limit  int         // messages after which it dies; 0: never

	mu    sync.Mutex // guards what follows
	ln    net.Listener
	conns []net.Conn
	heads []string
}

// listen begins to accept connections.
func (s *syslogd) listen() {
	s.t.Helper()
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	must(s.t, err)
	s.mu.Lock()
	s.ln, s.addr = ln, ln.Addr().String()
	s.mu.Unlock()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if s.config != nil {
				conn = tls.Server(conn, s.config)
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			go s.serve(conn)
		}
	}()
}

// kill closes everything, as the end of a process does.
func (s *syslogd) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ln.Close()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// header is the part of a message before the line (RFC 5424, section 6).
var header = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) sallyport (\d+) ([a-z]+) - $`)

func (s *syslogd) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for n := 1; ; n++ {
		length, err := in.ReadString(' ')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || size > 1<<20 {
			s.t.Errorf("a frame begins with %q", length)
			return
		}
		m := make([]byte, size)
		if _, err := io.ReadFull(in, m); err != nil {
			return
		}
		s.take(m)
		s.mu.Lock()
		dies := s.limit > 0 && n >= s.limit
		s.mu.Unlock()
		if dies {
			return
		}
	}
}

// take checks a message and adds its line.
func (s *syslogd) take(m []byte) {
	i := strings.IndexByte(string(m), '{')
	if i < 0 || !header.Match(m[:i]) {
		s.t.Errorf("a message is %.200q", m)
		return
	}
	s.mu.Lock()
	s.heads = append(s.heads, string(m[:i]))
	s.mu.Unlock()
	s.add(append(m[i:], '\n'))
}

func (s *syslogd) settings() sink.Settings {
	return sink.Settings{Name: "central", From: "start", Syslog: &sink.Syslog{Address: s.addr, Network: "tcp"}}
}

// TestSyslog_LosesNothing: a receiver that dies in the middle again and again gets every line once it lives.
func TestSyslog_LosesNothing(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", secure), func(t *testing.T) {
			t.Parallel()
			r, to := newRecord(t), &syslogd{collector: &collector{t: t}, limit: 3}
			settings := func() sink.Settings { return to.settings() }
			if secure {
				ca := newAuthority(t)
				pair, err := tls.X509KeyPair(ca.issue("127.0.0.1"))
				must(t, err)
				to.config = &tls.Config{Certificates: []tls.Certificate{pair}}
				file := filepath.Join(t.TempDir(), "ca.pem")
				must(t, os.WriteFile(file, ca.pem, 0o600))
				settings = func() sink.Settings {
					s := to.settings()
					s.Syslog.Network, s.Syslog.CAFile = "", file
					return s
				}
			}
			to.listen()
			defer to.kill()
			s := r.startWith(func(s *sink.Sinks) { s.LongSettle(); s.Batches(8) }, settings())
			r.write(10)
			eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") >= 2 })
			to.kill()
			r.write(10)
			before := s.metric(t, "failed_attempts_total")
			eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") >= before+2 })
			to.mu.Lock()
			to.limit = 0
			to.mu.Unlock()
			to.listen()
			to.await(r)
			eventually(t, "there is no lag", func() bool { return s.metric(t, "lag_lines") == 0 })
			if lost := s.metric(t, "lost_lines_total"); lost != 0 {
				t.Errorf("%v lines are lost", lost)
			}
			to.mu.Lock()
			defer to.mu.Unlock()
			if m := header.FindStringSubmatch(to.heads[0]); m[1] != strconv.Itoa(13*8+6) || m[4] != strconv.Itoa(os.Getpid()) || m[5] != "login" {
				t.Errorf("the header is %q", to.heads[0])
			}
		})
	}
}

// TestSyslog_SeesTheEndOfAConnection: a connection that the receiver closed while nothing was sent takes nothing with it.
func TestSyslog_SeesTheEndOfAConnection(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), &syslogd{collector: &collector{t: t}}
	to.listen()
	r.start(to.settings())
	for range 5 {
		r.write(2)
		to.await(r)
		to.kill()
		to.listen()
	}
	to.kill()
}

// TestSyslog_OfReceiverThatDoesNotRead: what a receiver does not read is not taken for accepted.
func TestSyslog_OfReceiverThatDoesNotRead(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), &syslogd{collector: &collector{t: t}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	to.addr = ln.Addr().String()
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				close(conns)
				return
			}
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			conns <- conn
		}
	}()
	large := strings.Repeat("x", 60<<10)
	for range 150 { // more than the buffers of both systems hold
		must(t, r.log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, Reason: "signed_in", User: fmt.Sprintf("u%d", r.written), Path: "/" + large}))
		r.written++
	}
	must(t, r.log.Checkpoint())
	s := r.startWith(func(s *sink.Sinks) { s.ShortAttempts(); s.BatchBytes(20 << 20) }, to.settings())
	eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") >= 1 })
	if sent := s.metric(t, "lag_lines"); sent != 150 {
		t.Errorf("the lag is %v lines", sent)
	}
	must(t, ln.Close())
	for conn := range conns {
		_ = conn.Close()
	}
	to.listen()
	to.await(r)
	to.kill()
}

// TestSyslog_ByDatagrams sends each line as a datagram, and counts one that is too long as lost.
func TestSyslog_ByDatagrams(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), &syslogd{collector: &collector{t: t}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer conn.Close()
	to.addr = conn.LocalAddr().String()
	go func() {
		buf := make([]byte, 1<<17)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			to.take(append([]byte(nil), buf[:n]...))
		}
	}()
	settings := to.settings()
	settings.Syslog.Network, settings.Syslog.Facility = "udp", "local3"
	s := r.start(settings)
	r.write(3)
	must(t, r.log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, Reason: "no_rule", Decision: "deny", Path: strings.Repeat("x", 70<<10)}))
	must(t, r.log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, Reason: "no_rule", Decision: "deny"}))
	must(t, r.log.Checkpoint())
	eventually(t, "there is no lag", func() bool { return s.metric(t, "lag_lines") == 0 })
	eventually(t, "the datagrams arrive", func() bool { return len(to.all()) >= 5 })
	got := to.all()
	if lost := s.metric(t, "lost_lines_total"); lost != 1 || got[3].Seq != 5 || got[4].Reason != "sink_lost" || got[4].Detail["first"] != "4" {
		t.Errorf("%v lines are lost; got %+v", lost, got[3:])
	}
	if m := header.FindStringSubmatch(to.heads[3]); m[1] != strconv.Itoa(19*8+4) {
		t.Errorf("the header of a denial is %q", to.heads[3])
	}
}
