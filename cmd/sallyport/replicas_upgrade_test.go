package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sallyport/store/postgres/postgrestest"
)

// newUpgradableFleet starts replicas with settings of listen.
func newUpgradableFleet(t *testing.T, count int, listen string) *fleet {
	t.Helper()
	f := startFleet(t, count, func(w *world) { w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, "+listen+"}") })
	f.stage = f.settle(f.replicas[0])
	return f
}

// TestReplicas_Upgrade upgrades a single replica, and one of three, under load: see [TestReliability_Upgrade]. Whoever leaves
// is offboarded at another replica, if there is one.
func TestReplicas_Upgrade(t *testing.T) {
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			if count == 1 {
				postgrestest.SkipIfShort(t)
			}
			f := newUpgradableFleet(t, count, "grace: 3s, stream_grace: 1s")
			pid := f.upgradeUnderLoad(t, f.replicas[0], f.world.pusher(f.replicas[count-1]))
			f.demandRecords(t)
			_ = syscall.Kill(pid, syscall.SIGTERM)
			awaitProcessEnd(t, pid)
			verb(t, f.dir, "audit", "verify")
		})
	}
}

// demandRecords demands that the records of all replicas are sound, and that each change is in one of them.
func (f *fleet) demandRecords(t *testing.T) {
	t.Helper()
	args := []string{"audit", "verify"}
	if len(f.replicas) == 1 {
		f.replicas[0].verb(args...)
		return
	}
	for _, r := range f.replicas {
		args = append(args, filepath.Join(r.dir, "data", "audit.jsonl"))
	}
	if out := f.replicas[len(f.replicas)-1].verb(args...); !strings.Contains(out, fmt.Sprintf("in the records of %d replicas", len(f.replicas))) {
		t.Errorf("the records: %s", out)
	}
}

// TestReplicas_UpgradeCutsBoth: whoever leaves after an upgrade is cut in the process before it too, and denied in both,
// whichever process or replica is told; a push waits for both. If the former process hangs, a push waits until its lease has
// run out; if it is killed, nobody waits.
func TestReplicas_UpgradeCutsBoth(t *testing.T) {
	t.Parallel()
	f := newUpgradableFleet(t, 2, "grace: 1h, stream_grace: 1h")
	replica := f.replicas[0]
	former := replica.cmd.Process.Pid
	pushes := map[string]*pusher{"former": f.world.pusher(replica), "other": f.world.pusher(f.replicas[1])}
	people := map[string]*stage{}
	live := map[string][]liveRequest{}
	for _, name := range []string{"former", "next", "other", "hung"} {
		s := *f.stage
		s.alice, s.person, s.browser = f.hireMember("person-" + name)
		s.browser = f.newBrowserWith(replica, s.browser) // with connections that stay
		s.browser.fetch("/")
		live[name] = s.openAll(t) // in the former process
		people[name] = &s
	}
	pushes["former"].hire("hired-before", "oid-before")
	next := replica.upgrade(t)
	pushes["next"] = f.world.pusher(replica)
	for name, push := range pushes {
		s := people[name]
		idle := s.browser
		s.browser = f.newBrowserWith(replica, idle) // with connections to the new process
		requests := append(live[name], s.openAll(t)...)
		push.hire("hired-"+name, "oid-"+name)
		push.setActive(s.alice, "False")
		for _, b := range []*browser{idle, s.browser} {
			if status := b.fetch("/"); status != http.StatusForbidden {
				t.Errorf("%s: a process lets somebody in who left: %d", name, status)
			}
		}
		s.demandCut(t, requests, http.StatusForbidden)
	}
	replica.verb("users", "list") // the new process has the control socket
	if out, code := replica.try("upgrade"); code == exitOK {
		t.Errorf("a second upgrade, while the former process still serves: %s", out)
	}

	s := people["hung"]
	_ = syscall.Kill(former, syscall.SIGSTOP)
	began := time.Now()
	pushes["next"].setActive(s.alice, "False")
	if took := time.Since(began); took < time.Second { // of a lease of 2 s
		t.Errorf("a push waits %v for a process that may let somebody in", took)
	}
	_ = syscall.Kill(former, syscall.SIGCONT)
	for _, l := range live["hung"] {
		<-l.ended
	}
	if status := s.browser.fetch("/"); status != http.StatusForbidden && status != http.StatusServiceUnavailable { // until it is current
		t.Errorf("the process that hung lets somebody in who left: %d", status)
	}

	_ = syscall.Kill(former, syscall.SIGKILL)
	awaitProcessEnd(t, former)
	eventually(t, "the process that was killed is forgotten", func() bool {
		return sqlAt(t, f.storeAt(), "SELECT count(*)::text FROM sallyport_replicas") == "2"
	})
	f.demandHires(t, "before", "former", "next", "other")
	f.demandRecords(t)
	_ = syscall.Kill(next, syscall.SIGTERM)
	awaitProcessEnd(t, next)
	verb(t, f.dir, "audit", "verify")
}

// demandHires demands that each of some hires is in one record.
func (f *fleet) demandHires(t *testing.T, names ...string) {
	t.Helper()
	eventually(t, "every hire is recorded", func() bool { return len(f.hires(t)) >= len(names) })
	found := f.hires(t)
	for _, name := range names {
		if events := found[name+"@example.com"]; len(events) != 1 {
			t.Errorf("%s is recorded by %d events: %+v", name, len(events), events)
		}
	}
}

// TestReplicas_UpgradeRefused: if the new process does not take over, at whatever step, the running one goes on, says why, and
// waits for nobody.
func TestReplicas_UpgradeRefused(t *testing.T) {
	t.Parallel()
	f := newUpgradableFleet(t, 1, "grace: 10s")
	replica := f.replicas[0]
	config := filepath.Join(f.dir, "sallyport.yaml")
	sound, url := string(readFile(t, config)), readFile(t, filepath.Join(f.dir, "secrets/postgres"))
	other := f.database.Database()
	requests := f.openAll(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) func() {
		return func() {
			if !strings.Contains(sound, old) {
				t.Fatalf("the configuration has no %q", old)
			}
			writeFile(t, f.dir, "sallyport.yaml", []byte(strings.Replace(sound, old, new, 1)))
		}
	}
	hired := []string{}
	for why, change := range map[string]func(){
		"bogus: is not a key here": change("public_url:", "bogus: 1\npublic_url:"),
		"address already in use":   change("ops: 127.0.0.1:0", "ops: "+replica.addrs["scim"]), // after the record was claimed
		"in the running server, and an upgrade goes on with the record": change("policies:", "audit: {file: data/other.jsonl}\npolicies:"),
		"not an ordinary file": change("policies:", "audit: {file: /dev/full}\npolicies:"),
		"and replica-1 in the running server, and an upgrade keeps the name": change("replica: replica-1", "replica: replica-9"),
		"in the running server, and an upgrade keeps the store":              change("postgres: {url_file: secrets/postgres, lease: 2s, replica: replica-1}", "bolt: {path: data/sallyport.db}"),
		"the running server does not use this database, and an upgrade keeps the store": func() {
			writeFile(t, f.dir, "secrets/postgres", []byte(other))
		},
		"cannot be used": func() { writeFile(t, f.dir, "secrets/postgres", []byte("mysql://")) },
	} {
		change()
		out, err := exec.Command(path, "upgrade", "-c", config).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the new process did not take over, and this one goes on: ") || !strings.Contains(string(out), why) && why != "cannot be used" {
			t.Errorf("%s: the upgrade ends with %v: %s", why, err, out)
		}
		writeFile(t, f.dir, "sallyport.yaml", []byte(sound))
		writeFile(t, f.dir, "secrets/postgres", url)
		if status := f.browser.fetch("/"); status != http.StatusOK {
			t.Errorf("%s: a request gets %d", why, status)
		}
		began := time.Now()
		name := fmt.Sprintf("%d", len(hired))
		hired = append(hired, name)
		f.push.hire("hired-"+name, "oid-"+name)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: a push waits %v, as for the lease of a process that is gone", why, took)
		}
	}
	for _, l := range requests {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	f.demandHires(t, hired...)
	f.push.setActive(f.alice, "False")
	f.demandCut(t, requests, http.StatusForbidden)
	replica.signal(syscall.SIGTERM)
	replica.awaitEnd()
	verb(t, f.dir, "store", "check")
	verb(t, f.dir, "audit", "verify")
}

// TestReplicas_UpgradeKilledWithLease kills a new process (SIGKILL) that has a lease already, and does not serve yet: the running
// one goes on, and no push waits for that lease.
func TestReplicas_UpgradeKilledWithLease(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newUpgradableFleet(t, 1, "grace: 10s")
	replica := f.replicas[0]
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), sqlURL(t, f.storeAt()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	upgraded := make(chan error, 1)
	go func() {
		out, err := exec.Command(path, "upgrade", "-c", filepath.Join(f.dir, "sallyport.yaml")).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		upgraded <- err
	}()
	for processes := 0; processes < 2; {
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM sallyport_replicas").Scan(&processes); err != nil {
			t.Fatal(err)
		}
	}
	next := childOf(replica.cmd.Process.Pid)
	_ = syscall.Kill(next, syscall.SIGKILL)
	if err := <-upgraded; err == nil {
		t.Skip("the new process served before it was killed")
	} else if !strings.Contains(err.Error(), "this one goes on") {
		t.Errorf("the upgrade ends with %v", err)
	}
	began := time.Now()
	f.push.hire("hired-after", "oid-after")
	if took := time.Since(began); took > time.Second {
		t.Errorf("a push waits %v, as for the lease of the process that was killed", took)
	}
	if status := f.browser.fetch("/"); status != http.StatusOK {
		t.Errorf("a request gets %d", status)
	}
	f.demandHires(t, "after")
	pid := replica.upgrade(t)
	f.demandRecords(t)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	awaitProcessEnd(t, pid)
}

// TestReplicas_UpgradeKilled kills either process (SIGKILL) at a random moment of an upgrade, while pushes come to it and to
// another replica. Whatever was acknowledged is there afterwards and in exactly one record, the records are sound, and the
// other replica goes on.
func TestReplicas_UpgradeKilled(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newUpgradableFleet(t, 2, "grace: 2s, stream_grace: 0s")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	f.replicas[0].shutDown() // for the pushes of a trial not to wait for its lease
	trials(t, 1, func(c *trial) {
		f.world.t = c.T
		s := start(c.T, f.dir)
		s.awaitReady(c.T)
		f.replicas[0] = s
		var mu sync.Mutex // guards acknowledged
		var acknowledged []string
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i, r := range f.replicas {
			push := f.world.pusher(r)
			all.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("%d-%d-%d", c.n, i, n)
					status, body, err := push.try("POST", "/Users", map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"},
						"userName": "hired-" + name + "@example.com", "externalId": "oid-" + name, "active": true})
					switch {
					case err == nil && status == http.StatusCreated:
						mu.Lock()
						acknowledged = append(acknowledged, name)
						mu.Unlock()
					case i == 1:
						c.Errorf("a push to the other replica gets %d %v %v", status, body, err)
					default:
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		all.Go(func() {
			_, _ = exec.Command(path, "upgrade", "-c", filepath.Join(f.dir, "sallyport.yaml")).CombinedOutput()
		})
		victim := s.cmd.Process.Pid
		killNew := c.IntN(2) == 0
		next := 0
		for deadline := time.Now().Add(c.within(350 * time.Millisecond)); time.Now().Before(deadline) || killNew && next == 0; time.Sleep(time.Millisecond) {
			if next == 0 {
				next = childOf(s.cmd.Process.Pid)
			}
		}
		what := "the old one killed"
		if killNew {
			victim, what = next, "the new one killed"
		}
		_ = syscall.Kill(victim, syscall.SIGKILL)
		c.count(what)
		time.Sleep(300 * time.Millisecond)
		close(stop)
		all.Wait()
		if healthy(path, f.dir) {
			c.count("served afterwards")
		}
		killAll(c.T, s)
		verb(c.T, f.dir, "store", "check")
		again := start(c.T, f.dir)
		again.awaitReady(c.T)
		f.replicas[0] = again
		c.tally["changes"] += len(acknowledged)
		f.demandHires(c.T, acknowledged...)
		f.demandRecords(c.T)
		again.shutDown()
	})
	f.world.t = t
}

// TestReplicas_UpgradeKeepsTheLead: a replica that leads does so after an upgrade, while both of its processes run too; one
// that does not does not.
func TestReplicas_UpgradeKeepsTheLead(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newUpgradableFleet(t, 2, "grace: 1h")
	f.openSocket(t) // keeps the former process
	for i, want := range []float64{1, 0} {
		r := f.replicas[i]
		r.upgrade(t)
		if got := sumOf(scrape(t, r), "sallyport_store_leads"); got != want {
			t.Errorf("replica %d leads: %v", i+1, got)
		}
	}
}
