package main

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/store/postgres/postgrestest"
)

// leaseOfFleet is longer than the lease of a fleet's replicas, with what others add to it.
const leaseOfFleet = 3 * time.Second

// TestReplicas_StoppedBeyondItsLease stops a replica (SIGSTOP) for longer than its lease, while Alice is offboarded, and
// continues it with requests of hers waiting at its sockets: it lets none in.
func TestReplicas_StoppedBeyondItsLease(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 3)
	victim := f.replicas[2]
	s := f.at(victim)
	live := s.openAll(t)
	trials(t, 1, func(c *trial) {
		browsers := make([]*browser, 24)
		for n := range browsers {
			browsers[n] = f.newBrowserWith(victim, f.browser)
			browsers[n].client.Transport.(*http.Transport).ForceAttemptHTTP2 = n%2 == 0
			if status := browsers[n].fetch("/"); status != http.StatusOK {
				c.Fatalf("before, a request gets %d", status)
			}
		}
		victim.signal(syscall.SIGSTOP)
		stopped := time.Now()
		f.push.setActive(f.alice, "False")
		c.Logf("the push took %v", time.Since(stopped).Round(time.Millisecond))
		time.Sleep(time.Until(stopped.Add(leaseOfFleet))) // what is tested takes this long
		statuses := make(chan int, len(browsers))
		var sent, all sync.WaitGroup
		for _, b := range browsers {
			sent.Add(1)
			all.Go(func() {
				sent.Done()
				status, err := getStatus(b.client, "https://"+appHost+"/", "")
				if err != nil {
					c.Error(err)
				}
				statuses <- status
			})
		}
		sent.Wait()
		time.Sleep(200 * time.Millisecond) // for the requests to reach the sockets
		victim.signal(syscall.SIGCONT)
		all.Wait()
		close(statuses)
		for status := range statuses {
			if status != http.StatusServiceUnavailable && status != http.StatusForbidden && status != http.StatusUnauthorized {
				c.Errorf("the replica that was stopped lets a request in: %d", status)
			}
			c.tally[http.StatusText(status)]++
		}
		victim.awaitReady(c)
		s.demandCut(c.T, live, http.StatusForbidden)
		f.push.setActive(f.alice, "True")
		fresh := f.newBrowser(victim)
		f.entra.SignIn(f.person.OID)
		fresh.signIn()
		f.browser.client.Jar = fresh.client.Jar
		s.browser.client.Jar = fresh.client.Jar
		live = nil
	})
}

// relay forwards connections to a database until it is cut: then what is sent waits, as in a network that loses everything.
type relay struct {
	addr string

	mu    sync.Mutex // guards the fields below
	conns []net.Conn
	flows chan struct{} // closed while it forwards
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), flows: make(chan struct{})}
	close(r.flows)
	t.Cleanup(func() { _ = l.Close(); r.restore() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, client, server)
			r.mu.Unlock()
			go r.copy(client, server)
			go r.copy(server, client)
		}
	}()
	return r
}

func (r *relay) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	for buffer := make([]byte, 16<<10); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		flows := r.flows
		r.mu.Unlock()
		<-flows
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flows = make(chan struct{})
}

// restore ends the connections that were cut, and forwards those that come.
func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
	select {
	case <-r.flows:
	default:
		close(r.flows)
	}
}

// TestReplicas_PartitionedFromDatabase cuts one replica off the database while Alice is offboarded: her live requests there
// end with its lease, it lets her in no more, and comes back by itself.
func TestReplicas_PartitionedFromDatabase(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	var cut *relay
	started := 0
	f := startFleet(t, 3, func(w *world) {
		if started++; started != 3 {
			return
		}
		u, err := url.Parse(string(readFile(t, filepath.Join(w.dir, "secrets/postgres"))))
		if err != nil {
			t.Fatal(err)
		}
		cut = newRelay(t, u.Host)
		u.Host = cut.addr
		writeFile(t, w.dir, "secrets/postgres", []byte(u.String()))
	})
	f.stage = f.settle(f.replicas[0])
	victim := f.replicas[2]
	s := f.at(victim)
	trials(t, 1, func(c *trial) {
		live := s.openAll(c.T)
		cut.cut()
		began := time.Now()
		f.push.setActive(f.alice, "False")
		pushed := time.Now()
		for _, l := range live {
			<-l.ended
		}
		c.Logf("the push took %v, and the last live request ended %v after the cut", pushed.Sub(began).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		if status := s.browser.fetch("/"); status != http.StatusServiceUnavailable {
			c.Errorf("the replica that is cut off gives %d", status)
		}
		if status, body := victim.readiness(c); status != http.StatusServiceUnavailable {
			c.Errorf("/readyz of it is %d %s", status, body)
		}
		if status := f.browser.fetch("/"); status != http.StatusForbidden {
			c.Errorf("another replica gives %d", status)
		}
		cut.restore()
		victim.awaitReady(c)
		if status := s.browser.fetch("/"); status != http.StatusForbidden {
			c.Errorf("the replica that is back gives %d", status)
		}
		f.push.setActive(f.alice, "True")
		f.entra.SignIn(f.person.OID)
		fresh := f.newBrowser(victim)
		fresh.signIn()
		f.browser.client.Jar, s.browser.client.Jar = fresh.client.Jar, fresh.client.Jar
	})
}

// TestReplicas_DatabaseRestarts restarts the database under load, in order and as by a crash. Requests are let in, or get
// 503 once leases run out; pushes are acknowledged and kept, or refused; everything goes on by itself, with the sessions.
func TestReplicas_DatabaseRestarts(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 3)
	trials(t, 1, func(c *trial) {
		stop := make(chan struct{})
		var all sync.WaitGroup
		finish := sync.OnceFunc(func() { close(stop); all.Wait() })
		defer finish()    // also if the test fails
		var mu sync.Mutex // guards statuses
		statuses := map[int]int{}
		for _, r := range f.replicas {
			for range 2 {
				b := f.newBrowserWith(r, f.browser)
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
						}
						status, err := getStatus(b.client, "https://"+appHost+"/", "")
						if err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
							c.Errorf("a request gets %d, %v", status, err)
						}
						mu.Lock()
						statuses[status]++
						mu.Unlock()
					}
				})
			}
		}
		title, acknowledged := "", ""
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				title = c.Name() + " " + time.Now().Format("150405.000000")
				status, body, err := f.push.try("PATCH", "/Users/"+f.alice, patchOf(map[string]any{"op": "Replace", "path": "title", "value": title}))
				switch {
				case err == nil && status/100 == 2:
					acknowledged = title
				case err != nil || status != http.StatusServiceUnavailable:
					c.Errorf("a push gets %d %v, %v", status, body, err)
				}
			}
		})
		down := c.within(4 * time.Second) // shorter and longer than the lease
		if c.n%2 == 0 {
			f.database.Stop()
		} else {
			f.database.Kill()
		}
		time.Sleep(down)
		f.database.Start()
		for _, r := range f.replicas {
			select {
			case err := <-r.exited:
				t.Fatalf("a replica ended with %v:\n%s", err, r.log())
			default:
			}
			r.awaitReady(c)
		}
		finish()
		c.Logf("down for %v: statuses %v", down, statuses)
		c.tally["let in"] += statuses[http.StatusOK]
		c.tally["503"] += statuses[http.StatusServiceUnavailable]
		for _, r := range f.replicas {
			if status := f.newBrowserWith(r, f.browser).fetch("/"); status != http.StatusOK {
				c.Errorf("afterwards the session gets %d", status)
			}
		}
		if u := f.push.send("GET", "/Users/"+f.alice, nil, http.StatusOK); u["title"] != acknowledged && u["title"] != title {
			c.Errorf("the title is %v; %s was acknowledged, and %s asked for last", u["title"], acknowledged, title)
		}
	})
	for _, r := range f.replicas {
		r.verb("audit", "verify")
	}
}
