package touched_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/proxy/internal/liveset"
	"sallyport/proxy/internal/touched"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// TestReader_Read checks whom a Reader names for each source, and when it says that it may be anybody.
func TestReader_Read(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	must(err)
	defer st.Close()
	people, err := directory.Open(ctx, st, "externalId")
	must(err)
	sessions, err := session.Open(ctx, st, session.Defaults(), slog.New(slog.DiscardHandler))
	must(err)
	grants, err := grant.Open(ctx, st)
	must(err)
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	for _, run := range []func(context.Context) error{people.Run, sessions.Run, grants.Run} {
		go func() { ended <- run(running) }()
	}
	ada := directory.User{UserName: "ada@example.com", ExternalID: "oid of ada", Active: true}
	must(people.Update(ctx, func(tx *directory.Tx) error { return tx.PutUser(&ada) }))
	begun, err := sessions.Begin(ctx, session.Session{User: ada.ID})
	must(err)

	withdrawn := make(chan struct{})
	keys := func() <-chan struct{} { return withdrawn }
	r := touched.NewReader(people, sessions, grants)
	related := map[string]bool{"boss@example.com": true, "oid of a report": true}
	if _, known := r.Read(related, keys); known {
		t.Error("the first Read knows which keys were withdrawn")
	}
	read := func(what string, known bool, subjects ...liveset.Subject) {
		t.Helper()
		got, ok := r.Read(related, keys)
		if ok != known {
			t.Errorf("%s: known is %v", what, ok)
		}
		for _, s := range subjects {
			if !got[s] {
				t.Errorf("%s: %v lacks %v", what, got, s)
			}
		}
		if known && len(subjects) == 0 && len(got) > 0 {
			t.Errorf("%s: %v", what, got)
		}
		if got, ok := r.Read(related, keys); !ok || len(got) > 0 {
			t.Errorf("%s, again: %v %v", what, got, ok)
		}
	}
	change := func(fn func(u *directory.User)) {
		must(people.Update(ctx, func(tx *directory.Tx) error {
			u, err := tx.User(ada.ID)
			if err != nil {
				return err
			}
			fn(&u)
			return tx.PutUser(&u)
		}))
	}
	everyNameOfAda := []liveset.Subject{liveset.User(ada.ID), liveset.Named("ada@example.com"), liveset.Named("oid of ada")}

	read("nothing has changed", true)
	change(func(u *directory.User) { u.Document = []byte(`{"title":"Dr."}`) })
	read("another title", true, everyNameOfAda...)
	must(sessions.End(ctx, begun.ID, session.ReasonLogout))
	read("a session has ended", true, everyNameOfAda...)
	begun, err = sessions.Begin(ctx, session.Session{User: ada.ID})
	must(err)
	write := func(key string, deleted bool) {
		revision, err := st.Update(ctx, func(w store.Writer) error {
			if deleted {
				return w.Delete([]byte(key))
			}
			return w.Put([]byte(key), []byte("{"))
		})
		must(err)
		must(grants.Wait(ctx, revision))
		_, err = sessions.Begin(ctx, session.Session{User: "another"}) // which waits for the sessions
		must(err)
	}
	r.Read(related, keys)
	write("session/of/"+ada.ID+"/"+begun.ID, true)
	read("the record of a session is gone", true, everyNameOfAda...)
	write("revoked/"+ada.ID+"/x", false)
	read("a revocation is damaged", true, everyNameOfAda...)
	change(func(u *directory.User) { u.ExternalID = "oid of a report" })
	read("somebody gets a name that rules name", false)
	change(func(u *directory.User) { u.ExternalID = "oid of ada" })
	read("and loses it", false)
	close(withdrawn)
	withdrawn = make(chan struct{})
	read("keys were withdrawn", false)
	r.ReadAll(keys)
	read("after everything was read", true)
	stop()
	for range 3 {
		<-ended
	}
	read("memory follows the store no more", false)
}

// TestReader_WithoutGrants reads with no grants at all.
func TestReader_WithoutGrants(t *testing.T) {
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	people, err := directory.Open(t.Context(), st, "userName")
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.Open(t.Context(), st, session.Defaults(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, keys := touched.NewReader(people, sessions, nil), func() <-chan struct{} { return make(chan struct{}) }
	r.ReadAll(keys)
	if subjects, known := r.Read(nil, keys); !known || len(subjects) > 0 {
		t.Errorf("%v %v", subjects, known)
	}
}
