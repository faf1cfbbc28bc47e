package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/outbound"
	"sallyport/webhook"
)

// posted is a request that a receiver got.
type posted struct {
	when   time.Time
	path   string
	header http.Header
	body   string
}

// receiver records what it gets, and responds by respond; nil: with 204.
type receiver struct {
	respond http.HandlerFunc

	mu  sync.Mutex
	got []posted
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, posted{time.Now(), req.URL.Path, req.Header, string(body)})
	r.mu.Unlock()
	if r.respond == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.respond(w, req)
}

func (r *receiver) all() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]posted(nil), r.got...)
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// stage is a running sender, inside a bubble of synctest or not.
type stage struct {
	*webhook.Sender
	t    *testing.T
	log  *lockedBuffer
	stop func() // waits until Run has returned
}

func newStage(t *testing.T) *stage {
	t.Helper()
	log := &lockedBuffer{}
	return &stage{Sender: webhook.New(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))), t: t, log: log}
}

func (s *stage) use(all ...webhook.Settings) {
	s.t.Helper()
	opened, err := s.Open(all)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Use(opened)
}

func (s *stage) run() {
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			s.t.Errorf("Run returns %v", err)
		}
	})
	s.t.Cleanup(s.stop)
}

// demandResults compares the metric of deliveries: delivered, retried, abandoned, dropped.
func (s *stage) demandResults(want ...float64) {
	s.t.Helper()
	counters := s.Collectors()[0].(*prometheus.CounterVec)
	for i, result := range []string{"delivered", "retried", "abandoned", "dropped"} {
		if got := testutil.ToFloat64(counters.WithLabelValues(result)); got != want[i] {
			s.t.Errorf("%s is %v, want %v", result, got, want[i])
		}
	}
}

func (s *stage) waiting() float64 { return testutil.ToFloat64(s.Collectors()[1]) }

// network connects a sender to handlers by their port, inside a bubble of synctest. A port without a handler refuses
// connections.
type network struct {
	mu    sync.Mutex
	ports map[string]chan net.Conn
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	accept := n.ports[port]
	n.mu.Unlock()
	if accept == nil {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	select {
	case accept <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.close(); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// serve serves handler at a port until the test ends.
func (n *network) serve(t *testing.T, port string, handler http.Handler) {
	done := make(chan struct{})
	l := &pipeListener{make(chan net.Conn), done, sync.OnceFunc(func() { close(done) })}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports == nil {
		n.ports = map[string]chan net.Conn{}
	}
	n.ports[port] = l.conns
	server := &http.Server{Handler: handler}
	server.SetKeepAlivesEnabled(false)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

// bubble runs f in a bubble of synctest, with a sender that reaches the network.
func bubble(t *testing.T, f func(t *testing.T, s *stage, n *network, at func(port string) webhook.Settings)) {
	secret := writeSecret(t, referenceSecret)
	synctest.Test(t, func(t *testing.T) {
		s, n := newStage(t), &network{}
		s.SetDial(n.dial)
		f(t, s, n, func(port string) webhook.Settings {
			return webhook.Settings{Name: "n" + port, URL: outbound.URL("http://localhost:" + port + "/hidden"), SecretFile: secret}
		})
		if s.stop != nil {
			s.stop()
		}
		if strings.Contains(s.log.String(), "hidden") {
			t.Errorf("the log shows the address:\n%s", s.log)
		}
	})
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// stall never responds.
func stall(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// echo sends back the address, in what is not HTTP.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+r.URL.Path+"\r\n\r\n")
		_ = conn.Close()
	}
}

// tlsReceiver serves r over TLS, and returns settings that reach it.
func tlsReceiver(t *testing.T, r http.Handler) webhook.Settings {
	t.Helper()
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return webhook.Settings{URL: outbound.URL(server.URL + "/hidden"), SecretFile: writeSecret(t, referenceSecret), CAFile: ca}
}

// TestSender_DeliversSigned: an event arrives over TLS, in the form of Standard Webhooks, with a signature that is valid.
func TestSender_DeliversSigned(t *testing.T) {
	r := &receiver{}
	arrived := make(chan struct{}, 1)
	r.respond = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		arrived <- struct{}{}
	}
	s := newStage(t)
	s.use(tlsReceiver(t, r))
	s.run()
	before := time.Now().Add(-time.Second)
	s.Send(webhook.RequestMade, map[string]any{"id": "7", "why": "<b>&"})
	<-arrived
	s.stop()
	got := r.all()[0]
	if err := verify(referenceSecret, got.header, []byte(got.body)); err != nil {
		t.Errorf("verifying gives %v", err)
	}
	var event struct {
		Type      string
		Timestamp time.Time
		Data      map[string]string
	}
	if err := json.Unmarshal([]byte(got.body), &event); err != nil || event.Type != webhook.RequestMade || event.Data["why"] != "<b>&" ||
		event.Timestamp.Before(before) || event.Timestamp.After(time.Now()) {
		t.Errorf("the body is %s, %v", got.body, err)
	}
	if id := got.header.Get("Webhook-Id"); !strings.HasPrefix(id, "msg_") || strings.Contains(id, ".") || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("the headers are %v", got.header)
	}
	s.demandResults(1, 0, 0, 0)
}

// TestSender_TriesAgainLater: a receiver that is down gets the event when it is there again: the same event with the same
// id, at a later time each, with longer and longer waits.
func TestSender_TriesAgainLater(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		s.use(at("1"))
		s.run()
		s.Send(webhook.RequestMade, nil)
		time.Sleep(20 * time.Second)
		r := &receiver{}
		var attempts atomic.Int32
		r.respond = func(w http.ResponseWriter, _ *http.Request) {
			if attempts.Add(1) < 4 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
		n.serve(t, "1", r)
		time.Sleep(12 * time.Hour)
		got := r.all()
		if len(got) != 4 {
			t.Fatalf("there are %d requests, want 4", len(got))
		}
		for i, p := range got[1:] {
			former := got[i]
			if p.header.Get("Webhook-Id") != former.header.Get("Webhook-Id") || p.body != former.body {
				t.Errorf("the event has changed from %v to %v", former, p)
			}
			if p.header.Get("Webhook-Timestamp") == former.header.Get("Webhook-Timestamp") || p.header.Get("Webhook-Signature") == former.header.Get("Webhook-Signature") {
				t.Error("an attempt has the time of the one before")
			}
			if i > 0 && p.when.Sub(former.when) < former.when.Sub(got[i-1].when) {
				t.Errorf("attempt %d comes %s after the one before, which is sooner", i+2, p.when.Sub(former.when))
			}
		}
		if s.waiting() != 0 || !strings.Contains(s.log.String(), "are delivered to a webhook again") {
			t.Errorf("%v events wait; the log is\n%s", s.waiting(), s.log)
		}
	})
}

// TestSender_JudgesResponses: what each response means for the event.
func TestSender_JudgesResponses(t *testing.T) {
	for _, c := range []struct {
		name     string
		respond  http.HandlerFunc
		attempts int // within twelve hours
		results  []float64
	}{
		{"200", status(200), 1, []float64{1, 0, 0, 0}},
		{"299", status(299), 1, []float64{1, 0, 0, 0}},
		{"400", status(400), webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"500", status(500), webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
			webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"redirect_to_nowhere", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/hidden/%zz")
			w.WriteHeader(http.StatusFound)
		}, webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"echo", echo, webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"stalled_body", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			stall(w, r)
		}, 1, []float64{1, 0, 0, 0}},
		{"gone", status(410), 1, []float64{0, 0, 0, 1}},
		{"never", stall, webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, webhook.MaxAttempts, []float64{0, 9, 1, 0}},
		{"huge_header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
			webhook.MaxAttempts, []float64{0, 9, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
				r := &receiver{respond: c.respond}
				n.serve(t, "1", r)
				s.use(at("1"))
				s.run()
				s.Send(webhook.RequestMade, nil)
				time.Sleep(12 * time.Hour)
				for _, p := range r.all() {
					if p.path != "/hidden" {
						t.Errorf("there is a request for %s", p.path)
					}
				}
				if got := len(r.all()); got != c.attempts || s.waiting() != 0 {
					t.Errorf("there are %d attempts, want %d; %v events wait", got, c.attempts, s.waiting())
				}
				s.demandResults(c.results...)
			})
		})
	}
}

// TestSender_GoneUntilReload: after 410, nothing is sent before the settings are put in force again.
func TestSender_GoneUntilReload(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		r := &receiver{respond: status(http.StatusGone)}
		n.serve(t, "1", r)
		s.use(at("1"))
		s.run()
		for range 20 {
			s.Send(webhook.RequestMade, nil)
			synctest.Wait()
		}
		if len(r.all()) != 1 || !strings.Contains(s.log.String(), "410 Gone; a reload enables it again") {
			t.Errorf("there are %d requests; the log is\n%s", len(r.all()), s.log)
		}
		s.demandResults(0, 0, 0, 20)
		r.respond = nil
		if results, err := s.Test(t.Context(), ""); err != nil || !results[0].Delivered || !strings.Contains(results[0].Detail, "until `sallyport reload`") {
			t.Errorf("a test says %+v, %v", results, err)
		}
		s.use(at("1"))
		s.Send(webhook.RequestMade, nil)
		synctest.Wait()
		s.demandResults(1, 0, 0, 20)
	})
}

// TestSender_WaitsAsAsked: Retry-After holds back every event of the endpoint, for an hour at most.
func TestSender_WaitsAsAsked(t *testing.T) {
	for header, want := range map[string]time.Duration{"600": 10 * time.Minute, "86400": time.Hour} {
		t.Run(header, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
				r := &receiver{respond: func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", header)
					w.WriteHeader(http.StatusTooManyRequests)
				}}
				n.serve(t, "1", r)
				s.use(at("1"))
				s.run()
				began := time.Now()
				s.Send(webhook.RequestMade, nil)
				synctest.Wait()
				s.Send(webhook.RequestDecided, nil)
				time.Sleep(want - time.Second)
				if got := len(r.all()); got != 1 {
					t.Errorf("there are %d requests before %s", got, want)
				}
				r.mu.Lock()
				r.respond = nil
				r.mu.Unlock()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := r.all(); len(got) != 3 || got[1].when.Sub(began) != want {
					t.Errorf("there are %d requests", len(got))
				}
			})
		})
	}
}

// TestSender_EndpointsAreIndependent: one that never responds does not delay another, and each gets the events it wants.
func TestSender_EndpointsAreIndependent(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		n.serve(t, "1", &receiver{respond: stall})
		r := &receiver{}
		n.serve(t, "2", r)
		second := at("2")
		second.Events = []string{webhook.RequestDecided}
		s.use(at("1"), second)
		s.run()
		for range 50 {
			s.Send(webhook.RequestDecided, nil)
			s.Send(webhook.RequestMade, nil)
		}
		synctest.Wait()
		if got := len(r.all()); got != 50 {
			t.Errorf("the second gets %d events, want 50", got)
		}
	})
}

// TestSender_QueueIsBounded: Send does not wait for a receiver that stalls; the oldest events are dropped, and the log
// says so once.
func TestSender_QueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		r := &receiver{respond: status(http.StatusServiceUnavailable)}
		n.serve(t, "1", r)
		s.use(at("1"))
		began := time.Now()
		for i := range webhook.MaxQueue + 500 {
			s.Send(webhook.RequestMade, i)
		}
		if took := time.Since(began); took != 0 || s.waiting() != webhook.MaxQueue {
			t.Errorf("sending takes %s, and %v wait", took, s.waiting())
		}
		s.demandResults(0, 0, 0, 500)
		if got := strings.Count(s.log.String(), "is full"); got != 1 {
			t.Errorf("the log says %d times that the queue is full", got)
		}
		r.respond = nil
		s.run()
		synctest.Wait()
		seen := map[string]bool{}
		for _, p := range r.all() {
			seen[p.body[strings.Index(p.body, `"data"`):]] = true
		}
		if len(seen) != webhook.MaxQueue || seen[`"data":499}`] || !seen[`"data":500}`] || !seen[`"data":1499}`] {
			t.Errorf("%d events arrive, of which the oldest should be dropped", len(seen))
		}
	})
}

// TestSender_StormPushesOutNothingElse: of a full queue, the type of which the most events wait loses its oldest.
func TestSender_StormPushesOutNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		r := &receiver{}
		n.serve(t, "1", r)
		s.use(at("1"))
		for i := range 10 {
			s.Send(webhook.RequestMade, i)
		}
		for range 5 * webhook.MaxQueue {
			s.Send(webhook.ConfigRefused, nil)
		}
		for i := range 10 {
			s.Send(webhook.UserOffboarded, i)
		}
		s.run()
		synctest.Wait()
		got := map[string]int{}
		for _, p := range r.all() {
			var event struct{ Type string }
			if err := json.Unmarshal([]byte(p.body), &event); err != nil {
				t.Fatal(err)
			}
			got[event.Type]++
		}
		if got[webhook.RequestMade] != 10 || got[webhook.UserOffboarded] != 10 || got[webhook.ConfigRefused] != webhook.MaxQueue-20 {
			t.Errorf("arrived is %v", got)
		}
	})
}

// TestSender_ReloadMovesWhatWaits: events that wait go to where the webhook of that name now is; those of a webhook that
// was removed, or that no longer wants them, are given up.
func TestSender_ReloadMovesWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		r := &receiver{}
		n.serve(t, "2", r)
		moving, removed := at("1"), at("3")
		s.use(moving, removed)
		s.run()
		s.Send(webhook.RequestMade, nil)
		s.Send(webhook.RequestDecided, nil)
		synctest.Wait()
		moving.URL, moving.Events = "http://localhost:2/hidden", []string{webhook.RequestMade}
		s.use(moving)
		time.Sleep(time.Hour)
		if got := r.all(); len(got) != 1 || !strings.Contains(got[0].body, webhook.RequestMade) {
			t.Errorf("after the reload, there are the requests %v", got)
		}
		s.demandResults(1, 4, 0, 3)
		if s.use(); s.waiting() != 0 {
			t.Errorf("%v events wait for no webhook", s.waiting())
		}
		s.Send(webhook.RequestMade, nil)
	})
}

// TestSender_StopTriesOnceMore: what waits for a later attempt is tried again when the server stops; what still fails is
// logged as lost, and a receiver that stalls does not hold the server up.
func TestSender_StopTriesOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		s.use(at("1"), at("2"), at("3"))
		s.run()
		n.serve(t, "3", &receiver{respond: stall})
		for range 10 {
			s.Send(webhook.RequestMade, nil)
		}
		synctest.Wait()
		r := &receiver{}
		n.serve(t, "1", r)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took != webhook.StopTime {
			t.Errorf("the stop takes %s", took)
		}
		if got := len(r.all()); got != 10 {
			t.Errorf("the first gets %d events, want 10", got)
		}
		s.demandResults(10, 20, 0, 20)
		s.Send(webhook.RequestMade, nil)
		s.demandResults(10, 20, 0, 23)
		if log := s.log.String(); !strings.Contains(log, "the server stops") || !strings.Contains(log, "the server has stopped") {
			t.Errorf("the log does not say what is lost:\n%s", log)
		}
	})
}

// TestSender_StopLogsOnce: the log says how many events are lost at the stop, and not of each that it is.
func TestSender_StopLogsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, _ *network, at func(string) webhook.Settings) {
		s.use(at("1"), at("2"))
		s.run()
		for range 200 {
			s.Send(webhook.RequestMade, nil)
		}
		synctest.Wait()
		s.stop()
		if log := s.log.String(); strings.Count(log, "the server stops") != 2 || strings.Count(log, "events=200") != 2 {
			t.Errorf("the log says\n%s", log)
		}
		s.demandResults(0, 400, 0, 400)
	})
}

// TestSender_StopIsAtOnceWhenNothingWaits: the server's stop takes no longer for webhooks that have nothing to say.
func TestSender_StopIsAtOnceWhenNothingWaits(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, _ *network, at func(string) webhook.Settings) {
		s.use(at("1"))
		s.run()
		synctest.Wait()
		began := time.Now()
		if s.stop(); time.Since(began) != 0 {
			t.Errorf("the stop takes %s", time.Since(began))
		}
	})
}

// TestSender_RejectsWhatCannotBeSent: an event that is no JSON, or too large, is counted and logged, and nothing is sent.
func TestSender_RejectsWhatCannotBeSent(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		r := &receiver{}
		n.serve(t, "1", r)
		s.use(at("1"))
		s.run()
		s.Send(webhook.RequestMade, func() {})
		s.Send(webhook.RequestMade, strings.Repeat("x", 1<<20))
		synctest.Wait()
		s.demandResults(0, 0, 0, 2)
		if got := len(r.all()); got != 0 || strings.Count(s.log.String(), "level=ERROR") != 2 {
			t.Errorf("there are %d requests; the log is\n%s", got, s.log)
		}
	})
}

// selfish is a handler of logs that needs the sender's own lock.
type selfish struct {
	slog.Handler
	sender func() *webhook.Sender
}

func (h selfish) Handle(ctx context.Context, r slog.Record) error {
	testutil.ToFloat64(h.sender().Collectors()[1])
	return h.Handler.Handle(ctx, r)
}

// TestSender_LogsWithoutItsLock: a log that cannot be written does not hold up those who send.
func TestSender_LogsWithoutItsLock(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage, n *network, at func(string) webhook.Settings) {
		s.Sender = webhook.New(slog.New(selfish{slog.NewTextHandler(s.log, nil), func() *webhook.Sender { return s.Sender }}))
		s.SetDial(n.dial)
		gone := &receiver{respond: status(http.StatusGone)}
		n.serve(t, "2", gone)
		s.use(at("1"), at("2"))
		for range webhook.MaxQueue + 1 {
			s.Send(webhook.RequestMade, nil)
		}
		s.Send(webhook.RequestMade, func() {})
		s.run()
		time.Sleep(time.Hour)
		s.use()
		s.stop()
		for _, want := range []string{"is full", "410 Gone", "cannot be sent", "cannot be delivered", "removed from the configuration"} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, s.log)
			}
		}
	})
}

// TestSender_ReadsLittle: a response of 2xx with an endless body is a success, and the body is not read.
func TestSender_ReadsLittle(t *testing.T) {
	ended := make(chan int, 1)
	s := newStage(t)
	s.use(tlsReceiver(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		written, chunk := 0, make([]byte, 64<<10)
		for {
			n, err := w.Write(chunk)
			if written += n; err != nil {
				ended <- written
				return
			}
		}
	})))
	results, err := s.Test(t.Context(), "")
	if err != nil || !results[0].Delivered {
		t.Errorf("a test says %+v, %v", results, err)
	}
	if written := <-ended; written > 64<<20 {
		t.Errorf("%d bytes were taken", written)
	}
}

// TestTest_SaysWhatCameBack over real sockets.
func TestTest_SaysWhatCameBack(t *testing.T) {
	unknownAuthority := tlsReceiver(t, &receiver{})
	unknownAuthority.CAFile = ""
	down := webhook.Settings{URL: "http://127.0.0.1:1/hidden", SecretFile: writeSecret(t, referenceSecret)} // no server gets port 1 by itself
	for _, c := range []struct {
		name     string
		settings webhook.Settings
		want     string
	}{
		{"ok", tlsReceiver(t, &receiver{}), "the receiver responded with 204"},
		{"rejected", tlsReceiver(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no such\x1b[31m team", http.StatusForbidden)
		})),
			`the receiver responded with 403 Forbidden: "no such\x1b[31m team\n"`},
		{"redirect", tlsReceiver(t, http.RedirectHandler("/hidden/", http.StatusMovedPermanently)), "301 Moved Permanently, which is not followed"},
		{"unknown_authority", unknownAuthority, "certificate signed by unknown authority"},
		{"down", down, "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.use(c.settings)
			results, err := s.Test(t.Context(), hostOf(t, "https://127.0.0.1"))
			if err != nil || len(results) != 1 {
				t.Fatalf("a test says %+v, %v", results, err)
			}
			r := results[0]
			if r.Delivered != (c.name == "ok") || !strings.Contains(r.Detail, c.want) || strings.Contains(strings.ReplaceAll(fmt.Sprint(r), "/hidden/", ""), "hidden") {
				t.Errorf("a test says %+v, want %s", r, c.want)
			}
			s.demandResults(0, 0, 0, 0)
		})
	}
	s := newStage(t)
	if _, err := s.Test(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "has no webhooks") {
		t.Errorf("without webhooks, a test says %v", err)
	}
	s.use(down)
	if _, err := s.Test(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), `no webhook "other"; there are 127.0.0.1`) {
		t.Errorf("for an unknown name, a test says %v", err)
	}
}

// switchProtocols claims to switch to another protocol, which nobody asked for, and then says nothing.
func switchProtocols(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
}

// withoutBody announces a body that never comes.
func withoutBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "100")
	w.WriteHeader(http.StatusInternalServerError)
	_ = http.NewResponseController(w).Flush()
	stall(w, r)
}

// TestSender_IsNotHeldUp: no receiver holds up an attempt for longer than its time, and with it the end of the server.
func TestSender_IsNotHeldUp(t *testing.T) {
	for name, receiver := range map[string]http.HandlerFunc{"no_response": stall, "no_body": withoutBody, "other_protocol": switchProtocols} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage, n *network, at func(port string) webhook.Settings) {
				n.serve(t, "1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					receiver(w, r)
				}))
				s.use(at("1"))
				s.run()
				s.Send(webhook.RequestMade, nil)
				time.Sleep(webhook.Timeout + time.Second)
				s.demandResults(0, 1, 0, 0)
				if tests, err := s.Test(t.Context(), ""); err != nil || tests[0].Delivered {
					t.Errorf("a test says %+v, %v", tests, err)
				}
				begun := time.Now()
				s.stop()
				if took := time.Since(begun); took > webhook.StopTime {
					t.Errorf("the end took %s", took)
				}
			})
		})
	}
}
