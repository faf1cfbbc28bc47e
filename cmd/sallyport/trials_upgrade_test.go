package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/entratest"
)

// upgradedTo matches the output of `sallyport upgrade`.
var upgradedTo = regexp.MustCompile(`^process (\d+) has taken over\n$`)

// upgrade has a new process take over from r, and returns its id. While the process before r still ends, it tries again.
func (r *running) upgrade(t testing.TB) int {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command(path, "upgrade", "-c", filepath.Join(r.dir, "sallyport.yaml")).CombinedOutput()
		if match := upgradedTo.FindSubmatch(out); err == nil && match != nil {
			pid, _ := strconv.Atoi(string(match[1]))
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			return pid
		}
		if !strings.Contains(string(out), "the process before this one still serves") || time.Now().After(deadline) {
			t.Fatalf("the upgrade ends with %v: %s\n%s", err, out, r.log())
		}
	}
}

// awaitProcessEnd waits until a process is gone.
func awaitProcessEnd(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
}

// alive reports whether a process runs. One that has ended and that nobody waits for does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(status), ") ")
	return !strings.HasPrefix(state, "Z")
}

// upgradeLoad is what clients do while the server is upgraded.
type upgradeLoad struct {
	*trial
	all  sync.WaitGroup
	stop chan struct{}

	mu      sync.Mutex // guards what follows
	sent    int
	pushed  int
	longest time.Duration // of the requests
	title   string        // the last that was acknowledged
}

// request sends requests until the load stops, and demands that each is served.
func (l *upgradeLoad) request(b *browser, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		began := time.Now()
		req, _ := http.NewRequest(http.MethodPost, "https://"+appHost+"/", strings.NewReader("x")) // which no client repeats by itself
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := b.client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			l.Errorf("a request fails: %v %v", resp, err)
			return
		}
		l.mu.Lock()
		l.sent++
		l.longest = max(l.longest, time.Since(began))
		l.mu.Unlock()
	}
}

// push changes the title of a user until the load stops, and demands that each push is acknowledged.
func (l *upgradeLoad) push(p *pusher, user string) {
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		title := fmt.Sprintf("%d-%d", l.n, n)
		status, body, err := p.try("PATCH", "/Users/"+user, patchOf(map[string]any{"op": "Replace", "path": "title", "value": title}))
		if err != nil || status/100 != 2 {
			l.Errorf("a push gets %d %v %v", status, body, err)
			return
		}
		l.mu.Lock()
		l.title = title
		l.pushed++
		l.mu.Unlock()
	}
}

// begin starts the load on r: about 500 requests a second over connections that stay and over new ones.
func (l *upgradeLoad) begin(w *world, r *running, jar *browser, p *pusher, user string) {
	for n := range 6 {
		b := w.newBrowserWith(r, jar)
		transport := b.client.Transport.(*http.Transport)
		transport.ForceAttemptHTTP2 = n%2 == 0
		transport.DisableKeepAlives = n >= 4
		pause := 8 * time.Millisecond
		if n >= 4 {
			pause = 50 * time.Millisecond // a handshake costs more
		}
		l.all.Go(func() { l.request(b, pause) })
	}
	l.all.Go(func() { l.push(p, user) })
}

// TestReliability_Upgrade upgrades a server under load. No connection is refused, no request and no push fails, and what was
// acknowledged is there afterwards. Somebody who is offboarded at a random moment is denied from then on and cut, whichever
// process serves them. WebSockets end with the code 1001, and streams end.
func TestReliability_Upgrade(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 3s, stream_grace: 1s}")
	s := w.settle(w.start("--init"))
	pid := s.upgradeUnderLoad(t, s.server, s.push)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	awaitProcessEnd(t, pid)
	verb(t, w.dir, "store", "check")
	verb(t, w.dir, "audit", "verify")
}

// upgradeUnderLoad upgrades server, whose grace is short, again and again under load, and returns the process that serves in
// the end. push offboards: it may be to another replica.
func (s *stage) upgradeUnderLoad(t *testing.T, server *running, push *pusher) (pid int) {
	t.Helper()
	w := s.world
	pid = server.cmd.Process.Pid
	var longest []time.Duration
	trials(t, 1, func(c *trial) {
		w.t = c.T
		bob := w.entra.Add(entratest.Person{UPN: fmt.Sprintf("bob%d@example.com", c.n), Name: "Bob"})
		w.entra.SignIn(bob.OID)
		id := push.hire(fmt.Sprintf("bob%d", c.n), bob.OID)
		push.member("Add", s.group, id)
		leaver := w.newBrowser(server)
		leaver.signIn()
		stage := &stage{world: w, server: server, push: push, browser: leaver, alice: id}
		streams := stage.openAll(c.T)
		socket := openGoingAway(c.T, w.newBrowserWith(server, s.browser))

		l := &upgradeLoad{trial: c, stop: make(chan struct{})}
		l.begin(w, server, s.browser, w.pusher(server), s.alice)
		offboarded := make(chan struct{})
		after := c.within(400 * time.Millisecond)
		l.all.Go(func() {
			defer close(offboarded)
			time.Sleep(after)
			push.setActive(id, "False")
			for _, b := range []*browser{leaver, w.newBrowserWith(server, leaver)} {
				if status := b.fetch("/"); status != http.StatusForbidden {
					c.Errorf("somebody who left gets %d", status)
				}
			}
		})
		time.Sleep(c.within(200 * time.Millisecond))
		next := server.upgrade(t) // which outlives the trial
		<-offboarded
		for _, live := range streams {
			select {
			case <-live.ended:
			case <-time.After(5 * time.Second):
				c.Errorf("the %s of somebody who left goes on", live.name)
			}
		}
		if err := <-socket; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			c.Errorf("a WebSocket ends with %v", err)
		}
		awaitProcessEnd(c.T, pid)
		pid = next
		close(l.stop)
		l.all.Wait()
		if u := push.send("GET", "/Users/"+s.alice, nil, http.StatusOK); u["title"] != l.title {
			c.Errorf("the title is %v, and %s was acknowledged", u["title"], l.title)
		}
		longest = append(longest, l.longest)
		c.Logf("%d requests and %d pushes, the longest request took %v", l.sent, l.pushed, l.longest.Round(time.Millisecond))
		c.count("upgraded")
		c.tally["requests"] += l.sent
		c.tally["pushes"] += l.pushed
	})
	w.t = t
	slices.Sort(longest)
	t.Logf("the longest request took %v, in the middle %v", longest[len(longest)-1].Round(time.Millisecond), longest[len(longest)/2].Round(time.Millisecond))
	return pid
}

// openGoingAway opens a WebSocket, and returns what sends why it ended.
func openGoingAway(t testing.TB, b *browser) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	socket, _, err := websocket.Dial(ctx, "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: b.client})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, _, err := socket.Read(ctx); ended <- err }()
	return ended
}

// TestUpgrade_OffboardingCutsBoth: whoever leaves after an upgrade is cut in the process before it too, and denied in both.
func TestUpgrade_OffboardingCutsBoth(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 1h, stream_grace: 1h}")
	s := w.settle(w.start("--init"))
	idle := w.newBrowserWith(s.server, s.browser)
	idle.fetch("/")
	requests := s.openAll(t)
	s.server.upgrade(t)
	s.browser = w.newBrowserWith(s.server, s.browser) // with connections to the new process
	requests = append(requests, s.openAll(t)...)
	s.push.setActive(s.alice, "False") // on a connection to the former process
	s.demandCut(t, requests, http.StatusForbidden)
	if status := idle.fetch("/"); status != http.StatusForbidden {
		t.Errorf("the former process lets somebody in who left: %d", status)
	}
	s.server.verb("users", "list") // the new process has the control socket
	verb(t, w.dir, "audit", "verify")
}

// TestUpgrade_Refused: if the new process does not take over, the running one goes on and says why.
func TestUpgrade_Refused(t *testing.T) {
	w := newWorld(t)
	s := w.settle(w.start("--init"))
	config := filepath.Join(w.dir, "sallyport.yaml")
	sound := readFile(t, config)
	requests := s.openAll(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ change, restore func() }{
		"bogus: 1": {func() { writeFile(t, w.dir, "sallyport.yaml", append(sound, "\nbogus: 1\n"...)) }, func() {}},
		"address already in use": {func() {
			writeFile(t, w.dir, "sallyport.yaml", []byte(strings.Replace(string(sound), "ops: 127.0.0.1:0", "ops: "+s.server.addrs["scim"], 1)))
		}, func() {}},
		"an upgrade keeps the store": {func() {
			writeFile(t, w.dir, "sallyport.yaml", []byte(strings.Replace(string(sound), "sallyport.db", "other.db", 1)))
		}, func() {}},
		"an upgrade goes on with the record": {func() {
			writeFile(t, w.dir, "sallyport.yaml", append(sound, "\naudit: {file: data/other.jsonl}\n"...))
		}, func() {}},
		"is not writable": {func() {
			writeFile(t, w.dir, "sallyport.yaml", append(sound, "\naudit: {file: /dev/full}\n"...))
		}, func() {}},
	} {
		c.change()
		out, err := exec.Command(path, "upgrade", "-c", config).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the new process did not take over, and this one goes on: ") {
			t.Errorf("%s: the upgrade ends with %v: %s", name, err, out)
		}
		writeFile(t, w.dir, "sallyport.yaml", sound)
		if status := s.browser.fetch("/"); status != http.StatusOK {
			t.Errorf("%s: a request gets %d", name, status)
		}
		s.push.patch("/Users/"+s.alice, map[string]any{"op": "Replace", "path": "title", "value": name})
	}
	for _, l := range requests {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	s.push.setActive(s.alice, "False")
	s.demandCut(t, requests, http.StatusForbidden)
	s.server.signal(syscall.SIGTERM)
	s.server.awaitEnd()
	verb(t, w.dir, "store", "check")
	verb(t, w.dir, "audit", "verify")
}

// TestReliability_UpgradeKilled kills either process (SIGKILL) at a random moment of an upgrade. Whatever was acknowledged is
// there afterwards, and store and record are sound, so there never were two writers.
func TestReliability_UpgradeKilled(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 2s, stream_grace: 0s}")
	first := w.start("--init")
	stage := w.settle(first)
	first.kill()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	possible := map[string]bool{"<nil>": true} // the title of alice
	trials(t, 1, func(c *trial) {
		w.t = c.T
		s := w.start()
		push := w.pusher(s)
		var mu sync.Mutex
		stop := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				title := fmt.Sprintf("%d-%d", c.n, n)
				mu.Lock()
				possible[title] = true
				mu.Unlock()
				status, _, err := push.try("PATCH", "/Users/"+stage.alice, patchOf(map[string]any{"op": "Replace", "path": "title", "value": title}))
				if err == nil && status/100 == 2 {
					mu.Lock()
					clear(possible)
					possible[title] = true
					mu.Unlock()
					continue
				}
				time.Sleep(time.Millisecond)
			}
		})
		all.Go(func() {
			_, _ = exec.Command(path, "upgrade", "-c", filepath.Join(w.dir, "sallyport.yaml")).CombinedOutput()
		})
		former := s.cmd.Process.Pid
		killNew, delay := c.IntN(2) == 0, c.within(250*time.Millisecond)
		deadline := time.Now().Add(delay)
		next := 0
		for time.Now().Before(deadline) {
			if next == 0 {
				next = childOf(former)
			}
			time.Sleep(time.Millisecond)
		}
		switch {
		case killNew && next != 0:
			_ = syscall.Kill(next, syscall.SIGKILL)
			c.count("the new one killed")
		default:
			_ = syscall.Kill(former, syscall.SIGKILL)
			c.count("the old one killed")
		}
		time.Sleep(300 * time.Millisecond)
		close(stop)
		all.Wait()
		if code := healthy(path, w.dir); code {
			c.count("served afterwards")
		}
		killAll(c.T, s)
		verb(c.T, w.dir, "store", "check")
		verb(c.T, w.dir, "audit", "verify")
		again := w.start()
		if u := w.pusher(again).send("GET", "/Users/"+stage.alice, nil, http.StatusOK); !possible[fmt.Sprint(u["title"])] {
			c.Errorf("the title is %v, and one of %v was acknowledged last", u["title"], possible)
		}
		again.kill()
	})
	w.t = t
}

// processes returns the servers that run in the folder of r.
func (r *running) processes(t testing.TB) (pids []int) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		command, _ := os.ReadFile(path) // of a process that may be gone
		if strings.Contains(string(command), "\x00serve\x00-c\x00"+r.dir+"/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// killAll kills the processes of an upgrade, and the one that serves afterwards, which may not have been seen.
func killAll(t testing.TB, s *running) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		for _, pid := range s.processes(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case err := <-s.exited: // no process has its standard error any more
			s.exited <- err
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("a process of the upgrade is left")
		}
	}
}

// healthy reports whether a server is ready.
func healthy(path, dir string) bool {
	return exec.Command(path, "healthcheck", "-c", filepath.Join(dir, "sallyport.yaml")).Run() == nil
}

// childOf returns a child of a process, or 0.
func childOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, thread := range threads {
		if more, err := os.ReadFile(thread); err == nil {
			text = append(text, more...)
		}
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0
	}
	child, _ := strconv.Atoi(fields[0])
	return child
}
