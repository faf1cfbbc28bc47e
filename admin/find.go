package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
)

// UserState is what a list of users can be narrowed to. A user may have several.
type UserState string

// The states of users.
const (
	UserActive    UserState = "active" // may use what the rules allow
	UserInactive  UserState = "inactive"
	UserSuspended UserState = "suspended"
	UserStale     UserState = "stale"   // inactive for longer than [StaleAfter]
	UserDamaged   UserState = "damaged" // their record cannot be read
)

// UserStates are the states of users, in the order in which they are listed.
var UserStates = []UserState{UserActive, UserInactive, UserSuspended, UserStale, UserDamaged}

// StaleAfter is after how long an inactive user, or a group that means nothing, counts as forgotten by the identity provider.
// Entra deletes for good whom it deactivated within 30 days.
const StaleAfter = 30 * 24 * time.Hour

// maxFound is how many users or groups one search returns at most.
const maxFound = 1_000

// UserQuery says which users are looked for.
type UserQuery struct {
	Text  string    // parts of any of their names; "" for all
	State UserState // "" for any
	Group string    // the id of a group that they are in; "" for any
	From  int       // how many are left out
	Limit int       // how many are returned; 0, or more than 1,000, is 1,000
}

// FoundUsers is what a search found.
type FoundUsers struct {
	Users  []FoundUser       `json:"users"` // the best first
	Total  int               `json:"total"`
	States map[UserState]int `json:"states"` // how many users there are of each state, whatever state was looked for
	Any    int               `json:"any"`    // how many there are of any state
}

// FoundUser is a user in a list.
type FoundUser struct {
	User
	Groups  int       `json:"groups"` // how many they are in
	Stale   bool      `json:"stale,omitempty"`
	Changed time.Time `json:"changed"` // by a push or an operator, most recently
}

// FindUsers returns the users whom a query is about, as memory has them. It takes some milliseconds among 100,000.
func (a *Admin) FindUsers(_ context.Context, _ Actor, q UserQuery) (FoundUsers, error) {
	if err := CheckUserState(string(q.State)); err != nil {
		return FoundUsers{}, err
	}
	now, found := time.Now(), FoundUsers{Users: []FoundUser{}, States: map[UserState]int{}}
	wanted, counts := slices.Index(UserStates, q.State), make([]int, len(UserStates))
	keep := func(u *directory.User) bool {
		if q.Group != "" && !u.IsIn(q.Group) {
			return false
		}
		found.Any++
		states := statesOf(u, now)
		for i, is := range states {
			if is {
				counts[i]++
			}
		}
		return wanted < 0 || states[wanted]
	}
	var users []*directory.User
	users, found.Total = a.directory.Find(directory.Query{Text: q.Text, Keep: keep, From: max(q.From, 0), Limit: foundLimit(q.Limit)})
	for i, n := range counts {
		if n > 0 {
			found.States[UserStates[i]] = n
		}
	}
	for _, u := range users {
		found.Users = append(found.Users, foundUser(u, now))
	}
	return found, nil
}

func foundLimit(limit int) int {
	if limit <= 0 || limit > maxFound {
		return maxFound
	}
	return limit
}

// CheckUserState returns an error if text is neither a state of users nor "".
func CheckUserState(text string) error {
	if text == "" || slices.Contains(UserStates, UserState(text)) {
		return nil
	}
	names := make([]string, len(UserStates))
	for i, state := range UserStates {
		names[i] = string(state)
	}
	return fmt.Errorf("%q is no state of users; write one of %s", text, strings.Join(names, ", "))
}

// statesOf reports which of [UserStates] a user has, in their order.
func statesOf(u *directory.User, now time.Time) [5]bool {
	return [...]bool{u.Barred() == "", !u.Active && !u.Damaged, u.Suspended != nil, isStale(u, now), u.Damaged}
}

// isStale reports whether a user has been inactive for so long that the identity provider should have deleted them.
func isStale(u *directory.User, now time.Time) bool {
	since := u.DeactivatedAt
	if since.IsZero() {
		since = u.Modified // created inactive
	}
	return !u.Active && !u.Damaged && now.Sub(since) > StaleAfter
}

func foundUser(u *directory.User, now time.Time) FoundUser {
	return FoundUser{User: shownUser(u), Groups: len(u.GroupIDs), Stale: isStale(u, now), Changed: u.Modified}
}

// shownUser returns a user of memory as operators see them.
func shownUser(u *directory.User) User {
	out := User{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active, Damaged: u.Damaged}
	if u.Suspended != nil {
		out.Suspended = u.Suspended.Reason
	}
	return out
}

// SuspendedDeleted returns the users who are deleted and still suspended, of whom text is a part of a name, no more than
// 1,000.
func (a *Admin) SuspendedDeleted(ctx context.Context, _ Actor, text string) (users []User, err error) {
	folded := directory.Fold(strings.TrimSpace(text))
	err = a.directory.View(ctx, func(tx *directory.Tx) error {
		users = []User{}
		for absent, err := range tx.Absent() {
			if err != nil {
				return err
			}
			if strings.Contains(directory.Fold(absent.UserName+"\n"+absent.ExternalID+"\n"+absent.ID), folded) && len(users) < maxFound {
				users = append(users, deletedUser(absent))
			}
		}
		return nil
	})
	return users, err
}

// GroupState is what a list of groups can be narrowed to.
type GroupState string

// The states of groups.
const (
	GroupNamed GroupState = "named" // a rule names the group
	GroupEmpty GroupState = "empty"
	GroupStale GroupState = "stale" // empty, named by no rule, and unchanged for longer than [StaleAfter]
)

// GroupStates are the states of groups, in the order in which they are listed.
var GroupStates = []GroupState{GroupNamed, GroupEmpty, GroupStale}

// GroupQuery says which groups are looked for. Its fields are those of a [UserQuery].
type GroupQuery struct {
	Text        string
	State       GroupState
	From, Limit int
}

// FoundGroups is what a search found.
type FoundGroups struct {
	Groups []FoundGroup       `json:"groups"` // the best first
	Total  int                `json:"total"`
	States map[GroupState]int `json:"states"`
	Any    int                `json:"any"`
}

// FoundGroup is a group in a list.
type FoundGroup struct {
	Group
	Named   bool      `json:"named"` // a rule names the group
	Stale   bool      `json:"stale,omitempty"`
	Changed time.Time `json:"changed"` // its name or members
}

// errGroupState means that groups of a state were asked for that there is not.
var errGroupState = errors.New("write one of the states of groups: named, empty, stale")

// FindGroups returns the groups that a query is about, as memory has them.
func (a *Admin) FindGroups(_ context.Context, _ Actor, q GroupQuery) (FoundGroups, error) {
	if q.State != "" && !slices.Contains(GroupStates, q.State) {
		return FoundGroups{}, fmt.Errorf("%q: %w", q.State, errGroupState)
	}
	now, found, named := time.Now(), FoundGroups{Groups: []FoundGroup{}, States: map[GroupState]int{}}, a.namedGroups()
	keep := func(g *directory.Group) bool {
		found.Any++
		wanted := q.State == ""
		isNamed, isEmpty := named.has(g.ExternalID, g.DisplayName), g.Members == 0
		for i, is := range [...]bool{isNamed, isEmpty, isEmpty && !isNamed && now.Sub(g.Modified) > StaleAfter} { // in the order of GroupStates
			if is {
				found.States[GroupStates[i]]++
				wanted = wanted || GroupStates[i] == q.State
			}
		}
		return wanted
	}
	var groups []directory.Group
	groups, found.Total = a.directory.FindGroups(directory.GroupQuery{Text: q.Text, Keep: keep, From: max(q.From, 0), Limit: foundLimit(q.Limit)})
	for _, g := range groups {
		isNamed := named.has(g.ExternalID, g.DisplayName)
		found.Groups = append(found.Groups, FoundGroup{Group{g.ID, g.DisplayName, g.ExternalID, g.Members}, isNamed,
			g.Members == 0 && !isNamed && now.Sub(g.Modified) > StaleAfter, g.Modified})
	}
	return found, nil
}
