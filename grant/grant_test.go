package grant_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport/grant"
	"sallyport/policy"
	"sallyport/store"
	"sallyport/store/bolt"
)

var _ policy.Grants = (*grant.Holdings)(nil)

// world is a real store and the grants in it.
type world struct {
	t      *testing.T
	path   string
	store  *bolt.Store
	grants *grant.Grants
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "store.db")}
	w.open(true)
	t.Cleanup(func() { w.stop() })
	return w
}

// open opens the store and follows it.
func (w *world) open(init bool) {
	w.t.Helper()
	st, err := bolt.Open(w.path, bolt.Options{Init: init})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = st
	if w.grants, err = grant.Open(w.t.Context(), st); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.grants.Run(ctx) }()
	w.stop = func() { cancel(); <-ended; _ = st.Close() }
}

// reopen closes the store and opens it again, as a restart does.
func (w *world) reopen() {
	w.t.Helper()
	w.stop()
	w.open(false)
}

// put writes a record past the package and waits until decisions depend on it.
func (w *world) put(key string, record any) {
	w.t.Helper()
	changed := w.grants.Changed()
	w.write(key, record)
	<-changed
}

// write writes a record past the package.
func (w *world) write(key string, record any) {
	w.t.Helper()
	value, ok := record.([]byte)
	if !ok {
		var err error
		if value, err = json.Marshal(record); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.store.Update(w.t.Context(), func(tx store.Writer) error { return tx.Put([]byte(key), value) }); err != nil {
		w.t.Fatal(err)
	}
}

var began = time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)

func grantTo(user string, epoch uint64) grant.Grant {
	return grant.Grant{ID: "g1", Person: grant.Person{ID: user, Epoch: epoch}, Policy: "sre", Began: began, Until: began.Add(time.Hour)}
}

func TestOf_GrantBelongsToOneEpoch(t *testing.T) {
	w := newWorld(t)
	w.put("grants/bob/g1", grantTo("bob", 3))
	for range 2 {
		if until := w.grants.Of("bob", 3).Until("sre"); !until.Equal(began.Add(time.Hour)) {
			t.Errorf("the grant ends at %s", until)
		}
		for _, epoch := range []uint64{0, 2, 4} {
			if h := w.grants.Of("bob", epoch); h != nil {
				t.Errorf("in epoch %d, the user holds %+v", epoch, h)
			}
		}
		w.reopen()
	}
}

func TestOf_RevocationOutlivesTheEpoch(t *testing.T) {
	w := newWorld(t)
	w.put("grants/bob/g1", grantTo("bob", 3))
	w.put("revoked/bob/g9", grant.Revocation{User: "bob", Group: "g9", Key: "sre-id"})
	for range 2 {
		for _, epoch := range []uint64{3, 4} {
			if h := w.grants.Of("bob", epoch); !h.Revoked("sre-id") || h.Revoked("other") {
				t.Errorf("in epoch %d, the membership is not revoked", epoch)
			}
		}
		if !w.grants.Of("bob", 4).Until("sre").IsZero() {
			t.Error("the grant outlives its epoch")
		}
		w.reopen()
	}
}

func TestOf_DamagedRecordsDeny(t *testing.T) {
	w := newWorld(t)
	w.put("grants/bob/g1", []byte("{"))
	w.put("grants/eve/g1", grantTo("bob", 0)) // the record of another
	w.put("revoked/ann/g9", []byte("{"))
	for range 2 {
		if w.grants.Of("bob", 0) != nil || w.grants.Of("eve", 0) != nil {
			t.Error("a damaged grant gives access")
		}
		if h := w.grants.Of("ann", 0); h == nil || !h.Revoked("any") {
			t.Error("a damaged revocation revokes nothing")
		}
		w.reopen()
	}
}

// TestClear_EndsGrantsOfWhateverClock: a copy that was made by a clock that ran ahead gives nobody access by another clock.
func TestClear_EndsGrantsOfWhateverClock(t *testing.T) {
	w := newWorld(t)
	w.put("grants/bob/g1", grantTo("bob", 0))
	changed := w.grants.Changed()
	ahead := began.Add(365 * 24 * time.Hour)
	if _, err := w.store.Update(t.Context(), func(tx store.Writer) error { return grant.Clear(tx, ahead) }); err != nil {
		t.Fatal(err)
	}
	<-changed
	if h := w.grants.Of("bob", 0); h != nil {
		t.Errorf("bob holds %+v", h)
	}
	if g, err := w.grants.Grant("g1"); err != nil || !g.Ended.Equal(g.Until) || g.EndedBy != "" {
		t.Errorf("the grant is %+v, %v", g, err)
	}
}

func TestClear_EndsGrantsAndKeepsRevocations(t *testing.T) {
	w := newWorld(t)
	w.put("grants/bob/g1", grantTo("bob", 0))
	w.put("revoked/bob/g9", grant.Revocation{User: "bob", Group: "g9", Key: "sre-id"})
	changed := w.grants.Changed()
	now := began.Add(time.Minute)
	if _, err := w.store.Update(t.Context(), func(tx store.Writer) error { return grant.Clear(tx, now) }); err != nil {
		t.Fatal(err)
	}
	<-changed
	h := w.grants.Of("bob", 0)
	if h.Until("sre").After(now) {
		t.Error("the grant is still open in the copy")
	}
	if !h.Revoked("sre-id") {
		t.Error("the revocation is lost in the copy")
	}
}

// TestGrants_EndThoughTheirRecordsWereDamagedOnTheDisk: what memory lets in can be ended, and what is due ends once, also
// if the record can no longer be read.
func TestGrants_EndThoughTheirRecordsWereDamagedOnTheDisk(t *testing.T) {
	w := newWorld(t)
	now := began.Add(time.Minute)
	w.put("grants/bob/g1", grantTo("bob", 3))
	ann := grantTo("ann", 3)
	ann.ID = "g2"
	w.put("grants/ann/g2", ann)
	r := grant.NewRequest(grant.Person{ID: "bob", Epoch: 3}, began)
	r.Policy = "sre"
	if _, err := w.grants.Ask(t.Context(), r, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.damage(`"policy":"sre"`)
	err := w.store.View(t.Context(), func(tx store.Reader) error { _, err := tx.Get([]byte("grants/bob/g1")); return err })
	if !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("the record is not damaged: %v", err)
	}
	if _, err := w.grants.Revoke(t.Context(), "bob", "g1", "ada", "stolen laptop", now); err != nil {
		t.Errorf("revoking returns %v", err)
	}
	if h := w.grants.Of("bob", 3); h != nil {
		t.Errorf("after it was revoked, bob holds %+v", h)
	}
	if _, err := w.grants.End(t.Context(), r.ID, grant.StateDenied, "ada", "no", now); err != nil {
		t.Errorf("denying returns %v", err)
	}
	later := began.Add(30 * 24 * time.Hour)
	alive := func(grant.Person) bool { return true }
	if err := w.grants.Sweep(t.Context(), w.grants.Due(later, alive), later); err != nil {
		t.Fatal(err)
	}
	if due := w.grants.Due(later, alive); !due.Empty() {
		t.Errorf("after a sweep, %+v is due", due)
	}
}

// damage overwrites every occurrence of text in the file of the store, which stays open.
func (w *world) damage(text string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path, os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		w.t.Fatal(err)
	}
	for at := 0; ; {
		i := bytes.Index(all[at:], []byte(text))
		if i < 0 {
			return
		}
		at += i
		if _, err := f.WriteAt(bytes.Repeat([]byte("X"), len(text)), int64(at)); err != nil {
			w.t.Fatal(err)
		}
		at += len(text)
	}
}
