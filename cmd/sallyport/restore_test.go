package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/admin"
	"sallyport/backup"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/scim"
	"sallyport/store"
	"sallyport/store/bolt"
)

// formerCopy makes of the backup at from the copy that earlier versions made of the same store: a store with a mark.
func formerCopy(t testing.TB, from, to string) {
	t.Helper()
	st, err := bolt.Open(to, bolt.Options{Init: true, Copy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := backup.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	st.Continue(store.Revision(r.Header().Revision))
	if err := backup.Load(t.Context(), st, r.Records()); err != nil {
		t.Fatal(err)
	}
	mark, err := json.Marshal(copyMark{r.Header().Made})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte(copyKey), mark) }); err != nil {
		t.Fatal(err)
	}
}

// here runs a verb in this process, which is much faster than another process, and demands that it succeeds.
func (w *world) here(args ...string) string {
	w.t.Helper()
	var out, errs bytes.Buffer
	if code := w.runHere(&out, &errs, args...); code != exitOK {
		w.t.Fatalf("sallyport %s exits with %d\n%s%s", strings.Join(args, " "), code, out.String(), errs.String())
	}
	return out.String()
}

func (w *world) runHere(out, errs io.Writer, args ...string) (code int) {
	return run(w.t.Context(), append(slices.Clone(args), "-c", filepath.Join(w.dir, "sallyport.yaml")), nil, out, errs)
}

// refusedHere runs a verb in this process that must exit with 1 and say every text.
func (w *world) refusedHere(args []string, texts ...string) {
	w.t.Helper()
	var out bytes.Buffer
	if code := w.runHere(&out, &out, args...); code != exitError {
		w.t.Fatalf("%v exits with %d:\n%s", args, code, out.String())
	}
	for _, text := range texts {
		if !strings.Contains(out.String(), text) {
			w.t.Errorf("%v does not say %q:\n%s", args, text, out.String())
		}
	}
}

// people returns the users that a verb lists, by userName.
func (w *world) people() map[string]admin.User {
	w.t.Helper()
	var list []admin.User
	decode(w.t, w.here("users", "list", "-o", "json"), &list)
	byName := map[string]admin.User{}
	for _, u := range list {
		byName[strings.TrimSuffix(u.UserName, "@example.com")] = u
	}
	return byName
}

func (w *world) tokens() (names []string) {
	w.t.Helper()
	var list []scim.Token
	decode(w.t, w.here("token", "list", "-o", "json"), &list)
	for _, t := range list {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

// TestRestore_RevivesNothing takes away access of each kind after a backup was made, and restores it: with the former store
// and the audit record, with one of them, and with none.
func TestRestore_RevivesNothing(t *testing.T) { restoreRevivesNothing(t, newWorld(t)) }

func restoreRevivesNothing(t *testing.T, w *world) {
	s := w.start("--init")
	stage := w.settle(s)
	hired := map[string]string{}
	for i, name := range []string{"bob", "carol", "dave", "erin", "frank", "gina", "hugo"} {
		hired[name] = stage.push.hire(name, fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i))
		stage.push.member("Add", stage.group, hired[name])
	}
	s.verb("users", "suspend", hired["erin"], "--reason", "leave")
	var old struct{ ID string }
	decode(t, s.verb("token", "create", "old", "-o", "json"), &old)
	copied := filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)

	stage.push.setActive(hired["bob"], "False")
	s.verb("users", "suspend", hired["carol"], "--reason", "theft")
	stage.push.send("DELETE", "/Users/"+hired["dave"], nil, http.StatusNoContent)
	s.verb("users", "unsuspend", hired["erin"])
	stage.push.member("Remove", stage.group, hired["frank"])
	s.verb("users", "suspend", hired["gina"], "--reason", "theft")
	stage.push.send("DELETE", "/Users/"+hired["gina"], nil, http.StatusNoContent)
	stage.push.send("DELETE", "/Users/"+hired["hugo"], nil, http.StatusNoContent)
	s.verb("users", "suspend", stage.push.hire("hugo", "00000000-0000-4000-8000-000000000006"), "--reason", "theft") // who is another user now
	s.verb("token", "revoke", old.ID)
	s.verb("token", "create", "new")
	await(t, s, `sallyport_audit_events_total{kind="token"} 4`)
	w.kill(s)

	for name, c := range map[string]struct {
		lost   []string // of the store and the record
		flags  []string
		tokens []string
		states map[string]string
		notes  []string
	}{
		"all": {nil, nil, []string{"entra", "new"},
			map[string]string{"alice": "active", "bob": "inactive", "carol": "suspended", "dave": "inactive", "erin": "suspended", "frank": "active", "gina": "suspended", "hugo": "suspended"}, nil},
		"reactivate": {nil, []string{"--reactivate"}, []string{"entra", "new"},
			map[string]string{"bob": "active", "carol": "suspended", "dave": "active", "erin": "suspended", "gina": "suspended", "hugo": "suspended"}, nil},
		"without_record": {[]string{"record"}, nil, []string{"entra", "new"},
			map[string]string{"alice": "active", "bob": "inactive", "carol": "suspended", "dave": "inactive", "erin": "suspended", "gina": "suspended", "hugo": "suspended"}, []string{"there is no audit record"}},
		"without_store": {[]string{"store"}, nil, []string{"entra"},
			map[string]string{"alice": "active", "bob": "inactive", "carol": "suspended", "dave": "inactive", "erin": "suspended", "gina": "suspended", "hugo": "inactive"}, []string{"there is no store in place"}},
		"nothing_left": {[]string{"store", "record"}, nil, nil,
			map[string]string{"alice": "active", "erin": "suspended"}, []string{"there is no store in place", "there is no audit record", "its 2 are left out"}},
		"nothing_left_tokens": {[]string{"store", "record"}, []string{"--tokens"}, []string{"entra", "old"},
			map[string]string{"alice": "active", "erin": "suspended"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.copyWorld(t)
			w.lose(c.lost...)
			var out bytes.Buffer
			if code := w.runHere(&out, &out, append([]string{"restore", filepath.Join(w.dir, "copy.backup")}, c.flags...)...); code != exitOK {
				t.Fatalf("the restore ends with %d: %s", code, out.String())
			}
			for _, note := range c.notes {
				if !strings.Contains(out.String(), note) {
					t.Errorf("nothing says %q:\n%s", note, out.String())
				}
			}
			w.here("store", "check")
			people := w.people()
			for name, want := range c.states {
				if got := stateOf(people[name]); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if got := w.tokens(); !slices.Equal(got, c.tokens) {
				t.Errorf("the tokens are %q, want %q", got, c.tokens)
			}
			var sessions []json.RawMessage
			decode(t, w.here("sessions", "list", "-o", "json"), &sessions)
			if len(sessions) > 0 {
				t.Errorf("there are sessions: %s", sessions)
			}
			w.here("audit", "verify")
		})
	}
}

func stateOf(u admin.User) string {
	switch {
	case u.ID == "":
		return "missing"
	case u.Suspended != "":
		return "suspended"
	case !u.Active:
		return "inactive"
	}
	return "active"
}

// TestRestore_DryRunSaysAll compares what a dry run says, beside the running server and without it, and that it changes
// nothing.
func TestRestore_DryRunSaysAll(t *testing.T) { restoreDryRunSaysAll(t, newWorld(t)) }

func restoreDryRunSaysAll(t *testing.T, w *world) {
	s := w.start("--init")
	stage := w.settle(s)
	bob := stage.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
	copied := filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)
	stage.push.setActive(bob, "False")
	stage.push.member("Remove", stage.group, stage.alice)
	carol := stage.push.hire("carol", "00000000-0000-4000-8000-00000000000c")
	s.verb("users", "suspend", bob, "--reason", "theft")

	removed := 1
	want := []string{"membership added alice@example.com", "user removed carol@example.com", "user stays inactive bob@example.com"}
	demand := func(against string) {
		t.Helper()
		var plan restorePlan
		decode(t, w.here("restore", "--dry-run", copied, "-o", "json"), &plan)
		var got []string
		for _, c := range plan.Changes {
			got = append(got, c.Kind+" "+c.Change+" "+c.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || plan.ComparedWith != against || plan.Counts["user"]["removed"] != removed || plan.Made.IsZero() {
			t.Errorf("the plan is %+v, want %q", plan, want)
		}
		if left, _ := filepath.Glob(filepath.Join(w.dir, "data", ".restore*")); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
	}
	if w.database == nil {
		demand("the running server")
	} else {
		demand("the store in place")
	}
	w.kill(s)
	before := w.files()
	demand("the store in place")
	if after := w.files(); !slices.Equal(after, before) {
		t.Errorf("the dry run changed files:\n%q\n%q", before, after)
	}
	if u := w.people()["carol"]; u.ID != carol {
		t.Error("the dry run restored")
	}
	w.lose("store")
	removed = 0
	want = []string{"group added Members", "membership added alice@example.com", "suspension added bob@example.com", "token added entra", "user added alice@example.com", "user added bob@example.com", "user stays inactive bob@example.com"}
	demand("nothing")
}

// backedUp fills a new store, backs it up and kills the server. It returns the path of the backup.
func (w *world) backedUp() (copied string) {
	w.t.Helper()
	s := w.start("--init")
	w.settle(s)
	copied = filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)
	w.kill(s)
	return copied
}

// TestRestore_RefusesDamage: a backup that is not whole changes nothing.
func TestRestore_RefusesDamage(t *testing.T) { restoreRefusesDamage(t, newWorld(t)) }

func restoreRefusesDamage(t *testing.T, w *world) {
	copied := w.backedUp()
	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(text)
	flipped[len(text)/2] ^= 1
	damaged := filepath.Join(w.dir, "damaged")
	before := w.files()
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"cut":     {text[:len(text)-1], "its end is missing"},
		"flipped": {flipped, "the backup is damaged"},
		"twice":   {slices.Concat(text, text), "something comes after its end"},
		"newer":   {bytes.Replace(text, []byte("backup 1\n"), []byte("backup 2\n"), 1), "of a newer version of Sallyport"},
		"empty":   {nil, "it is no backup"},
		"text":    {[]byte("public_url: x\n"), "it is no backup"},
		"half":    {[]byte("sallyport ba"), "it is no backup"},
	} {
		if err := os.WriteFile(damaged, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{{"restore", damaged}, {"restore", "--dry-run", damaged}} {
			w.refusedHere(flags, "restoring "+damaged+": ", c.want)
		}
		if after := w.files(); !slices.Equal(after, before) {
			t.Fatalf("%s changed files", name)
		}
	}
}

// TestRestore_DropsForeignRecords: what a backup never holds is not restored from a stream that has it.
func TestRestore_DropsForeignRecords(t *testing.T) { restoreDropsForeignRecords(t, newWorld(t)) }

func restoreDropsForeignRecords(t *testing.T, w *world) {
	w.settledStore()
	st := w.openStore()
	var out bytes.Buffer
	err := st.View(t.Context(), func(r store.Reader) error { // with sessions, keys and all
		_, err := backup.Write(&out, backup.Header{Made: time.Now().UTC(), Revision: uint64(r.Revision())}, r.Scan(nil, nil))
		return err
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, w.dir, "whole.backup", out.Bytes())
	w.here("restore", filepath.Join(w.dir, "whole.backup"))
	st = w.openStore()
	defer st.Close()
	err = st.View(t.Context(), func(r store.Reader) error {
		for prefix, held := range backupHolds {
			for e := range r.Scan([]byte(prefix), nil) {
				if !held {
					t.Errorf("%q was restored", e.Key)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBackup_HoldsNoSecrets looks in a backup for every secret of the store, in the encodings that something could have put
// them in.
func TestBackup_HoldsNoSecrets(t *testing.T) {
	path := newWorld(t).settledStore()
	changeStore(t, path, func(w store.Writer) error {
		return w.Put([]byte("acme/https://ca.test/directory\x00app.example.com"), []byte("-----BEGIN EC PRIVATE KEY-----the key of a certificate"))
	})
	st, err := bolt.Open(path, bolt.Options{Inspect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var out bytes.Buffer
	if err := (backuper{st, nil}).Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var secrets [][]byte
	err = st.View(t.Context(), func(r store.Reader) error {
		for _, prefix := range []string{"session/", "signing/", "secret/", "acme/", "issuer/"} {
			n := 0
			for e, err := range r.Scan([]byte(prefix), nil) {
				if err != nil {
					return err
				}
				n++
				secrets = append(secrets, bytes.Clone(e.Key))
				if len(e.Value) >= 16 {
					secrets = append(secrets, bytes.Clone(e.Value))
				}
			}
			if n == 0 {
				t.Errorf("the store has no records at %s", prefix)
			}
		}
		keys, err := readAuditKeys(r)
		for _, k := range keys {
			secrets = append(secrets, k.Private)
		}
		return err
	})
	if err != nil || len(secrets) < 8 {
		t.Fatalf("%d secrets, %v", len(secrets), err)
	}
	for _, secret := range secrets {
		for _, text := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret)} {
			if bytes.Contains(out.Bytes(), []byte(text)) {
				t.Errorf("the backup has %.40q", text)
			}
		}
	}
	for _, want := range []string{"alice@example.com", `"reason":"left"`} {
		if !bytes.Contains(out.Bytes(), []byte(want)) {
			t.Errorf("the backup lacks %q", want)
		}
	}
}

// TestBackup_DecidesAboutEveryKey: a new kind of record must be in a backup, or left out, on purpose.
func TestBackup_DecidesAboutEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(text), "\n## Keys in the store\n")
	rows, _, _ = strings.Cut(rows, "\n## ")
	prefixes := map[string]bool{}
	for row := range strings.SplitSeq(rows, "\n") {
		cell, ok := strings.CutPrefix(row, "| `")
		if !ok {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for _, match := range regexp.MustCompile("(?:^|`)([a-z]+/)").FindAllStringSubmatch(cell, -1) {
			prefixes[match[1]] = true
			if _, ok := backupHolds[match[1]]; !ok {
				t.Errorf("backupHolds does not say whether backups hold %s", match[1])
			}
		}
	}
	for prefix := range backupHolds {
		if !prefixes[prefix] {
			t.Errorf("docs/architecture.md has no key %s", prefix)
		}
	}
}

// TestRestore_SurvivesKill kills restores (SIGKILL) at random times. What is in place is then the former store or the
// restored one, whole, and the next restore succeeds. TRIALS says how often, SEED repeats the times.
func TestRestore_SurvivesKill(t *testing.T) { restoreSurvivesKill(t, newWorld(t)) }

func restoreSurvivesKill(t *testing.T, w *world) {
	trials, seed := number64Of("TRIALS", 3), number64Of("SEED", rand.Uint64()%1_000_000)
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := w.start("--init")
	stage := w.settle(s)
	carol := stage.push.hire("carol", "00000000-0000-4000-8000-00000000000c")
	copied := filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)
	stage.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
	stage.push.setActive(carol, "False")
	w.kill(s)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	verb(t, w.copyWorld(t).dir, "restore", copied)
	longest := time.Since(begun)
	interrupted := 0
	for range trials {
		w := w.copyWorld(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(longest))))
		if err := exec.CommandContext(ctx, path, "restore", copied, "-c", filepath.Join(w.dir, "sallyport.yaml")).Run(); err != nil {
			interrupted++
		}
		cancel()
		w.here("store", "check")
		people := w.people()
		if _, ok := people["bob"]; stateOf(people["alice"]) != "active" || stateOf(people["carol"]) != "inactive" || ok && len(people) != 3 || !ok && len(people) != 2 {
			t.Fatalf("after the kill, the store has %v", people)
		}
		w.here("audit", "verify")
		w.here("restore", copied)
		w.here("store", "check")
		if people := w.people(); len(people) != 2 || stateOf(people["alice"]) != "active" || stateOf(people["carol"]) != "inactive" {
			t.Fatalf("after another restore, the store has %v", people)
		}
		if left, _ := filepath.Glob(filepath.Join(w.dir, "data", "*.restoring*")); len(left) > 0 {
			t.Errorf("%q is left", left)
		}
	}
	t.Logf("%d of %d restores were killed before they ended", interrupted, trials)
}

func number64Of(name string, preset uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return preset
}

// TestRestore_KeepsKeys: lines of the record that were signed with keys which were made after the backup stay verifiable.
func TestRestore_KeepsKeys(t *testing.T) { restoreKeepsKeys(t, newWorld(t)) }

func restoreKeepsKeys(t *testing.T, w *world) {
	s := w.start("--init")
	w.settle(s)
	w.kill(s)
	copied := filepath.Join(w.dir, "first.backup")
	w.here("backup", copied)
	w.here("restore", copied) // the next server makes a new key
	w.kill(w.start())
	w.here("restore", copied)
	w.kill(w.start())
	w.here("audit", "verify")
	var keys struct{ Keys []json.RawMessage }
	decode(t, w.here("audit", "key"), &keys)
	if len(keys.Keys) != 3 {
		t.Errorf("%d keys of the record are known after two restores, want 3", len(keys.Keys))
	}
}

// TestRestore_OutOfSpace: a restore for which the disk has too little space changes nothing.
func TestRestore_OutOfSpace(t *testing.T) {
	w := newWorld(t)
	mountDisk(t, filepath.Join(w.dir, "data"), "32M")
	copied := w.backedUp()
	release := fillDisk(t, filepath.Join(w.dir, "data"))
	before := w.files()
	w.refusedHere([]string{"restore", copied}, "no space left on device")
	w.refusedHere([]string{"restore", "--dry-run", copied}, "no space left on device")
	if after := w.files(); !slices.Equal(after, before) {
		t.Error("files were changed")
	}
	release()
	w.here("restore", copied)
	w.start()
}

// TestRestore_RecordsFormerChanges: a change that a server which was killed had committed, and not recorded yet, is recorded
// before the store that has it is replaced.
func TestRestore_RecordsFormerChanges(t *testing.T) { restoreRecordsFormerChanges(t, newWorld(t)) }

func restoreRecordsFormerChanges(t *testing.T, w *world) {
	copied := w.backedUp()
	changeAt(t, w.storeAt(), func(st store.Writer) error {
		event := fmt.Sprintf(`{"time":"2026-11-29T03:00:00Z","kind":"scim","reason":"patch","user":"last words","rev":%d}`, st.Revision())
		return directory.PutRecord(st, directory.Record{Received: time.Now(), Event: json.RawMessage(event)})
	})
	w.here("restore", copied)
	w.demandOrder(`"user":"last words"`, `"reason":"restored"`)
	w.here("audit", "verify")
	w.start()
}

// TestBackup_RefusesDamagedRecords: a backup that lacked a record would restore somebody without their suspension, for
// example. What no backup holds may be damaged.
func TestBackup_RefusesDamagedRecords(t *testing.T) { backupRefusesDamagedRecords(t, newWorld(t)) }

func backupRefusesDamagedRecords(t *testing.T, w *world) {
	w.settledStore()
	w.flipBit("session/of/")
	w.flipBit("suspended/")
	copied := filepath.Join(w.dir, "copy.backup")
	w.refusedHere([]string{"backup", copied}, "suspended/", "record is damaged", "sallyport store check")
	if files, err := filepath.Glob(copied + "*"); err != nil || len(files) > 0 {
		t.Errorf("%q is left, %v", files, err)
	}
}

// TestStore_NewerFormatIsUntouched: no command changes a store in a newer format, nor puts another one in its place.
func TestStore_NewerFormatIsUntouched(t *testing.T) {
	w := newWorld(t)
	copied := w.backedUp()
	db, err := bbolt.Open(filepath.Join(w.dir, "data/sallyport.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 3})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before := w.files()
	for _, args := range [][]string{{"serve"}, {"serve", "--init"}, {"users", "list"}, {"store", "check"}, {"store", "accept-loss"},
		{"backup", filepath.Join(w.dir, "other.backup")}, {"restore", copied}, {"restore", "--dry-run", copied}} {
		w.refusedHere(args, "its format is 3 and this version reads 2")
		if !slices.Equal(w.files(), before) {
			t.Fatalf("%q changed files", args)
		}
	}
}

// TestRestore_EndsBearerTokens: a bearer token from before its user was deactivated is not valid after a restore, although the
// user was active in the backup and is active again, and only the audit record knows of the time between.
func TestRestore_EndsBearerTokens(t *testing.T) { restoreEndsBearerTokens(t, newWorld(t)) }

func restoreEndsBearerTokens(t *testing.T, w *world) {
	s := w.start("--init")
	stage := w.settle(s)
	copied := filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)
	token := w.entra.AccessToken(stage.person, audience, func(c entratest.Claims) {
		c["iat"] = time.Now().Add(-10 * time.Minute).Unix() // which has whole seconds
	})
	status := func(s *running) int {
		resp := w.newBrowser(s).get("https://"+apiHost+"/", token)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(s); got != http.StatusOK {
		t.Fatalf("the token gives %d", got)
	}
	stage.push.setActive(stage.alice, "False")
	stage.push.setActive(stage.alice, "True")
	want := status(s)
	if want == http.StatusOK {
		t.Fatal("the token is valid again")
	}
	await(t, s, `sallyport_audit_events_total{kind="scim"} 5`)
	w.kill(s)
	w.lose("store")
	w.here("restore", "--tokens", copied)
	if got := stateOf(w.people()["alice"]); got != "active" {
		t.Fatalf("alice is %s", got)
	}
	s = w.start()
	s.awaitReady(t)
	if got := status(s); got != want {
		t.Errorf("after the restore, the token gives %d, want %d", got, want)
	}
}
