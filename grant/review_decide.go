package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// RowRef names a row of a review.
type RowRef struct {
	Review string `json:"review"`
	Row    int    `json:"row"`
}

// Deciding is a decision about rows of one review.
type Deciding struct {
	Review   string
	Rows     []Row // as whoever decides has seen them
	Decision Decision
	By, Why  string
	At       time.Time
}

// DecideRows writes a decision about every row or about none: if one was decided meanwhile,
// the error is [ErrRowChanged]. The memberships of rows that are revoked stop counting in the same
// revision. It must run in a change of the directory, whose isMember reports who belongs to
// what.
//
// A membership that several rows revoked counts again once all of them were decided
// otherwise.
func DecideRows(w store.Writer, d Deciding, isMember func(group, user string) (bool, error)) error {
	review, err := readReview(w, d.Review)
	if err != nil {
		return err
	}
	if d.Decision == DecisionRevoke {
		store.Urgent(w)
	}
	for _, seen := range d.Rows {
		row, err := readRow(w, d.Review, seen.Number)
		if err != nil {
			return err
		}
		if row.Decision != seen.Decision || !row.At.Equal(seen.At) || row.By != seen.By {
			return fmt.Errorf("row %d: %w", row.Number, ErrRowChanged)
		}
		if review.State == ReviewClosed && !(row.Decision == DecisionRevoke && d.Decision == DecisionKeep) {
			return ErrReviewClosed
		}
		if err := d.apply(w, &row, isMember); err != nil {
			return fmt.Errorf("row %d: %w", row.Number, err)
		}
		review.Counts.add(row.Decision, -1)
		review.Counts.add(d.Decision, 1)
		row.Decision, row.By, row.At, row.Why = d.Decision, d.By, d.At, d.Why
		if err := put(w, &row); err != nil {
			return err
		}
	}
	return put(w, &review)
}

// apply writes what the decision changes beside the row.
func (d *Deciding) apply(w store.Writer, row *Row, isMember func(group, user string) (bool, error)) error {
	switch {
	case d.Decision == DecisionRevoke:
		return d.revoke(w, row, isMember)
	case row.Decision != DecisionRevoke:
		return nil
	case d.Decision == DecisionKeep:
		return lift(w, row, d.At)
	}
	return ErrRevoked
}

// revoke makes the memberships of a row stop counting. One that the identity provider has
// removed needs nothing.
func (d *Deciding) revoke(w store.Writer, row *Row, isMember func(group, user string) (bool, error)) error {
	for i := range row.Memberships {
		m := &row.Memberships[i]
		member, err := isMember(m.Group, row.User.ID)
		if err != nil {
			return err
		}
		if !member {
			m.Removed = d.At
			continue
		}
		m.Removed = time.Time{}
		r, err := readRevocation(w, row.User.ID, m.Group)
		if err == nil && !r.Cleared.IsZero() { // of a former membership
			if err := r.end(w, r.Cleared); err != nil {
				return err
			}
		}
		if err != nil || !r.Cleared.IsZero() { // none, a damaged one, or one of a former membership
			r = Revocation{User: row.User.ID, Group: m.Group, Key: m.Key(), UserName: row.User.UserName, Name: m.Name, By: d.By, Since: d.At}
		}
		if ref := row.ref(); !slices.Contains(r.Rows, ref) {
			r.Rows = append(r.Rows, ref)
		}
		if err := put(w, &r); err != nil {
			return err
		}
	}
	return nil
}

func (r *Row) ref() RowRef { return RowRef{r.Review, r.Number} }

// lift makes the memberships of a row count again, unless another row revoked them too.
func lift(w store.Writer, row *Row, now time.Time) error {
	for _, m := range row.Memberships {
		r, err := readRevocation(w, row.User.ID, m.Group)
		if errors.Is(err, store.ErrNotFound) || err == nil && !r.Cleared.IsZero() {
			continue
		}
		if err != nil {
			return fmt.Errorf("the revocation cannot be read; revoke again, which replaces it, then keep: %w", err)
		}
		if r.Rows = slices.DeleteFunc(r.Rows, func(ref RowRef) bool { return ref == row.ref() }); len(r.Rows) > 0 {
			err = put(w, &r)
		} else {
			err = r.end(w, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readRevocation(r store.Reader, user, group string) (revocation Revocation, err error) {
	key := revokedKey(user, group)
	value, err := r.Get(key)
	if err == nil {
		err = decode(key, value, &revocation)
	}
	return revocation, err
}

// EndMemberships clears the revocations of memberships of a group that have ended. It must
// run in the change that ends them: a membership that begins later is another one, and
// counts. What was cleared stays stored until [Grants.Forget], so that it is recorded.
func EndMemberships(w store.Writer, group string, users []string, now time.Time) error {
	if none(w, prefixRevoked) {
		return nil
	}
	for _, user := range users {
		r, err := readRevocation(w, user, group)
		if errors.Is(err, store.ErrNotFound) || err == nil && !r.Cleared.IsZero() {
			continue
		}
		if err != nil { // damaged: its key says what it was about
			r = Revocation{User: user, Group: group, Key: group}
		}
		r.Cleared = now
		if err := put(w, &r); err != nil {
			return err
		}
		for _, ref := range r.Rows {
			if err := ref.removed(w, group, now); err != nil {
				return err
			}
		}
	}
	return nil
}

func none(r store.Reader, prefix string) bool {
	for range r.Scan([]byte(prefix), nil) {
		return false
	}
	return true
}

// removed notes in a row that the identity provider has removed a membership. A row that
// cannot be read must not keep the provider from it.
func (ref RowRef) removed(w store.Writer, group string, now time.Time) error {
	row, err := readRow(w, ref.Review, ref.Row)
	if errors.Is(err, ErrNoRow) || errors.Is(err, ErrReviewDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range row.Memberships {
		if m := &row.Memberships[i]; m.Group == group {
			m.Removed = now
		}
	}
	return put(w, &row)
}

// Revocations returns every revocation: those in force, and those that were cleared and are
// not recorded yet. It reads memory only.
func (g *Grants) Revocations() (inForce, cleared []Revocation) {
	if g == nil {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, revocations := range g.memory.revocations {
		for _, r := range revocations {
			if r.Cleared.IsZero() {
				inForce = append(inForce, *r)
			} else {
				cleared = append(cleared, *r)
			}
		}
	}
	return inForce, cleared
}

// RevocationsOf returns the revocations in force of one user. It reads memory only.
func (g *Grants) RevocationsOf(user string) (inForce []Revocation) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.memory.revocations[user] {
		if r.Cleared.IsZero() {
			inForce = append(inForce, *r)
		}
	}
	return inForce
}

// Forget deletes revocations that were cleared, once that is recorded.
func (g *Grants) Forget(ctx context.Context, cleared []Revocation) error {
	return g.update(ctx, func(w store.Writer) error {
		for _, c := range cleared {
			r, err := readRevocation(w, c.User, c.Group)
			if err != nil || !r.Cleared.Equal(c.Cleared) { // gone, or another one meanwhile
				continue
			}
			if err := r.end(w, r.Cleared); err != nil {
				return err
			}
		}
		return nil
	})
}

// Wait returns once memory has a revision that another package committed.
func (g *Grants) Wait(ctx context.Context, revision store.Revision) error {
	if err := g.mirror.Wait(ctx, revision); err != nil {
		return fmt.Errorf("%w: %w", ErrStored, err)
	}
	return nil
}
