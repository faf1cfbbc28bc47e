package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/entratest"
)

// known is what a pusher knows of one user. Nobody else changes that user, so it knows the order of the changes.
type known struct {
	id      string
	person  entratest.Person
	token   string // an access token of this trial
	begun   pushed // the state at the beginning of the trial
	changes []change
	reads   []read
	acked   int // changes with a 2xx, over all trials
	allowed int // requests that were allowed, over all trials
}

// pushed is what was pushed about a user.
type pushed struct {
	title          string
	active, member bool
}

func (p pushed) allowed() bool { return p.active && p.member }

// change is a push that leads to a state; ended is zero if no response came.
type change struct {
	began, ended time.Time
	after        pushed
}

// read is a request in the name of a user.
type read struct {
	began, ended time.Time
	status       int
}

// possible returns the states that the user may have had at some moment between began and ended.
func (k *known) possible(began, ended time.Time) []pushed {
	states := []pushed{k.begun}
	for _, c := range k.changes {
		switch {
		case !c.ended.IsZero() && c.ended.Before(began):
			states = []pushed{c.after}
		case c.began.Before(ended):
			states = append(states, c.after)
		}
	}
	return states
}

// problems returns the responses that no state of that time explains. A user who is steady is never deactivated, and must
// be let in while they are a member; after a deactivation, an access token that is older stays rejected.
func (k *known) problems(steady bool) (problems []string) {
	for _, r := range k.reads {
		mayAllow, mayDeny := false, !steady
		states := k.possible(r.began, r.ended)
		for _, s := range states {
			mayAllow = mayAllow || s.allowed()
			mayDeny = mayDeny || !s.allowed()
		}
		if r.status == http.StatusOK && !mayAllow || r.status != http.StatusOK && !mayDeny {
			problems = append(problems, fmt.Sprintf("%s gets %d while %+v was the state", k.person.UPN, r.status, states))
		}
	}
	return problems
}

// TestKnown_FindsProblems: the check of the histories below finds what must not be, and nothing else.
func TestKnown_FindsProblems(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	in, out := pushed{active: true, member: true}, pushed{active: true}
	acknowledged := []change{{at(10), at(12), out}, {at(20), at(22), in}}
	unknown := []change{{at(10), time.Time{}, out}}
	for name, c := range map[string]struct {
		changes []change
		read    read
		steady  bool
		found   int
	}{
		"allowed_before":             {acknowledged, read{at(1), at(9), 200}, true, 0},
		"denied_before":              {acknowledged, read{at(1), at(9), 403}, true, 1},
		"allowed_meanwhile":          {acknowledged, read{at(1), at(11), 200}, true, 0},
		"denied_meanwhile":           {acknowledged, read{at(11), at(11), 403}, true, 0},
		"allowed_after":              {acknowledged, read{at(13), at(14), 200}, true, 1},
		"denied_after":               {acknowledged, read{at(13), at(14), 403}, true, 0},
		"allowed_during_the_next":    {acknowledged, read{at(13), at(21), 200}, true, 0},
		"denied_in_the_end":          {acknowledged, read{at(23), at(24), 403}, true, 1},
		"old_token_in_the_end":       {acknowledged, read{at(23), at(24), 401}, false, 0},
		"old_token_allowed_after":    {acknowledged, read{at(13), at(14), 200}, false, 1},
		"allowed_without_a_response": {unknown, read{at(30), at(31), 200}, true, 0},
		"denied_without_a_response":  {unknown, read{at(30), at(31), 403}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := &known{begun: in, changes: c.changes, reads: []read{c.read}}
			if got := k.problems(c.steady); len(got) != c.found {
				t.Errorf("found: %q", got)
			}
		})
	}
}

// siege is a world whose server is killed again and again under load.
type siege struct {
	*world
	group string // SCIM id of the group that the policy allows
	users []*known
	mu    sync.Mutex // guards the reads of users
}

const besieged = 12 // users; those with an even number are never deactivated

func newSiege(t *testing.T) *siege {
	s := &siege{world: newWorld(t)}
	s.rewrite("store: {", "scim: {max_deactivations: {count: 0}}\naudit: {rotate: {size: 1MiB}}\nstore: {")
	server := s.start("--init")
	push := s.pusher(server)
	s.group = push.form("Members", s.world.group)
	for n := range besieged {
		p := s.entra.Add(entratest.Person{UPN: fmt.Sprintf("user-%d@example.com", n)})
		k := &known{person: p, begun: pushed{active: true}}
		k.id = push.hire(fmt.Sprintf("user-%d", n), p.OID)
		s.users = append(s.users, k)
	}
	server.kill()
	return s
}

// TestReliability_KillUnderLoad kills the server (SIGKILL) at a random time: while it starts, or while users are pushed and
// send requests. Whatever was acknowledged is there after the next start, and in the record; a push without a response is
// stored as a whole or not at all; and no request, before or after the kill, gets a response that the directory of that time does not explain.
func TestReliability_KillUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	trials(t, 2, func(c *trial) {
		s.t = c.T
		if c.IntN(4) == 0 {
			c.count("killed at a start, too")
			s.killAtStart(c.within(120 * time.Millisecond))
		}
		server := s.start()
		s.demandAcknowledged(c, server)
		if c.n%50 == 49 {
			s.demandRecorded(c.T)
		}
		c.count("killed under load")
		s.load(c, server, c.within(300*time.Millisecond))
		for n, k := range s.users {
			c.report(k.problems(n%2 == 0))
		}
	})
	s.t = t
	server := s.start()
	s.demandRecorded(t)
	server.kill()
	server.verb("store", "check")
}

// killAtStart starts the server and kills it after a while, whatever it does then.
func (s *siege) killAtStart(after time.Duration) {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, "serve", "-c", filepath.Join(s.dir, "sallyport.yaml"))
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// demandAcknowledged compares what the server knows of each user with what was acknowledged, and begins a new history.
func (s *siege) demandAcknowledged(c *trial, server *running) {
	c.Helper()
	push := s.pusher(server)
	group := push.send("GET", "/Groups/"+s.group, nil, http.StatusOK)
	members := fmt.Sprint(group["members"])
	for _, k := range s.users {
		u := push.send("GET", "/Users/"+k.id, nil, http.StatusOK)
		title, _ := u["title"].(string)
		now := pushed{title: title, active: u["active"] == true, member: strings.Contains(members, k.id)}
		end := time.Now()
		if states := k.possible(end, end); !slices.Contains(states, now) {
			c.Errorf("%s is %+v; acknowledged, or in doubt, is %+v", k.person.UPN, now, states)
		}
		for _, r := range k.reads {
			if r.status == http.StatusOK {
				k.allowed++
			}
		}
		k.begun, k.changes, k.reads = now, nil, nil
		k.token = s.entra.AccessToken(k.person, audience, nil)
	}
}

// load pushes users and sends requests in their names until the server is killed.
func (s *siege) load(c *trial, server *running, after time.Duration) {
	c.Helper()
	const writers = 4
	var all sync.WaitGroup
	for w := range writers {
		seed := c.Uint64()
		all.Go(func() { s.pushUntilKilled(c, server, w*besieged/writers, besieged/writers, seed) })
	}
	for range 2 {
		seed, client := c.Uint64(), s.newBrowser(server).client
		all.Go(func() {
			for random := newRandom(seed); ; {
				if !s.request(c, client, s.users[random.IntN(besieged)]) {
					return
				}
			}
		})
	}
	time.Sleep(after)
	server.kill()
	all.Wait()
}

// request sends a request in the name of a user. It reports whether there is a response, or the server was killed.
func (s *siege) request(c *trial, client *http.Client, k *known) bool {
	began := time.Now()
	status, err := getStatus(client, "https://"+apiHost+"/", k.token)
	if err != nil {
		return false
	}
	if status != http.StatusOK && status != http.StatusForbidden && status != http.StatusUnauthorized {
		c.Errorf("a request gets %d", status)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.reads = append(k.reads, read{began, time.Now(), status})
	return true
}

// pushUntilKilled changes count users from the first on, one after the other.
func (s *siege) pushUntilKilled(c *trial, server *running, first, count int, seed uint64) {
	push, client, random := s.pusher(server), s.newBrowser(server).client, newRandom(seed)
	for n := 0; ; n++ {
		i := first + random.IntN(count)
		k := s.users[i]
		latest := k.begun
		if len(k.changes) > 0 {
			latest = k.changes[len(k.changes)-1].after
		}
		path := "/Users/" + k.id
		var operation map[string]any
		switch kind := random.IntN(3); {
		case kind == 0:
			latest.title = fmt.Sprintf("%d-%d", c.n, n)
			operation = map[string]any{"op": "Replace", "path": "title", "value": latest.title}
		case kind == 1 && i%2 == 1:
			latest.active = !latest.active
			operation = map[string]any{"op": "Replace", "path": "active", "value": latest.active}
		default:
			latest.member = !latest.member
			path, operation = "/Groups/"+s.group, map[string]any{"op": map[bool]string{true: "Add", false: "Remove"}[latest.member],
				"path": "members", "value": []any{map[string]any{"value": k.id}}}
		}
		began := time.Now()
		status, body, err := push.try("PATCH", path, patchOf(operation))
		if err != nil {
			k.changes = append(k.changes, change{began: began, after: latest})
			return // the server was killed
		}
		if status/100 != 2 {
			c.Errorf("a push gets %d %v", status, body)
			return
		}
		k.changes = append(k.changes, change{began, time.Now(), latest})
		k.acked++
		if n%2 == 0 && !s.request(c, client, k) { // at once
			return
		}
	}
}

// demandRecorded demands that the record is sound, and that it has every change that was acknowledged and every request
// that was allowed. A server that was started records the changes of the one before it.
func (s *siege) demandRecorded(t *testing.T) {
	t.Helper()
	if out := verb(t, s.dir, "audit", "verify"); !strings.Contains(out, "is sound") {
		t.Error(out)
	}
	want := map[string]int{}
	changes, requests := 0, 0
	for _, k := range s.users {
		want["scim "+k.id], want["decision "+k.id] = k.acked, k.allowed
		changes, requests = changes+k.acked, requests+k.allowed
	}
	var missing []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		missing = nil
		recorded := s.countRecorded(t)
		for of, n := range want {
			if recorded[of] < n {
				missing = append(missing, fmt.Sprintf("%s: %d of %d", of, recorded[of], n))
			}
		}
		if missing == nil {
			t.Logf("%d acknowledged changes and %d allowed requests are recorded", changes, requests)
			return
		}
	}
	t.Errorf("not all is recorded: %q", missing)
}

// countRecorded counts the changes and the allowed requests of each user in the record.
func (s *siege) countRecorded(t *testing.T) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "audit*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			kind := "scim"
			if bytes.Contains(line, []byte(`"kind":"decision"`)) && bytes.Contains(line, []byte(`"decision":"allow"`)) {
				kind = "decision"
			} else if !bytes.Contains(line, []byte(`"kind":"scim"`)) {
				continue
			}
			for _, k := range s.users {
				if bytes.Contains(line, []byte(k.id)) {
					count[kind+" "+k.id]++
				}
			}
		}
	}
	return count
}
