package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// The limits of requests and grants.
const (
	maxOpenOfPerson = 5
	maxMadeInDay    = 20 // by one person
	maxOpen         = 10_000
	requestLife     = 7 * 24 * time.Hour
)

// The errors of requests and grants.
var (
	ErrNone    = errors.New("there is no such record")
	ErrDecided = errors.New("the request is not open")
	ErrEnded   = errors.New("the grant is not open")
	ErrPerson  = fmt.Errorf("a person may have %d open requests and make %d in a day", maxOpenOfPerson, maxMadeInDay)
	ErrLimit   = fmt.Errorf("there are %d open already", maxOpen)
	// ErrChanged means that the request is not as it was when the caller decided: decide again.
	ErrChanged = errors.New("the request has changed meanwhile")
	// ErrSelf means that a request would be approved by the person who made it, or twice by the same person.
	ErrSelf = errors.New("a request is approved by different people, of whom the person who made it is none")
)

// NewRequest returns a request of a person that is made now. It is not stored.
func NewRequest(p Person, now time.Time) Request {
	return Request{ID: NewID(), Person: p, Made: now, Expires: now.Add(requestLife), State: StateOpen}
}

// Ask stores a request. If the same person has an open one for the same policy, it stores nothing and returns that one.
func (g *Grants) Ask(ctx context.Context, r Request, check func() error) (stored Request, err error) {
	err = g.change(ctx, func(w store.Writer) error {
		var open *Request
		err := g.within(w, func(m *memory) (err error) { open, err = m.checkAsk(r); return err })
		if err != nil || open != nil {
			stored = valueOf(open)
			return err
		}
		if err := check(); err != nil {
			return err
		}
		stored = r
		return put(w, &r)
	})
	return stored, err
}

func valueOf(r *Request) Request {
	if r == nil {
		return Request{}
	}
	return *r
}

// CheckAsk returns the open request that [Grants.Ask] would return in the place of r, or the limit that r would exceed.
func (g *Grants) CheckAsk(r Request) (open *Request, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.memory.checkAsk(r)
}

func (m *memory) checkAsk(r Request) (open *Request, err error) {
	waiting, lately := 0, 0
	for _, other := range m.made[r.Person.ID] {
		if r.Made.Sub(other.Made) < 24*time.Hour {
			lately++
		}
		if !other.OpenAt(r.Made) || other.Person.Epoch != r.Person.Epoch {
			continue
		}
		if waiting++; other.Policy == r.Policy {
			return other, nil
		}
	}
	switch {
	case waiting >= maxOpenOfPerson || lately >= maxMadeInDay:
		return nil, ErrPerson
	case len(m.undecided) >= maxOpen:
		return nil, ErrLimit
	}
	return nil, nil
}

// Approving is an approval, and what it was decided by.
type Approving struct {
	Seen  []Approval    // the approvals that the request had
	Count []Approval    // those of them that still count, and the new one
	Grant string        // the id of the grant that begins; "" if more approvals are needed
	For   time.Duration // of the grant
	At    time.Time
	Check func() error // whether everything that it was decided by still holds
}

// Approve stores an approval of an open request and, with the last one that is needed, its grant.
func (g *Grants) Approve(ctx context.Context, id string, a Approving) (Request, error) {
	return g.decide(ctx, id, a.At, func(w store.Writer, r *Request) error {
		if !slices.EqualFunc(r.Approvals, a.Seen, sameApproval) {
			return ErrChanged
		}
		if err := differ(r, a.Count); err != nil {
			return err
		}
		if err := a.Check(); err != nil {
			return err
		}
		if r.Approvals = a.Count; a.Grant == "" {
			return nil
		}
		last := a.Count[len(a.Count)-1]
		r.State, r.Decided, r.By, r.Why, r.Grant = StateApproved, a.At, last.Name, last.Why, a.Grant
		return g.begin(w, r, a)
	})
}

// begin stores the grant of an approved request.
func (g *Grants) begin(w store.Writer, r *Request, a Approving) error {
	err := g.within(w, func(m *memory) error {
		if open, _ := m.open(a.At); open >= maxOpen {
			return ErrLimit
		}
		return nil
	})
	if err != nil {
		return err
	}
	granted := &Grant{ID: a.Grant, Person: r.Person, Policy: r.Policy, Request: r.ID, Began: a.At, Until: a.At.Add(a.For)}
	for _, approval := range a.Count {
		granted.By = append(granted.By, approval.Name)
	}
	return put(w, granted)
}

func sameApproval(a, b Approval) bool { return a.By == b.By && a.Name == b.Name && a.At.Equal(b.At) }

// differ returns [ErrSelf] unless approvals are those of different people, or of operators, and there is one.
func differ(r *Request, approvals []Approval) error {
	seen := map[string]bool{r.Person.ID: true}
	for _, a := range approvals {
		if a.By != "" && seen[a.By] {
			return ErrSelf
		}
		seen[a.By] = true
	}
	if len(approvals) == 0 {
		return ErrSelf
	}
	return nil
}

// End denies, withdraws or lets expire an open request.
func (g *Grants) End(ctx context.Context, id string, state State, by, why string, now time.Time) (Request, error) {
	return g.decide(ctx, id, now, func(_ store.Writer, r *Request) error {
		r.State, r.Decided, r.By, r.Why = state, now, by, why
		return nil
	})
}

// decide changes an open request.
func (g *Grants) decide(ctx context.Context, id string, now time.Time, fn func(store.Writer, *Request) error) (Request, error) {
	r := &Request{ID: id}
	err := g.change(ctx, func(w store.Writer) error {
		*r = Request{ID: id}
		if err := g.readRequest(w, r); err != nil {
			return err
		}
		if !r.OpenAt(now) {
			return ErrDecided
		}
		if err := fn(w, r); err != nil {
			return err
		}
		return put(w, r)
	})
	return *r, err
}

// Revoke ends an open grant of a user at once. It is stored even if the disk is full.
func (g *Grants) Revoke(ctx context.Context, user, id, by, why string, now time.Time) (Grant, error) {
	revoked := &Grant{}
	err := g.change(ctx, func(w store.Writer) error {
		store.Urgent(w)
		*revoked = Grant{ID: id, Person: Person{ID: user}}
		if err := g.readGrant(w, revoked); err != nil {
			return err
		}
		if !revoked.OpenAt(now) {
			return ErrEnded
		}
		revoked.Ended, revoked.EndedBy, revoked.Why = now, by, why
		return put(w, revoked)
	})
	return *revoked, err
}

// read reads the record with the key of record into it.
func read(r store.Reader, record keyed) error {
	key := record.key()
	value, err := r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNone
	}
	if err != nil {
		return err
	}
	return decode(key, value, record)
}

// readRequest is read. If the record was damaged on the disk since it was loaded, it returns what memory has: a request that
// people see can be decided.
func (g *Grants) readRequest(r store.Reader, record *Request) error {
	err := read(r, record)
	if known, unknown := g.Request(record.ID); errors.Is(err, store.ErrDamaged) && unknown == nil {
		*record, err = known, nil
	}
	return err
}

// readGrant is read. If the record was damaged on the disk since it was loaded, it returns what memory has: a grant that
// lets its person in can be ended.
func (g *Grants) readGrant(r store.Reader, record *Grant) error {
	err := read(r, record)
	if known, unknown := g.Grant(record.ID); errors.Is(err, store.ErrDamaged) && unknown == nil && known.Person.ID == record.Person.ID {
		*record, err = known, nil
	}
	return err
}

// change is update for one caller at a time: memory has what the callers before have written, so that fn may count there.
func (g *Grants) change(ctx context.Context, fn func(store.Writer) error) error {
	select {
	case g.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.writing }()
	return g.update(ctx, fn)
}
