package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
)

// PastUser is a user as they were at a time.
type PastUser struct {
	Time     time.Time `json:"time"`
	Revision uint64    `json:"revision"` // that the directory had
	User
	Groups []string `json:"groups"` // names of the groups that the user was a direct member of
}

// PastGroup is a group as it was at a time, with its direct members.
type PastGroup struct {
	Time       time.Time    `json:"time"`
	Revision   uint64       `json:"revision"` // that the directory had
	ID         string       `json:"id"`
	Name       string       `json:"displayName"`
	ExternalID string       `json:"externalId"`
	Members    []PastMember `json:"members"`
}

// PastMember is a member of a group at a time, and who made it one.
type PastMember struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"` // userName, or a group's displayName
	Kind     string           `json:"kind"` // user or group
	Since    *time.Time       `json:"since"`
	By       *directory.Cause `json:"by"`                 // nil, as Since is, if the membership began before the history
	Revision uint64           `json:"revision,omitempty"` // that began it
}

// UserAt returns a user as they were at a time. name is one as in [Admin.Suspend], of that time.
func (a *Admin) UserAt(ctx context.Context, _ Actor, name string, at time.Time) (PastUser, error) {
	p, err := a.directory.At(ctx, at)
	if err != nil {
		return PastUser{}, err
	}
	u, err := FindPastUser(p, name)
	if err != nil {
		return PastUser{}, err
	}
	out := PastUser{p.Time, p.Revision, User{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active, Damaged: u.Damaged}, []string{}}
	if u.Suspended != nil {
		out.Suspended = u.Suspended.Reason
	}
	out.Groups = append(out.Groups, u.GroupNames...)
	slices.Sort(out.Groups)
	return out, nil
}

// FindPastUser returns the user with this name, which is one as in [Admin.Suspend], in the directory as it was.
func FindPastUser(p *directory.Past, name string) (*directory.User, error) {
	found, when := p.UsersNamed(name), p.Time.Format(time.RFC3339)
	return single(found, func(u *directory.User) string { return u.ID },
		fmt.Sprintf("nobody had the userName, e-mail, externalId or id %q at %s", name, when),
		fmt.Sprintf("%q named %d users at %s; name one by their id", name, len(found), when))
}

// GroupAt returns a group as it was at a time, with its members, since when they were members, and by whom. name is a
// displayName, an externalId or an id of that time.
func (a *Admin) GroupAt(ctx context.Context, _ Actor, name string, at time.Time) (PastGroup, error) {
	p, err := a.directory.At(ctx, at)
	if err != nil {
		return PastGroup{}, err
	}
	found, when := p.GroupsNamed(name), p.Time.Format(time.RFC3339)
	g, err := single(found, func(g directory.Group) string { return g.ID },
		fmt.Sprintf("no group had the displayName, externalId or id %q at %s", name, when),
		fmt.Sprintf("%q named %d groups at %s; name one by its id", name, len(found), when))
	if err != nil {
		return PastGroup{}, err
	}
	memberships, err := a.directory.Memberships(ctx, p, g.ID)
	if err != nil {
		return PastGroup{}, err
	}
	out := PastGroup{p.Time, p.Revision, g.ID, g.DisplayName, g.ExternalID, []PastMember{}}
	for _, m := range memberships {
		out.Members = append(out.Members, pastMember(p, m))
	}
	slices.SortFunc(out.Members, func(a, b PastMember) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

func pastMember(p *directory.Past, m directory.Membership) PastMember {
	out := PastMember{ID: m.ID, Name: p.NameOf(m.Member), Kind: "user", Revision: m.Revision}
	if m.IsGroup {
		out.Kind = "group"
	}
	if m.Revision > 0 {
		out.Since, out.By = &m.Since, &m.By
	}
	return out
}
