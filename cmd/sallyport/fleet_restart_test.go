package main

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"sallyport/store/postgres/postgrestest"
)

const terminate = syscall.SIGTERM

// TestReplicas_RollingRestart stops one replica after the other under about 500 requests a second, and starts it again. No
// request fails; WebSockets end with the code 1001, and are opened again at once.
func TestReplicas_RollingRestart(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newBalancedFleet(t, 3, ", drain: 500ms, stream_grace: 500ms, grace: 10s")
	l := f.startTraffic(f.stage)
	defer l.end()
	trials(t, 1, func(c *trial) {
		began := time.Now()
		l.awaitRequests(200)
		for n := range f.replicas {
			f.restartReplica(n)
			l.awaitRequests(200)
		}
		requests, failures, told, lost := l.pause()
		c.Logf("%d requests (%.0f a second), %d failed; %d streams were told to go, %d were lost", requests, float64(requests)/time.Since(began).Seconds(), len(failures), told, len(lost))
		if len(failures) > 0 || len(lost) > 0 || told == 0 {
			c.Errorf("%d requests failed:\n%s\n%d streams told, lost are %q", len(failures), whats(failures), told, lost)
		}
		c.tally["requests"] += requests
		c.tally["failed"] += len(failures)
		c.tally["streams told to go"] += told
		c.tally["streams lost"] += len(lost)
	})
}

// TestReplicas_KillOne kills a replica under load. What was on it fails; the others go on, with its sessions, and pushes
// wait until its lease has run out.
func TestReplicas_KillOne(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newBalancedFleet(t, 3, "")
	s := *f.stage
	s.alice, s.person, s.browser = f.hireMember("bob")
	l := f.startTraffic(&s)
	defer l.end()
	trials(t, 1, func(c *trial) {
		victim := c.IntN(3)
		l.awaitRequests(200)
		l.pause()
		killed := time.Now()
		f.replicas[victim].kill()
		pushed := make(chan time.Duration)
		go func() {
			id := f.push.hire("person-"+time.Now().Format("150405.000000"), "")
			f.push.setActive(id, "False")
			pushed <- time.Since(killed)
		}()
		waited := <-pushed
		l.awaitRequests(500)
		requests, failures, _, lost := l.pause()
		last := killed
		for _, failed := range failures {
			last = failed.at
		}
		c.Logf("%d of %d requests failed, the last %v after the kill; %d streams were lost; a push took until %v after it; failures:\n%s", len(failures), requests,
			last.Sub(killed).Round(time.Millisecond), len(lost), waited.Round(time.Millisecond), whats(failures))
		c.tally["requests"] += requests
		c.tally["failed"] += len(failures)
		l.awaitRequests(500)
		if _, failures, _, lost := l.pause(); len(failures) > 0 || len(lost) > 0 {
			c.Errorf("afterwards %d requests failed:\n%s\n and streams %q", len(failures), whats(failures), lost)
		}
		if status := s.browser.fetch("/"); status != http.StatusOK {
			c.Errorf("the session gets %d", status)
		}
		b := roam(f.newBrowser(f.server))
		b.signIn()
		f.startReplica(victim)
	})
}
