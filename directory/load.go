package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"sallyport/store"
)

// load reads the whole store and replaces memory.
func (d *Directory) load(ctx context.Context) (store.Revision, error) {
	l := newLoader()
	var b *baseline
	verifying := make(chan verification, 1)
	go func() { verifying <- d.verify(ctx) }()
	err := d.store.View(ctx, func(r store.Reader) error {
		l.revision = r.Revision()
		err := errors.Join(l.loadGroups(r), l.loadUsers(r), l.loadMembers(r), l.loadSuspensions(r), l.loadEnds(r))
		b = newBaseline(r, l.sums, l.damaged)
		return err
	})
	verified := <-verifying
	if err := errors.Join(err, verified.err); err != nil {
		return 0, fmt.Errorf("loading users and groups: %w; restore a backup", err)
	}
	l.markDamaged(verified.damagedMembers)
	keys := newJoinIndex()
	for u := range l.users.all {
		keys.put(d.keyOf(u), u)
	}
	d.baseline.Store(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index.Store(&index{l.users, keys})
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
				if err != nil {
					return fmt.Errorf("the record at %q: %w", e.Key, err)
				}
			}
		}
		for e, err := range r.Scan([]byte(memberKeys), nil) {
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

// loader builds new memory.
type loader struct {
	users    *userIndex
	groups   map[string]*Group
	ordered  map[[idSize]byte]orderedGroup // by the bytes of the id, as edges have them
	ended    map[string]time.Time
	revision store.Revision
	nested   map[string][]string // the ids of the groups in each group

	sums    sums // over the records that the history is about
	damaged bool // one of them is
}

func newLoader() *loader {
	return &loader{users: newUserIndex(), groups: map[string]*Group{}, ordered: map[[idSize]byte]orderedGroup{}, ended: map[string]time.Time{},
		nested: map[string][]string{}}
}

// sum adds what was read of a record to the sums.
func (l *loader) sum(e store.Entry, err error) {
	if err != nil {
		l.damaged = true
		return
	}
	l.sums.add(e.Key, e.Value)
}

// orderedGroup is a group with its position among the sorted groups: millions of
// edges are sorted by number, which is faster than by text.
type orderedGroup struct {
	group    *Group
	position int
}

// markDamaged marks users with a damaged record.
func (l *loader) markDamaged(ids []string) {
	for _, id := range ids {
		if u, ok := l.users.find(id); ok {
			u.Damaged = true
		}
	}
}

func (l *loader) loadGroups(r store.Reader) error {
	for e, err := range r.Scan([]byte(groupKeys), nil) {
		id, ok := idIn(e.Key, groupKeys, 0)
		if !ok {
			return fmt.Errorf("the key of a group is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		l.sum(e, err)
		l.groups[id] = newGroup(id, e.Value, err)
	}
	l.orderGroups()
	return nil
}

// orderGroups gives every group its position.
func (l *loader) orderGroups() {
	all := slices.Collect(maps.Values(l.groups))
	sortGroups(all)
	for position, g := range all {
		var id [idSize]byte
		if _, err := hex.Decode(id[:], []byte(g.ID)); err == nil {
			l.ordered[id] = orderedGroup{g, position}
		}
	}
}

// loadUsers decodes users on every processor, because decoding takes most of the
// time of Open.
func (l *loader) loadUsers(r store.Reader) error {
	type record struct {
		id    string
		value []byte
		err   error
	}
	work := make(chan []record, 4)
	var decoders sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		decoders.Go(func() {
			for batch := range work {
				for _, rec := range batch {
					l.users.put(newUser(rec.id, rec.value, rec.err))
				}
			}
		})
	}
	var batch []record
	var fault error
	for e, err := range r.Scan([]byte(userKeys), nil) {
		id, ok := idIn(e.Key, userKeys, 0)
		if !ok {
			fault = fmt.Errorf("the key of a user is damaged: %q: %w", e.Key, store.ErrDamaged)
			break
		}
		l.sum(e, err)
		if batch = append(batch, record{id, e.Value, err}); len(batch) == 512 {
			work <- batch
			batch = nil
		}
	}
	work <- batch
	close(work)
	decoders.Wait()
	return fault
}

// loadMembers reads the mirrored edges. Their keys are sorted by member.
func (l *loader) loadMembers(r store.Reader) error {
	var member [idSize]byte
	var groups []orderedGroup
	damaged := false
	for e, err := range r.Scan([]byte(memberOfKeys), nil) {
		edge := e.Key[len(memberOfKeys):]
		if len(edge) != 2*idSize {
			return fmt.Errorf("the key of a membership is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		l.sum(e, err)
		if [idSize]byte(edge) != member {
			l.setGroups(member, groups, damaged)
			member, groups, damaged = [idSize]byte(edge), groups[:0], false
		}
		g, ok := l.ordered[[idSize]byte(edge[idSize:])]
		if err != nil || !ok {
			damaged = true
			continue
		}
		groups = append(groups, g)
	}
	l.setGroups(member, groups, damaged)
	return nil
}

// setGroups sets the groups of a member. Decisions read those of users only.
func (l *loader) setGroups(member [idSize]byte, groups []orderedGroup, damaged bool) {
	id := hex.EncodeToString(member[:])
	u, ok := l.users.find(id)
	if !ok {
		for _, g := range groups {
			l.nested[g.group.ID] = append(l.nested[g.group.ID], id)
		}
		return
	}
	slices.SortFunc(groups, func(a, b orderedGroup) int { return a.position - b.position })
	sorted := make([]*Group, len(groups))
	for i, g := range groups {
		sorted[i] = g.group
	}
	u.Damaged = u.Damaged || damaged
	u.setGroups(sorted)
}
