package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"sallyport/entratest"
)

// relic is what a stopped server left: its files, and what was true when it stopped.
type relic struct {
	*world
	old     []byte            // the store as it was some changes earlier
	inUse   []int             // the pages of the store that are in use
	sound   map[string][]byte // the files of store and record, by name below data
	users   map[string]map[string]any
	allowed string            // the access token of a user who may come in
	name    string            // what the application then says
	denied  map[string]string // access tokens of users who may not, by why
	ended   []*http.Cookie    // of a session that was ended
	revoked string            // a provisioning token
}

// newRelic makes users in every state, with enough of a past that the store has pages that are free, and the record closed files.
func newRelic(t *testing.T) *relic {
	r := &relic{world: newWorld(t), sound: map[string][]byte{}, users: map[string]map[string]any{}, denied: map[string]string{}}
	r.rewrite("store: {bolt: {path: data/sallyport.db}}", "audit: {rotate: {size: 64KiB}}\nstore: {bolt: {path: data/sallyport.db, reserve: 0}}")
	s := r.start("--init")
	stage := r.settle(s)
	r.name = "hello " + stage.person.UPN + "\n"
	r.revoked = r.token
	s.verb("token", "rotate", "entra", "--overlap", "0s")
	r.token = ""
	push := r.world.pusher(s)
	ids := map[string]string{"a member": stage.alice}
	for _, why := range []string{"deactivated", "no member", "suspended", "deleted"} {
		name := strings.ReplaceAll(why, " ", "-")
		p := r.entra.Add(entratest.Person{UPN: name + "@example.com"})
		id := push.hire(name, p.OID)
		if why != "no member" {
			push.member("Add", stage.group, id)
		}
		ids[why], r.denied[why] = id, r.entra.AccessToken(p, audience, nil)
	}
	r.denied["unknown"] = r.entra.AccessToken(r.entra.Add(entratest.Person{UPN: "stranger@example.com"}), audience, nil)
	for n := range 150 {
		push.hire(fmt.Sprintf("user-%d", n), fmt.Sprintf("oid-%d", n))
	}
	s.kill()
	r.old = readFile(t, filepath.Join(r.dir, "data", "sallyport.db"))

	s = r.start()
	push = r.world.pusher(s)
	push.setActive(ids["deactivated"], "False")
	s.verb("users", "suspend", ids["suspended"], "--reason", "left")
	push.send("DELETE", "/Users/"+ids["deleted"], nil, http.StatusNoContent)
	b := r.newBrowser(s)
	b.signIn()
	r.ended = b.cookies(appHost)
	s.verb("sessions", "end", "--user", stage.alice)
	delete(ids, "deleted")
	for _, id := range ids {
		r.users[id] = push.send("GET", "/Users/"+id, nil, http.StatusOK)
	}
	r.allowed = r.entra.AccessToken(stage.person, audience, nil)
	for n := 0; n < 150 || r.closedFiles() < 2; n++ {
		if body, status := r.reach(s, r.allowed); status != http.StatusOK || body != r.name || n > 20_000 {
			t.Fatalf("request %d gets %d %q", n, status, body)
		}
	}
	r.demandDenied(t, s)
	awaitProvisioningLog(s)
	s.signal(15)
	s.awaitEnd()
	files, err := filepath.Glob(filepath.Join(r.dir, "data", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.HasSuffix(name, ".sock") && !strings.HasSuffix(name, ".run") && !strings.HasSuffix(name, ".lock") {
			r.sound[name] = readFile(t, file)
		}
	}
	r.inUse = pagesInUse(t, filepath.Join(r.dir, "data", "sallyport.db"))
	return r
}

// pagesInUse returns the numbers of the pages that are in use in the store at path.
func pagesInUse(t *testing.T, path string) (pages []int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		for i := 0; ; i++ {
			p, err := tx.Page(i)
			if p == nil || err != nil {
				return err
			}
			if p.Type != "free" {
				for n := range p.OverflowCount + 1 {
					pages = append(pages, i+n)
				}
			}
			i += p.OverflowCount
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// place returns a random place in a file: in a page that is in use, if the file is the store and there is one.
func (r *relic) place(c *trial, text []byte) int {
	if len(text) != len(r.sound["sallyport.db"]) || c.IntN(4) == 0 {
		return c.IntN(len(text))
	}
	return pick(c, r.inUse)*pageSize + c.IntN(pageSize)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// closedFiles returns how many files of the record are closed.
func (r *relic) closedFiles() int {
	files, err := filepath.Glob(filepath.Join(r.dir, "data", "audit-*.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(files)
}

// put writes the files of the relic, as they were.
func (r *relic) put(c *trial) {
	c.Helper()
	data := filepath.Join(r.dir, "data")
	if err := os.RemoveAll(data); err != nil {
		c.Fatal(err)
	}
	for name, content := range r.sound {
		writeFile(c.T, data, name, content)
	}
}

// reach sends a request to the application with a bearer token.
func (r *relic) reach(s *running, token string) (body string, status int) {
	r.t.Helper()
	resp := r.newBrowser(s).get("https://"+apiHost+"/", token)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text), resp.StatusCode
}

// demandDenied demands that those who may not come in do not.
func (r *relic) demandDenied(t *testing.T, s *running) {
	t.Helper()
	for why, token := range r.denied {
		if body, status := r.reach(s, token); status < 400 {
			t.Errorf("a user who is %s gets %d %q", why, status, body)
		}
	}
	b := r.newBrowser(s)
	b.client.Jar.SetCookies(mustParseURL(t, "https://"+appHost+"/"), secure(r.ended))
	if status := b.fetch("/"); status < 400 {
		t.Errorf("a session that was ended gets %d", status)
	}
	push := *r.world.pusher(s)
	push.token = r.revoked
	if status, _, err := push.try("GET", "/Users", nil); err != nil || status < 400 {
		t.Errorf("a token that was revoked gets %d, %v", status, err)
	}
}

// demandPlainError demands that output is that of a program that found a fault, not of one that fell over it.
func demandPlainError(c *trial, what, out string) {
	c.Helper()
	for _, sign := range []string{"\ngoroutine ", "fatal error", "SIGSEGV"} {
		if strings.Contains(out, sign) {
			c.Errorf("%s crashes:\n%s", what, out)
			return
		}
	}
}

// damage is a way to damage a file.
type damage struct {
	name string
	do   func(c *trial, r *relic, text []byte) []byte
}

const pageSize = 4096

func onPage(f func(c *trial, page, other []byte)) func(*trial, *relic, []byte) []byte {
	return func(c *trial, r *relic, text []byte) []byte {
		if len(text) < pageSize {
			return nil
		}
		i, j := min(r.place(c, text), len(text)-pageSize)/pageSize, min(r.place(c, text), len(text)-pageSize)/pageSize
		f(c, text[i*pageSize:(i+1)*pageSize], text[j*pageSize:(j+1)*pageSize])
		return text
	}
}

func random(c *trial, b []byte) {
	for i := range b {
		b[i] = byte(c.Uint32())
	}
}

var anyDamage = []damage{
	{"bit", func(c *trial, r *relic, text []byte) []byte {
		text[r.place(c, text)] ^= 1 << c.IntN(8)
		return text
	}},
	{"byte", func(c *trial, r *relic, text []byte) []byte {
		text[r.place(c, text)] += byte(1 + c.IntN(255))
		return text
	}},
	{"16 bytes", func(c *trial, r *relic, text []byte) []byte {
		at := r.place(c, text)
		random(c, text[at:min(at+16, len(text))])
		return text
	}},
	{"random page", onPage(func(c *trial, page, _ []byte) { random(c, page) })},
	{"empty page", onPage(func(_ *trial, page, _ []byte) { clear(page) })},
	{"another page", onPage(func(_ *trial, page, other []byte) { copy(page, other) })},
	{"half a page", onPage(func(_ *trial, page, other []byte) { copy(page[:pageSize/2], other) })},
	{"cut off", func(c *trial, _ *relic, text []byte) []byte { return text[:c.IntN(len(text))] }},
	{"cut off at a page", func(c *trial, _ *relic, text []byte) []byte { return text[:c.IntN(len(text)/pageSize+1)*pageSize] }},
	{"longer", func(c *trial, _ *relic, text []byte) []byte {
		more := make([]byte, 1+c.IntN(2*pageSize))
		random(c, more)
		return append(text, more...)
	}},
	{"empty", func(*trial, *relic, []byte) []byte { return []byte{} }},
	{"removed", func(*trial, *relic, []byte) []byte { return nil }},
}

var storeDamage = append(slices.Clip(anyDamage),
	damage{"older page", func(c *trial, r *relic, text []byte) []byte {
		at := min(r.place(c, text), len(r.old)-pageSize) / pageSize * pageSize
		copy(text[at:at+pageSize], r.old[at:])
		return text
	}},
	damage{"older file", func(_ *trial, r *relic, _ []byte) []byte { return bytes.Clone(r.old) }},
)

// onLines changes the lines of a file, from the i-th on.
func onLines(f func(lines [][]byte, i int) [][]byte) func(*trial, *relic, []byte) []byte {
	return func(c *trial, _ *relic, text []byte) []byte {
		lines := slices.Collect(bytes.Lines(text))
		return bytes.Join(f(lines, c.IntN(len(lines))), nil)
	}
}

var recordDamage = append(slices.Clip(anyDamage),
	damage{"line removed", onLines(func(lines [][]byte, i int) [][]byte { return slices.Delete(lines, i, i+1) })},
	damage{"line twice", onLines(func(lines [][]byte, i int) [][]byte { return slices.Insert(lines, i, lines[i]) })},
	damage{"lines exchanged", onLines(func(lines [][]byte, i int) [][]byte {
		j := (i + 1) % len(lines)
		lines[i], lines[j] = lines[j], lines[i]
		return lines
	})},
	damage{"last lines removed", onLines(func(lines [][]byte, i int) [][]byte { return lines[:i] })},
	damage{"first lines removed", onLines(func(lines [][]byte, i int) [][]byte { return lines[i:] })},
)

// TestReliability_Damage damages a file of a stopped server: the store, what says which change was acknowledged last, or a file of the
// record. Nothing crashes; whoever was denied stays denied; what is served is what was stored; and damage of what is in use
// is found, by the start or by `store check` and `audit verify`.
func TestReliability_Damage(t *testing.T) {
	t.Parallel()
	r := newRelic(t)
	var record []string
	for name := range r.sound {
		if strings.HasSuffix(name, ".jsonl") {
			record = append(record, name)
		}
	}
	slices.Sort(record)
	if len(record) < 3 {
		t.Fatalf("the files are %q", record)
	}
	trials(t, 4, func(c *trial) {
		r.t, r.world.t = c.T, c.T
		r.put(c)
		file, kinds := "sallyport.db", storeDamage
		switch c.IntN(10) {
		case 0:
			file, kinds = "sallyport.db.revision", anyDamage
		case 1, 2, 3, 4:
			file, kinds = pick(c, record), recordDamage
		}
		d := pick(c, kinds)
		damaged := d.do(c, r, bytes.Clone(r.sound[file]))
		path := filepath.Join(r.dir, "data", file)
		switch {
		case bytes.Equal(damaged, r.sound[file]) && damaged != nil:
			c.count("unchanged")
			return
		case damaged == nil:
			if err := os.Remove(path); err != nil {
				c.Fatal(err)
			}
		default:
			writeFile(c.T, filepath.Join(r.dir, "data"), file, damaged)
		}
		c.Logf("%s: %s", file, d.name)
		if strings.HasSuffix(file, ".jsonl") {
			c.count("record: " + r.tryRecord(c, file, damaged))
		} else {
			c.count(map[bool]string{true: "store: ", false: "revision: "}[file == "sallyport.db"] + r.tryStore(c))
		}
	})
	r.t, r.world.t = t, t
	r.put(&trial{T: t}) // the record of the world is checked at the end
}

// tryStore checks a store that may be damaged, serves from it if that is possible, and returns what happened.
func (r *relic) tryStore(c *trial) string {
	c.Helper()
	path := filepath.Join(r.dir, "data", "sallyport.db")
	out, code := (&running{t: c, dir: r.dir}).tryAll("store", "check")
	demandPlainError(c, "store check", out)
	if code != exitOK && !strings.Contains(out, path) {
		c.Errorf("store check exits with %d and does not name the file:\n%s", code, out)
	}
	s, pipe := launch(c.T, r.dir)
	if err := s.listens(pipe); err != nil {
		demandPlainError(c, "serve", s.log())
		if code == exitOK {
			c.Errorf("store check says that the store is sound, and serve ends:\n%s", s.log())
		}
		if got := s.cmd.ProcessState; got == nil || got.ExitCode() != exitError && got.ExitCode() != exitDenied || !strings.Contains(s.log(), path) {
			c.Errorf("serve %v and says\n%s", err, s.log())
		}
		return "refused at the start"
	}
	r.demandDenied(c.T, s)
	body, status := r.reach(s, r.allowed)
	if status < 400 && body != r.name {
		c.Errorf("the member gets %d %q, want %q", status, body, r.name)
	}
	whole := status == http.StatusOK
	push := r.world.pusher(s)
	for id, want := range r.users {
		status, got, err := push.try("GET", "/Users/"+id, nil)
		if err != nil || status == http.StatusOK && !reflect.DeepEqual(got, want) {
			c.Errorf("a user is %v, %v, and was %v", got, err, want)
		}
		whole = whole && status == http.StatusOK
	}
	demandPlainError(c, "serve", s.log())
	if code == exitOK && !whole {
		c.Errorf("store check says that the store is sound, and not everything is there")
	}
	if code == exitOK {
		return "harmless"
	}
	await(c.T, s, "sallyport_store_faults ")
	if !strings.Contains(scrape(c.T, s), "sallyport_store_faults 0\n") {
		return "served what is sound, with an alarm"
	}
	s.kill()
	if out, code := (&running{t: c, dir: r.dir}).tryAll("store", "check"); code != exitOK {
		c.Errorf("the server serves without an alarm, and store check exits with %d:\n%s", code, out)
	}
	return "mended by the next commit"
}

// tryRecord checks a record of which a file may be damaged, serves with it if that is possible, and returns what happened.
func (r *relic) tryRecord(c *trial, file string, damaged []byte) string {
	c.Helper()
	// A last line that is not whole is what a crash leaves, and no damage.
	whole := damaged != nil && bytes.HasPrefix(damaged, r.sound[file]) && file == "audit.jsonl" && !bytes.Contains(damaged[len(r.sound[file]):], []byte("\n"))
	verify := func(when string) {
		c.Helper()
		out, code := (&running{t: c, dir: r.dir}).tryAll("audit", "verify")
		demandPlainError(c, "audit verify", out)
		// A file without a line counts as moved elsewhere once the next one names it; verify says which lines it had.
		if file == "audit.jsonl" && !bytes.Contains(damaged, []byte("\n")) && code == exitOK && strings.Contains(out, "are not there: somebody moved") {
			return
		}
		if whole && when == "before the start" && code == exitDenied {
			return // the next start removes the line, and records that
		}
		if whole != (code == exitOK) || !whole && code != exitDenied {
			c.Errorf("%s, audit verify exits with %d:\n%s", when, code, out)
		}
	}
	verify("before the start")
	s, pipe := launch(c.T, r.dir)
	err := s.listens(pipe)
	demandPlainError(c, "serve", s.log())
	if err != nil {
		if whole {
			c.Errorf("serve ends:\n%s", s.log())
		}
		if got := s.cmd.ProcessState; got == nil || got.ExitCode() != exitError && got.ExitCode() != exitDenied || !strings.Contains(s.log(), filepath.Join(r.dir, "data", "audit")) {
			c.Errorf("serve %v and says\n%s", err, s.log())
		}
		return "refused at the start"
	}
	if body, status := r.reach(s, r.allowed); status != http.StatusOK && status != http.StatusServiceUnavailable || status == http.StatusOK && body != r.name {
		c.Errorf("the member gets %d %q", status, body)
	}
	r.demandDenied(c.T, s)
	verify("while it serves")
	s.kill()
	verify("after it served")
	if whole {
		return "harmless"
	}
	return "found by verify alone"
}
