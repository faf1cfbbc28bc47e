package sink_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/audit/sink"
	"sallyport/outbound"
)

// record is an audit record that sinks follow.
type record struct {
	t       *testing.T
	path    string
	log     *audit.Log
	written int // events about users
	stopLog func()
}

func newRecord(t *testing.T) *record {
	t.Helper()
	r := &record{t: t, path: filepath.Join(t.TempDir(), "audit.jsonl")}
	r.open()
	t.Cleanup(func() {
		r.close()
		audittest.CheckRecord(t, r.path)
	})
	return r
}

func (r *record) open() {
	l, err := audit.Open(r.path)
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	r.log, r.stopLog = l, func() { cancel(); <-ended }
}

func (r *record) close() {
	r.stopLog()
	must(r.t, r.log.Close())
}

// write records events about users, the number after the other, and forces them to the disk.
func (r *record) write(n int) {
	r.t.Helper()
	for range n {
		must(r.t, r.log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, Reason: "signed_in", Decision: "allow", User: fmt.Sprintf("u%d", r.written)}))
		r.written++
	}
	must(r.t, r.log.Checkpoint())
}

// sinks is what a server runs, until stop is called.
type sinks struct {
	*sink.Sinks
	log  *lockedBuffer
	stop func()
}

// start runs sinks as a server does.
func (r *record) start(settings ...sink.Settings) *sinks {
	r.t.Helper()
	return r.startWith(func(*sink.Sinks) {}, settings...)
}

func (r *record) startWith(change func(*sink.Sinks), settings ...sink.Settings) *sinks {
	r.t.Helper()
	log := new(lockedBuffer)
	s, err := sink.Open(settings, r.path, r.log, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	must(r.t, err)
	s.Hasten()
	change(s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-ended })
	r.t.Cleanup(stop)
	return &sinks{s, log, stop}
}

// metric returns the value of a metric of the only sink.
func (s *sinks) metric(t *testing.T, name string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == "sallyport_audit_sink_"+name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 20 seconds", what)
		}
	}
}

// collector keeps the lines that a receiver accepted.
type collector struct {
	t     *testing.T
	mu    sync.Mutex // guards lines
	lines []audit.Line
}

func (c *collector) add(text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(text) {
		l, err := audit.ParseLine(line)
		if err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			c.t.Errorf("a line is %.200q: %v", line, err)
		}
		c.lines = append(c.lines, l)
	}
}

// all returns the lines.
func (c *collector) all() []audit.Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]audit.Line(nil), c.lines...)
}

// await waits until everybody who was written about has arrived, and demands the order: a line comes again only after an
// attempt of which the sink cannot know that it was accepted.
func (c *collector) await(r *record) {
	c.t.Helper()
	last := fmt.Sprintf("u%d", r.written-1)
	eventually(c.t, "everything arrives", func() bool {
		lines := c.all()
		for _, l := range lines {
			if l.User == last {
				return true
			}
		}
		return false
	})
	c.demandAll(r)
}

func (c *collector) demandAll(r *record) {
	c.t.Helper()
	seen, next := map[uint64]bool{}, uint64(0)
	users := 0
	for _, l := range c.all() {
		switch {
		case seen[l.Seq]:
			continue
		case next != 0 && l.Seq != next:
			c.t.Errorf("line %d comes where line %d is expected", l.Seq, next)
		}
		seen[l.Seq], next = true, l.Seq+1
		if l.User != "" {
			users++
		}
	}
	if users != r.written {
		c.t.Errorf("%d events arrived of %d", users, r.written)
	}
}

// siem is a receiver that speaks HTTP.
type siem struct {
	*collector
	*httptest.Server
	mu      sync.Mutex // guards respond
	respond func(w http.ResponseWriter, r *http.Request) (accepts bool)
}

func newSIEM(t *testing.T) *siem {
	t.Helper()
	s := &siem{collector: &collector{t: t}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// be has the receiver respond in another way; nil accepts everything.
func (s *siem) be(respond func(w http.ResponseWriter, r *http.Request) (accepts bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.respond = respond
}

func (s *siem) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	respond := s.respond
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if respond != nil && !respond(w, r) {
		return
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			s.t.Error(err)
		}
	}
	s.add(body)
}

func (s *siem) settings() sink.Settings {
	return sink.Settings{Name: "siem", From: "start", HTTPS: &sink.HTTPS{Endpoint: sink.Endpoint{URL: outbound.URL(s.URL + "/ingest?key=hunter2")}}}
}

// status refuses everything.
func status(code int, header ...string) func(w http.ResponseWriter, _ *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(code)
		return false
	}
}

// TestHTTPS_LosesNothing: whatever a receiver does for a while, every line arrives in order, and nobody who writes the
// record waits for it.
func TestHTTPS_LosesNothing(t *testing.T) {
	for name, respond := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"forbidden":       status(403),
		"bad request":     status(400, "Content-Type", "text/plain"),
		"unprocessable":   status(422),
		"gone":            status(410),
		"unavailable":     status(503, "Retry-After", "0"),
		"odd retry after": status(429, "Retry-After", "soon"),
		"redirect":        status(307, "Location", "https://elsewhere.test/"),
		"not modified":    status(304),
		"switching":       status(101, "Upgrade", "ndjson"),
		"no response": func(http.ResponseWriter, *http.Request) bool {
			panic(http.ErrAbortHandler)
		},
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "220 mail.test ESMTP hunter2\r\n")
				_ = conn.Close()
			}
			return false
		},
		"large header": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-Large", strings.Repeat("x", 64<<10))
			return false
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, to := newRecord(t), newSIEM(t)
			to.be(respond)
			s := r.startWith(func(s *sink.Sinks) {
				if name == "slow" {
					s.ShortAttempts()
				}
			}, to.settings())
			r.write(5)
			eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") >= 2 })
			r.write(5)
			if lines, age := s.metric(t, "lag_lines"), s.metric(t, "lag_seconds"); lines != 10 || age <= 0 {
				t.Errorf("the lag is %v lines and %v seconds", lines, age)
			}
			to.be(nil)
			to.await(r)
			eventually(t, "there is no lag", func() bool { return s.metric(t, "lag_lines")+s.metric(t, "lag_seconds") == 0 })
			s.stop()
			if sent, lost := s.metric(t, "sent_lines_total"), s.metric(t, "lost_lines_total"); sent != 10 || lost != 0 {
				t.Errorf("%v lines were sent, %v lost", sent, lost)
			}
			if log := s.log.String(); strings.Contains(log, "hunter2") || !strings.Contains(log, "cannot be sent") || !strings.Contains(log, "sent to a sink again") {
				t.Errorf("the log says\n%s", log)
			}
		})
	}
}

// TestHTTPS_WaitsAsAsked: after Retry-After, no attempt is made before its time.
func TestHTTPS_WaitsAsAsked(t *testing.T) {
	r, to := newRecord(t), newSIEM(t)
	to.be(status(429, "Retry-After", "3000"))
	s := r.start(to.settings())
	r.write(1)
	eventually(t, "an attempt fails", func() bool { return s.metric(t, "failed_attempts_total") >= 1 })
	to.be(nil)
	s.stop()
	if failed := s.metric(t, "failed_attempts_total"); failed != 1 || len(to.all()) != 0 {
		t.Errorf("%v attempts failed, %d lines were sent", failed, len(to.all()))
	}
}

// TestHTTPS_HalvesBatches: a batch that is too large for the receiver is sent in parts.
func TestHTTPS_HalvesBatches(t *testing.T) {
	r, to := newRecord(t), newSIEM(t)
	to.be(func(w http.ResponseWriter, req *http.Request) bool {
		if req.ContentLength > 1000 {
			return status(413)(w, req)
		}
		return true
	})
	r.write(40)
	s := r.start(to.settings())
	to.await(r)
	if lost := s.metric(t, "lost_lines_total"); lost != 0 {
		t.Errorf("%v lines are lost", lost)
	}
}

// TestHTTPS_NamesTheLineThatIsRefused: a line that the receiver does not accept keeps back none before it, the log names it, and
// batches grow again once it is accepted.
func TestHTTPS_NamesTheLineThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 413, 422} {
		r, to := newRecord(t), newSIEM(t)
		to.be(func(w http.ResponseWriter, req *http.Request) bool {
			body, err := io.ReadAll(req.Body)
			must(t, err)
			if bytes.Contains(body, []byte(`"u7"`)) {
				return status(code)(w, req)
			}
			return true
		})
		r.write(40)
		s := r.start(to.settings())
		eventually(t, "the lines before it arrive, and the log names it", func() bool {
			return len(to.all()) == 7 && strings.Contains(s.log.String(), fmt.Sprintf("err=\"the receiver responded with %d %s\" first=8 lines=1\n", code, http.StatusText(code)))
		})
		var batches atomic.Int64
		to.be(func(http.ResponseWriter, *http.Request) bool { batches.Add(1); return true })
		to.await(r)
		if n := batches.Load(); n > 12 {
			t.Errorf("after %d, 33 lines are sent in %d batches", code, n)
		}
	}
}

// TestHTTPS_OfSlowReceiver: a receiver that takes longer for a batch than an attempt may last gets smaller ones.
func TestHTTPS_OfSlowReceiver(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), newSIEM(t)
	to.be(func(_ http.ResponseWriter, req *http.Request) bool {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return false
		}
		select {
		case <-time.After(time.Duration(bytes.Count(body, []byte("\n"))) * 10 * time.Millisecond):
			return true
		case <-req.Context().Done():
			return false
		}
	})
	r.write(150)
	s := r.startWith((*sink.Sinks).ShortAttempts, to.settings())
	to.await(r)
	if failed := s.metric(t, "failed_attempts_total"); failed < 1 {
		t.Errorf("%v attempts failed", failed)
	}
}

// TestHTTPS_SendsWhatIsConfigured: credentials, compression and content type; the credentials are read again for each
// batch.
func TestHTTPS_SendsWhatIsConfigured(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	for name, c := range map[string]struct {
		endpoint    sink.Endpoint
		first, then string
	}{
		"bearer": {sink.Endpoint{BearerFile: token, Gzip: true}, "Bearer one:1", "Bearer two:2"},
		"basic":  {sink.Endpoint{BasicFile: token}, "Basic b25lOjE=", "Basic dHdvOjI="},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(token, []byte("one:1\n"), 0o600))
			r, to := newRecord(t), newSIEM(t)
			var mu sync.Mutex
			got := http.Header{}
			to.be(func(_ http.ResponseWriter, req *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				got = req.Header.Clone()
				return true
			})
			settings := to.settings()
			c.endpoint.URL = settings.HTTPS.URL
			settings.HTTPS.Endpoint = c.endpoint
			r.start(settings)
			demand := func(authorization string) {
				t.Helper()
				r.write(3)
				to.await(r)
				mu.Lock()
				defer mu.Unlock()
				if got.Get("Authorization") != authorization || got.Get("Content-Type") != "application/x-ndjson" || (got.Get("Content-Encoding") == "gzip") != c.endpoint.Gzip {
					t.Errorf("the header is %v", got)
				}
			}
			demand(c.first)
			must(t, os.WriteFile(token, []byte("two:2"), 0o600))
			demand(c.then)
			must(t, os.Remove(token))
			r.write(1) // cannot be sent without credentials
			must(t, os.WriteFile(token, []byte("one:1"), 0o600))
			demand(c.first)
		})
	}
}

// TestHTTPS_DemandsTrust: nothing is sent to a receiver whose certificate nobody trusts, or that does not trust ours; what was
// mended in the files is seen without a restart.
func TestHTTPS_DemandsTrust(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, other := newAuthority(t), newAuthority(t)
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, text, 0o600))
		return path
	}
	r, to := newRecord(t), &siem{collector: &collector{t: t}}
	to.Server = httptest.NewUnstartedServer(to)
	pair, err := tls.X509KeyPair(ca.issue("127.0.0.1"))
	must(t, err)
	to.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}
	to.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	to.StartTLS()
	defer to.Close()
	settings := to.settings()
	certificate, key := other.issue("sallyport")
	settings.HTTPS.TLS = sink.TLS{CAFile: write("ca.pem", other.pem), CertFile: write("tls.crt", certificate), KeyFile: write("tls.key", key)}
	s := r.start(settings)
	r.write(3)
	demandFailing := func(text string) {
		t.Helper()
		before := s.metric(t, "failed_attempts_total")
		eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") >= before+2 })
		if !strings.Contains(s.log.String(), text) || len(to.all()) > 0 {
			t.Errorf("%d lines arrived; the log says\n%s", len(to.all()), s.log)
		}
	}
	demandFailing("unknown authority")
	write("ca.pem", ca.pem)
	demandFailing("tls: ")
	certificate, key = ca.issue("sallyport")
	write("tls.crt", certificate)
	write("tls.key", key)
	to.await(r)
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	a := &authority{t: t, key: key, cert: cert, pool: x509.NewCertPool(), pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.pool.AddCert(cert)
	return a
}

// issue returns a certificate for a name or an address, and its key.
func (a *authority) issue(name string) (certificate, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	must(a.t, err)
	text, err := x509.MarshalPKCS8PrivateKey(private)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// TestSink_GoesOnAfterRestart: a sink that stops, or is killed at any time, sends again at most what was not acknowledged.
func TestSink_GoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), newSIEM(t)
	for i := range 5 {
		s := r.startWith(func(s *sink.Sinks) { s.Batches(2) }, to.settings())
		r.write(7)
		if i%2 == 0 { // down when it stops
			to.be(status(500))
			r.write(4)
			eventually(t, "an attempt fails", func() bool { return s.metric(t, "failed_attempts_total") > 0 })
			s.stop()
			to.be(nil)
		} else {
			s.stop()
			to.await(r) // it sends the rest when it stops
		}
		r.close()
		r.open()
	}
	r.start(to.settings())
	r.write(1)
	to.await(r)
	if lines := to.all(); len(lines) > r.written+r.written/4 {
		t.Errorf("%d events arrived as %d lines", r.written, len(lines))
	}
}

// TestSink_SendsAgainAfterCrash: a batch of which the acknowledgement was not saved arrives twice, and nothing else.
func TestSink_SendsAgainAfterCrash(t *testing.T) {
	r, to := newRecord(t), newSIEM(t)
	r.write(6)
	s := r.start(to.settings())
	to.await(r)
	s.stop()
	cursor := r.path + ".siem.cursor"
	saved, err := os.ReadFile(cursor)
	must(t, err)
	s = r.start(to.settings())
	r.write(2)
	to.await(r)
	s.stop()
	must(t, os.WriteFile(cursor, saved, 0o600)) // as if it had not been saved
	must(t, os.WriteFile(cursor+".new", []byte("{"), 0o600))
	r.start(to.settings())
	r.write(2)
	to.await(r)
	if lines := to.all(); len(lines) != 12 {
		t.Errorf("%d events arrived as %d lines", r.written, len(lines))
	}
}

// TestSink_Begins: a new sink begins at the end of the record unless its settings say otherwise; one whose cursor is damaged
// sends everything again.
func TestSink_Begins(t *testing.T) {
	for name, c := range map[string]struct {
		from, cursor string
		want         int
		log          string
	}{
		"at the end":    {"", "", 2, "begins with what is recorded from now on"},
		"end":           {"end", "", 2, "begins with what is recorded from now on"},
		"at the start":  {"start", "", 5, "begins with the first line"},
		"damaged":       {"", "{\"line\":", 5, "sends the whole record again"},
		"negative":      {"", `{"first":1,"offset":-5,"line":3,"hash":"aa"}`, 5, "sends the whole record again"},
		"of another":    {"", `{"first":1,"offset":5,"line":3,"hash":"aa"}`, 5, "the record is not the one"},
		"empty":         {"", " ", 5, "sends the whole record again"},
		"unknown field": {"", `{"first":1,"offset":5,"line":3,"hash":"aa","key":1}`, 5, "sends the whole record again"},
	} {
		t.Run(name, func(t *testing.T) {
			r, to := newRecord(t), newSIEM(t)
			r.write(3)
			if c.cursor != "" {
				must(t, os.WriteFile(r.path+".siem.cursor", []byte(c.cursor), 0o600))
			}
			settings := to.settings()
			settings.From = c.from
			s := r.start(settings)
			s.stop() // before anything was recorded: it must not begin anew
			s2 := r.start(settings)
			r.write(2)
			eventually(t, "the lines arrive", func() bool { return len(to.all()) >= c.want })
			s2.stop()
			if got := len(to.all()); got != c.want || !strings.Contains(s.log.String(), c.log) {
				t.Errorf("%d lines arrived; the log says\n%s", got, s.log)
			}
		})
	}
}

// TestSink_OfKinds: a sink gets the kinds that it is for.
func TestSink_OfKinds(t *testing.T) {
	r, to := newRecord(t), newSIEM(t)
	settings := to.settings()
	settings.Kinds = []audit.Kind{audit.KindLogout}
	s := r.start(settings)
	r.write(5)
	must(t, r.log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogout, Reason: "logout", User: "ada"}))
	must(t, r.log.Checkpoint())
	eventually(t, "there is no lag", func() bool { return s.metric(t, "lag_lines") == 0 })
	s.stop()
	if lines := to.all(); len(lines) != 1 || lines[0].User != "ada" {
		t.Errorf("got %+v", lines)
	}
}

// TestSink_RecordsLoss: lines whose file was deleted before they were sent are counted, logged and recorded, and the rest
// is sent.
func TestSink_RecordsLoss(t *testing.T) {
	t.Parallel()
	r, to := newRecord(t), newSIEM(t)
	to.be(status(500))
	r.write(3)
	s := r.start(to.settings())
	eventually(t, "an attempt fails", func() bool { return s.metric(t, "failed_attempts_total") > 0 })
	s.stop()
	r.close()
	text, err := os.ReadFile(r.path) // as if the lines had been in a file that was deleted
	must(t, err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	first, err := audit.ParseLine(lines[0])
	must(t, err)
	must(t, os.WriteFile(r.path+".siem.cursor", fmt.Appendf(nil, `{"first":1,"offset":%d,"line":1,"hash":%q}`, len(lines[0]), first.Hash), 0o600))
	must(t, os.Remove(r.path))
	l, err := audit.Resume(r.path, audit.Mark{First: 1, Offset: int64(len(text)), Line: 3, Hash: lastHash(t, lines[2])})
	must(t, err)
	must(t, l.Close())
	r.open()
	to.be(nil)
	s = r.start(to.settings())
	r.write(1)
	eventually(t, "the line arrives", func() bool { return len(to.all()) >= 3 })
	got := to.all()
	if lost := s.metric(t, "lost_lines_total"); lost != 2 || got[0].Reason != "begun" || got[1].User != "u3" {
		t.Errorf("%v lines are lost; got %+v", lost, got)
	}
	if e := got[2]; e.Reason != "sink_lost" || e.Detail["sink"] != "siem" || e.Detail["first"] != "2" || e.Detail["last"] != "3" {
		t.Errorf("recorded: %+v", e)
	}
}

func lastHash(t *testing.T, line []byte) string {
	t.Helper()
	l, err := audit.ParseLine(line)
	must(t, err)
	return l.Hash
}

// TestFile_Appends: lines are appended whole, to the file that is at the path, whatever happened to it.
func TestFile_Appends(t *testing.T) {
	t.Parallel()
	r := newRecord(t)
	dir := filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "copy.jsonl")
	settings := sink.Settings{Name: "copy", From: "start", File: &sink.File{Path: path}}
	lines := func() (all []audit.Line, rest string) {
		text, _ := os.ReadFile(path)
		for line := range bytes.Lines(text) {
			if l, err := audit.ParseLine(line); err == nil {
				all = append(all, l)
			} else {
				rest += string(line)
			}
		}
		return all, rest
	}
	await := func(n int) {
		t.Helper()
		eventually(t, "the lines are in the file", func() bool { all, _ := lines(); return len(all) == n })
	}
	s := r.start(settings)
	r.write(3)
	await(3)
	must(t, os.Rename(path, path+".1"))
	r.write(2)
	await(2)
	must(t, os.Truncate(path, 0)) // as copytruncate does
	r.write(2)
	await(2)
	s.stop()
	whole, err := os.ReadFile(path)
	must(t, err)
	r.write(1)
	text, err := os.ReadFile(r.path)
	must(t, err)
	newest := text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:]
	for torn, want := range map[string]string{string(newest[:40]): "", "{\"another": "{\"another\n", "": ""} { // as a crash left the end of the file
		must(t, os.WriteFile(path, append(bytes.Clone(whole), torn...), 0o600))
		saved, err := os.ReadFile(r.path + ".copy.cursor")
		must(t, err)
		s := r.start(settings)
		await(3)
		s.stop()
		if _, rest := lines(); rest != want {
			t.Errorf("after %q, the file has %q", torn, rest)
		}
		must(t, os.WriteFile(r.path+".copy.cursor", saved, 0o600))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o700)) // nothing can be written there
	s = r.start(settings)
	eventually(t, "attempts fail", func() bool { return s.metric(t, "failed_attempts_total") > 1 })
	must(t, os.Remove(path))
	r.write(1)
	await(2)
}

// TestCollectors_AreSound: the metrics have series from the start, and pass the linter.
func TestCollectors_AreSound(t *testing.T) {
	r := newRecord(t)
	s := r.start(sink.Settings{Name: "copy", File: &sink.File{Path: filepath.Join(t.TempDir(), "copy")}})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	problems, err := testutil.GatherAndLint(reg)
	if n, _ := testutil.GatherAndCount(reg); n != 5 || err != nil || len(problems) > 0 {
		t.Errorf("%d series, %v, %v", n, problems, err)
	}
}

// TestSink_InOCSF: lines can be sent as events of OCSF.
func TestSink_InOCSF(t *testing.T) {
	r := newRecord(t)
	path := filepath.Join(t.TempDir(), "ocsf.jsonl")
	r.write(2)
	s := r.start(sink.Settings{Name: "copy", From: "start", Format: "ocsf", File: &sink.File{Path: path}})
	eventually(t, "there is no lag", func() bool { return s.metric(t, "lag_lines") == 0 })
	s.stop()
	text, err := os.ReadFile(path)
	must(t, err)
	if lines := strings.Split(string(text), "\n"); len(lines) != 3 || !strings.Contains(lines[1], `"class_uid":3002`) || !strings.Contains(lines[1], `"sequence":2`) {
		t.Errorf("the file is\n%s", text)
	}
}
