package grant_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/disk/disktest"
	"sallyport/grant"
	"sallyport/store"
	"sallyport/store/bolt"
)

// review stores a review with a row for each user, each by a membership of the group g9.
func (w *world) review(users ...string) (id string, rows []grant.Row) {
	w.t.Helper()
	for _, user := range users {
		rows = append(rows, grant.Row{User: grant.ReviewUser{ID: user, UserName: user}, Rule: "sre[0]", Memberships: []grant.Membership{{Group: "g9", ObjectID: "sre-id", Name: "SRE"}}})
	}
	r := grant.Review{Route: "app", Started: began, Due: began.Add(time.Hour)}
	if err := w.grants.StartReview(w.t.Context(), &r, rows); err != nil {
		w.t.Fatal(err)
	}
	_, rows, err := w.grants.Review(w.t.Context(), r.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID, rows
}

// decide decides as within a change of the directory in which everybody is a member of every group.
func (w *world) decide(id string, d grant.Decision, rows ...grant.Row) error {
	revision, err := w.store.Update(context.Background(), func(tx store.Writer) error {
		return grant.DecideRows(tx, grant.Deciding{Review: id, Rows: rows, Decision: d, By: "ada", Why: "because", At: began.Add(time.Minute)},
			func(string, string) (bool, error) { return true, nil })
	})
	if err == nil {
		err = w.grants.Wait(context.Background(), revision)
	}
	return err
}

// TestDecideRows_Damaged: a revocation that cannot be read denies everything, and revoking again replaces it.
func TestDecideRows_Damaged(t *testing.T) {
	w := newWorld(t)
	id, rows := w.review("bob")
	if err := w.decide(id, grant.DecisionRevoke, rows...); err != nil {
		t.Fatal(err)
	}
	w.put("revoked/bob/g9", []byte("{"))
	_, rows, _ = w.grants.Review(t.Context(), id)
	if err := w.decide(id, grant.DecisionKeep, rows...); err == nil || !strings.Contains(err.Error(), "revoke again") {
		t.Errorf("to keep says %v", err)
	}
	if !w.grants.Of("bob", 0).Revoked("any") {
		t.Error("a damaged revocation does not deny")
	}
	for _, d := range []grant.Decision{grant.DecisionRevoke, grant.DecisionKeep} {
		_, rows, err := w.grants.Review(t.Context(), id)
		if err == nil {
			err = w.decide(id, d, rows...)
		}
		if err != nil {
			t.Errorf("%s says %v", d, err)
		}
	}
	if w.grants.Of("bob", 0) != nil {
		t.Error("the revocation is not lifted")
	}
}

// TestReview_DamagedRows: a review that is not whole is not shown as if it were.
func TestReview_DamagedRows(t *testing.T) {
	w := newWorld(t)
	id, rows := w.review("bob", "eve")
	if _, err := w.store.Update(t.Context(), func(tx store.Writer) error { return tx.Put([]byte("reviewrow/"+id+"/000002"), []byte("{}")) }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.grants.Review(t.Context(), id); !errors.Is(err, grant.ErrReviewDamaged) {
		t.Errorf("a damaged row says %v", err)
	}
	if err := w.decide(id, grant.DecisionRevoke, rows...); !errors.Is(err, grant.ErrReviewDamaged) {
		t.Errorf("to decide says %v", err)
	}
	if w.grants.Of("bob", 0) != nil {
		t.Error("half of the decision is stored")
	}
	if _, err := w.store.Update(t.Context(), func(tx store.Writer) error { return tx.Delete([]byte("reviewrow/" + id + "/000002")) }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.grants.Review(t.Context(), id); !errors.Is(err, grant.ErrReviewDamaged) {
		t.Errorf("a missing row says %v", err)
	}
}

// TestDecideRows_SeesOtherDecisions: whoever decides about what they have not seen decides nothing.
func TestDecideRows_SeesOtherDecisions(t *testing.T) {
	w := newWorld(t)
	id, rows := w.review("bob", "eve")
	if err := w.decide(id, grant.DecisionRevoke, rows[1]); err != nil {
		t.Fatal(err)
	}
	if err := w.decide(id, grant.DecisionKeep, rows...); !errors.Is(err, grant.ErrRowChanged) {
		t.Errorf("the error is %v", err)
	}
	review, rows, err := w.grants.Review(t.Context(), id)
	if err != nil || rows[0].Decision != grant.DecisionOpen || rows[1].Decision != grant.DecisionRevoke || review.Counts != (grant.Counts{Open: 1, Revoke: 1}) {
		t.Errorf("%+v, %+v, %v", review.Counts, rows, err)
	}
}

// TestReview_FullDisk: on a full disk no review begins, and access is still taken away.
func TestReview_FullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	disktest.Mount(t, dir, "64m")
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true, Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: st}
	if w.grants, err = grant.Open(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.grants.Run(ctx) })
	running.Go(func() { _ = st.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); _ = st.Close() })
	id, rows := w.review("bob", "eve")
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<27), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk gives %v", err)
	}
	many := grant.Review{Route: "other", Started: began}
	if err := w.grants.StartReview(t.Context(), &many, make([]grant.Row, 50_000)); !errors.Is(err, store.ErrFull) {
		t.Fatalf("to start says %v", err)
	}
	if n := len(w.grants.Reviews()); n != 1 {
		t.Errorf("there are %d reviews", n)
	}
	for n := 0; err == nil; n++ {
		_, err = st.Update(t.Context(), func(tx store.Writer) error { return tx.Put(fmt.Appendf(nil, "x%d", n), make([]byte, 2000)) })
	}
	if err := w.decide(id, grant.DecisionKeep, rows[0]); !errors.Is(err, store.ErrFull) {
		t.Errorf("to keep says %v", err)
	}
	if err := w.decide(id, grant.DecisionRevoke, rows...); err != nil || !w.grants.Of("bob", 0).Revoked("sre-id") {
		t.Errorf("to revoke says %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	deadline, again := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for st.Err() != nil { // until Run has found the space
		select {
		case <-deadline:
			t.Fatal(st.Err())
		case <-again.C:
		}
	}
	if n := w.countRows(many.ID); n == 0 {
		t.Fatal("nothing of the review was stored, so that there is nothing to delete")
	}
	for _, age := range []time.Duration{time.Minute, 2 * time.Hour} { // a young one may be another server's that is still at it
		if err := w.grants.PruneReviews(t.Context(), began.Add(age)); err != nil {
			t.Fatal(err)
		}
		if n := w.countRows(many.ID); n == 0 != (age > time.Hour) {
			t.Errorf("after %s, %d rows are left of a review that was never stored", age, n)
		}
	}
}

func (w *world) countRows(id string) (n int) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		for range r.Scan([]byte("reviewrow/"+id+"/"), nil) {
			n++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// pausingStore calls between after each transaction that reads.
type pausingStore struct {
	store.Store
	between func()
}

func (s *pausingStore) View(ctx context.Context, fn func(store.Reader) error) error {
	err := s.Store.View(ctx, fn)
	if s.between != nil {
		s.between()
	}
	return err
}

// TestAt_WhileRevocationsEnd: a revocation that ends while the question is asked was in force before.
func TestAt_WhileRevocationsEnd(t *testing.T) {
	w := newWorld(t)
	id, rows := w.review("bob")
	if err := w.decide(id, grant.DecisionRevoke, rows...); err != nil {
		t.Fatal(err)
	}
	_, rows, _ = w.grants.Review(t.Context(), id)
	paused := &pausingStore{Store: w.store}
	grants, err := grant.Open(t.Context(), paused)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = grants.Run(ctx) }()
	defer func() { stop(); <-ended }()
	paused.between = sync.OnceFunc(func() {
		changed := grants.Changed()
		if err := w.decide(id, grant.DecisionKeep, rows...); err != nil {
			t.Error(err)
		}
		<-changed
	})
	past, err := grants.At(t.Context(), began.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if h := past("bob", 0); h == nil || !h.Revoked("g9") {
		t.Errorf("bob held %+v, and his membership was revoked", h)
	}
}

// TestAt_DamagedRevocation: what cannot be read is not told as if nothing had been revoked.
func TestAt_DamagedRevocation(t *testing.T) {
	for _, key := range []string{"revoked/bob/g9", "unrevoked/bob/g9/0000000000000000001"} {
		w := newWorld(t)
		w.write(key, []byte("{"))
		if _, err := w.grants.At(t.Context(), began); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("with a damaged %s the error is %v", key, err)
		}
	}
}
