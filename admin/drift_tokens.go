package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unique"

	"sallyport/directory"
	"sallyport/oidc/claimed"
)

// TokenDrift is where the groups that tokens name and the groups that were pushed differ, by the newest token of each user
// that the replicas remember. Rules never depend on it. The numbers count somebody for each replica that their tokens went to.
type TokenDrift struct {
	Groups     []TokenGroup  `json:"groups"` // that tokens name, and that were not pushed; those of the most users first
	MoreGroups bool          `json:"more_groups,omitempty"`
	People     []PersonDrift `json:"people"`     // the newest token first
	Differing  int           `json:"differing"`  // people, of whom People has some
	Compared   int           `json:"compared"`   // people
	Unstated   int           `json:"unstated"`   // people whose tokens say nothing of groups
	Incomplete int           `json:"incomplete"` // people who are in more groups than their tokens name
	Missing    []Missing     `json:"missing,omitempty"`
}

// TokenGroup is a group as tokens name it.
type TokenGroup struct {
	Name  string `json:"name"` // or its id
	Users int    `json:"users"`
}

// PersonDrift is a person whose newest token names other groups than were pushed. Groups that were not pushed at all are
// elsewhere: see [TokenDrift].
type PersonDrift struct {
	ID       string    `json:"id"`
	UserName string    `json:"userName"`
	At       time.Time `json:"at"` // when the token was issued

	Unpushed GroupList `json:"unpushed"` // the token names them, and the person was not pushed as their member
	Unnamed  GroupList `json:"unnamed"`  // the other way round
}

// GroupList has some groups of many.
type GroupList struct {
	Groups []PushedGroup `json:"groups"`
	Total  int           `json:"total"`
}

// PushedGroup is a group of the directory.
type PushedGroup struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Bounds of what a replica says, and of what is put together.
const (
	maxTokenGroups  = 100
	maxTokenPeople  = 50
	maxPersonGroups = 3
)

// The questions to every replica about what tokens said.
const (
	askTokenDrift = "token_drift"
	askTokenTimes = "token_times"
)

func (a *Admin) handleTokenDrift() {
	if a.peers == nil || a.tokens == nil {
		return
	}
	handle(a.peers, askTokenDrift, func(ctx context.Context, _ struct{}) (any, error) { return a.ownTokenDrift(ctx) })
	handle(a.peers, askTokenTimes, func(_ context.Context, ids []string) (any, error) { return a.ownTokenTimes(ids), nil })
}

// tokenDrift puts together what every replica says.
func (a *Admin) tokenDrift(ctx context.Context) (*TokenDrift, error) {
	if a.tokens == nil {
		return nil, nil //nolint:nilnil // no server runs
	}
	if a.peers == nil {
		d, err := a.ownTokenDrift(ctx)
		return &d, err
	}
	replies, from, err := askAll[TokenDrift](ctx, a.peers, askTokenDrift, struct{}{})
	if err != nil {
		return &TokenDrift{Groups: []TokenGroup{}, People: []PersonDrift{}, Missing: from.Missing}, nil //nolint:nilerr // Missing says it
	}
	d := mergeTokenDrift(replies)
	d.Missing = from.Missing
	if len(replies) > 1 {
		a.dropOutdated(ctx, &d)
	}
	return &d, nil
}

// mergeTokenDrift adds up what replicas say, and takes the newest of what they say of a person.
func mergeTokenDrift(replies []TokenDrift) (d TokenDrift) {
	users, people := map[string]int{}, map[string]PersonDrift{}
	for _, r := range replies {
		d.Differing, d.Compared, d.Unstated, d.Incomplete = d.Differing+r.Differing, d.Compared+r.Compared, d.Unstated+r.Unstated, d.Incomplete+r.Incomplete
		d.MoreGroups = d.MoreGroups || r.MoreGroups
		for _, g := range r.Groups {
			users[g.Name] += g.Users
		}
		for _, p := range r.People {
			if former, twice := people[p.ID]; !twice || former.At.Before(p.At) {
				people[p.ID] = p
			}
		}
	}
	d.setGroups(users)
	d.People = make([]PersonDrift, 0, len(people))
	for _, p := range people {
		d.People = append(d.People, p)
	}
	slices.SortFunc(d.People, func(x, y PersonDrift) int { return cmp.Or(y.At.Compare(x.At), strings.Compare(x.ID, y.ID)) })
	d.People = d.People[:min(len(d.People), maxTokenPeople)]
	return d
}

// setGroups lists the groups of the most users.
func (d *TokenDrift) setGroups(users map[string]int) {
	d.Groups = make([]TokenGroup, 0, len(users))
	for name, n := range users {
		d.Groups = append(d.Groups, TokenGroup{name, n})
	}
	slices.SortFunc(d.Groups, func(x, y TokenGroup) int {
		return cmp.Or(cmp.Compare(y.Users, x.Users), strings.Compare(x.Name, y.Name))
	})
	d.MoreGroups = d.MoreGroups || len(d.Groups) > maxTokenGroups
	d.Groups = d.Groups[:min(len(d.Groups), maxTokenGroups)]
}

// dropOutdated removes people of whom another replica has seen a newer token, in which nothing differs.
func (a *Admin) dropOutdated(ctx context.Context, d *TokenDrift) {
	ids := make([]string, 0, len(d.People))
	for _, p := range d.People {
		ids = append(ids, p.ID)
	}
	replies, _, err := askAll[map[string]time.Time](ctx, a.peers, askTokenTimes, ids)
	if err != nil {
		return
	}
	before := len(d.People)
	d.People = slices.DeleteFunc(d.People, func(p PersonDrift) bool {
		return slices.ContainsFunc(replies, func(times map[string]time.Time) bool { return times[p.ID].After(p.At) })
	})
	d.Differing -= before - len(d.People)
}

// ownTokenTimes returns when the newest token of each of these users was issued that this replica remembers.
func (a *Admin) ownTokenTimes(ids []string) map[string]time.Time {
	times := map[string]time.Time{}
	for _, c := range a.tokens.All() {
		if u, ok := a.directory.Lookup(c.User); ok && slices.Contains(ids, u.ID) {
			times[u.ID] = c.At
		}
	}
	return times
}

// ownTokenDrift compares what this process remembers with the directory.
func (a *Admin) ownTokenDrift(ctx context.Context) (d TokenDrift, err error) {
	c := newComparison(a.directory)
	d.People = []PersonDrift{}
	for i, claim := range a.tokens.All() {
		if i%256 == 0 && ctx.Err() != nil {
			return d, ctx.Err()
		}
		c.read(&claim)
		u, ok := a.directory.Lookup(claim.User)
		switch {
		case !ok || !u.Active || u.Damaged: // who was not pushed is found by sign-ins
		case !claim.Stated:
			d.Unstated++
		case claim.Incomplete:
			d.Incomplete++
		default:
			d.Compared++
			if unpushed, unnamed := c.compare(u); unpushed.Total+unnamed.Total > 0 {
				d.Differing++
				d.People = append(d.People, PersonDrift{ID: u.ID, UserName: u.UserName, At: claim.At, Unpushed: unpushed, Unnamed: unnamed})
			}
		}
	}
	slices.SortStableFunc(d.People, func(x, y PersonDrift) int { return y.At.Compare(x.At) })
	d.People = d.People[:min(len(d.People), maxTokenPeople)]
	users := make(map[string]int, len(c.unpushed))
	for name, n := range c.unpushed {
		users[name.Value()] = n
	}
	d.setGroups(users)
	return d, nil
}

// comparison compares tokens with the directory, one after the other.
type comparison struct {
	ids, names map[string]*comparedGroup // by externalId and displayName, in small letters
	found      map[unique.Handle[string]]*comparedGroup
	unpushed   map[unique.Handle[string]]int // users, by groups that were not pushed
	token      int                           // the number of the token that was read last
	named      []*comparedGroup              // by it
}

// comparedGroup is a group of the directory, and by which token it was named last, and compared with whose memberships.
type comparedGroup struct {
	PushedGroup
	named, pushed int
}

func newComparison(d *directory.Directory) *comparison {
	c := &comparison{ids: map[string]*comparedGroup{}, names: map[string]*comparedGroup{}, found: map[unique.Handle[string]]*comparedGroup{}, unpushed: map[unique.Handle[string]]int{}}
	for _, g := range d.Groups() {
		group := &comparedGroup{PushedGroup: PushedGroup{g.ID, g.DisplayName}}
		if g.ExternalID != "" {
			c.ids[strings.ToLower(g.ExternalID)] = group
		}
		c.names[strings.ToLower(g.DisplayName)] = group
	}
	return c
}

// read finds the groups that a token names.
func (c *comparison) read(claim *claimed.Claim) {
	c.token++
	c.named = c.named[:0]
	last := map[unique.Handle[string]]bool{}
	for name := range claim.Groups() {
		g, ok := c.found[name]
		if !ok {
			g = c.group(name.Value(), name.Value())
			c.found[name] = g
		}
		switch {
		case g == nil && !last[name]:
			last[name] = true
			c.unpushed[name]++
		case g != nil && g.named != c.token:
			g.named = c.token
			c.named = append(c.named, g)
		}
	}
}

// group returns the group with an externalId or, if there is none, with a name; nil if there is neither.
func (c *comparison) group(id, name string) *comparedGroup {
	if g := c.ids[strings.ToLower(id)]; g != nil && id != "" {
		return g
	}
	return c.names[strings.ToLower(name)]
}

// compare compares the token that was read with the groups that its user was pushed as a member of.
func (c *comparison) compare(u *directory.User) (unpushed, unnamed GroupList) {
	unpushed, unnamed = GroupList{Groups: []PushedGroup{}}, GroupList{Groups: []PushedGroup{}}
	for i, id := range u.GroupIDs {
		g := c.group(id, u.GroupNames[i])
		if g == nil { // it was pushed after the groups were listed
			continue
		}
		if g.pushed = c.token; g.named != c.token {
			unnamed.add(g.PushedGroup)
		}
	}
	for _, g := range c.named {
		if g.pushed != c.token {
			unpushed.add(g.PushedGroup)
		}
	}
	return unpushed, unnamed
}

func (l *GroupList) add(g PushedGroup) {
	if l.Total++; len(l.Groups) < maxPersonGroups {
		l.Groups = append(l.Groups, g)
	}
}
