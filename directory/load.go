package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/store"
)

// load reads the whole store and replaces memory.
func (d *Directory) load(ctx context.Context) (store.Revision, error) {
	var l *loader
	var b *baseline
	verifying := make(chan verification, 1)
	go func() { verifying <- d.verify(ctx) }()
	err := d.store.View(ctx, func(r store.Reader) error {
		l = newLoader(r, d.keyOf)
		l.revision = r.Revision()
		err := errors.Join(l.loadDirectory(r), l.loadSuspensions(r), l.loadEnds(r))
		b = newBaseline(r, l.sums, l.damaged)
		return err
	})
	verified := <-verifying
	if err := errors.Join(err, verified.err); errors.Is(err, store.ErrDamaged) {
		return 0, fmt.Errorf("loading users and groups: %w; restore a backup", err)
	} else if err != nil {
		return 0, fmt.Errorf("loading users and groups: %w", err)
	}
	l.markDamaged(verified.damagedMembers)
	for _, u := range l.unclaimed {
		l.keys.put(d.keyOf(u), u)
	}
	d.baseline.Store(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index.Store(&index{l.users, l.keys})
	d.groups, d.ended = l.groups, l.ended
	d.pending.wake(0)
	return l.revision, nil
}

// verification is what verify found.
type verification struct {
	damagedMembers []string // users with a damaged edge
	err            error    // damage that does not concern one user alone
}

// verify reads the records that memory does not need, so that damage is found before
// anything is decided or changed. A user with a damaged edge counts as damaged,
// because that edge could not be removed.
func (d *Directory) verify(ctx context.Context) (v verification) {
	v.err = d.store.View(ctx, func(r store.Reader) error {
		for _, prefix := range []string{nameKeys, externalKeys, mailKeys, displayKeys, groupNames, groupExts, countKeys, recordKeys, unrecordedKeys, absentKeys} {
			for e, err := range r.Scan([]byte(prefix), nil) {
				if endsScan(err) {
					return err
				}
				if err != nil {
					return fmt.Errorf("the record at %q: %w", e.Key, err)
				}
			}
		}
		for e, err := range r.Scan([]byte(memberKeys), nil) {
			if endsScan(err) {
				return err
			}
			if err == nil {
				continue
			}
			id, ok := idIn(e.Key, memberKeys, 1)
			if !ok {
				return fmt.Errorf("the key of a membership is damaged: %q: %w", e.Key, err)
			}
			v.damagedMembers = append(v.damagedMembers, id)
		}
		return nil
	})
	return v
}

// endsScan reports whether an error of a scan is not about a damaged record, such as one of the connection to the database.
// There is no key with it.
func endsScan(err error) bool { return err != nil && !errors.Is(err, store.ErrDamaged) }

// loader builds new memory.
type loader struct {
	users        *userIndex
	groups       map[string]*Group
	sortedUsers  []*User                 // by id
	sortedGroups []*Group                // in the order that a user has them in
	positions    map[[idSize]byte]uint32 // in sortedGroups, by the bytes of the id, as memberships have them
	ended        map[string]time.Time
	revision     store.Revision
	nested       map[string][]string // the ids of the groups in each group

	keys      *joinIndex         // nil if nobody is looked up by the join attribute
	keyOf     func(*User) string // its value
	unclaimed []*User            // have a value that another user has too: they are put into keys last, as they are then

	mu          sync.Mutex // guards nested, unclaimed, groups and the fields below while records are handled
	userBatches [][]*User  // the users of each batch
	sums        sums       // over the records that the history is about
	damaged     bool       // one of them is
}

// newLoader returns a loader of what r reads. keyOf returns the value of the join attribute; nil if nobody is looked up by it.
func newLoader(r store.Reader, keyOf func(*User) string) *loader {
	tx := &Tx{r: r}
	users, _ := tx.UserCount() // only to make room: verify finds damage
	groups, _ := tx.GroupCount()
	l := &loader{users: newUserIndex(users), groups: make(map[string]*Group, groups), ended: map[string]time.Time{}, nested: map[string][]string{}, keyOf: keyOf}
	if keyOf != nil {
		l.keys = newJoinIndex(users)
	}
	return l
}

// sum adds records to the sums.
func (l *loader) sum(records ...scanned) {
	var read sums
	damaged := false
	for _, rec := range records {
		if rec.err != nil {
			damaged = true
			continue
		}
		read.add(rec.Key, rec.Value)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums.Records, l.sums.Checksums = l.sums.Records+read.Records, l.sums.Checksums+read.Checksums
	l.damaged = l.damaged || damaged
}

// markDamaged marks users with a damaged record.
func (l *loader) markDamaged(ids []string) {
	for _, id := range ids {
		if u, ok := l.users.find(id); ok {
			u.Damaged = true
		}
	}
}

// loadDirectory brings groups, users and memberships into memory.
func (l *loader) loadDirectory(r store.Reader) error {
	groups := l.loadGroups(r)
	var sorting sync.WaitGroup
	sorting.Go(l.sortGroups)
	users := l.loadUsers(r)
	sorting.Wait()
	members := l.loadMembers(r)
	for _, ids := range l.nested {
		slices.Sort(ids)
	}
	return errors.Join(groups, users, members)
}

func (l *loader) loadGroups(r store.Reader) error {
	return scanInBatches(r, groupKeys, "group", func(key []byte) bool { return len(key) >= len(groupKeys)+idSize }, l.addGroups)
}

func (l *loader) addGroups(batch []scanned) {
	l.sum(batch...)
	for _, rec := range batch {
		id, _ := idIn(rec.Key, groupKeys, 0)
		g := newGroup(id, rec.Value, rec.err)
		l.mu.Lock()
		l.groups[id] = g
		l.mu.Unlock()
	}
}

// sortGroups gives every group its position.
func (l *loader) sortGroups() {
	l.sortedGroups = slices.Collect(maps.Values(l.groups))
	sortGroups(l.sortedGroups)
	l.positions = make(map[[idSize]byte]uint32, len(l.sortedGroups))
	for i, g := range l.sortedGroups {
		var id [idSize]byte
		if _, err := hex.Decode(id[:], []byte(g.ID)); err == nil {
			l.positions[id] = uint32(i) //nolint:gosec // there are not so many groups
		}
	}
}

func (l *loader) loadUsers(r store.Reader) error {
	err := scanInBatches(r, userKeys, "user", func(key []byte) bool { return len(key) >= len(userKeys)+idSize }, l.addUsers)
	slices.SortFunc(l.userBatches, func(a, b []*User) int { return strings.Compare(a[0].ID, b[0].ID) })
	l.sortedUsers, l.userBatches = slices.Concat(l.userBatches...), nil
	return err
}

func (l *loader) addUsers(batch []scanned) {
	l.sum(batch...)
	users := make([]*User, len(batch))
	var unclaimed []*User
	for i, rec := range batch {
		id, _ := idIn(rec.Key, userKeys, 0)
		u := newUser(id, rec.Value, rec.err)
		users[i] = u
		l.users.put(u)
		if l.keys != nil && !l.keys.claim(l.keyOf(u), u) {
			unclaimed = append(unclaimed, u)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.userBatches = append(l.userBatches, users)
	l.unclaimed = append(l.unclaimed, unclaimed...)
}
