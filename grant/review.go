package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// Review asks of everybody who reaches a route whether they still need it. Its rows are
// records of their own: there may be many.
type Review struct {
	ID       string       `json:"id"`
	Route    string       `json:"route"`
	Owner    string       `json:"owner,omitempty"`    // of the route, when the review was started
	Reviewer ReviewerKind `json:"reviewer,omitempty"` // who decides beside operators
	State    ReviewState  `json:"state"`
	Started  time.Time    `json:"started"`
	By       string       `json:"by"`
	Due      time.Time    `json:"due"`
	Closed   time.Time    `json:"closed,omitzero"`
	ClosedBy string       `json:"closed_by,omitempty"`
	Begins   time.Time    `json:"record_begins,omitzero"` // the first event of the audit record, of which last uses are
	Revision uint64       `json:"directory_revision"`
	Rules    []ReviewRule `json:"rules"`
	Counts   Counts       `json:"counts"`
}

// ReviewRule is a rule that let somebody in when the review was started.
type ReviewRule struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// ReviewerKind says who decides about a row, beside operators.
type ReviewerKind string

// The kinds of reviewers.
const (
	ReviewerOperator ReviewerKind = ""        // operators alone
	ReviewerManager  ReviewerKind = "manager" // the manager of the row's user, or else the owner
	ReviewerOwner    ReviewerKind = "owner"   // the owner of the route, or else the manager
)

// ReviewState is where a review is.
type ReviewState string

// The states of a review.
const (
	ReviewStarting ReviewState = "starting" // its rows are being written; it is shown to none
	ReviewOpen     ReviewState = "open"
	ReviewClosed   ReviewState = "closed"
)

// Counts are how many rows have each decision.
type Counts struct {
	Open   int `json:"open"`
	Keep   int `json:"keep"`
	Revoke int `json:"revoke"`
	Ask    int `json:"ask"`
}

// Total returns how many rows there are.
func (c Counts) Total() int { return c.Open + c.Keep + c.Revoke + c.Ask }

func (c *Counts) add(d Decision, n int) {
	switch d {
	case DecisionKeep:
		c.Keep += n
	case DecisionRevoke:
		c.Revoke += n
	case DecisionAsk:
		c.Ask += n
	default:
		c.Open += n
	}
}

// Row is one user who reaches the route of a review by one rule.
type Row struct {
	Review      string       `json:"review"`
	Number      int          `json:"row"`
	User        ReviewUser   `json:"user"`
	Reviewer    string       `json:"reviewer,omitempty"` // userName of who decides beside operators; "" if there is none
	Rule        string       `json:"rule"`
	Memberships []Membership `json:"memberships"`       // that satisfy the rule; none if it does not depend on one
	LastUse     time.Time    `json:"last_use,omitzero"` // zero: never since the record begins
	Decision    Decision     `json:"decision"`
	By          string       `json:"by,omitempty"`
	At          time.Time    `json:"at,omitzero"`
	Why         string       `json:"why,omitempty"`
}

// ReviewUser is the user of a row, when the review was started.
type ReviewUser struct {
	ID          string `json:"id"`
	UserName    string `json:"userName"`
	ExternalID  string `json:"externalId,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	Manager     string `json:"manager,omitempty"` // userName
}

// Membership is one that satisfies a rule.
type Membership struct {
	Group    string    `json:"group"` // the directory's id
	ObjectID string    `json:"object_id,omitempty"`
	Name     string    `json:"name"`
	Removed  time.Time `json:"removed,omitzero"` // when the identity provider had removed it, of a row that was revoked
}

// Key returns what rules name the group by: its object ID, or its name if it has none.
// It is never empty, which would stand for every group.
func (m Membership) Key() string { return cmp.Or(m.ObjectID, m.Name, m.Group) }

// Decision is what was decided about a row.
type Decision string

// The decisions about a row.
const (
	DecisionOpen   Decision = "open" // none yet
	DecisionKeep   Decision = "keep"
	DecisionRevoke Decision = "revoke"
	DecisionAsk    Decision = "ask" // somebody is asked first
)

// The errors of reviews. Each says what to do.
var (
	ErrNoReview      = errors.New("there is no such review; `sallyport access review list` shows them")
	ErrNoRow         = errors.New("the review has no such row; `sallyport access review show` lists them")
	ErrReviewClosed  = errors.New("the review is closed; all that can still be done is to lift a revocation, by keep")
	ErrRowChanged    = errors.New("somebody else decided about this row just now; look at it, then decide again")
	ErrRevoked       = errors.New("the membership is revoked already; keep lifts the revocation, then ask about it")
	ErrReviewOpen    = errors.New("open; close it first, or go on with it")
	ErrReviewDamaged = errors.New("a record of the review is damaged; `sallyport store check` says which")
)

const rowsAtOnce = 2000 // rows that are written in one revision

func reviewKey(id string) []byte          { return []byte(prefixReview + id) }
func rowsPrefix(id string) []byte         { return []byte(prefixRow + id + "/") }
func rowKey(id string, number int) []byte { return fmt.Appendf(rowsPrefix(id), "%06d", number) }
func (r *Review) key() []byte             { return reviewKey(r.ID) }
func (r *Row) key() []byte                { return rowKey(r.Review, r.Number) }

// Reviews returns every review, the newest first. It reads memory only.
func (g *Grants) Reviews() []Review {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Review
	for _, r := range g.memory.reviews {
		if r.State != ReviewStarting {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b Review) int { return cmp.Or(b.Started.Compare(a.Started), strings.Compare(a.ID, b.ID)) })
	return list
}

// Overdue returns how many reviews are open beyond their time. It reads memory only.
func (g *Grants) Overdue(now time.Time) (n int) {
	for _, r := range g.Reviews() {
		if r.Overdue(now) {
			n++
		}
	}
	return n
}

// Overdue reports whether the review is open beyond its time.
func (r *Review) Overdue(now time.Time) bool { return r.State == ReviewOpen && now.After(r.Due) }

// Review returns a review and its rows, or [ErrNoReview].
func (g *Grants) Review(ctx context.Context, id string) (review Review, rows []Row, err error) {
	err = g.store.View(ctx, func(r store.Reader) error {
		if review, err = readReview(r, id); err != nil {
			return err
		}
		rows, err = readRows(r, id)
		return err
	})
	if err == nil && len(rows) != review.Counts.Total() {
		err = fmt.Errorf("%w: it has %d rows, and %d were written", ErrReviewDamaged, len(rows), review.Counts.Total())
	}
	return review, rows, err
}

func readReview(r store.Reader, id string) (review Review, err error) {
	value, err := r.Get(reviewKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return Review{}, fmt.Errorf("%s: %w", id, ErrNoReview)
	}
	if err == nil {
		err = decode(reviewKey(id), value, &review)
	}
	switch {
	case err != nil:
		return Review{}, fmt.Errorf("%w: %w", ErrReviewDamaged, err)
	case review.State == ReviewStarting:
		return Review{}, fmt.Errorf("%s: %w", id, ErrNoReview)
	}
	return review, nil
}

func readRows(r store.Reader, id string) (rows []Row, err error) {
	for e, err := range r.Scan(rowsPrefix(id), nil) {
		var row Row
		if err == nil {
			err = decode(e.Key, e.Value, &row)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrReviewDamaged, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func readRow(r store.Reader, id string, number int) (row Row, err error) {
	key := rowKey(id, number)
	value, err := r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return Row{}, fmt.Errorf("row %d: %w", number, ErrNoRow)
	}
	if err == nil {
		err = decode(key, value, &row)
	}
	if err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrReviewDamaged, err)
	}
	return row, nil
}

// StartReview stores a review and its rows, which it numbers from 1. It sets the id. There
// is no review until all rows are stored.
func (g *Grants) StartReview(ctx context.Context, review *Review, rows []Row) error {
	review.ID, review.State, review.Counts = NewID(), ReviewStarting, Counts{Open: len(rows)}
	next := 1
	for part := range slices.Chunk(rows, rowsAtOnce) {
		first := next
		next += len(part)
		err := g.update(ctx, func(w store.Writer) error {
			for i, row := range part {
				row.Review, row.Number, row.Decision = review.ID, first+i, DecisionOpen
				if err := put(w, &row); err != nil {
					return err
				}
			}
			return put(w, review)
		})
		if err != nil {
			return errors.Join(err, g.deleteReview(ctx, review.ID))
		}
	}
	review.State = ReviewOpen
	err := g.change(ctx, func(w store.Writer) error {
		err := g.within(w, func(m *memory) error {
			if other := m.openReview(review.Route); other != "" { // started at the same moment
				return fmt.Errorf("the review %s of %s is %w", other, review.Route, ErrReviewOpen)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return put(w, review)
	})
	if err != nil && !errors.Is(err, ErrStored) {
		err = errors.Join(err, g.deleteReview(ctx, review.ID))
	}
	return err
}

// openReview returns the id of the open review of a route, or "".
func (m *memory) openReview(route string) string {
	for id, r := range m.reviews {
		if r.State == ReviewOpen && r.Route == route {
			return id
		}
	}
	return ""
}

// deleteReview deletes a review and its rows.
func (g *Grants) deleteReview(ctx context.Context, id string) error {
	for more := true; more; {
		err := g.update(ctx, func(w store.Writer) error {
			var keys [][]byte
			for e := range w.Scan(rowsPrefix(id), nil) { // damaged ones too
				if keys = append(keys, slices.Clone(e.Key)); len(keys) == rowsAtOnce {
					break
				}
			}
			more = len(keys) == rowsAtOnce
			if !more {
				keys = append(keys, reviewKey(id))
			}
			for _, key := range keys {
				if err := w.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CloseReview ends a review, whether or not all its rows are decided.
func (g *Grants) CloseReview(ctx context.Context, id, by string, now time.Time) (review Review, err error) {
	err = g.update(ctx, func(w store.Writer) error {
		if review, err = readReview(w, id); err != nil {
			return err
		}
		if review.State == ReviewClosed {
			return ErrReviewClosed
		}
		review.State, review.Closed, review.ClosedBy = ReviewClosed, now, by
		return put(w, &review)
	})
	return review, err
}

// startingFor is after which time a review whose rows are still being written is taken to
// be the rest of a server that ended meanwhile.
const startingFor = time.Hour

// PruneReviews deletes reviews that were closed longer ago than [Keep], unless one holds a
// revocation in force, what is left of reviews that were never wholly stored, and
// revocations that ended as long ago.
func (g *Grants) PruneReviews(ctx context.Context, now time.Time) error {
	if err := g.update(ctx, func(w store.Writer) error { return pruneFormer(w, now) }); err != nil {
		return fmt.Errorf("deleting revocations that ended long ago: %w", err)
	}
	for _, id := range g.prunable(now) {
		if err := g.deleteReview(ctx, id); err != nil {
			return fmt.Errorf("deleting the review %s: %w", id, err)
		}
	}
	return nil
}

func (g *Grants) prunable(now time.Time) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := map[string]bool{}
	for id, r := range g.memory.reviews {
		if r.State == ReviewClosed && now.Sub(r.Closed) > Keep || r.State == ReviewStarting && now.Sub(r.Started) > startingFor {
			old[id] = true
		}
	}
	for _, revocations := range g.memory.revocations {
		for _, r := range revocations {
			for _, row := range r.Rows {
				delete(old, row.Review)
			}
		}
	}
	return slices.Sorted(maps.Keys(old))
}
