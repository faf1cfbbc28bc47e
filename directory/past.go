package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"sallyport/store"
)

// ErrNoHistory means that the history does not say how the directory was at a time. An
// error that is ErrNoHistory says why, and which times can be asked about.
var ErrNoHistory = errors.New("the history does not know the directory at that time")

// Past is the directory as it was. It never changes. Of a user whose record was damaged
// at the time, or is, it has the id, and that the user is damaged.
type Past struct {
	Time     time.Time
	Revision uint64 // that the directory had: of the last change that was made by Time

	users  *userIndex
	groups map[string]*Group
	nested map[string][]string // the ids of the groups in each group
}

// At returns the directory as it was at a time: after the last change that says it was
// made by then. Changes are in the order of their revisions; if the clock was set back
// between two of them, the later counts.
//
// It returns an error that is [ErrNoHistory] for a time in the future, for one before the
// history begins, and if a record of the history is damaged that is needed. It reads the
// whole directory, for one caller at a time.
func (d *Directory) At(ctx context.Context, at time.Time) (*Past, error) {
	p := &Past{Time: at.UTC()}
	err := d.readPast(ctx, func(r store.Reader, h *historyHead) error {
		if at.After(d.now()) {
			return fmt.Errorf("%w: %s is in the future", ErrNoHistory, at.UTC().Format(time.RFC3339))
		}
		o := &overlay{Reader: r, former: map[string]value{}}
		var err error
		if p.Revision, err = undoUntil(ctx, o, h, at); err != nil {
			return err
		}
		l := newLoader(o, nil)
		if err := errors.Join(l.loadDirectory(o), l.loadSuspensions(o)); err != nil {
			return fmt.Errorf("reading the directory as it was: %w", err)
		}
		p.users, p.groups, p.nested = l.users, l.groups, l.nested
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// readPast calls fn with the newest revision and the head of its history. There is one
// call at a time, since each may need as much memory as the directory.
func (d *Directory) readPast(ctx context.Context, fn func(store.Reader, *historyHead) error) error {
	select {
	case d.past <- struct{}{}:
		defer func() { <-d.past }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.viewHistory(ctx, fn)
}

// viewHistory is readPast for what needs little memory.
func (d *Directory) viewHistory(ctx context.Context, fn func(store.Reader, *historyHead) error) error {
	if d.bounds.Load().age <= 0 {
		return fmt.Errorf("%w: no history is kept; set history in the configuration, such as history: 400d", ErrNoHistory)
	}
	return d.store.View(ctx, func(r store.Reader) error {
		h, ok, err := readHead(r)
		switch {
		case errors.Is(err, store.ErrDamaged):
			return fmt.Errorf("%w: the record %s is damaged; the history begins anew with the next change", ErrNoHistory, historyHeadKey)
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%w: it begins with the next change", ErrNoHistory)
		case d.baseline.Load().breaks(&h):
			return fmt.Errorf("%w: a change was made without its history, by another version or on a full disk; the history begins anew with the next change", ErrNoHistory)
		}
		return fn(r, &h)
	})
}

// undoUntil undoes every change that was made after a time, and returns the revision that
// the directory had.
func undoUntil(ctx context.Context, o *overlay, h *historyHead, at time.Time) (revision uint64, err error) {
	oldest := time.Now()
	var newer pastChange // the one that was undone last
	for c, err := range pastChanges(ctx, o.Reader, h.Last, h.First) {
		switch {
		case err != nil:
			return 0, c.damage(err, oldest)
		case !c.time.After(at):
			return c.revision, newer.loss(at, c.time)
		}
		if err := o.undo(&c); err != nil {
			return 0, err
		}
		oldest, newer = c.time, c
	}
	if at.Before(h.Begins) {
		begins := h.Begins
		if oldest.Before(begins) { // the clock was set back since
			begins = oldest
		}
		return 0, fmt.Errorf("%w: it begins at %s", ErrNoHistory, timeText(begins))
	}
	return h.Since, newer.loss(at, h.Begins)
}

// loss returns an error if changes are lost that were made between the one before c, at a
// time, and c: then it is not known what was true at another time between.
func (c *pastChange) loss(at, before time.Time) error {
	if !c.isBreak || !at.After(before) || !at.After(c.known) {
		return nil
	}
	return fmt.Errorf("%w: the store was replaced by an older one at %s, and changes since %s are lost", ErrNoHistory, timeText(c.time), timeText(latest(before, c.known)))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// damage returns the error for a record that cannot be read. Times from later on need not
// it.
func (c *pastChange) damage(err error, later time.Time) error {
	if !errors.Is(err, errRecord) && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: the record of revision %d is damaged; only times from %s on can be asked about", ErrNoHistory, c.revision, timeText(later))
}

// timeText returns a time as text, rounded up to a second: what is known from t on is known
// at that second.
func timeText(t time.Time) string {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339)
}

// The bounds of how many revisions are read at once, of which most may have no record.
const (
	minWindow = 1 << 9
	maxWindow = 1 << 24
)

// pastChanges yields the records of the history from the revision last back to first. Of
// a damaged one it yields the revision, with an error that is errRecord or [store.ErrDamaged].
func pastChanges(ctx context.Context, r store.Reader, last, first uint64) iter.Seq2[pastChange, error] {
	return func(yield func(pastChange, error) bool) {
		window := uint64(minWindow)
		for last >= first && last > 0 {
			if err := ctx.Err(); err != nil {
				yield(pastChange{}, err)
				return
			}
			start := max(first, last-min(last, window)+1)
			entries, errs := readHistory(r, start, last)
			for i, e := range slices.Backward(entries) {
				if !yield(decodeEntry(e, errs[i])) {
					return
				}
			}
			switch {
			case len(entries) < minWindow/8:
				window = min(2*window, maxWindow)
			case len(entries) > minWindow:
				window /= 2
			}
			last = start - 1
		}
	}
}

// readHistory returns the records of revisions, and the error of each.
func readHistory(r store.Reader, first, last uint64) (entries []store.Entry, errs []error) {
	for e, err := range r.Scan([]byte(historyKeys), historyKey(first)) {
		if revision, ok := historyRevision(e.Key); !ok || revision > last {
			break
		}
		entries, errs = append(entries, e), append(errs, err)
	}
	return entries, errs
}

func decodeEntry(e store.Entry, err error) (pastChange, error) {
	var c pastChange
	if err == nil {
		c, err = decodePastChange(e.Value)
	}
	c.revision, _ = historyRevision(e.Key)
	return c, err
}

// Users returns every user, by userName.
func (p *Past) Users() []*User { return p.users.sorted() }

// ByID returns the user with our id.
func (p *Past) ByID(id string) (*User, bool) { return p.users.find(id) }

// Groups returns a copy of every group.
func (p *Past) Groups() []Group {
	list := make([]Group, 0, len(p.groups))
	for _, g := range p.groups {
		list = append(list, *g)
	}
	return list
}

// Manager is [Directory.Manager].
func (p *Past) Manager(id string) (userName, externalID string, ok bool) {
	return p.users.managerOf(id)
}

// Manages is [Directory.Manages].
func (p *Past) Manages(id, name string) bool { return p.users.manages(id, name) }

// UsersNamed returns every user whom name may mean: the user with this id, or else all
// with this userName, e-mail address or externalId.
func (p *Past) UsersNamed(name string) (found []*User) {
	if u, ok := p.ByID(name); ok {
		return []*User{u}
	}
	folded := Fold(name)
	isNamed := func(u *User) bool {
		return u.UserName != "" && Fold(u.UserName) == folded || u.ExternalID != "" && u.ExternalID == name ||
			slices.ContainsFunc(u.Emails, func(address string) bool { return Fold(address) == folded })
	}
	for _, u := range p.Users() {
		if isNamed(u) {
			found = append(found, u)
		}
	}
	return found
}

// GroupsNamed returns every group that name may mean: by id, displayName or externalId.
func (p *Past) GroupsNamed(name string) (found []Group) {
	for _, g := range p.groups {
		if g.ID == name || Fold(g.DisplayName) == Fold(name) || g.ExternalID != "" && g.ExternalID == name {
			found = append(found, *g)
		}
	}
	return found
}

// Members returns the direct members of a group.
func (p *Past) Members(group string) (members []Member) {
	for _, u := range p.Users() {
		if slices.ContainsFunc(u.groups, func(g *Group) bool { return g.ID == group }) {
			members = append(members, Member{ID: u.ID})
		}
	}
	for _, id := range p.nested[group] {
		members = append(members, Member{ID: id, IsGroup: true})
	}
	return members
}

// NameOf returns the userName of a member, or the displayName of one that is a group.
func (p *Past) NameOf(m Member) string {
	if m.IsGroup {
		if g, ok := p.groups[m.ID]; ok {
			return g.DisplayName
		}
		return ""
	}
	if u, ok := p.ByID(m.ID); ok {
		return u.UserName
	}
	return ""
}

// Membership is a membership, and who began it.
type Membership struct {
	Member
	Revision uint64    // that began the membership; 0: it began before the history
	Since    time.Time // zero likewise
	By       Cause
}

// Memberships returns the direct members that a group had, and since when.
func (d *Directory) Memberships(ctx context.Context, p *Past, group string) ([]Membership, error) {
	var list []Membership
	open := map[string]int{} // where in list each is whose beginning is not found yet
	for _, m := range p.Members(group) {
		open[m.ID] = len(list)
		list = append(list, Membership{Member: m})
	}
	err := d.readPast(ctx, func(r store.Reader, h *historyHead) error {
		for c, err := range pastChanges(ctx, r, min(p.Revision, h.Last), h.First) {
			if err != nil {
				return fmt.Errorf("who is in the group since when is not known: %w", c.damage(err, p.Time))
			}
			for i := range c.formers {
				f := &c.formers[i]
				if f.position != memberOfPosition || f.state != absent || f.groupID() != group {
					continue
				}
				if n, ok := open[f.memberID()]; ok {
					list[n].Revision, list[n].Since, list[n].By = c.revision, c.time, c.cause
					delete(open, f.memberID())
				}
			}
			if len(open) == 0 {
				return nil
			}
		}
		return nil
	})
	return list, err
}
