package notice_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/notice"
	"sallyport/session"
	"sallyport/store/bolt"
)

var entra = audit.Actor{Kind: audit.ActorToken, Name: "entra", ID: "t1", Address: "203.0.113.7"}

// told is an event that was sent.
type told struct {
	event string
	data  any
}

// stage is a running Follower of a directory on disk, inside a bubble of synctest.
type stage struct {
	*notice.Follower
	t         *testing.T
	directory *directory.Directory
	stop      func() // waits until Run has returned
	waiting   int    // held deactivations

	mu  sync.Mutex
	all []told
}

// bubble runs f in a bubble of synctest.
func bubble(t *testing.T, f func(s *stage)) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(path, bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		d, err := directory.Open(t.Context(), st, "externalId")
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, directory: d}
		s.Follower = notice.NewFollower(notice.Parts{Directory: d, Waiting: func(context.Context) (int, error) { return s.waiting, nil },
			Send: s.send, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = d.Run(ctx) })
		running.Go(func() {
			if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run returns %v", err)
			}
		})
		s.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
		f(s)
		s.stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (s *stage) send(event string, data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, told{event, data})
}

// take returns the events that were sent after d has passed, and forgets them.
func (s *stage) take(after time.Duration) []told {
	time.Sleep(after)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// hire creates a user.
func (s *stage) hire(name string) directory.User {
	s.t.Helper()
	u := directory.User{UserName: name, ExternalID: "oid-" + name, Active: true, Document: json.RawMessage(`{"displayName":"Name of ` + name + `"}`)}
	if err := s.directory.Update(context.Background(), func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) }); err != nil {
		s.t.Fatal(err)
	}
	return u
}

// record makes a change, and records it as one that arrived before now.
func (s *stage) record(e audit.Event, change func(*directory.Tx) error) {
	s.t.Helper()
	received := time.Now().UTC().Add(-20 * time.Millisecond)
	err := s.directory.Update(context.Background(), func(tx *directory.Tx) error {
		e.Kind, e.Time, e.Revision = audit.KindSCIM, tx.Now(), tx.Revision()
		data, err := json.Marshal(e)
		return errors.Join(err, change(tx), tx.Record(directory.Record{Received: received, Event: data}))
	})
	if err != nil {
		s.t.Error(err)
	}
}

func (s *stage) deactivate(u directory.User) {
	s.t.Helper()
	u.Active = false
	s.record(audit.Event{Actor: entra, Reason: "patch", User: u.ID, UserName: u.UserName, Detail: map[string]string{"result": "deactivated"}},
		func(tx *directory.Tx) error { return tx.PutUser(&u) })
}

func (s *stage) remove(u directory.User, actor audit.Actor) {
	s.t.Helper()
	s.record(audit.Event{Actor: actor, Reason: "delete", User: u.ID, UserName: u.UserName}, func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })
}

func (s *stage) hold(u directory.User) {
	s.t.Helper()
	s.record(audit.Event{Actor: entra, Reason: "held", User: u.ID, UserName: u.UserName}, func(tx *directory.Tx) error { return nil })
}

func (s *stage) endSession(u directory.User) {
	s.Observe(audit.Event{Kind: audit.KindEnd, Reason: string(session.ReasonUser), User: u.ID})
}

func (s *stage) cut(u directory.User, reason string) {
	s.Observe(audit.Event{Kind: audit.KindCut, Reason: reason, User: u.ID, Time: time.Now().UTC()})
}

// demand compares what was told, without times.
func (s *stage) demand(got []told, want ...told) {
	s.t.Helper()
	ignoreTimes := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Received" || p.Last().String() == ".Since" }, cmp.Ignore())
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(told{}), ignoreTimes); diff != "" {
		s.t.Errorf("told (-want +got):\n%s", diff)
	}
}

func userOf(u directory.User) admin.NoticeUser {
	return admin.NoticeUser{ID: u.ID, UserName: u.UserName, Name: "Name of " + u.UserName}
}

// TestFollower_TellsOfOffboarded: one event for each person, with what ended and how long it took; whether what ended is
// heard of before the change or after it.
func TestFollower_TellsOfOffboarded(t *testing.T) {
	bubble(t, func(s *stage) {
		ada, bob, carol := s.hire("ada"), s.hire("bob"), s.hire("carol")
		began := time.Now()
		s.cut(ada, "inactive_user")
		s.deactivate(ada)
		s.endSession(ada)
		time.Sleep(time.Second)
		s.cut(ada, "inactive_user")
		s.endSession(ada)
		operator := admin.Operator("root", "control socket")
		s.remove(bob, operator)
		time.Sleep(time.Millisecond) // who leaves at the same instant may be told of in any order
		s.deactivate(carol)
		time.Sleep(time.Millisecond) // the name of somebody who is deleted at the same instant may not be known any more
		s.remove(carol, entra)
		got := s.take(4 * time.Second)
		took := int64(1020)
		if len(got) == 3 && got[0].data.(notice.Offboarded).Received.After(began) {
			t.Errorf("the change of ada arrived at %s", got[0].data.(notice.Offboarded).Received)
		}
		s.demand(got,
			told{notice.UserOffboarded, notice.Offboarded{User: userOf(ada), Cause: notice.Deactivated, Actor: entra, Sessions: 2, Requests: 2, LastCut: &took}},
			told{notice.UserOffboarded, notice.Offboarded{User: admin.NoticeUser{ID: bob.ID, UserName: "bob"}, Cause: notice.Deleted, Actor: operator}},
			told{notice.UserOffboarded, notice.Offboarded{User: userOf(carol), Cause: notice.Deleted, Actor: entra}})
		s.demand(s.take(time.Hour))
		dave := s.hire("dave")
		s.record(audit.Event{Actor: operator, Reason: "release", User: dave.ID, UserName: "dave", Detail: map[string]string{"result": "deactivated"}},
			func(tx *directory.Tx) error { dave.Active = false; return tx.PutUser(&dave) })
		s.demand(s.take(time.Minute), told{notice.UserOffboarded, notice.Offboarded{User: userOf(dave), Cause: notice.Deactivated, Actor: operator}})
	})
}

// TestFollower_TellsOfNothingElse: somebody who is suspended or leaves a group is not offboarded.
func TestFollower_TellsOfNothingElse(t *testing.T) {
	bubble(t, func(s *stage) {
		ada := s.hire("ada")
		s.cut(ada, "no_rule")
		s.cut(ada, "inactive_user") // of an operator's suspension
		s.endSession(ada)
		s.Observe(audit.Event{Kind: audit.KindEnd, Reason: "operator", User: ada.ID})
		s.Observe(audit.Event{Kind: audit.KindCut, Reason: "inactive_user"})
		s.record(audit.Event{Actor: entra, Reason: "patch", User: ada.ID, Detail: map[string]string{"result": "activated"}}, func(*directory.Tx) error { return nil })
		s.record(audit.Event{Actor: entra, Reason: "delete", Group: "g1"}, func(*directory.Tx) error { return nil })
		s.record(audit.Event{Actor: entra, Reason: "create", User: ada.ID}, func(*directory.Tx) error { return nil })
		s.demand(s.take(time.Hour))
		s.deactivate(ada) // what ended long before does not count
		s.demand(s.take(time.Minute), told{notice.UserOffboarded, notice.Offboarded{User: userOf(ada), Cause: notice.Deactivated, Actor: entra}})
	})
}

// TestFollower_SumsUp: of many who leave at once, the first are told one by one, and one event says how many others there
// are. Of those who leave for hours, a bounded number of events an hour tells.
func TestFollower_SumsUp(t *testing.T) {
	bubble(t, func(s *stage) {
		const many = 500
		users := make([]directory.User, many)
		var all sync.WaitGroup
		for i := range users {
			all.Go(func() { users[i] = s.hire(fmt.Sprintf("u%d", i)) })
		}
		all.Wait()
		for _, u := range users {
			all.Go(func() { s.deactivate(u); s.endSession(u); s.cut(u, "inactive_user") })
		}
		all.Wait()
		got := s.take(3 * time.Minute)
		people := 0
		for _, one := range got {
			n := one.data.(notice.Offboarded)
			people += 1 + n.More
			if n.User.UserName == "" || n.Sessions != 1 || n.Requests != 1 {
				t.Errorf("an event is %+v", n)
			}
		}
		if last := got[len(got)-1].data.(notice.Offboarded).More; people != many || len(got) != 21 || last != many-21 {
			t.Errorf("%d events tell of %d people; the last says %d more", len(got), people, last)
		}
		for _, u := range users[:200] { // a minute in all, ten times
			s.deactivate(u)
			time.Sleep(3 * time.Second)
		}
		people, got = 0, s.take(3*time.Minute)
		for _, one := range got {
			people += 1 + one.data.(notice.Offboarded).More
		}
		if people != 200 || len(got) > 14*20 {
			t.Errorf("%d events tell of %d people", len(got), people)
		}
	})
}

// TestFollower_TellsOfHeld: the first deactivation that is held is told at once, later ones once a minute, all with the
// names of a few.
func TestFollower_TellsOfHeld(t *testing.T) {
	bubble(t, func(s *stage) {
		ada := s.hire("ada")
		s.waiting = 1
		s.hold(ada)
		s.demand(s.take(5*time.Second), told{notice.DeactivationsHeld, notice.Held{Users: []admin.NoticeUser{userOf(ada)}, Waiting: 1, Actor: entra}})
		s.waiting = 120
		for range 119 {
			s.hold(ada)
			time.Sleep(100 * time.Millisecond)
		}
		s.demand(s.take(20 * time.Second))
		got := s.take(time.Hour)
		if len(got) != 1 {
			t.Fatalf("told is %v", got)
		}
		if n := got[0].data.(notice.Held); len(n.Users) != 20 || n.More != 99 || n.Waiting != 120 {
			t.Errorf("told is %+v", n)
		}
	})
}

// TestFollower_TellsAtItsEnd: what is not told yet is told before Run returns.
func TestFollower_TellsAtItsEnd(t *testing.T) {
	bubble(t, func(s *stage) {
		for i := range 30 {
			s.deactivate(s.hire(fmt.Sprintf("u%d", i)))
		}
		s.hold(s.hire("held"))
		s.stop()
		people, held := 0, 0
		for _, one := range s.take(0) {
			switch n := one.data.(type) {
			case notice.Offboarded:
				people += 1 + n.More
			case notice.Held:
				held += n.Waiting + len(n.Users)
			}
		}
		if people != 30 || held != 1 {
			t.Errorf("at the end %d people and %d holds are told of", people, held)
		}
	})
}

// TestFollower_ManyObservations: whatever is heard of, memory and time are bounded.
func TestFollower_ManyObservations(t *testing.T) {
	bubble(t, func(s *stage) {
		for i := range 50_000 {
			s.cut(directory.User{ID: fmt.Sprint(i)}, "unknown_user")
		}
		ada := s.hire("ada")
		s.deactivate(ada)
		got := s.take(5 * time.Minute)
		if len(got) != 1 || got[0].data.(notice.Offboarded).User.UserName != "ada" {
			t.Errorf("told is %v", got)
		}
	})
}

// TestOffboarded_HasNoEmptyKeys: what was not cut has no time.
func TestOffboarded_HasNoEmptyKeys(t *testing.T) {
	text, err := json.Marshal(notice.Offboarded{Cause: notice.Deleted})
	if err != nil || strings.Contains(string(text), "millisecondsToLastCut") || strings.Contains(string(text), "more") {
		t.Errorf("%s, %v", text, err)
	}
}
