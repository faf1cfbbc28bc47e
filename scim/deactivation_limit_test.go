package scim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim"
	"sallyport/store"
	"sallyport/store/bolt"
)

// TestDeactivationLimit_HoldsBeyond: deactivations beyond the limit are held, whichever
// request asks for them; other changes are not, and an operator can release what is held.
func TestDeactivationLimit_HoldsBeyond(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 2, Per: time.Hour}})
	c := &client{t, base, token}
	var ids []string
	for i := range 6 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		if u["id"] == nil {
			t.Fatal(u)
		}
		ids = append(ids, u["id"].(string))
	}
	set := func(i int, active bool) *http.Response {
		resp, _ := c.do("PATCH", "/Users/"+ids[i], fmt.Sprintf(`{"Operations":[{"op":"replace","path":"active","value":%v}]}`, active))
		return resp
	}
	held := func(how string, resp *http.Response) {
		t.Helper()
		wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || wait < 1 || wait > 3600 {
			t.Errorf("%s: status %d, Retry-After %q", how, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	for i := range 2 {
		if resp := set(i, false); resp.StatusCode != http.StatusOK {
			t.Fatalf("deactivation %d: status %d", i, resp.StatusCode)
		}
	}
	held("PATCH", set(2, false))
	put, _ := c.do("PUT", "/Users/"+ids[3], `{"userName":"u3","active":false}`)
	held("PUT", put)
	del, _ := c.do("DELETE", "/Users/"+ids[4], "")
	held("DELETE", del)
	for i := 2; i < 5; i++ {
		if _, u := c.do("GET", "/Users/"+ids[i], ""); u["active"] != true {
			t.Errorf("held user %d is %v", i, u)
		}
	}
	if names := heldNames(t, d); !slices.Equal(names, []string{"u2", "u3", "u4"}) {
		t.Errorf("the holds are %v", names)
	}
	if resp := set(0, true); resp.StatusCode != http.StatusOK {
		t.Errorf("a reactivation: status %d", resp.StatusCode)
	}
	if resp := set(1, false); resp.StatusCode != http.StatusOK {
		t.Errorf("deactivating the deactivated: status %d", resp.StatusCode)
	}
	if resp, _ := c.do("DELETE", "/Users/"+ids[1], ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("deleting the deactivated: status %d", resp.StatusCode)
	}
	if released, err := d.Release(context.Background(), audit.Actor{}, nil); len(released) != 3 || err != nil {
		t.Errorf("%d are released, %v", len(released), err)
	}
	for i := 2; i < 5; i++ {
		if _, u := c.do("GET", "/Users/"+ids[i], ""); u["active"] != false {
			t.Errorf("released user %d is %v", i, u)
		}
		if resp := set(i, false); resp.StatusCode != http.StatusOK {
			t.Errorf("the provider's next try: status %d", resp.StatusCode)
		}
	}
	held("the next one", set(5, false))
}

func heldNames(t *testing.T, d *tenant) (names []string) {
	t.Helper()
	held, err := d.Holds(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		names = append(names, h.UserName)
	}
	slices.Sort(names)
	return names
}

// TestDeactivationLimit_HoldWaitsForOperator: it does not expire, but the
// identity provider may withdraw it, and an operator may reject it.
func TestDeactivationLimit_HoldWaitsForOperator(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Nanosecond}})
	c := &client{t, base, token}
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	path := "/Users/" + u["id"].(string)
	hold := func(h scim.Hold) {
		t.Helper()
		if err := d.PutHold(context.Background(), h); err != nil {
			t.Fatal(err)
		}
	}
	set := func(active bool) int {
		t.Helper()
		resp, _ := c.do("PATCH", path, fmt.Sprintf(`{"Operations":[{"op":"replace","path":"active","value":%v}]}`, active))
		return resp.StatusCode
	}
	h := scim.Hold{ID: u["id"].(string), UserName: "u", Since: time.Now().Add(-48 * time.Hour)}
	hold(h)
	if got := set(false); got != http.StatusServiceUnavailable {
		t.Errorf("two days later it: status %d", got)
	}
	if n, err := d.Reject(context.Background(), audit.Actor{Kind: audit.ActorOperator, Name: "ada"}, []string{"U"}); n != 1 || err != nil {
		t.Fatalf("%d are rejected, %v", n, err)
	}
	if got := set(false); got != http.StatusConflict {
		t.Errorf("a rejected deactivation: status %d", got)
	}
	h.Rejected = time.Now().Add(-25 * time.Hour)
	hold(h)
	if got := set(false); got != http.StatusOK {
		t.Errorf("a day after the rejection it: status %d", got)
	}
	if got := set(true); got != http.StatusOK {
		t.Errorf("a reactivation: status %d", got)
	}
	hold(scim.Hold{ID: h.ID, UserName: "u", Since: time.Now()})
	if got := set(true); got != http.StatusOK || len(heldNames(t, d)) != 0 {
		t.Errorf("taking it back: status %d, held are %v", got, heldNames(t, d))
	}
	if _, err := d.Release(context.Background(), audit.Actor{}, []string{"nobody"}); err == nil {
		t.Error("what is held of nobody is released")
	}
}

// TestDeactivationLimit_IgnoresFailedChanges: a deactivation that failed is not counted.
func TestDeactivationLimit_IgnoresFailedChanges(t *testing.T) {
	base, token, _, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}})
	c := &client{t, base, token}
	_, _ = c.do("POST", "/Users", `{"userName":"taken"}`)
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	path := "/Users/" + u["id"].(string)
	for range 3 {
		if resp, _ := c.do("PUT", path, `{"userName":"taken","active":false}`); resp.StatusCode != http.StatusConflict {
			t.Fatalf("a taken name: status %d", resp.StatusCode)
		}
	}
	if resp, _ := c.do("PUT", path, `{"userName":"u","active":false}`); resp.StatusCode != http.StatusOK {
		t.Errorf("the first deactivation: status %d", resp.StatusCode)
	}
}

// withdrawing is a store in which the identity provider withdraws every hold right after an operator has read them.
type withdrawing struct {
	store.Store
	armed bool
}

func (s *withdrawing) View(ctx context.Context, fn func(store.Reader) error) error {
	err := s.Store.View(ctx, fn)
	if !s.armed {
		return err
	}
	s.armed = false
	var keys [][]byte
	_, updateErr := s.Update(ctx, func(w store.Writer) error {
		keys = nil
		for e := range w.Scan([]byte("held/"), nil) {
			keys = append(keys, slices.Clone(e.Key))
		}
		for _, key := range keys {
			if err := w.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, updateErr)
}

// TestRelease_CountsWhatWasDone: neither a hold that was withdrawn meanwhile, nor one of a user who is gone or inactive
// already, is counted as decided.
func TestRelease_CountsWhatWasDone(t *testing.T) {
	bolted, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	st := &withdrawing{Store: bolted}
	d := openTenant(t, st)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Directory.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); _ = bolted.Close() })
	var ids []string
	for _, u := range []directory.User{
		{UserName: "active", Active: true, Document: []byte(`{"userName":"active","active":true}`)},
		{UserName: "inactive", Document: []byte(`{"userName":"inactive"}`)},
	} {
		if err := d.Update(ctx, func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) }); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, u.ID)
	}
	hold := func() {
		for i, id := range append(ids, strings.Repeat("0", 32)) {
			if err := d.PutHold(ctx, scim.Hold{ID: id, UserName: strconv.Itoa(i), Since: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold()
	st.armed = true
	if released, err := d.Release(ctx, audit.Actor{}, nil); len(released) != 0 || err != nil {
		t.Errorf("%d withdrawn holds are released, %v", len(released), err)
	}
	hold()
	st.armed = true
	if n, err := d.Reject(ctx, audit.Actor{Kind: audit.ActorOperator, Name: "ada"}, nil); n != 0 || err != nil {
		t.Errorf("%d withdrawn holds are rejected, %v", n, err)
	}
	if names := heldNames(t, d); len(names) != 0 {
		t.Errorf("rejecting what was withdrawn holds %v again", names)
	}
	hold()
	if released, err := d.Release(ctx, audit.Actor{}, nil); len(released) != 1 || err != nil {
		t.Errorf("%d holds are released, want that of the one active user: %v", len(released), err)
	}
	if names := heldNames(t, d); len(names) != 0 {
		t.Errorf("after the release %v are held", names)
	}
}

// TestDeactivationLimit_IsRecorded: what is held, what an operator decides about it and since when it was held; and the
// externalId of whoever leaves, by which a sign-in afterwards is known.
func TestDeactivationLimit_IsRecorded(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}})
	c, ctx, ada := &client{t, base, token}, t.Context(), audit.Actor{Kind: audit.ActorOperator, Name: "ada"}
	var ids []string
	for i := range 3 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d","externalId":"x%d"}`, i, i))
		ids = append(ids, u["id"].(string))
	}
	for i := range ids {
		c.do("PATCH", "/Users/"+ids[i], `{"Operations":[{"op":"replace","path":"active","value":false}]}`)
		c.do("PATCH", "/Users/"+ids[i], `{"Operations":[{"op":"replace","path":"active","value":false}]}`) // is held already
	}
	if _, err := d.Reject(ctx, ada, ids[1:2]); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Release(ctx, ada, ids[2:]); err != nil {
		t.Fatal(err)
	}
	c.do("DELETE", "/Users/"+ids[0], "")
	var got []string
	for rec, err := range d.Records(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var e audit.Event
		if err := json.Unmarshal(rec.Event, &e); err != nil {
			t.Fatal(err)
		}
		if e.Reason != "create" {
			since, _ := time.Parse(time.RFC3339Nano, e.Detail["held_since"])
			got = append(got, fmt.Sprintf("%s %s by %s external_id=%s held=%v", e.Reason, e.UserName, e.Actor.Kind, e.Detail["external_id"], !since.IsZero()))
		}
		if e.Reason == "delete" { // the last one
			break
		}
	}
	want := []string{"patch u0 by token external_id=x0 held=false", "held u1 by token external_id= held=false", "held u2 by token external_id= held=false",
		"reject u1 by operator external_id= held=true", "release u2 by operator external_id=x2 held=true", "delete u0 by token external_id=x0 held=false"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
