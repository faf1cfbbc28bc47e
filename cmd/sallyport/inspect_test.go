package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

// firstBelow returns the first key of the store at path that begins with prefix.
func firstBelow(t testing.TB, path, prefix string) (key []byte) {
	t.Helper()
	changeStore(t, path, func(w store.Writer) error {
		for e := range w.Scan([]byte(prefix), nil) {
			key = bytes.Clone(e.Key)
			break
		}
		return nil
	})
	if key == nil {
		t.Fatalf("no key begins with %s", prefix)
	}
	return key
}

// changeStore changes the store at path as a server would.
func changeStore(t testing.TB, path string, f func(store.Writer) error) {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{Copy: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// flipBit flips a bit in the value of the first record below prefix, behind the store's back.
func flipBit(t testing.TB, path, prefix string) {
	t.Helper()
	key := firstBelow(t, path, prefix)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		value := bytes.Clone(data.Get(key))
		value[len(value)-1] ^= 1
		return data.Put(key, value)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// awaitProvisioningLog waits until the provisioning log has a line.
func awaitProvisioningLog(s *running) {
	for strings.Count(s.verb("scim", "log", "-o", "csv"), "\n") < 2 {
		continue
	}
}

// settledStore returns the path of a store in which every kind of record is.
func (w *world) settledStore() string {
	s := w.start("--init")
	stage := w.settle(s)
	carol := stage.push.hire("carol", "00000000-0000-4000-8000-00000000000c")
	s.verb("users", "suspend", carol, "--reason", "left")
	resp := w.newBrowser(s).get("https://"+apiHost+"/", w.entra.AccessToken(stage.person, audience, nil))
	_ = resp.Body.Close()
	awaitProvisioningLog(s)
	w.kill(s)
	path := filepath.Join(w.dir, "data/sallyport.db")
	changeAt(w.t, w.storeAt(), func(st store.Writer) error { return st.Put([]byte("secret/cursors"), make([]byte, 32)) }) // made when it is first needed
	return path
}

// TestInspect_FindsEveryDamage damages one record of each kind: a bit of it, all of it with a checksum that is right, and
// its key.
func TestInspect_FindsEveryDamage(t *testing.T) {
	path := newWorld(t).settledStore()
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	find := func(t *testing.T, path string) inspection {
		t.Helper()
		st, err := bolt.Open(path, bolt.Options{Copy: true})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		found, err := inspect(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := find(t, path); found.Count != 0 || found.Records < 20 {
		t.Fatalf("in a sound store of %d records, there are %d faults: %q", found.Records, found.Count, found.Faults)
	}
	for _, prefix := range []string{"user/", "group/", "member/", "memberof/", "name/", "ext/", "mail/", "dname/", "gname/", "gext/", "count/users", "count/groups", "count/exchanges",
		"record/", "suspended/", "ended/", "token/", "exchange/", "secret/", "session/of/", "session/grant/", "session/hint/", "session/key", "signing/", "issuer/"} {
		for how, damage := range map[string]func(t *testing.T, path string){
			"bit": func(t *testing.T, path string) { flipBit(t, path, prefix) },
			"content": func(t *testing.T, path string) {
				key := firstBelow(t, path, prefix)
				changeStore(t, path, func(w store.Writer) error { return w.Put(key, []byte("{garbage")) })
			},
			"key": func(t *testing.T, path string) {
				key := firstBelow(t, path, prefix)
				changeStore(t, path, func(w store.Writer) error { return w.Put(append(key, "/x"...), []byte("{}")) })
			},
		} {
			if how == "content" && (prefix == "ended/") || how == "key" && (prefix == "secret/" || prefix == "gext/" || prefix == "gname/" || prefix == "ended/") {
				continue // the key says everything; or any text may be the key, and the value is wrong anyway
			}
			t.Run(strings.ReplaceAll(prefix, "/", "_")+how, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				if err := os.WriteFile(path, sound, 0o600); err != nil {
					t.Fatal(err)
				}
				damage(t, path)
				if found := find(t, path); found.Count == 0 {
					t.Errorf("nothing is found")
				}
			})
		}
	}
	for name, change := range map[string]func(w store.Writer) error{
		"unknown_key":    func(w store.Writer) error { return w.Put([]byte("mystery/1"), []byte("{}")) },
		"empty_key":      func(w store.Writer) error { return w.Put([]byte("x"), nil) },
		"edge_is_gone":   func(w store.Writer) error { return w.Delete(firstBelow(t, path, "member/")) },
		"mirror_is_gone": func(w store.Writer) error { return w.Delete(firstBelow(t, path, "memberof/")) },
		"user_is_gone":   func(w store.Writer) error { return w.Delete(firstBelow(t, path, "user/")) },
		"group_is_gone":  func(w store.Writer) error { return w.Delete(firstBelow(t, path, "group/")) },
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "store.db")
			if err := os.WriteFile(copied, sound, 0o600); err != nil {
				t.Fatal(err)
			}
			changeStore(t, copied, change)
			if found := find(t, copied); found.Count == 0 {
				t.Error("nothing is found")
			}
		})
	}
}

// TestInspect_RaisesAlarm starts the server on a store with a session, a token and an edge that can no longer be read: all
// they do is to deny, and so somebody has to be told.
func TestInspect_RaisesAlarm(t *testing.T) {
	w := newWorld(t)
	path := w.settledStore()
	for _, prefix := range []string{"session/of/", "token/", "memberof/"} {
		flipBit(t, path, prefix)
	}
	s := w.start()
	metric := func() string {
		resp, err := http.Get("http://" + s.addrs["ops"] + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\nsallyport_store_faults ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	awaitStatus(t, http.StatusOK, func() int {
		if faults := metric(); faults != "" && faults != "0" {
			return http.StatusOK
		}
		return 0
	})
	for _, prefix := range []string{`\"session/of/`, `\"token/`, `\"memberof/`} {
		awaitLog(t, s, "the record at "+prefix)
	}
	if out, code := s.try("doctor", "-o", "csv"); code != exitDenied || !strings.Contains(out, "store,fail,") {
		t.Errorf("doctor exits with %d:\n%s", code, out)
	}
	s.kill()
	w.refused(exitDenied, []string{"store", "check"}, "session/of/", "token/", "memberof/")
}

// TestInspect_KnowsEveryKey reads the table of keys in docs/architecture.md: a kind of record that is added there has to be
// known to the package that it belongs to, or every store with such a record raises an alarm.
func TestInspect_KnowsEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| prefix | what it holds | package |")
	table, _, _ = strings.Cut(table, "\n\n")
	var keys [][]string
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		keys = append(keys, regexp.MustCompile("`([a-z]+/[a-z]*/?)").FindAllStringSubmatch(first, -1)...)
	}
	if len(keys) < 25 {
		t.Fatalf("the table names %d keys", len(keys))
	}
	for _, key := range keys {
		var found inspection
		found.ask(owners(directory.NewInspection()), store.Entry{Key: []byte(key[1])})
		if found.Count > 0 && strings.Contains(found.Faults[0], "is unknown") {
			t.Errorf("nobody knows %s", key[1])
		}
	}
}

// TestOperators_WorkBesideDamage: a damaged token, user or suspension does not keep operators from the others.
func TestOperators_WorkBesideDamage(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	stage := w.settle(s)
	bob := stage.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
	carol := stage.push.hire("carol", "00000000-0000-4000-8000-00000000000c")
	s.verb("users", "suspend", carol, "--reason", "left")
	var damaged struct{ ID string }
	if err := json.Unmarshal([]byte(s.verb("token", "create", "other", "-o", "json")), &damaged); err != nil {
		t.Fatal(err)
	}
	s.kill()
	path := filepath.Join(w.dir, "data/sallyport.db")
	key := func(prefix, id string) string {
		bits, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		return prefix + string(bits)
	}
	for _, prefix := range []string{key("user/", stage.alice), key("suspended/", carol), key("token/", damaged.ID)} {
		flipBit(t, path, prefix)
	}

	s = w.start()
	list := s.verb("users", "list", "-o", "csv")
	for _, want := range []string{stage.alice + ",,,,damaged,", carol + ",carol@example.com,", "the record of the suspension is damaged", bob + ",bob@example.com,"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of users lacks %q:\n%s", want, list)
		}
	}
	s.verb("users", "suspend", "bob@example.com", "--reason", "left")
	if list := s.verb("token", "list", "-o", "csv"); !strings.Contains(list, damaged.ID+",,") || !strings.Contains(list, ",damaged,") || !strings.Contains(list, ",entra,") {
		t.Errorf("the list of tokens is\n%s", list)
	}
	s.verb("token", "revoke", damaged.ID)
	s.verb("token", "revoke", "entra")
	if status, _, err := w.pusher(s).try("GET", "/Users", nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a revoked token gets %d, %v", status, err)
	}
}

// TestStore_ErrorsNameDamagedFile: whoever reads that a record is damaged reads in which file.
func TestStore_ErrorsNameDamagedFile(t *testing.T) {
	w := newWorld(t)
	path := w.settledStore()
	flipBit(t, path, "record/")
	w.refused(exitError, []string{"serve"}, path, `the record at "record/`, "restore a backup")
	w.refused(exitDenied, []string{"store", "check"}, path, "record/")
}
