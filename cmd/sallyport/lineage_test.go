package main

import (
	native "encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// loseNewestMeta damages the meta page of the last commit in the store of the world.
func (w *world) loseNewestMeta() {
	w.t.Helper()
	path := filepath.Join(w.dir, "data/sallyport.db")
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	newest := 0
	transaction := func(page int) uint64 { return native.NativeEndian.Uint64(text[page*os.Getpagesize()+16+48:]) }
	if transaction(1) > transaction(0) {
		newest = os.Getpagesize()
	}
	clear(text[newest+16 : newest+16+64])
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// refused runs a command that must end with an exit code and say every text.
func (w *world) refused(code int, verb []string, texts ...string) {
	w.t.Helper()
	out, got := (&running{t: w.t, dir: w.dir}).tryAll(verb...)
	if got != code {
		w.t.Fatalf("%v exits with %d, want %d:\n%s", verb, got, code, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			w.t.Errorf("%v does not say %q:\n%s", verb, text, out)
		}
	}
}

// tryAll is try with both outputs.
func (r *running) tryAll(args ...string) (out string, code int) {
	r.t.Helper()
	path, err := binary()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err = runCommand(path, append(args, "-c", filepath.Join(r.dir, "sallyport.yaml"))...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode()
	} else if err != nil {
		r.t.Fatal(err)
	}
	return out, exitOK
}

// TestLineage_RefusesLostCommit loses the newest meta page after each kind of acknowledged change. The file is sound
// then, and one commit older: the server must not go on as if nothing had been acknowledged.
func TestLineage_RefusesLostCommit(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	stage := w.settle(s)
	var other struct{ ID string }
	if err := json.Unmarshal([]byte(s.verb("token", "create", "other", "-o", "json")), &other); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		after func(s *running)
	}{
		{"sessions_end", func(s *running) { s.verb("sessions", "end", "--user", "alice@example.com") }},
		{"token_rotate", func(s *running) { s.verb("token", "rotate", other.ID) }},
		{"token_revoke", func(s *running) { s.verb("token", "revoke", other.ID) }},
		{"users_suspend", func(s *running) { s.verb("users", "suspend", "alice@example.com", "--reason", "left") }},
		{"users_unsuspend", func(s *running) {
			s.verb("users", "suspend", "alice@example.com", "--reason", "left")
			s.verb("users", "unsuspend", "alice@example.com")
		}},
		{"push", func(s *running) { w.pusher(s).setActive(stage.alice, "False") }},
	} {
		t.Log(c.name)
		c.after(s)
		s.kill()
		w.loseNewestMeta()
		w.refused(exitError, []string{"serve"}, "lacks changes that were acknowledged", "sallyport restore FILE", "sallyport store accept-loss")
		w.refused(exitError, []string{"users", "list"}, "lacks changes that were acknowledged")
		w.refused(exitDenied, []string{"store", "check"}, "lacks changes that were acknowledged")
		verb(t, w.dir, "store", "accept-loss")
		w.refused(exitError, []string{"store", "accept-loss"}, "nothing was done")
		verb(t, w.dir, "store", "check")
		s = w.start()
		if status := w.newBrowserWith(s, stage.browser).fetch("/"); status == http.StatusOK {
			t.Error("a session is valid after the loss was accepted")
		}
	}
	s.verb("audit", "verify")
	record, err := os.ReadFile(filepath.Join(w.dir, "data/audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(record), `"kind":"store","actor":{"kind":"operator","name":"`); n != 6 {
		t.Errorf("the record tells of %d losses that were accepted, want 6:\n%s", n, record)
	}
}

// demandOwner demands that the files have one owner.
func (w *world) demandOwner(files ...string) {
	w.t.Helper()
	var first os.FileInfo
	for _, name := range files {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil {
			w.t.Fatal(err)
		}
		if first == nil {
			first = info
		}
		if info.Sys().(*syscall.Stat_t).Uid != first.Sys().(*syscall.Stat_t).Uid {
			w.t.Errorf("%s has another owner than %s", name, files[0])
		}
	}
}

// demandOrder demands that the last line of the record with the text before precedes the last with after.
func (w *world) demandOrder(before, after string) {
	w.t.Helper()
	record, err := os.ReadFile(filepath.Join(w.dir, "data/audit.jsonl"))
	if err != nil {
		w.t.Fatal(err)
	}
	first, second := strings.LastIndex(string(record), before), strings.LastIndex(string(record), after)
	if first < 0 || second < first {
		w.t.Errorf("in the record, %s is at %d and %s at %d:\n%s", before, first, after, second, record)
	}
}

// newBrowserWith returns a browser with the cookies of another, for a server at other addresses.
func (w *world) newBrowserWith(s *running, other *browser) *browser {
	b := w.newBrowser(s)
	b.client.Jar = other.client.Jar
	return b
}

// TestLineage_GoesOnFromBackup restores a backup by the verb, with which the record goes on, and by hand, with which a new
// record begins: both go back on purpose.
func TestLineage_GoesOnFromBackup(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	stage := w.settle(s)
	copied := filepath.Join(w.dir, "copy.db")
	s.verb("backup", copied)
	stage.push.setActive(stage.alice, "False")
	w.refused(exitError, []string{"restore", copied}, "stop the server first")
	s.kill()

	for name, restore := range map[string]func(){
		"verb": func() { verb(t, w.dir, "restore", "--reactivate", copied) },
		"hand": func() {
			former := filepath.Join(w.dir, "data/sallyport.db") // in the form that earlier versions made
			if err := os.Remove(former); err != nil {
				t.Fatal(err)
			}
			formerCopy(t, copied, former)
			verb(t, w.dir, "store", "check")
			w.refused(exitError, []string{"serve"}, "is older than the audit record", "sallyport restore FILE")
			if err := os.Rename(filepath.Join(w.dir, "data/audit.jsonl"), filepath.Join(w.dir, "former.jsonl")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Log(name)
		restore()
		s := w.start()
		if status := w.newBrowserWith(s, stage.browser).fetch("/"); status == http.StatusOK {
			t.Error("a session is valid after a restore")
		}
		b := w.newBrowser(s)
		b.signIn() // Alice is active in the copy
		w.pusher(s).setActive(stage.alice, "False")
		if status := b.fetch("/"); status != http.StatusForbidden {
			t.Errorf("a deactivation after the restore gives %d", status)
		}
		eventually(t, "the record follows the store", func() bool {
			record, err := os.ReadFile(filepath.Join(w.dir, "data/audit.jsonl"))
			return err == nil && strings.LastIndex(string(record), `"kind":"scim"`) > strings.LastIndex(string(record), `"reason":"restored"`)
		})
		s.kill()
		verb(t, w.dir, "audit", "verify")
		w.demandOrder(`"reason":"restored"`, `"kind":"scim"`)
	}
	former, err := filepath.Glob(filepath.Join(w.dir, "data/sallyport.db.replaced-*"))
	if err != nil || len(former) != 1 {
		t.Errorf("the former store is at %v, %v", former, err)
	}

	w.demandOwner("data/sallyport.db", "data/sallyport.db.revision")

	writeFile(t, w.dir, "garbage.db", []byte("this is no store"))
	before, err := os.ReadFile(filepath.Join(w.dir, "data/sallyport.db"))
	if err != nil {
		t.Fatal(err)
	}
	w.refused(exitError, []string{"restore", filepath.Join(w.dir, "garbage.db")}, "garbage.db")
	if after, err := os.ReadFile(filepath.Join(w.dir, "data/sallyport.db")); err != nil || string(after) != string(before) {
		t.Error("a copy that is no store replaced the store")
	}
}
