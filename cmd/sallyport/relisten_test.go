package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/config"
)

// relistener is a stage whose server runs within the test.
type relistener struct {
	*stage
	t *testing.T
	*server
}

func newRelistener(t *testing.T) *relistener {
	t.Helper()
	w := newWorld(t)
	s, r := w.inProcess()
	return &relistener{w.settle(r), t, s}
}

// reload puts a changed configuration in force.
func (r *relistener) reload(old, new string) {
	r.t.Helper()
	r.rewrite(old, new)
	if err := r.admin.Reload(r.t.Context(), causeSignal); err != nil {
		r.t.Fatal(err)
	}
	if keys := r.needRestart(); len(keys) > 0 {
		r.t.Errorf("%q are said to need a restart", keys)
	}
}

// addr returns the address of a listener.
func (r *relistener) addr(name string) string {
	r.t.Helper()
	srv := r.listeners.find(name)
	if srv == nil {
		r.t.Fatalf("there is no %s listener", name)
	}
	return srv.Addr().String()
}

// keepAsking sends requests over new connections until stop is called, and demands that each gets a response of the server.
func (r *relistener) keepAsking(addr string) (stop func()) {
	r.t.Helper()
	client := newClient(r.t, r.ca, map[string]string{appHost + ":443": addr})
	client.Transport.(*http.Transport).DisableKeepAlives = true
	done, asked := make(chan struct{}), make(chan struct{}, 1)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				resp, err := client.Get("https://" + appHost + "/.sallyport/jwks.json")
				if err != nil {
					r.t.Errorf("a request while listeners are replaced: %v", err)
					return
				}
				_ = resp.Body.Close()
				select {
				case asked <- struct{}{}:
				case <-done:
					return
				default:
				}
			}
		})
	}
	<-asked
	return func() { close(done); all.Wait() }
}

// demandRefused demands that nobody listens on an address.
func demandRefused(t *testing.T, addr string) {
	t.Helper()
	if conn, err := net.DialTimeout("tcp", addr, 5*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			_ = conn.Close()
		}
		t.Errorf("connecting to %s, where nobody listens any more: %v", addr, err)
	}
}

// plain returns the status of a request without TLS; 0 if there is no response.
func plain(t *testing.T, addr, path string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = appHost
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

const formerAddrs = "public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0"

// TestReload_MovesListeners: a reload opens other addresses and closes the former ones. What is under way there goes on, with a
// last response on each connection, and is cut when somebody leaves. No request on a listener that stays fails.
func TestReload_MovesListeners(t *testing.T) {
	r := newRelistener(t)
	formerPublic, formerSCIM, formerOps := r.addr("public"), r.addr("scim"), r.addr("ops")
	stop := r.keepAsking(formerPublic)
	r.reload(formerAddrs, "public: 127.0.0.1:0, scim: "+freeAddr(t)+", ops: "+freeAddr(t)+", grace: 1h, stream_grace: 1h")
	stop()
	demandRefused(t, formerSCIM)
	demandRefused(t, formerOps)
	if addr := r.addr("public"); addr != formerPublic {
		t.Errorf("the public listener is on %s, and was on %s", addr, formerPublic)
	}
	if run := readRunFile(filepath.Join(r.dir, "data", "sallyport.db.run")); run == nil || run.Ops != r.addr("ops") {
		t.Errorf("commands find the server by %+v", run)
	}
	r.stage.server.verb("healthcheck")

	requests := append(r.openAll(t), r.openStream(t, "/events"))
	r.reload("public: 127.0.0.1:0", "public: "+freeAddr(t))
	demandRefused(t, formerPublic)
	for _, l := range requests {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	if code := r.browser.fetch("/"); code != http.StatusOK { // on the connection of the streams
		t.Errorf("a request on a connection that was open gets %d", code)
	}
	r.stage.server.addrs["public"], r.stage.server.addrs["scim"] = r.addr("public"), r.addr("scim")
	r.world.newBrowser(r.stage.server).signIn()
	r.reload("public: "+r.addr("public"), "public: "+formerPublic) // back, while streams from before go on
	r.stage.server.addrs["public"] = r.addr("public")
	r.world.newBrowser(r.stage.server).signIn()
	r.world.pusher(r.stage.server).setActive(r.alice, "False")
	for _, l := range requests {
		<-l.ended
	}
	if status, _ := r.world.newBrowser(r.stage.server).navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Errorf("somebody who left gets %d", status)
	}
}

// TestReload_EndsStreamsOfFormerListeners: streams on a listener that is gone end after listen.stream_grace, those on others do
// not. The connection of a request that does not end is closed after listen.grace.
func TestReload_EndsStreamsOfFormerListeners(t *testing.T) {
	r := newRelistener(t)
	former := r.listeners.find("public")
	gone := append(r.openAll(t), r.openSocket(t))
	r.reload(formerAddrs, "public: "+freeAddr(t)+", scim: 127.0.0.1:0, ops: 127.0.0.1:0, grace: 1s, stream_grace: 0s")
	r.stage.server.addrs["public"] = r.addr("public")
	r.browser = r.world.newBrowserWith(r.stage.server, r.browser)
	stays := r.openAll(t)
	for _, l := range gone {
		<-l.ended
	}
	<-former.alive.Done()
	for _, l := range stays {
		select {
		case <-l.ended:
			t.Errorf("the %s of the new listener has ended", l.name)
		default:
		}
	}
	if n := len(r.listeners.all()); n != 4 {
		t.Errorf("%d servers are known", n)
	}
}

// TestReload_RefusesAddresses: one address that cannot be opened refuses the whole file. Every such address is named, with what
// to do.
func TestReload_RefusesAddresses(t *testing.T) {
	r := newRelistener(t)
	busy := newListeners(t, 2)
	before := r.settings(t)
	former := r.listeners.all()
	text := string(readFile(t, filepath.Join(r.dir, "sallyport.yaml")))
	for _, c := range []struct {
		name, addrs string
		want        []string
	}{
		{"in use", "public: " + busy[0].Addr().String() + ", scim: 127.0.0.1:0, ops: " + busy[1].Addr().String(),
			[]string{"listen.public", busy[0].Addr().String(), "in use", "another program listens there", "listen.ops", busy[1].Addr().String()}},
		{"one in use", "public: " + freeAddr(t) + ", scim: 127.0.0.1:0, ops: " + busy[1].Addr().String(), []string{"listen.ops", "in use"}},
		{"elsewhere", "public: 192.0.2.1:8443, scim: 127.0.0.1:0, ops: 127.0.0.1:0", []string{"listen.public", "192.0.2.1:8443", "write an address of this machine"}},
		{"own", "public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0, http: " + r.addr("ops"), []string{"listen.http", "listens for listen.ops"}},
		{"the same", "public: 127.0.0.1:7443, scim: 127.0.0.1:7443, ops: 127.0.0.1:0", []string{"listen.scim", "127.0.0.1:7443"}},
	} {
		changed := replaced("host: "+apiHost, "host: other.test")(replaced(formerAddrs, c.addrs)(text))
		writeFile(t, r.dir, "sallyport.yaml", []byte(changed))
		err := r.admin.Reload(t.Context(), causeSignal)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q: %v", c.name, want, err)
			}
		}
		if after := r.settings(t); after != before {
			t.Errorf("%s: something has changed:\n%+v\n%+v", c.name, before, after)
		}
		for i, srv := range r.listeners.all() {
			if srv != former[i] {
				t.Errorf("%s: the %s server is another one", c.name, srv.Name())
			}
		}
	}
	writeFile(t, r.dir, "sallyport.yaml", []byte(text))
	r.reload("owner@example.com", "other@example.com")
	if code := r.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("afterwards a request gets %d", code)
	}
}

// TestReload_UsesSocketsAgain: an address with another spelling is the same, an address may change what it is for, and one that
// contains the former address or is part of it can be opened.
func TestReload_UsesSocketsAgain(t *testing.T) {
	r := newRelistener(t)
	port := func(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }
	ops, http1, public := freeAddr(t), freeAddr(t), freeAddr(t)
	r.reload(formerAddrs, "public: "+public+", scim: 127.0.0.1:0, ops: "+ops+", http: "+http1)
	former := r.listeners.find("public")

	r.reload("public: "+public, "public: localhost:"+port(public))
	if r.listeners.find("public") != former {
		t.Error("another spelling of an address opens another listener")
	}
	if plain(t, ops, "/healthz") != http.StatusOK || plain(t, http1, "/") != http.StatusPermanentRedirect {
		t.Error("the listeners are not there")
	}
	stop := r.keepAsking(public)
	r.reload("ops: "+ops+", http: "+http1, "ops: "+http1+", http: "+ops)
	if plain(t, http1, "/healthz") != http.StatusOK || plain(t, ops, "/") != http.StatusPermanentRedirect {
		t.Errorf("after ops and http have changed places, they respond %d and %d", plain(t, http1, "/healthz"), plain(t, ops, "/"))
	}
	r.stage.server.verb("healthcheck")
	stop()

	r.reload("public: localhost:"+port(public), "public: ':"+port(public)+"'")
	if got := r.addr("public"); got != "[::]:"+port(public) && got != "0.0.0.0:"+port(public) {
		t.Fatalf("the public listener is on %s", got)
	}
	former = r.listeners.find("public")
	stop = r.keepAsking(public)
	r.reload("public: ':"+port(public)+"'", "public: 0.0.0.0:"+port(public))
	if r.listeners.find("public") != former {
		t.Error("0.0.0.0 opens another listener in place of every address")
	}
	stop()
	if _, err := net.Listen("tcp", public); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another listener on the same port: %v", err)
	}
	r.reload("public: 0.0.0.0:"+port(public), "public: "+public)
	if got := r.addr("public"); got != public {
		t.Fatalf("the public listener is on %s", got)
	}
	demandRefused(t, "127.0.0.2:"+port(public))
	r.stage.server.addrs["public"] = public
	if code := r.world.newBrowserWith(r.stage.server, r.browser).fetch("/"); code != http.StatusOK {
		t.Errorf("a request gets %d", code)
	}
}

// TestReload_ChangesHowListenersSpeak: TLS and the PROXY protocol are turned on and off on sockets that stay open.
func TestReload_ChangesHowListenersSpeak(t *testing.T) {
	r := newRelistener(t)
	public := r.addr("public")
	stop := r.keepAsking(public)
	idle := r.browser
	certs := "tls: {cert_file: tls.crt, key_file: tls.key}\n"
	r.reload("tls.key}\n", "tls.key}\ntrusted_proxies: [127.0.0.0/8]\n")
	stop()
	r.reload(certs, "tls: {off: true}\n")
	if code := plain(t, public, "/.sallyport/jwks.json"); code != http.StatusOK {
		t.Errorf("without TLS, a request gets %d", code)
	}
	if code := idle.fetch("/"); code != http.StatusOK { // the last on its connection
		t.Errorf("a request on a connection from before gets %d", code)
	}
	r.reload("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, proxy_protocol: [public]}")
	if code := plain(t, public, "/.sallyport/jwks.json"); code != 0 {
		t.Errorf("without a PROXY header, a request gets %d", code)
	}
	conn, err := net.Dial("tcp", public)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.7 127.0.0.1 4444 443\r\nGET /.sallyport/jwks.json HTTP/1.0\r\nHost: "+loginHost+"\r\n\r\n")
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.0 200 ") {
		t.Errorf("with a PROXY header, a request gets %q, %v", text, err)
	}
	r.reload(", proxy_protocol: [public]", "")
	r.reload("tls: {off: true}\n", certs)
	stop = r.keepAsking(public)
	r.reload("owner@example.com", "other@example.com")
	stop()
	if code := plain(t, public, "/.sallyport/jwks.json"); code == http.StatusOK {
		t.Errorf("with TLS, a request without it gets %d", code)
	}
	if addr := r.addr("public"); addr != public {
		t.Errorf("the public listener has moved to %s", addr)
	}
}

// TestReload_MovesSCIM: SCIM moves from the public listener to one of its own, and back.
func TestReload_MovesSCIM(t *testing.T) {
	w := newWorld(t)
	const shared = "listen: {public: 127.0.0.1:0, ops: 127.0.0.1:0}\nscim: {on_public: true}\n"
	w.rewrite("listen: {"+formerAddrs+"}\n", shared)
	s, running := w.inProcess()
	running.addrs["scim"] = running.addrs["public"]
	r := &relistener{w.settle(running), t, s}
	r.reload(shared, "listen: {"+formerAddrs+"}\n")
	if status, _, err := r.push.try("GET", "/Users/"+r.alice, nil); err != nil || status == http.StatusOK {
		t.Errorf("SCIM on the public listener gets %d, %v", status, err)
	}
	running.addrs["scim"] = r.addr("scim")
	r.world.pusher(running).setActive(r.alice, "True")
	r.reload("listen: {"+formerAddrs+"}\n", shared)
	demandRefused(t, running.addrs["scim"])
	running.addrs["scim"] = running.addrs["public"]
	r.world.pusher(running).setActive(r.alice, "True")
}

// TestReload_KeepsSocketsOfSystemd: the address of a listener that systemd opened is in its unit. Nothing in the configuration
// changes it, and it cannot be left out.
func TestReload_KeepsSocketsOfSystemd(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, http: 127.0.0.1:0}")
	listeners := newListeners(t, 2)
	s, err := w.startWithSockets("public:http", listeners, "--init")
	if err != nil {
		t.Fatal(err, s.log())
	}
	w.rewrite("public: 127.0.0.1:0", "public: 127.0.0.1:7999")
	s.verb("reload")
	awaitLog(t, s, "the address in its unit counts")
	certificateAt(t, listeners[0].Addr().String(), appHost)
	demandRefused(t, "127.0.0.1:7999")
	w.rewrite(", http: 127.0.0.1:0}", "}")
	out, err := runCommand(mustBinary(t), "reload", "-c", filepath.Join(w.dir, "sallyport.yaml"))
	if err == nil || !strings.Contains(out, "listen.http") || !strings.Contains(out, "sallyport-http.socket") {
		t.Errorf("leaving out a listener of systemd: %v %s", err, out)
	}
	if code := plain(t, listeners[1].Addr().String(), "/"); code != http.StatusPermanentRedirect {
		t.Errorf("the listener that was left out responds %d", code)
	}
}

func mustBinary(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReload_WhileStopping: a server that stops puts everything in force but listeners, and says so.
func TestReload_WhileStopping(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, drain: 1h, grace: 1h}")
	s := w.settle(w.start("--init"))
	s.server.signal(syscall.SIGTERM)
	s.server.awaitStopping()
	addr := freeAddr(t)
	w.rewrite("public: 127.0.0.1:0", "public: "+addr)
	w.rewrite("id: "+w.group, "id: 61503835-0000-0000-0000-000000000002")
	out, err := runCommand(mustBinary(t), "reload", "-c", filepath.Join(w.dir, "sallyport.yaml"))
	if err == nil || !strings.Contains(out, "listen") {
		t.Errorf("the reload says %v %s", err, out)
	}
	demandRefused(t, addr)
	if code := s.browser.fetch("/"); code != http.StatusForbidden {
		t.Errorf("after other rules, a request gets %d", code)
	}
	s.server.signal(syscall.SIGTERM)
	s.server.awaitEnd()
}

// TestReload_PassesNewListenersOn: a process that takes over has the listeners of the last reload, and those that it opens itself.
// Its control socket may be at another path, and none is left at the former.
func TestReload_PassesNewListenersOn(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 1s, stream_grace: 0s}")
	s := w.settle(w.start("--init"))
	addr, ops, http1 := freeAddr(t), freeAddr(t), freeAddr(t)
	w.rewrite("public: 127.0.0.1:0", "public: "+addr)
	w.rewrite("ops: 127.0.0.1:0", "ops: "+ops+", http: "+http1)
	s.server.verb("reload")
	w.rewrite("ops: "+ops+", http: "+http1, "ops: "+http1+", http: "+ops)
	s.server.verb("reload")
	s.server.addrs["public"] = addr
	s.browser = w.newBrowserWith(s.server, s.browser)
	socket := openGoingAway(t, s.browser)
	file, err := config.Load(filepath.Join(w.dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(w.dir, "data", "other.sock")
	w.rewrite("control: {socket: data/control.sock}", "control: {socket: data/other.sock}")
	s.server.upgrade(t)
	<-socket
	awaitProcessEnd(t, s.server.cmd.Process.Pid)
	if _, err := os.Lstat(file.Control.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the former control socket: %v", err)
	}
	if _, err := os.Lstat(other); err != nil {
		t.Error(err)
	}
	if code := w.newBrowserWith(s.server, s.browser).fetch("/"); code != http.StatusOK {
		t.Errorf("a request gets %d", code)
	}
	if plain(t, http1, "/healthz") != http.StatusOK || plain(t, ops, "/") != http.StatusPermanentRedirect {
		t.Error("the new process does not have the listeners of the former")
	}
	verb(t, w.dir, "reload")
}

// TestReload_AtOnce: reloads that come at the same moment leave the listeners of one file, all open.
func TestReload_AtOnce(t *testing.T) {
	r := newRelistener(t)
	text := string(readFile(t, filepath.Join(r.dir, "sallyport.yaml")))
	one, other := freeAddr(t), freeAddr(t)
	var all sync.WaitGroup
	for i := range 12 {
		addrs := [][2]string{{one, other}, {other, one}}[i%2]
		writeFile(t, r.dir, "next.yaml", []byte(replaced(formerAddrs, "public: "+addrs[0]+", scim: 127.0.0.1:0, ops: "+addrs[1])(text)))
		if err := os.Rename(filepath.Join(r.dir, "next.yaml"), filepath.Join(r.dir, "sallyport.yaml")); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := r.admin.Reload(context.WithoutCancel(t.Context()), causeSignal); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := r.admin.Reload(t.Context(), causeSignal); err != nil {
		t.Fatal(err)
	}
	if r.addr("public") != other || r.addr("ops") != one || plain(t, one, "/healthz") != http.StatusOK {
		t.Errorf("the listeners are on %s and %s", r.addr("public"), r.addr("ops"))
	}
	certificateAt(t, other, appHost)
}
