package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/disk/disktest"
	"sallyport/entratest"
)

// mountDisk mounts a disk of size at path.
func mountDisk(t *testing.T, path, size string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	disktest.Mount(t, path, size)
}

// fillDisk uses up the disk at dir to the last byte.
func fillDisk(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// readiness returns what /readyz says.
func (r *running) readiness(t testing.TB) (status int, body string) {
	t.Helper()
	resp, err := http.Get("http://" + r.addrs["ops"] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// awaitReady waits until the server is ready again.
func (r *running) awaitReady(t testing.TB) {
	t.Helper()
	awaitStatus(t, http.StatusOK, func() int { status, _ := r.readiness(t); return status })
}

// tryHire pushes a new user and returns the status and the error's text.
func (p *pusher) tryHire(name string) (status int, detail string) {
	p.t.Helper()
	status, body, err := p.try("POST", "/Users", map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"},
		"userName": name, "externalId": name, "active": true, "displayName": strings.Repeat("long name ", 100)})
	if err != nil {
		p.t.Fatal(err)
	}
	detail, _ = body["detail"].(string)
	return status, detail
}

// hireUntilRefused pushes users until one is refused. It returns those that were not.
func (p *pusher) hireUntilRefused(prefix string) (hired []string, status int, detail string) {
	p.t.Helper()
	for n := range 20_000 {
		name := fmt.Sprintf("%s-%d@example.com", prefix, n)
		if status, detail = p.tryHire(name); status != http.StatusCreated {
			return hired, status, detail
		}
		hired = append(hired, name)
	}
	p.t.Fatal("nothing is refused")
	return nil, 0, ""
}

// demandUsers demands that each of names is a user.
func (p *pusher) demandUsers(names []string) {
	p.t.Helper()
	for _, name := range names {
		list := p.send("GET", "/Users?filter="+url.QueryEscape(fmt.Sprintf("userName eq %q", name)), nil, http.StatusOK)
		if found, _ := list["Resources"].([]any); len(found) != 1 {
			p.t.Errorf("%s was acknowledged and is lost: %v", name, list)
		}
	}
}

// demandSound demands that the record is sound, and contains each text.
func (r *running) demandSound(t *testing.T, path string, texts ...string) {
	t.Helper()
	if out := r.verb("audit", "verify"); !strings.Contains(out, "is sound") {
		t.Error(out)
	}
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(string(record), text) {
			t.Errorf("the record lacks %s", text)
		}
	}
}

// TestFullDisk_RevokesAndIsKilled fills the disk of store and record. Nothing is given any more, everything can be
// taken away, and neither SIGKILL nor a start on the full disk loses anything that was acknowledged.
func TestFullDisk_RevokesAndIsKilled(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.dir, "data")
	mountDisk(t, data, "24m")
	w.makeRequestable()
	s := w.start("--init")
	stage := w.settle(s)
	granted := w.grantCarol(s, stage.push)
	bob := w.entra.Add(entratest.Person{UPN: "bob@example.com", Name: "Bob"})
	bobID := stage.push.hire("bob", bob.OID)
	stage.push.member("Add", stage.group, bobID)
	var spare struct{ ID string }
	if err := json.Unmarshal([]byte(s.verb("token", "create", "spare", "-o", "json")), &spare); err != nil {
		t.Fatal(err)
	}

	release := fillDisk(t, data)
	hired, status, detail := stage.push.hireUntilRefused("first")
	if status != http.StatusServiceUnavailable || !strings.Contains(detail, "disk is full; nothing was changed") {
		t.Errorf("an ordinary push on a full disk gets %d %q", status, detail)
	}
	for n := range 20_000 { // until the space for decisions is used up
		if status := stage.browser.fetch("/"); status == http.StatusServiceUnavailable {
			break
		} else if n == 19_999 || status != http.StatusOK {
			t.Fatalf("request %d on a full disk gets %d", n, status)
		}
	}
	if status, body := s.readiness(t); status != http.StatusServiceUnavailable || strings.Count(body, "disk") < 2 {
		t.Errorf("/readyz is %d %q", status, body)
	}
	if out, code := s.try("doctor"); code != exitDenied || !strings.Contains(out, "readiness") || !strings.Contains(out, "free some space") {
		t.Errorf("the doctor says (%d):\n%s", code, out)
	}
	s.verb("users", "suspend", "alice@example.com", "--reason", "laptop stolen")
	stage.push.setActive(bobID, "False")
	stage.push.member("Remove", stage.group, bobID)
	s.verb("token", "revoke", spare.ID)
	s.verb("grants", "revoke", granted, "--reason", "the incident is over")

	demand := func(s *running) {
		push := w.pusher(s)
		push.demandUsers(hired)
		if u := push.send("GET", "/Users/"+bobID, nil, http.StatusOK); u["active"] != false {
			t.Errorf("the deactivation is lost: %v", u)
		}
		if out := s.verb("users", "list"); !strings.Contains(out, "laptop stolen") {
			t.Errorf("the suspension is lost:\n%s", out)
		}
		if out := s.verb("grants", "list"); strings.Contains(out, "carol") {
			t.Errorf("the revocation of a grant is lost:\n%s", out)
		}
		if out := s.verb("token", "list"); strings.Contains(out, "spare") {
			t.Errorf("the revocation is lost:\n%s", out)
		}
		s.demandSound(t, filepath.Join(data, "audit.jsonl"), "laptop stolen", `"reason":"revoked"`, bobID)
	}
	demand(s)
	s.kill()
	s = w.start() // on a disk that is still full
	demand(s)
	if status, _ := w.pusher(s).tryHire("second@example.com"); status != http.StatusServiceUnavailable && status != http.StatusCreated {
		t.Errorf("after a restart on the full disk a push gets %d", status)
	}
	s.kill()
	release()
	s = w.start()
	demand(s)
	s.awaitReady(t)
	if status, detail := w.pusher(s).tryHire("third@example.com"); status != http.StatusCreated {
		t.Errorf("with space again, a push gets %d %s", status, detail)
	}
}

// TestFullDisk_EndsBySpace: the server goes on by itself, and the record tells of what was refused.
func TestFullDisk_EndsBySpace(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.dir, "data")
	mountDisk(t, data, "24m")
	s := w.start("--init")
	stage := w.settle(s)
	release := fillDisk(t, data)
	_, _, _ = stage.push.hireUntilRefused("first")
	awaitStatus(t, http.StatusServiceUnavailable, func() int {
		for range 2000 {
			if status := stage.browser.fetch("/"); status != http.StatusOK {
				return status
			}
		}
		return http.StatusOK
	})
	release()
	s.awaitReady(t)
	if status := stage.browser.fetch("/"); status != http.StatusOK {
		t.Errorf("with space again, a request gets %d", status)
	}
	if status, detail := stage.push.tryHire("again@example.com"); status != http.StatusCreated {
		t.Errorf("with space again, a push gets %d %s", status, detail)
	}
	s.demandSound(t, filepath.Join(data, "audit.jsonl"), `"reason":"recovered"`)
}

// TestFailedCommit_IsKilledOrRecovers makes commits of the running server fail. Killed, it has lost nothing that was
// acknowledged; left alone, it goes on once the disk does.
func TestFailedCommit_IsKilledOrRecovers(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "recovers": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.start("--init")
			push := w.pusher(s)
			var hired []string
			for n := range 20 {
				name := fmt.Sprintf("user-%d@example.com", n)
				if status, detail := push.tryHire(name); status != http.StatusCreated {
					t.Fatal(status, detail)
				}
				hired = append(hired, name)
			}
			user := push.hire("alice", "alice")
			release := s.limitFiles(t, 8192)
			if status, detail := push.tryHire("uncertain@example.com"); status != http.StatusServiceUnavailable || !strings.Contains(detail, "uncertain whether it was stored") {
				t.Errorf("the push whose commit fails gets %d %q", status, detail)
			}
			if status, detail := push.tryHire("later@example.com"); status != http.StatusServiceUnavailable || !strings.Contains(detail, "nothing was changed") {
				t.Errorf("the next push gets %d %q", status, detail)
			}
			if status, body := s.readiness(t); status != http.StatusServiceUnavailable || !strings.Contains(body, "a commit failed") {
				t.Errorf("/readyz is %d %q", status, body)
			}
			push.demandUsers(hired) // reads go on
			if killed {
				s.kill()
				s = w.start()
				push = w.pusher(s)
			} else {
				release()
				s.awaitReady(t)
			}
			push.demandUsers(hired)
			push.setActive(user, "False")
			if status, detail := push.tryHire("again@example.com"); status != http.StatusCreated {
				t.Errorf("afterwards a push gets %d %s", status, detail)
			}
			s.demandSound(t, filepath.Join(w.dir, "data", "audit.jsonl"))
		})
	}
}

// TestFullDisk_OffboardsThroughout: whichever way the identity provider takes somebody's access away on a full disk, the push
// succeeds, what is open is cut, the next request is denied, and both are in the record; whether requests are let in
// unrecorded meanwhile or not.
func TestFullDisk_OffboardsThroughout(t *testing.T) {
	for mode, code := range map[string]int{"deny": http.StatusServiceUnavailable, "allow": http.StatusOK} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			data := filepath.Join(w.dir, "data")
			mountDisk(t, data, "24m")
			w.rewrite("store: ", "audit: {on_failure: "+mode+"}\nstore: ")
			server := w.start("--init")
			stages := map[string]*stage{}
			stage := w.settle(server)
			ways := offboardings()
			for name := range ways {
				stages[name] = stage.colleague(name)
			}
			open := map[string][]liveRequest{}
			for name, s := range stages {
				open[name] = []liveRequest{s.openSocket(t), s.openStream(t, "/events")}
			}
			release := fillDisk(t, data)
			_, _, _ = stage.push.hireUntilRefused("first")
			awaitStatus(t, code, func() int { return stage.fetchUntilFull(code) })
			for name, offboard := range ways {
				s := stages[name]
				offboard(s)
				for _, l := range open[name] {
					select {
					case <-l.ended:
					case <-time.After(10 * time.Second):
						t.Fatalf("%s: the %s is not cut", name, l.name)
					}
				}
				if got := s.browser.fetch("/"); got == http.StatusOK {
					t.Errorf("%s: the next request gets %d", name, got)
				}
			}
			demandReadiness(t, server, mode)
			release()
			server.awaitReady(t)
			if mode == "allow" {
				awaitLog(t, server, "it tells how many requests and sign-ins were let in unrecorded")
			}
			record := server.verb("audit", "export")
			for name, s := range stages {
				if strings.Count(record, `"user_name":"`+name+`@example.com"`) == 0 || !strings.Contains(record, `"kind":"scim","actor"`) {
					t.Errorf("%s is not recorded", name)
				}
				cuts := 0
				for line := range strings.Lines(record) {
					if strings.Contains(line, `"kind":"cut"`) && strings.Contains(line, s.alice) {
						cuts++
					}
				}
				if cuts != 2 {
					t.Errorf("%s: %d cuts are recorded", name, cuts)
				}
			}
			server.demandSound(t, filepath.Join(data, "audit.jsonl"), `"reason":"recovered"`)
			if got := strings.Contains(record, `"unrecorded":"`); got != (mode == "allow") {
				t.Errorf("whether the record tells of what was let in: %v", got)
			}
		})
	}
}

// fetchUntilFull sends requests until the space for their decisions is used up, and returns the status of the last.
func (s *stage) fetchUntilFull(then int) int {
	for range 4000 {
		if status := s.browser.fetch("/"); status != http.StatusOK {
			return status
		}
		if then == http.StatusOK && strings.Contains(s.server.log(), "let in unrecorded") {
			return then
		}
	}
	return 0
}

// colleague pushes one more member of the group, and signs them in.
func (s *stage) colleague(name string) *stage {
	s.t.Helper()
	other := *s
	other.person = s.entra.Add(entratest.Person{UPN: name + "@example.com", Name: name})
	s.entra.SignIn(other.person.OID)
	other.alice = s.push.hire(name, other.person.OID)
	s.push.member("Add", s.group, other.alice)
	other.browser = s.newBrowser(s.server)
	other.browser.signIn()
	return &other
}

// offboardings are the ways in which an identity provider takes the access of a stage's person away.
func offboardings() map[string]func(*stage) {
	bulk := func(operation map[string]any) map[string]any {
		return map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:BulkRequest"}, "Operations": []any{operation}}
	}
	return map[string]func(*stage){
		"patch":  func(s *stage) { s.push.setActive(s.alice, "False") },
		"delete": func(s *stage) { s.push.send("DELETE", "/Users/"+s.alice, nil, http.StatusNoContent) },
		"put": func(s *stage) {
			u := s.push.send("GET", "/Users/"+s.alice, nil, http.StatusOK)
			u["active"] = false
			s.push.send("PUT", "/Users/"+s.alice, u, http.StatusOK)
		},
		"bulk": func(s *stage) {
			s.push.send("POST", "/Bulk", bulk(map[string]any{"method": "PATCH", "path": "/Users/" + s.alice,
				"data": patchOf(map[string]any{"op": "replace", "value": map[string]any{"active": false}})}), http.StatusOK)
		},
		"leaves": func(s *stage) { s.push.member("Remove", s.group, s.alice) },
	}
}

// demandReadiness demands what a server on a full disk says of itself.
func demandReadiness(t *testing.T, s *running, mode string) {
	t.Helper()
	status, body := s.readiness(t)
	out, _ := s.try("doctor")
	_, health := s.try("healthcheck")
	switch mode {
	case "allow":
		if status != http.StatusOK || !strings.HasPrefix(body, "ready\n") || !strings.Contains(body, "let in without a line in it (audit.on_failure: allow): its disk is full") {
			t.Errorf("/readyz is %d %q", status, body)
		}
		if !regexp.MustCompile(`readiness +warn +ready; the audit record`).MatchString(out) || health != exitOK {
			t.Errorf("the health check exits with %d, and the doctor says\n%s", health, out)
		}
		await(t, s, "sallyport_audit_unrecorded_total ")
	default:
		if status != http.StatusServiceUnavailable || health != exitError {
			t.Errorf("/readyz is %d %q; the health check exits with %d", status, body, health)
		}
	}
}

// TestFailedRecord_DeniesUnlessAllowed makes writes to the record of the running server fail: requests go on if the
// configuration says so, operators' actions are refused all the same, and the record says afterwards what it lacks.
func TestFailedRecord_DeniesUnlessAllowed(t *testing.T) {
	for mode, code := range map[string]int{"deny": http.StatusServiceUnavailable, "allow": http.StatusOK} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.rewrite("store: ", "audit: {on_failure: "+mode+"}\nstore: ")
			server := w.start("--init")
			s := w.settle(server)
			release := server.limitFiles(t, 1)
			for range 3 {
				if got := s.browser.fetch("/"); got != code {
					t.Errorf("a request gets %d, want %d", got, code)
				}
			}
			if out, got := server.try("users", "suspend", "alice@example.com", "--reason", "a test"); got != exitError {
				t.Errorf("suspending without a record exits with %d: %s", got, out)
			}
			if got := s.browser.fetch("/"); got != code {
				t.Errorf("a request of somebody who was not suspended gets %d", got)
			}
			status, body := server.readiness(t)
			if status != code || mode == "allow" && !strings.Contains(body, "audit.on_failure: allow") {
				t.Errorf("/readyz is %d %q", status, body)
			}
			release()
			awaitStatus(t, http.StatusOK, func() int {
				if status, body := server.readiness(t); body != readyText+"\n" {
					return -status
				}
				return s.browser.fetch("/")
			})
			server.demandSound(t, filepath.Join(w.dir, "data", "audit.jsonl"), `"reason":"recovered"`)
			record := server.verb("audit", "export", "--kind", "audit")
			if got := strings.Contains(record, `"unrecorded":"4"`); got != (mode == "allow") {
				t.Errorf("the record says\n%s", record)
			}
		})
	}
}
