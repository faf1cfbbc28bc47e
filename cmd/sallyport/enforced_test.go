package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/store/postgres/postgrestest"
)

// cable carries the connections of one replica to the database. It can be cut.
type cable struct {
	to   string
	mu   sync.Mutex // guards the fields below
	down bool
	open map[net.Conn]bool
}

// newCables starts replicas that each have a cable of their own, and has Alice sign in by the first.
func newCables(t *testing.T, count int, more ...func(*world)) (*fleet, []*cable) {
	t.Helper()
	var cables []*cable
	f := startFleet(t, count, append(more, func(w *world) {
		path := filepath.Join(w.dir, "secrets", "postgres")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, address := newCable(t, string(text))
		cables = append(cables, c)
		writeFile(t, w.dir, "secrets/postgres", []byte(address))
	})...)
	f.stage = f.settle(f.replicas[0])
	t.Cleanup(func() {
		for _, c := range cables {
			c.mend()
		}
	})
	return f, cables
}

// newCable returns a cable to the database at an address, and the address at its other end.
func newCable(t *testing.T, database string) (c *cable, address string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c = &cable{to: u.Host, open: map[net.Conn]bool{}}
	u.Host = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	return c, u.String()
}

// carry copies both ways. While the cable is cut, what arrives is dropped, and connections stay open.
func (c *cable) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	c.open[client], c.open[server] = true, true
	c.mu.Unlock()
	done := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			c.mu.Lock()
			down := c.down
			c.mu.Unlock()
			if down {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go pass(server, client)
	go pass(client, server)
	<-done
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
}

// mend ends the connections whose data was lost, and carries new ones.
func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		for conn := range c.open {
			_ = conn.Close()
		}
		clear(c.open)
	}
	c.down = false
}

// enforcedLines returns the lines of a replica's record that tell what replicas made of changes of a user.
func enforcedLines(t *testing.T, r *running, user string) (lines []audit.Event) {
	t.Helper()
	for _, e := range r.recorded(t, audit.KindEnforced) {
		if e.User == user {
			lines = append(lines, e)
		}
	}
	return lines
}

// recorded returns the lines of a kind in the record of a server.
func (r *running) recorded(t *testing.T, kind audit.Kind) (lines []audit.Event) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "data", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var e audit.Event
		if json.Unmarshal(line, &e) == nil && e.Kind == kind {
			lines = append(lines, e)
		}
	}
	return lines
}

// hear runs a verb, and returns what it printed to each of its outputs.
func (r *running) hear(args ...string) (out, errs string) {
	r.t.Helper()
	path, err := binary()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "-c", filepath.Join(r.dir, "sallyport.yaml"))...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("sallyport %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String()
}

// TestReplicas_PushReturnsOnceEnforced demands that no replica lets Alice in after the response to the push that takes her
// access away, whichever replica received it, and that the record, the provisioning log and her receipt say what the
// replicas made of it.
func TestReplicas_PushReturnsOnceEnforced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	for i := range 6 {
		receiver := f.replicas[i%3]
		push := f.pusher(receiver)
		push.setActive(f.alice, "False")
		for n, r := range f.replicas {
			if status := f.at(r).browser.fetch("/"); status != http.StatusForbidden && status != http.StatusUnauthorized {
				t.Fatalf("after the push to replica-%d, replica-%d gives %d", i%3+1, n+1, status)
			}
		}
		push.setActive(f.alice, "True")
		for n, r := range f.replicas {
			b := f.newBrowser(r)
			if b.signIn(); b.fetch("/") != http.StatusOK {
				t.Fatalf("after the reactivation at replica-%d, replica-%d does not let Alice in", i%3+1, n+1)
			}
			f.browser.client.Jar = b.client.Jar
		}
	}
	f.push.setActive(f.alice, "False")
	lines := enforcedLines(t, f.replicas[0], f.alice)
	last := lines[len(lines)-1]
	if last.Reason != "everywhere" || last.Detail["applied"] != "3" || last.Actor.Kind != audit.ActorToken || !strings.HasPrefix(last.Detail["text"], "enforced on 3/3 replicas in ") {
		t.Errorf("the record says %+v", last)
	}
	receipt := f.replicas[0].verb("audit", "receipt", "alice@example.com")
	if !strings.Contains(receipt, `"outcome": "everywhere"`) || !strings.Contains(receipt, `"text": "enforced on 3/3 replicas in `) {
		t.Errorf("the receipt says\n%s", receipt)
	}
	f.replicas[1].awaitOutput("enforced on 3/3 replicas in ", "scim", "log") // which is written once a second
}

// TestReplicas_FencedReplicaIsTold cuts one replica off: a push, and the verb of an operator, return once its lease has run
// out, and say so. It lets nobody in then, and ends what it had let in. It recovers by itself.
func TestReplicas_FencedReplicaIsTold(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f, cables := newCables(t, 3)
	third := f.at(f.replicas[2])
	live := third.openAll(t)
	cables[2].cut()
	f.push.setActive(f.alice, "False")
	third.demandCut(t, live, http.StatusServiceUnavailable)
	lines := enforcedLines(t, f.replicas[0], f.alice)
	if last := lines[len(lines)-1]; last.Reason != "fenced" || last.Detail["fenced"] != "replica-3" || last.Detail["applied"] != "2" {
		t.Errorf("the record says %+v", last)
	}
	bob := f.push.hire("bob", "61503835-0000-0000-0000-00000000b0b0")
	if out, note := f.replicas[0].hear("users", "suspend", "bob@example.com", "--reason", "lost the badge"); !strings.Contains(note, "note: enforced on 2/3 replicas, replica-3 fenced after ") {
		t.Errorf("the verb says %q and %q", out, note)
	}
	if lines := enforcedLines(t, f.replicas[0], bob); len(lines) != 2 || lines[1].Detail["change"] != "suspend" || lines[1].Actor.Kind != audit.ActorOperator {
		t.Errorf("the record says of Bob %+v", lines)
	}
	cables[2].mend()
	f.replicas[2].awaitReady(t)
	if status := third.browser.fetch("/"); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("after it is back, replica-3 gives %d", status)
	}
	if _, note := f.replicas[0].hear("users", "unsuspend", "bob@example.com"); note != "" {
		t.Errorf("after it is back, a verb says %q", note)
	}
}

// TestReplicas_ManyPushesWaitTogether has many pushes wait at the same time: each is answered once it is enforced.
func TestReplicas_ManyPushesWaitTogether(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f, cables := newCables(t, 2)
	const count = 64
	var ids [count]string
	for i := range ids {
		ids[i] = f.push.hire(fmt.Sprintf("u%d", i), fmt.Sprintf("61503835-0000-0000-0000-%012d", i+100))
	}
	cables[1].cut()
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			if status, body, err := f.push.try("PATCH", "/Users/"+id, patchOf(map[string]any{"op": "replace", "path": "displayName", "value": "New"})); err != nil || status != http.StatusOK {
				t.Errorf("a push gets %d, %v, %v", status, body, err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if lines := enforcedLines(t, f.replicas[0], id); len(lines) != 2 || lines[1].Reason != "fenced" {
			t.Errorf("the record says %+v", lines)
		}
	}
}

// TestReplicas_SignOutAgainReturnsOnceEnforced signs out on two replicas while a third is cut off: the second request finds
// the session ended, and does not return either before the third lets nobody in.
func TestReplicas_SignOutAgainReturnsOnceEnforced(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f, cables := newCables(t, 3)
	at := func(r *running) *stage {
		s := f.at(r)
		s.browser = f.newBrowser(r) // with cookies of its own
		s.browser.client.Jar.SetCookies(mustParseURL(t, "https://"+appHost), secure(f.browser.cookies(appHost)))
		return s
	}
	first, second, third := at(f.replicas[0]), at(f.replicas[1]), at(f.replicas[2])
	if status := third.browser.fetch("/"); status != http.StatusOK {
		t.Fatalf("before signing out, the third replica gives %d", status)
	}
	cables[2].cut()
	var waiting sync.WaitGroup
	waiting.Go(first.signOut)
	defer waiting.Wait()
	for second.browser.fetch("/") == http.StatusOK {
		continue
	}
	second.signOut()
	if status := third.browser.fetch("/"); status == http.StatusOK {
		t.Error("after a response to signing out, a replica lets the session in")
	}
}

// awaitOutput runs a verb until it prints text.
func (r *running) awaitOutput(text string, args ...string) {
	r.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		out, _ := r.hear(args...)
		if strings.Contains(out, text) {
			return
		}
		select {
		case <-deadline:
			r.t.Fatalf("sallyport %s does not print %q:\n%s", strings.Join(args, " "), text, out)
		default:
		}
	}
}
