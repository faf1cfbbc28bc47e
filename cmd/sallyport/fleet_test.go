package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sallyport/entratest"
	"sallyport/store/postgres/postgrestest"
)

// balance starts a real HAProxy before the replicas, which forwards each connection to the next one that is ready. It
// returns the addresses of HAProxy in place of those of a server. The replicas must accept the PROXY protocol: see
// [behindBalancer].
func (f *fleet) balance(t testing.TB) *running {
	t.Helper()
	program := os.Getenv("HAPROXY")
	if program == "" {
		t.Skip("HAPROXY does not name the program; ./test.sh postgres sets it")
	}
	addrs := freeAddrs(t, 2)
	haproxy := &running{t: t, dir: f.replicas[0].dir, addrs: map[string]string{"public": addrs[0], "scim": addrs[1]}}
	var conf strings.Builder
	fmt.Fprintf(&conf, `global
  maxconn 5000
defaults
  mode tcp
  balance roundrobin
  retries 3
  option redispatch 1
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  timeout check 1s
  option httpchk GET /readyz
  source %s
`, balancerAddress)
	for _, name := range []string{"public", "scim"} {
		fmt.Fprintf(&conf, "listen %s\n  bind %s\n", name, haproxy.addrs[name])
		for n, r := range f.replicas {
			fmt.Fprintf(&conf, "  server replica-%d %s send-proxy-v2 check addr 127.0.0.1 port %s inter 100ms fall 1 rise 1\n", n+1, r.addrs[name], portOf(r.addrs["ops"]))
		}
	}
	writeFile(t, f.dir, "haproxy.cfg", []byte(conf.String()))
	cmd := exec.Command(program, "-db", "-f", f.dir+"/haproxy.cfg")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for _, addr := range haproxy.addrs {
		awaitListener(t, addr)
	}
	return haproxy
}

// freeAddrs returns different addresses, which stay free until a server uses them, and while it is down.
func freeAddrs(t testing.TB, count int) (addrs []string) {
	t.Helper()
	for range count {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", postgrestest.FreePort(t)))
	}
	return addrs
}

// behindBalancer gives a replica addresses that stay when it is started again, and has it accept the PROXY protocol.
func behindBalancer(more string) func(*world) {
	return func(w *world) {
		addrs := freeAddrs(w.t, 3)
		w.rewrite("listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0}",
			fmt.Sprintf("listen: {public: %q, scim: %q, ops: %q, proxy_protocol: [public, scim]%s}\ntrusted_proxies: [%s]",
				addrs[0], addrs[1], addrs[2], more, balancerAddress))
	}
}

// newBalancedFleet starts replicas behind a HAProxy, and has Alice sign in by it. more are further settings of listen.
func newBalancedFleet(t testing.TB, count int, more string, configure ...func(*world)) *fleet {
	t.Helper()
	if os.Getenv("HAPROXY") == "" {
		t.Skip("HAPROXY does not name the program; ./test.sh postgres sets it")
	}
	f := startFleet(t, count, append(configure, behindBalancer(more))...)
	f.stage = f.settle(f.balance(t))
	return f
}

// roam has every request of b use a connection of its own, so that each reaches another replica than the one before.
func roam(b *browser) *browser {
	b.client.Transport.(*http.Transport).DisableKeepAlives = true
	return b
}

// hireMember adds a person who is a member of the group, and signs them in by a browser whose requests roam.
func (f *fleet) hireMember(name string) (id string, person entratest.Person, b *browser) {
	f.t.Helper()
	person = f.entra.Add(entratest.Person{UPN: name + "@example.com", Name: name})
	id = f.push.hire(name, person.OID)
	f.push.member("Add", f.group, id)
	f.entra.SignIn(person.OID)
	b = roam(f.newBrowser(f.server))
	b.signIn()
	return id, person, b
}

// openEverywhere opens a WebSocket, an event stream and a download on each replica by the balancer.
func (s *stage) openEverywhere(t testing.TB, replicas []*running) (live []liveRequest) {
	t.Helper()
	before := make([]float64, len(replicas))
	for n, r := range replicas {
		before[n] = sumOf(scrape(t, r), "sallyport_live_requests")
	}
	for range replicas {
		live = append(live, s.openSocket(t))
	}
	for _, path := range []string{"/events", "/download"} {
		for range replicas {
			live = append(live, s.openStream(t, path))
		}
	}
	for n, r := range replicas {
		if got := sumOf(scrape(t, r), "sallyport_live_requests") - before[n]; got < 3 {
			t.Errorf("%v live requests are on replica %d, want one of each kind", got, n+1)
		}
	}
	return live
}

// demandDenied demands that a request on each replica gets the status denied, at once.
func (s *stage) demandDenied(t *testing.T, denied int) {
	t.Helper()
	for range 3 {
		if status := s.browser.fetch("/"); status != denied {
			t.Errorf("a request gets %d, want %d", status, denied)
		}
	}
}

// sumOf returns the sum of the series of a metric.
func sumOf(text, metric string) (sum float64) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, metric)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:], &value); err == nil {
			sum += value
		}
	}
	return sum
}

// TestReplicas_LoginRoams has each request of a login, and of what comes after it, reach another replica than the request
// before: the redirect, the callback, the ticket of the application's host and the session are everybody's.
func TestReplicas_LoginRoams(t *testing.T) {
	t.Parallel()
	f := newBalancedFleet(t, 3, "")
	f.entra.SignIn(f.person.OID)
	for n := range 20 {
		b := roam(f.newBrowser(f.server))
		for range rand.IntN(len(f.replicas)) { // begin on another replica
			_ = b.fetch("/.sallyport/jwks.json")
		}
		b.signIn()
		for range len(f.replicas) {
			if status := b.fetch("/"); status != http.StatusOK {
				t.Fatalf("after sign-in %d, a request gets %d", n, status)
			}
		}
	}
	for n, r := range f.replicas {
		if requests := sumOf(scrape(t, r), "sallyport_logins_total"); requests == 0 {
			t.Errorf("replica %d finished no login", n+1)
		}
		if active := sumOf(scrape(t, r), "sallyport_sessions_active"); active < 20 {
			t.Errorf("replica %d knows %v sessions", n+1, active)
		}
	}
}

// TestReplicas_CutEverywhere demands that whatever ends somebody's access on one replica cuts live requests on all.
func TestReplicas_CutEverywhere(t *testing.T) {
	t.Parallel()
	f := newBalancedFleet(t, 3, "", (*world).makeRequestable)
	for _, c := range []struct {
		name   string
		change func(s *stage)
		denied int
	}{
		{"signed_out", (*stage).signOut, http.StatusUnauthorized},
		{"deactivated", func(s *stage) { s.push.setActive(s.alice, "False") }, http.StatusForbidden},
		{"deleted", func(s *stage) { s.push.send("DELETE", "/Users/"+s.alice, nil, http.StatusNoContent) }, http.StatusForbidden},
		{"left_group", func(s *stage) { s.push.member("Remove", s.group, s.alice) }, http.StatusForbidden},
		{"sessions_ended_by_operator", func(s *stage) { f.replicas[1].verb("sessions", "end", "--user", s.alice) }, http.StatusUnauthorized},
		{"suspended", func(s *stage) {
			f.replicas[2].verb("users", "suspend", s.person.UPN, "--reason", "under investigation")
		}, http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := *f.stage
			s.alice, s.person, s.browser = f.hireMember(strings.ReplaceAll(c.name, "_", "-"))
			live := s.openEverywhere(t, f.replicas)
			c.change(&s)
			s.demandDenied(t, c.denied)
			s.demandCut(t, live, c.denied)
		})
	}
	t.Run("grant_revoked", func(t *testing.T) {
		id := f.grantCarol(f.server, f.push)
		s := *f.stage
		s.browser = roam(f.newBrowser(f.server))
		s.browser.signIn()
		live := s.openEverywhere(t, f.replicas)
		f.replicas[1].verb("grants", "revoke", id, "--reason", "it is over")
		s.demandDenied(t, http.StatusForbidden)
		s.demandCut(t, live, http.StatusForbidden)
	})
	for _, r := range f.replicas {
		r.verb("audit", "verify")
	}
}
