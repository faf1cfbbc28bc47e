package directory

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// Change is a change of the directory, as far as it is about one user or group.
type Change struct {
	Revision uint64
	Time     time.Time
	By       Cause
	Event    json.RawMessage // that the record has of the change; nil if the store no longer knows it

	Record        bool            // whether the record of the user or group changed
	Before, After json.RawMessage // that record; nil if there was none, or if it cannot be read

	Suspension                 bool        // whether the suspension of the user changed
	SuspendedBefore, Suspended *Suspension // nil: not suspended
	Joined, Left               []Edge      // memberships that began and ended; the first of them
	JoinedMembers, LeftMembers int         // how many they are
	Lost                       bool        // the store was replaced by an older one: changes before are lost, and nothing else is set but Revision and Time
}

// Edge is a membership.
type Edge struct{ Group, Member string }

// maxEdges bounds how many memberships a [Change] names.
const maxEdges = 100

// HistoryQuery says which changes are looked for.
type HistoryQuery struct {
	Before uint64        // only changes of earlier revisions; 0: all
	Limit  int           // how many are returned at most
	Within time.Duration // the search ends after it; 0: it does not
}

// History is changes, the newest first, and how far back they go.
type History struct {
	Changes []Change
	Since   time.Time // all changes since then are in Changes, but for those that Before left out
	Next    uint64    // Before for those that follow; 0 if nothing earlier is known
}

// History returns the changes of the user or group with an id, who may be deleted by now. It is [ErrNoHistory] if there is
// none. It reads the records of all changes back to the last that it returns, and decodes only those about id.
func (d *Directory) History(ctx context.Context, id string, q HistoryQuery) (h History, err error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != idSize {
		return h, ErrNotFound
	}
	walk := historyWalk{id: [idSize]byte(raw), query: q, began: time.Now()}
	err = d.viewHistory(ctx, func(r store.Reader, head *historyHead) error {
		walk.overlay = &overlay{Reader: r, former: map[string]value{}}
		walk.result = History{}
		return walk.run(ctx, head)
	})
	return walk.result, err
}

// historyWalk goes back through the history of one user or group.
type historyWalk struct {
	id      [idSize]byte
	query   HistoryQuery
	began   time.Time
	overlay *overlay
	result  History
}

// run looks at the records of revisions from the newest back.
func (w *historyWalk) run(ctx context.Context, head *historyHead) error {
	window := uint64(minWindow)
	for last := head.Last; last >= head.First && last > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := max(head.First, last-min(last, window)+1)
		entries, errs := readHistory(w.overlay.Reader, start, last)
		for i, e := range slices.Backward(entries) {
			done, err := w.entry(e, errs[i])
			if err != nil || done {
				return err
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
	w.result.Since = head.Begins
	return nil
}

// entry looks at one record. It reports whether the walk ends before it.
func (w *historyWalk) entry(e store.Entry, err error) (done bool, _ error) {
	revision, _ := historyRevision(e.Key)
	listed := w.query.Before == 0 || revision < w.query.Before
	spent := w.query.Within > 0 && time.Since(w.began) > w.query.Within
	if listed && (len(w.result.Changes) >= w.query.Limit || spent) {
		w.result.Next = revision + 1
		return true, nil
	}
	timed, _, readable := decodePastTime(e.Value)
	if err == nil && readable && !timed.isBreak && !bytes.Contains(e.Value, w.id[:]) {
		w.result.Since = timed.time
		return false, nil
	}
	c, err := decodeEntry(e, err)
	if errors.Is(err, errRecord) || errors.Is(err, store.ErrDamaged) { // nothing earlier is known
		return true, nil
	}
	if err != nil {
		return true, err
	}
	change, found, err := w.change(&c)
	if err != nil {
		return true, err
	}
	w.result.Since = c.time
	if found && listed {
		w.result.Changes = append(w.result.Changes, change)
	}
	return false, nil
}

// change returns what a change was about the user or group, and undoes it.
func (w *historyWalk) change(c *pastChange) (change Change, found bool, err error) {
	change = Change{Revision: c.revision, Time: c.time, By: c.cause, Lost: c.isBreak}
	found = c.isBreak
	mine := pastChange{revision: c.revision}
	for _, f := range c.formers {
		if f.id != w.id && (f.position != memberOfPosition || f.group != w.id) {
			continue
		}
		found, mine.formers = true, append(mine.formers, f)
		if f.position == memberOfPosition {
			change.addEdge(&f)
		}
	}
	if !found || c.isBreak {
		return change, found, nil
	}
	after := map[string]value{}
	for i := range mine.formers {
		if f := &mine.formers[i]; f.position != memberOfPosition {
			if after[f.key()], err = w.overlay.value(f.key()); err != nil {
				return change, false, err
			}
		}
	}
	if err := w.overlay.undo(&mine); err != nil {
		return change, false, fmt.Errorf("%w: %w", ErrNoHistory, err)
	}
	for key, value := range after {
		before := w.overlay.former[key]
		if position, _ := formerOf([]byte(key)); historyPrefixes[position.position] == suspendedKeys {
			change.Suspension, change.SuspendedBefore, change.Suspended = true, before.suspension(), value.suspension()
		} else {
			change.Record, change.Before, change.After = true, bytes.Clone(before.bytes), bytes.Clone(value.bytes)
		}
	}
	change.Event = eventOf(w.overlay.Reader, c.revision)
	return change, true, nil
}

func (c *Change) addEdge(f *former) {
	list, count := &c.Left, &c.LeftMembers
	if f.state == absent {
		list, count = &c.Joined, &c.JoinedMembers
	}
	if *count++; len(*list) < maxEdges {
		*list = append(*list, Edge{Group: f.groupID(), Member: f.memberID()})
	}
}

func (v value) suspension() *Suspension {
	if v.state == absent {
		return nil
	}
	return readSuspension(v.bytes, nil)
}

// eventOf returns what the record has of the change that made a revision, or nil.
func eventOf(r store.Reader, revision uint64) json.RawMessage {
	value, err := r.Get(recordKey(revision))
	if err != nil {
		return nil
	}
	rec, err := decodeRecord(store.Entry{Key: recordKey(revision), Value: value})
	if err != nil {
		return nil
	}
	return rec.Event
}

// UserOf returns the user in a record of a [Change]; nil if it cannot be read.
func UserOf(record json.RawMessage) *User {
	u := &User{}
	if len(record) == 0 || decodeUser(record, u) != nil {
		return nil
	}
	return u
}

// GroupOf returns the group in a record of a [Change]; nil if it cannot be read.
func GroupOf(record json.RawMessage) *Group {
	g := &Group{}
	if len(record) == 0 || json.Unmarshal(record, g) != nil {
		return nil
	}
	return g
}
