package proxy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/response"
	"sallyport/session"
	"sallyport/store"
)

// forgetfulStore is a store in which a test can lose changes for those who watch: memory is then loaded again.
type forgetfulStore struct {
	store.Store

	mu      sync.Mutex // guards watches
	watches []context.CancelCauseFunc
}

func (s *forgetfulStore) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		watching, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		s.mu.Lock()
		s.watches = append(s.watches, cancel)
		s.mu.Unlock()
		for change, err := range s.Store.Watch(watching, after) {
			if context.Cause(watching) != nil {
				break
			}
			if !yield(change, err) || err != nil {
				return
			}
		}
		yield(store.Change{}, context.Cause(watching))
	}
}

func (s *forgetfulStore) loseChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, lose := range s.watches {
		lose(store.ErrCompacted)
	}
	s.watches = nil
}

// reviewMachine changes everything that decisions depend on, beside live requests of all kinds. Nothing reviews them but
// the machine.
type reviewMachine struct {
	*world
	store    *forgetfulStore
	rt       *rapid.T
	steps    *int     // that are left
	people   []string // names of people who are or were in the directory
	sessions map[string][]session.Session
	cut      int // requests that were cut
	asked    int // requests that were decided again by reviews of what was touched
	all      int // and those that reviews of all would have
}

const (
	bossHost  = "boss.example.com"   // for those whose manager is boss@example.com or boss2@example.com
	leadHost  = "lead.example.com"   // for the managers of person0@example.com
	grantHost = "grant.example.com"  // for those who were granted it
	salesHost = "sales.example.com"  // for those whose department is Sales, while they are not chiefs
	crewHost  = "a.crew.example.com" // for members of a group that is named Crew
)

func newReviewMachine(t *testing.T) *reviewMachine {
	m := &reviewMachine{store: &forgetfulStore{}, sessions: map[string][]session.Session{}}
	m.world = newUnreviewedWorld(t, m.store, func(s *Settings) {
		s.Policies = append(s.Policies,
			policy.Named{Name: "boss", Rules: []policy.Rule{{Allow: &policy.Match{ReportsTo: []string{"boss@example.com", "boss2@example.com"}}}}},
			policy.Named{Name: "lead", Rules: []policy.Rule{{Allow: &policy.Match{ManagerOf: []string{"person0@example.com"}}}}},
			policy.Named{Name: "granted", Requestable: &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}})
		s.TrustGroupNames = true
		s.Policies = append(s.Policies,
			policy.Named{Name: "sales", Rules: []policy.Rule{{Allow: &policy.Match{Attributes: map[string][]string{"department": {"Sales"}}}},
				{Deny: &policy.Match{When: `has(user.attributes.title) && user.attributes.title == "Chief"`}}}},
			policy.Named{Name: "crew", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{Name: "Crew"}}}}}})
		for name, host := range map[string]string{"boss": bossHost, "lead": leadHost, "granted": grantHost, "sales": salesHost, "crew": "*.crew.example.com"} {
			s.Routes = append(s.Routes, Route{Name: name, Host: host, Upstream: s.Routes[0].Upstream, Policy: []string{name}})
		}
	})
	m.people = []string{"boss", "boss2", "person0", "person1", "person2", "person3"}
	for _, name := range m.people {
		m.addUser(name, staff)
	}
	return m
}

// reset makes everybody an active member of staff with a name of their own again, and ends all requests.
func (m *reviewMachine) reset() {
	for _, l := range m.proxy.live.All() {
		m.proxy.live.leave(l)
	}
	m.update(func(tx *directory.Tx) error {
		for _, u := range m.directory.Snapshot() {
			if err := tx.DeleteUser(u.ID); err != nil {
				return err
			}
		}
		for a, err := range tx.Absent() {
			if err = errors.Join(err, tx.Unsuspend(a.ID)); err != nil {
				return err
			}
		}
		g, err := tx.GroupByExternalID(staff)
		if errors.Is(err, directory.ErrNotFound) {
			g, err = directory.Group{ExternalID: staff}, nil
		}
		for _, other := range m.directory.Groups() {
			if other.ID != g.ID {
				err = errors.Join(err, tx.DeleteGroup(other.ID))
			}
		}
		g.DisplayName = "Crew"
		err = errors.Join(err, tx.PutGroup(&g))
		var ids []string
		for i, name := range m.people {
			p := m.person(name)
			u := directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: documentOf("", "Sales", "")}
			if i >= 2 { // boss and boss2 come first
				u.Document = documentOf(ids[i%2], "Sales", "")
			}
			err = errors.Join(err, tx.PutUser(&u))
			ids = append(ids, u.ID)
		}
		_, joined := tx.AddMembers(g.ID, ids)
		return errors.Join(err, joined)
	})
	m.proxy.review()
}

func (m *reviewMachine) pick(label string) string {
	return rapid.SampledFrom(m.people).Draw(m.rt, label)
}

// edit changes a user of the directory, if there is one with the name.
func (m *reviewMachine) edit(name string, change func(*directory.User)) {
	u, ok := m.find(name)
	if !ok {
		return
	}
	_ = m.directory.Update(m.ctx, func(tx *directory.Tx) error { // a conflict of names changes nothing
		stored, err := tx.User(u.ID)
		if err != nil {
			return err
		}
		change(&stored)
		return tx.PutUser(&stored)
	})
}

// documentOf returns the document of a user with the id of a manager, a department and a title.
func documentOf(manager, department, title string) []byte {
	return fmt.Appendf(nil, `{"title":%q,"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":%q,"manager":{"value":%q}}}`, title, department, manager)
}

// find returns a user whose userName is that of a name now.
func (m *reviewMachine) find(name string) (found *directory.User, ok bool) {
	for _, u := range m.directory.Snapshot() {
		if u.UserName == name+"@example.com" {
			return u, true
		}
	}
	return nil, false
}

// enter has a request enter and decides it. It stays only if it is let in.
func (m *reviewMachine) enter(host string, c *caller) {
	rt := m.proxy.routing.Load()
	r := httptest.NewRequest("GET", "https://"+host+"/v1/x", nil)
	req := &request{id: newID(), timing: timing{received: time.Now().UTC()}, routing: rt, method: "GET", host: host, path: "/v1/x", caller: c}
	if req.findRoute() != nil {
		return
	}
	l := m.proxy.live.enter(req, response.New(httptest.NewRecorder(), r, time.Minute), r)
	out := m.proxy.decide(rt, req, req.received)
	if out.denial != nil {
		m.proxy.live.leave(l)
		return
	}
	m.proxy.live.noteAllowed(l, out)
}

func (m *reviewMachine) host() string {
	return rapid.SampledFrom([]string{appHost, openHost, apiHost, bossHost, leadHost, grantHost, salesHost, crewHost}).Draw(m.rt, "host")
}

func (m *reviewMachine) caller() *caller {
	name := m.pick("caller")
	u, ok := m.find(name)
	switch kind := rapid.SampledFrom([]string{"session", "session", "token", "token", "app", "anonymous"}).Draw(m.rt, "kind"); {
	case kind == "session" && ok:
		if list := m.sessions[u.ID]; len(list) > 0 && rapid.Bool().Draw(m.rt, "an old session") {
			return &caller{session: &list[0]}
		}
		s, err := m.world.sessions.Begin(m.ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName})
		m.must(err)
		m.sessions[u.ID] = append(m.sessions[u.ID], s)
		return &caller{session: &s}
	case kind == "token":
		p := m.person(name)
		return m.tokenCaller(m.tenant.AccessToken(p, audience, nil))
	case kind == "app":
		return m.tokenCaller(m.tenant.AppToken("an-app", "an-app-object", audience, nil))
	}
	return nil
}

func (m *reviewMachine) tokenCaller(text string) *caller {
	identity, err := m.provider.Bearer(m.ctx, text)
	m.must(err)
	return &caller{token: &identity, bearer: oidc.Secret(text)}
}

func (m *reviewMachine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(){
		"enter": func() {
			for range rapid.IntRange(1, 8).Draw(m.rt, "requests") {
				m.enter(m.host(), m.caller())
			}
		},
		"leave": func() {
			if live := m.proxy.live.All(); len(live) > 0 {
				m.proxy.live.leave(live[0])
			}
		},
		"activate": func() {
			active := rapid.Bool().Draw(m.rt, "active")
			m.edit(m.pick("user"), func(u *directory.User) { u.Active = active })
		},
		"rename": func() {
			to := m.pick("to")
			m.edit(m.pick("user"), func(u *directory.User) { u.UserName = to + "@example.com" })
		},
		"get the externalId of another": func() {
			id := m.person(m.pick("of")).OID
			m.edit(m.pick("user"), func(u *directory.User) { u.ExternalID = id })
		},
		"get another manager": func() {
			manager := ""
			if u, ok := m.find(m.pick("manager")); ok {
				manager = u.ID
			}
			m.edit(m.pick("user"), func(u *directory.User) { u.Document = documentOf(manager, "Sales", "") })
		},
		"get other attributes": func() {
			department, title := rapid.SampledFrom([]string{"Sales", "Finance"}).Draw(m.rt, "department"), rapid.SampledFrom([]string{"", "Chief"}).Draw(m.rt, "title")
			m.edit(m.pick("user"), func(u *directory.User) { u.Document = documentOf(u.Manager(), department, title) })
		},
		"rename a group": func() {
			name := rapid.SampledFrom([]string{"Crew", "Staff"}).Draw(m.rt, "name")
			_ = m.directory.Update(m.ctx, func(tx *directory.Tx) error {
				g, err := tx.GroupByExternalID(staff)
				if err != nil {
					return err
				}
				g.DisplayName = name
				return tx.PutGroup(&g)
			})
		},
		"join or leave": func() {
			u, ok := m.find(m.pick("user"))
			if !ok {
				return
			}
			join := rapid.Bool().Draw(m.rt, "join")
			_ = m.directory.Update(m.ctx, func(tx *directory.Tx) error {
				g, err := tx.GroupByExternalID(staff)
				if err != nil {
					return err
				}
				if join {
					_, err = tx.AddMembers(g.ID, []string{u.ID})
				} else {
					_, err = tx.RemoveMembers(g.ID, []string{u.ID})
				}
				return err
			})
		},
		"another group is staff": func() {
			_ = m.directory.Update(m.ctx, func(tx *directory.Tx) error {
				g, err := tx.GroupByExternalID(staff)
				if err != nil {
					return tx.PutGroup(&directory.Group{ExternalID: staff, DisplayName: "Staff" + newID()})
				}
				g.ExternalID = newID()
				return tx.PutGroup(&g)
			})
		},
		"delete or create": func() {
			name := m.pick("user")
			if u, ok := m.find(name); ok {
				m.update(func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })
				return
			}
			p := m.person(name)
			_ = m.directory.Update(m.ctx, func(tx *directory.Tx) error {
				return tx.PutUser(&directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: userDocument(p)})
			})
		},
		"suspend or not": func() {
			if u, ok := m.find(m.pick("user")); ok {
				m.update(func(tx *directory.Tx) error {
					if u.Suspended != nil {
						return tx.Unsuspend(u.ID)
					}
					return tx.Suspend(u.ID, "stolen laptop")
				})
			}
		},
		"end sessions": func() {
			if u, ok := m.find(m.pick("user")); ok {
				_, err := m.world.sessions.EndUser(m.ctx, u.ID, session.ReasonLogout)
				m.must(err)
			}
		},
		"grant": func() {
			if u, ok := m.find(m.pick("user")); ok {
				_, _ = m.grantTo(u, "granted", time.Hour) // a person may not ask without end
			}
		},
		"revoke": func() {
			for _, g := range m.grants.All("", time.Now(), false) {
				_, err := m.grants.Revoke(m.ctx, g.Person.ID, g.ID, "an operator", "the incident is over", time.Now())
				m.must(err)
				return
			}
		},
		"two changes at once": func() {
			u, ok := m.find(m.pick("user"))
			if !ok {
				return
			}
			_, err := m.world.sessions.EndUser(m.ctx, u.ID, session.ReasonLogout)
			m.must(err)
			m.edit(m.pick("other"), func(u *directory.User) { u.Active = !u.Active })
		},
		"a record becomes unreadable": func() {
			if u, ok := m.find(m.pick("user")); ok {
				m.breakRecords("session/of/" + u.ID + "/")
			}
		},
		"all memberships are revoked": func() {
			if u, ok := m.find(m.pick("user")); ok {
				m.write(store.Write{Key: []byte("revoked/" + u.ID + "/x"), Value: []byte("{"), Deleted: rapid.Bool().Draw(m.rt, "or no more")})
			}
		},
		"changes are lost": func() {
			m.store.loseChanges()
			m.edit(m.pick("user"), func(u *directory.User) { u.Active = !u.Active })
		},
	}
	wrapped := map[string]func(*rapid.T){"": func(rt *rapid.T) { m.rt = rt; m.check() }}
	for name, do := range actions {
		wrapped[name] = func(rt *rapid.T) {
			m.rt = rt
			*m.steps--
			do()
		}
	}
	return wrapped
}

// breakRecords deletes the records below a prefix, or makes them unreadable.
func (m *reviewMachine) breakRecords(prefix string) {
	var writes []store.Write
	deleted := rapid.Bool().Draw(m.rt, "deleted")
	m.must(m.store.View(m.ctx, func(r store.Reader) error {
		for e, err := range r.Scan([]byte(prefix), nil) {
			if err != nil {
				return err
			}
			writes = append(writes, store.Write{Key: slices.Clone(e.Key), Value: []byte("{"), Deleted: deleted})
		}
		return nil
	}))
	m.write(writes...)
}

// write writes records as no part of the proxy does, and returns once memory has them.
func (m *reviewMachine) write(writes ...store.Write) {
	revision, err := m.store.Update(m.ctx, func(w store.Writer) error {
		for _, one := range writes {
			if err := w.Put(one.Key, one.Value); err != nil {
				return err
			}
			if one.Deleted {
				if err := w.Delete(one.Key); err != nil {
					return err
				}
			}
		}
		return nil
	})
	m.must(err)
	m.must(m.grants.Wait(m.ctx, revision))
	_, err = m.world.sessions.Begin(m.ctx, session.Session{User: "nobody"}) // which waits for the sessions
	m.must(err)
}

// check reviews what was touched, and compares with what a review of all would cut.
func (m *reviewMachine) check() {
	rt, before := m.proxy.routing.Load(), m.proxy.live.All()
	m.asked, m.all = m.asked+len(m.peek(rt)), m.all+len(before)
	m.proxy.review()
	now := time.Now()
	for _, l := range before {
		denied, cut := m.proxy.decide(rt, l.request, now).denial, l.cutBy()
		switch {
		case denied != nil && cut == nil:
			m.rt.Fatalf("a request of %s to %s goes on although it is denied for %s", describe(l.caller), l.host, denied.reason)
		case denied == nil && cut != nil:
			m.rt.Fatalf("a request of %s to %s was cut for %s although it is allowed", describe(l.caller), l.host, cut.reason)
		case denied != nil && denied.reason != cut.reason:
			m.rt.Fatalf("a request of %s to %s was cut for %s in place of %s", describe(l.caller), l.host, cut.reason, denied.reason)
		case cut != nil:
			m.cut++
			m.proxy.live.leave(l)
		}
	}
}

// peek returns what the next review will decide again.
func (m *reviewMachine) peek(rt *routing) []*liveRequest {
	peek := *m.proxy.touched // so that the next review reads the same
	if subjects, known := peek.Read(rt.related, m.proxy.Provider().Changed); known {
		return m.proxy.live.Of(subjects)
	}
	return m.proxy.live.All()
}

func describe(c *caller) string {
	switch {
	case c == nil:
		return "nobody"
	case c.session != nil:
		return "the session of " + c.session.UserName
	}
	return "the token of " + c.token.Key + c.token.App
}

// checksOf returns how many checks a property has that takes long: few, or as many as the environment says.
func checksOf(variable string, few int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return few
}

// TestReview_CutsWhomAReviewOfAllWould changes users, their names, groups, managers, suspensions, sessions and grants in
// random order, and loses changes. A review that decides again what the changes touched must cut exactly the requests that
// a review of all would, for the same reasons. REVIEW_STEPS=100000 with -rapid.checks=5000 tries more.
func TestReview_CutsWhomAReviewOfAllWould(t *testing.T) {
	m := newReviewMachine(t)
	steps := checksOf("REVIEW_STEPS", 1500)
	rapid.Check(t, func(rt *rapid.T) {
		if steps <= 0 {
			return
		}
		m.rt, m.steps = rt, &steps
		m.reset()
		for range 8 {
			m.enter(m.host(), m.caller())
		}
		rt.Repeat(m.actions())
	})
	t.Logf("%d requests were cut; %d decisions in place of %d", m.cut, m.asked, m.all)
	if m.cut == 0 || m.asked > m.all/2 {
		t.Errorf("%d requests were cut; %d decisions in place of %d", m.cut, m.asked, m.all)
	}
}

// TestReview_BesideRequestsThatEnter lets requests enter and leave while users lose and get their group. After the last
// review none goes on that is denied.
func TestReview_BesideRequestsThatEnter(t *testing.T) {
	w := newWorld(t, nil) // with Run, whose reviews are beside those of the test
	names := []string{"alice", "carol", "dave"}
	w.addUser("carol", staff)
	w.addUser("dave", staff)
	var callers []*caller
	for _, name := range names {
		started, _ := w.signIn(name, appHost)
		token := w.token(name, nil)
		identity, err := w.provider.Bearer(w.ctx, token)
		w.must(err)
		callers = append(callers, &caller{session: &started}, &caller{token: &identity, bearer: oidc.Secret(token)})
	}
	stop := make(chan struct{})
	var entering sync.WaitGroup
	for i := range 4 {
		entering.Go(func() {
			var mine []*liveRequest
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				rt, c := w.proxy.routing.Load(), *callers[n%len(callers)]
				r := httptest.NewRequest("GET", "https://"+appHost+"/", nil)
				req := &request{id: newID(), timing: timing{received: time.Now().UTC()}, routing: rt, route: rt.routes[0], method: "GET", host: appHost, path: "/", caller: &c}
				l := w.proxy.live.enter(req, response.New(httptest.NewRecorder(), r, time.Minute), r)
				if out := w.proxy.decide(rt, req, req.received); out.denial == nil {
					w.proxy.live.noteAllowed(l, out)
					mine = append(mine, l)
				} else {
					w.proxy.live.leave(l)
				}
				if len(mine) > 50 {
					for _, l := range mine[:25] {
						w.proxy.live.leave(l)
					}
					mine = slices.Clone(mine[25:])
				}
			}
		})
	}
	for i := range 60 {
		name := names[i%len(names)]
		w.removeFromGroup(name, staff)
		w.proxy.review()
		for _, l := range w.proxy.live.All() {
			if l.allowed.Load() != nil && w.proxy.decide(w.proxy.routing.Load(), l.request, time.Now()).denial != nil && l.end.Load() == nil {
				t.Fatal("a request goes on that was let in before the change and is denied since")
			}
		}
		w.addToGroup(name, staff)
	}
	close(stop)
	entering.Wait()
}

// TestReview_DecidesOnlyWhatIsTouched checks that a change of one person has nobody else's requests decided again.
func TestReview_DecidesOnlyWhatIsTouched(t *testing.T) {
	m := newReviewMachine(t)
	m.proxy.review()
	touched := func() (names []string) {
		for _, l := range m.peek(m.proxy.routing.Load()) {
			names = append(names, describe(l.caller))
		}
		m.proxy.review()
		slices.Sort(names)
		return names
	}
	tokens := map[string]string{}
	for _, name := range []string{"person1", "person2"} {
		s, _ := m.signIn(name, appHost)
		m.enter(appHost, &caller{session: &s})
		c := m.tokenCaller(m.token(name, nil))
		m.enter(appHost, c)
		tokens[name] = describe(c)
	}
	m.enter(openHost, nil)
	m.enter(openHost, m.tokenCaller(m.tenant.AppToken("an-app", "an-app-object", audience, nil)))
	whom := func(change func()) []string {
		m.proxy.review()
		change()
		return touched()
	}
	person1 := []string{"the session of person1@example.com", tokens["person1"]}
	slices.Sort(person1)
	for name, c := range map[string]struct {
		change func()
		want   []string
	}{
		"nothing":        {func() {}, nil},
		"granted":        {func() { _, err := m.grantTo(m.user("person1"), "granted", time.Hour); m.must(err) }, person1},
		"another title":  {func() { m.edit("person1", func(u *directory.User) { u.Document = []byte(`{"title":"Dr."}`) }) }, person1},
		"another joined": {func() { m.addUser("erin", staff) }, nil},
	} {
		if got := whom(c.change); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q are decided again, want %q", name, got, c.want)
		}
	}
	ended := whom(func() {
		_, err := m.world.sessions.EndUser(m.ctx, m.user("person1").ID, session.ReasonLogout)
		m.must(err)
	})
	if !slices.Equal(ended, person1) {
		t.Errorf("after the end of a session %q are decided again", ended)
	}
	all := m.proxy.live.Len()
	if got := whom(func() { m.edit("boss", func(u *directory.User) { u.Active = false }) }); len(got) != all {
		t.Errorf("after a change of somebody whom reports_to names, %d of %d are decided again", len(got), all)
	}
	if got := whom(func() { m.removeFromGroup("person2", staff) }); len(got) != 2 {
		t.Errorf("after somebody else left a group, %q are decided again", got)
	}
}
