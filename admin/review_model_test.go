package admin_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/admin"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
)

// reviewModel is what must hold of memberships and revocations after any sequence of pushes and decisions.
type reviewModel struct {
	*reviewed
	t       *rapid.T
	review  string
	made    int                                 // for values that are never used twice
	users   []string                            // our ids
	groups  map[string]string                   // externalId of each group
	members map[[2]string]map[grant.RowRef]bool // by user and group: the rows that revoked the membership
	decided map[grant.RowRef]grant.Decision     // what is decided about rows
	rows    map[grant.RowRef][]grant.Membership // of rows
	of      map[grant.RowRef]string             // the user of a row
	past    []pastState
}

// pastState is which memberships were revoked at a time, by user and group.
type pastState struct {
	at      time.Time
	revoked map[[2]string]bool
}

func (m *reviewModel) fresh(prefix string) string {
	m.made++
	return fmt.Sprintf("%s-%d", prefix, m.made)
}

func (m *reviewModel) update(fn func(*directory.Tx) error) {
	m.t.Helper()
	if err := m.directory.Update(m.reviewed.t.Context(), fn); err != nil {
		m.t.Fatal(err)
	}
}

func (m *reviewModel) user() string { return rapid.SampledFrom(m.users).Draw(m.t, "user") }
func (m *reviewModel) aGroup() string {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.groups))).Draw(m.t, "group")
}

func (m *reviewModel) addUser(*rapid.T) {
	if len(m.users) >= 3 {
		return
	}
	u := directory.User{UserName: m.fresh("user"), ExternalID: m.fresh("oid"), Active: true, Document: []byte("{}")}
	m.update(func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) })
	m.users = append(m.users, u.ID)
}

func (m *reviewModel) addGroup(*rapid.T) {
	if len(m.groups) >= 3 {
		return
	}
	g := directory.Group{DisplayName: m.fresh("group"), ExternalID: m.fresh("gid")}
	m.update(func(tx *directory.Tx) error { g.ID = ""; return tx.PutGroup(&g) })
	m.groups[g.ID] = g.ExternalID
}

func (m *reviewModel) join(*rapid.T) {
	user, group := m.user(), m.aGroup()
	m.update(func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{user}); return err })
	if key := [2]string{user, group}; m.members[key] == nil {
		m.members[key] = map[grant.RowRef]bool{}
	}
}

// aMember returns the user and the group of a membership; ok is false if there is none.
func (m *reviewModel) aMember() (user, group string, ok bool) {
	if len(m.members) == 0 {
		return "", "", false
	}
	keys := slices.SortedFunc(maps.Keys(m.members), func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	key := rapid.SampledFrom(keys).Draw(m.t, "membership")
	return key[0], key[1], true
}

func (m *reviewModel) leave(*rapid.T) {
	user, group, ok := m.aMember()
	if !ok {
		return
	}
	m.update(func(tx *directory.Tx) error { _, err := tx.RemoveMembers(group, []string{user}); return err })
	delete(m.members, [2]string{user, group})
}

// leaveAndJoin changes nothing: whoever is a member before and after has not left.
func (m *reviewModel) leaveAndJoin(*rapid.T) {
	user, group, ok := m.aMember()
	if !ok {
		return
	}
	m.update(func(tx *directory.Tx) error {
		_, err1 := tx.RemoveMembers(group, []string{user})
		_, err2 := tx.AddMembers(group, []string{user})
		return errors.Join(err1, err2)
	})
}

func (m *reviewModel) rename(*rapid.T) {
	id := m.aGroup()
	g := directory.Group{ID: id, DisplayName: m.fresh("group"), ExternalID: m.fresh("gid")}
	m.update(func(tx *directory.Tx) error { return tx.PutGroup(&g) })
	m.groups[id] = g.ExternalID
}

func (m *reviewModel) deleteUser(*rapid.T) {
	user := m.user()
	if len(m.users) < 2 {
		return
	}
	m.update(func(tx *directory.Tx) error { return tx.DeleteUser(user) })
	m.users = slices.DeleteFunc(m.users, func(id string) bool { return id == user })
	maps.DeleteFunc(m.members, func(key [2]string, _ map[grant.RowRef]bool) bool { return key[0] == user })
}

func (m *reviewModel) deleteGroup(*rapid.T) {
	group := m.aGroup()
	if len(m.groups) < 2 {
		return
	}
	m.update(func(tx *directory.Tx) error { return tx.DeleteGroup(group) })
	delete(m.groups, group)
	maps.DeleteFunc(m.members, func(key [2]string, _ map[grant.RowRef]bool) bool { return key[1] == group })
}

// begin closes the review and starts one by a rule of all groups, so that rows have several memberships, and one rule of
// each.
func (m *reviewModel) begin(*rapid.T) {
	if m.review != "" {
		if _, err := m.CloseReview(m.reviewed.t.Context(), ada, m.review); err != nil {
			m.t.Fatal(err)
		}
	}
	var refs []policy.GroupRef
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		refs = append(refs, policy.GroupRef{ID: m.groups[id]})
	}
	rules := []policy.Rule{allowGroup(refs...)}
	for _, ref := range refs {
		rules = append(rules, allowGroup(ref))
	}
	v, err := m.StartReview(m.reviewed.t.Context(), ada, admin.NewReview{Route: routeOf(m.reviewed.t, rules...), Due: time.Hour})
	if err != nil {
		m.t.Fatal(err)
	}
	m.review = v.ID
	for _, row := range m.reviewed.rows(v.ID) {
		ref := grant.RowRef{Review: v.ID, Row: row.Number}
		m.rows[ref], m.of[ref], m.decided[ref] = row.Memberships, row.User.ID, grant.DecisionOpen
	}
}

func (m *reviewModel) decideOne(*rapid.T) {
	var refs []grant.RowRef
	for ref := range m.rows {
		if ref.Review == m.review {
			refs = append(refs, ref)
		}
	}
	if len(refs) == 0 {
		return
	}
	slices.SortFunc(refs, func(a, b grant.RowRef) int { return a.Row - b.Row })
	ref, d := rapid.SampledFrom(refs).Draw(m.t, "row"), rapid.SampledFrom([]grant.Decision{grant.DecisionKeep, grant.DecisionRevoke, grant.DecisionAsk}).Draw(m.t, "decision")
	err := m.reviewed.decide(m.review, d, ref.Row)
	if d == grant.DecisionAsk && m.decided[ref] == grant.DecisionRevoke {
		if !errors.Is(err, grant.ErrRevoked) {
			m.t.Fatalf("to ask about a revoked row says %v", err)
		}
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	for _, membership := range m.rows[ref] {
		revoked := m.members[[2]string{m.of[ref], membership.Group}]
		switch {
		case revoked == nil:
		case d == grant.DecisionRevoke:
			revoked[ref] = true
		default:
			delete(revoked, ref)
		}
	}
	m.decided[ref] = d
}

func (m *reviewModel) startAgain(*rapid.T) { m.restart() }

// check compares what decisions say of each user and group.
func (m *reviewModel) check(*rapid.T) {
	m.settle()
	now := pastState{time.Now(), map[[2]string]bool{}}
	for key, rows := range m.members {
		now.revoked[key] = len(rows) > 0
	}
	m.past = append(m.past, now)
	m.checkPast()
	for _, user := range m.users {
		for group, externalID := range m.groups {
			revoked, member := m.members[[2]string{user, group}]
			want := "no_rule"
			switch {
			case member && len(revoked) > 0:
				want = "access_revoked"
			case member:
				want = "rule_allow"
			}
			if got := m.reason(routeOf(m.reviewed.t, allowGroup(policy.GroupRef{ID: externalID})), user); got != want {
				m.t.Fatalf("the decision about %s in %s is %s, want %s", user, group, got, want)
			}
		}
	}
}

// checkPast compares what is told of a time with what was so then.
func (m *reviewModel) checkPast() {
	then := rapid.SampledFrom(m.past).Draw(m.t, "then")
	held, err := m.grants.At(m.reviewed.t.Context(), then.at)
	if err != nil {
		m.t.Fatal(err)
	}
	for key, want := range then.revoked {
		h := held(key[0], 0)
		if got := h != nil && h.Revoked(key[1]); got != want {
			m.t.Fatalf("of %s in %s it is told that the membership was revoked at %s: %v, want %v", key[0], key[1], then.at, got, want)
		}
	}
}

// TestReview_MatchesModel: whatever is pushed and decided in whichever order, a membership counts unless a row revokes it
// that was decided while there was this membership.
func TestReview_MatchesModel(t *testing.T) {
	w := newReviewed(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &reviewModel{reviewed: w, t: rt, groups: map[string]string{}, members: map[[2]string]map[grant.RowRef]bool{},
			decided: map[grant.RowRef]grant.Decision{}, rows: map[grant.RowRef][]grant.Membership{}, of: map[grant.RowRef]string{}}
		m.made = int(w.directory.Revision()) * 100 // one directory for all, so that it has to be opened once
		for range 2 {
			m.addUser(rt)
			m.addGroup(rt)
		}
		defer func() { m.clean() }()
		rt.Repeat(map[string]func(*rapid.T){"": m.check, "add_user": m.addUser, "add_group": m.addGroup, "join": m.join, "join_too": m.join, "leave": m.leave, "leave_and_join": m.leaveAndJoin,
			"rename": m.rename, "delete_user": m.deleteUser, "delete_group": m.deleteGroup, "begin": m.begin, "decide": m.decideOne, "decide_too": m.decideOne, "decide_three": m.decideOne, "join_three": m.join, "start_again": m.startAgain})
	})
}

// clean ends what another run must not find.
func (m *reviewModel) clean() {
	if m.review != "" {
		_, _ = m.CloseReview(m.reviewed.t.Context(), ada, m.review)
	}
	for _, user := range m.users {
		_ = m.directory.Update(m.reviewed.t.Context(), func(tx *directory.Tx) error { return tx.DeleteUser(user) })
	}
	for group := range m.groups {
		_ = m.directory.Update(m.reviewed.t.Context(), func(tx *directory.Tx) error { return tx.DeleteGroup(group) })
	}
}
