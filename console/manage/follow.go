package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport/admin"
)

const (
	tailEvery = 500 * time.Millisecond // a page that follows decisions gets those that were made meanwhile
	fullEvery = 2 * time.Second        // where there are more than anybody can read, some of them
)

// following are those who follow decisions. Everybody who follows the same shares one [admin.Tail] and its rows.
type following struct {
	mu   sync.Mutex // guards list, and how many follow each
	list map[string]*followed
}

// followed are decisions that somebody follows.
type followed struct {
	followers int // guarded by following.mu

	mu     sync.Mutex // guards the fields below; held while rows are rendered
	tail   *admin.Tail
	due    time.Time // when the tail is looked at again
	newest batch
}

// batch is the decisions of a turn.
type batch struct {
	number  int    // 0: before the first
	rows    string // of the table
	dropped int    // decisions that have no row
	before  int    // decisions in all batches before
	passed  int    // and in this one too
	whole   frame  // what is sent to those who have had all batches before
}

// join has one more follow the decisions of a key. leave must be called when they do not any more.
func (f *following) join(key string, begin func() *admin.Tail) (one *followed, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, ok := f.list[key]
	if !ok {
		if f.list == nil {
			f.list = map[string]*followed{}
		}
		one = &followed{tail: begin(), due: time.Now()}
		f.list[key] = one
	}
	one.followers++
	return one, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if one.followers--; one.followers == 0 {
			delete(f.list, key)
			one.tail.Close()
		}
	}
}

// next returns the newest batch, after it has taken what was decided since the one before if that is due.
func (o *followed) next(now time.Time, h *Handler) (batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.due) && o.due.Sub(now) <= fullEvery {
		return o.newest, nil
	}
	o.due = now.Truncate(tailEvery).Add(tailEvery)
	list, dropped := o.tail.Take()
	if len(list)+dropped == 0 {
		return o.newest, nil
	}
	if dropped > 0 {
		o.due = now.Truncate(tailEvery).Add(fullEvery)
	}
	slices.Reverse(list)
	rows, err := h.decisionRows(list)
	if err != nil {
		return batch{}, err
	}
	b := batch{number: o.newest.number + 1, rows: rows, dropped: dropped, before: o.newest.passed, passed: o.newest.passed + len(list) + dropped}
	if b.whole, err = h.batchFrame(b, 0); err != nil {
		return batch{}, err
	}
	o.newest = b
	return b, nil
}

// decisionRows returns decisions as a table, of which pages take the rows.
func (h *Handler) decisionRows(list []admin.Decided) (string, error) {
	var rows bytes.Buffer
	err := h.renderPart(&rows, view{page: page{Name: "decisions", Content: decisionsContent{}, Table: h.decisionTable(list)}}, "table")
	return rows.String(), err
}

// batchFrame returns what is sent of a batch to one who has not had some decisions before it.
func (h *Handler) batchFrame(b batch, missed int) (frame, error) {
	sent := struct {
		Rows    string `json:"rows"`
		Dropped string `json:"dropped,omitempty"`
	}{Rows: b.rows}
	if n := b.dropped + missed; n > 0 {
		sent.Dropped = h.say("decisions.dropped", n)
	}
	return newFrame("", "decisions", sent)
}

// decisionEvents follows what this process decides: it sends rows of the table, and how many it dropped.
func (h *Handler) decisionEvents(q *request) error {
	f, wanted := q.decisionFilter()
	if len(f.wrong) > 0 {
		return q.failed(http.StatusUnprocessableEntity, h.say("layout.wrong", f.wrong[0]), "/decisions")
	}
	if wanted.Person != "" {
		named, err := h.Admin.UsersNamed(q.Context(), q.actor(), wanted.Person)
		if err != nil {
			return err
		}
		for _, u := range named {
			wanted.IDs = append(wanted.IDs, u.ID)
		}
	}
	if wanted.Since.Before(f.now) { // as every decision from now on
		wanted.Since = time.Time{}
	}
	key, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	return q.events(func(send func(...frame) error) error {
		one, leave := h.followed.join(string(key), func() *admin.Tail { return h.Admin.Follow(q.actor(), wanted) })
		defer leave()
		return h.follow(q.Context(), one, send)
	})
}

// follow sends one viewer what is decided, until ctx ends.
func (h *Handler) follow(ctx context.Context, one *followed, send func(...frame) error) error {
	had, err := one.next(time.Now(), h)
	if err != nil {
		return err
	}
	begun, err := newFrame("", "begun", struct{}{})
	if err != nil {
		return err
	}
	if err := send(begun); err != nil {
		return err
	}
	for untilNext(ctx, tailEvery) {
		b, err := one.next(time.Now(), h)
		if err != nil {
			return err
		}
		if b.number == had.number {
			continue
		}
		whole := b.whole
		if missed := b.before - had.passed; missed > 0 { // the connection is slower than what is decided
			if whole, err = h.batchFrame(b, missed); err != nil {
				return err
			}
		}
		if had = b; send(whole) != nil {
			return ctx.Err()
		}
	}
	return ctx.Err()
}
