package receipt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/audit"
)

// ErrNone means that the record tells of no offboarding of a person.
var ErrNone = errors.New("no offboarding")

// Question says whose offboarding a receipt is about.
type Question struct {
	Name string    // as it was asked: a userName, an externalId or an id
	User Person    // whom the directory has; the zero value if it has nobody of the name any more
	At   time.Time // the last offboarding until then; the zero time: the last one
}

// Find returns the receipt of an offboarding, as far as the record tells. The caller adds who makes it, and what the
// person has now. Without an offboarding the error is [ErrNone].
func Find(ctx context.Context, record *audit.Record, q Question) (Receipt, error) {
	spans, err := record.Spans()
	if err != nil {
		return Receipt{}, err
	}
	found, err := collect(ctx, record, q)
	if err != nil {
		return Receipt{}, err
	}
	o, c, err := choose(found, q)
	if err != nil {
		return Receipt{}, noteBegin(err, spans[0])
	}
	if !c.whole {
		if o, c, err = again(ctx, record, o, c); err != nil {
			return Receipt{}, err
		}
	}
	made := o.finish(c.person, spans[0])
	if len(spans) > 1 {
		made.Records = spans
	}
	return made, nil
}

// noteBegin adds to an error that the record does not go back to its beginning.
func noteBegin(err error, span audit.Span) error {
	if span.First <= 1 {
		return err
	}
	return fmt.Errorf("%w; the record begins at %s, with line %d", err, span.Begins.UTC().Format(time.RFC3339), span.First)
}

// textsOf returns what lines about a person have in them.
func textsOf(p Person) (texts []audit.Text) {
	if p.ID != "" {
		texts = append(texts, audit.Text{Key: "user", Value: p.ID})
	}
	if p.UserName != "" {
		texts = append(texts, audit.Text{Key: "user_name", Value: p.UserName}, audit.Text{Key: "value", Value: p.UserName})
	}
	if p.ExternalID != "" {
		texts = append(texts, audit.Text{Key: "external_id", Value: p.ExternalID}, audit.Text{Key: "value", Value: p.ExternalID}) // the second may be there twice
	}
	return texts
}

// collect follows the lines about everybody whom the question may mean: the user whom the directory has, and those who
// had the same names before. Of the latter, lines may be left out: their other names are not known yet.
func collect(ctx context.Context, record *audit.Record, q Question) ([]*collector, error) {
	byID, texts := map[string]*collector{}, append(textsOf(q.User), gapTexts...)
	if q.User.ID != "" {
		byID[q.User.ID] = newCollector(q.User, true)
	}
	exact := strings.EqualFold(q.Name, q.User.ID) // an id means one user
	if !exact {
		texts = append(texts, textsOf(Person{ID: q.Name, UserName: q.Name, ExternalID: q.Name})...)
	}
	err := record.Search(ctx, audit.Search{Texts: texts}, func(l audit.Found) error {
		if _, ok := changeOf(l); ok && byID[l.User] == nil && !exact && q.means(&l.Event) {
			byID[l.User] = newCollector(Person{ID: l.User, UserName: l.UserName, ExternalID: l.Detail["external_id"]}, false)
		}
		for _, c := range byID {
			c.add(l)
		}
		return nil
	})
	return slices.Collect(maps.Values(byID)), err
}

// means reports whether the question may be about the user of an event.
func (q Question) means(e *audit.Event) bool {
	for _, name := range []string{q.Name, q.User.UserName} {
		if name != "" && (e.User == name || strings.EqualFold(e.UserName, name) || e.Detail["external_id"] == name) {
			return true
		}
	}
	return q.User.ExternalID != "" && e.Detail["external_id"] == q.User.ExternalID
}

// before is how long before an offboarding a session of the person may have begun that it ended.
const before = 32 * 24 * time.Hour

// again collects an offboarding once more, when every name of the person is known.
func again(ctx context.Context, record *audit.Record, o *offboarding, known *collector) (*offboarding, *collector, error) {
	c := newCollector(known.person, true)
	err := record.Search(ctx, audit.Search{Texts: append(textsOf(known.person), gapTexts...), Since: o.receipt.Offboarding.Done.Add(-before)}, func(l audit.Found) error { c.add(l); return nil })
	if err != nil {
		return nil, nil, err
	}
	for _, same := range c.offboardings {
		if same.receipt.Offboarding.Ref == o.receipt.Offboarding.Ref {
			return same, c, nil
		}
	}
	return o, known, nil // an earlier one is in the files that were read, and has not ended since
}

// choose returns the offboarding that is asked about.
func choose(found []*collector, q Question) (chosen *offboarding, of *collector, err error) {
	var all []time.Time
	for _, c := range found {
		for _, o := range c.offboardings {
			at := o.receipt.Offboarding.Done
			all = append(all, at)
			if (q.At.IsZero() || !at.After(q.At)) && (chosen == nil || !at.Before(chosen.receipt.Offboarding.Done)) {
				chosen, of = o, c
			}
		}
	}
	switch {
	case len(found) == 0:
		return nil, nil, fmt.Errorf("%w: neither the directory nor the record has a user whose userName, externalId or id is %q; of a user who was deleted, the record has the userName, the externalId and the id", ErrNone, q.Name)
	case chosen != nil:
		return chosen, of, nil
	case len(all) > 0:
		slices.SortFunc(all, time.Time.Compare)
		return nil, nil, fmt.Errorf("%w: %s was not offboarded until %s; the first time was %s", ErrNone, q.Name, q.At.Format(time.RFC3339), all[0].Format(time.RFC3339))
	case slices.ContainsFunc(found, func(c *collector) bool { return c.known }):
		return nil, nil, fmt.Errorf("%w: the record does not say that %s was ever deactivated, deleted or suspended", ErrNone, q.Name)
	}
	return nil, nil, fmt.Errorf("%w: the record has no change of %s, who may have been pushed before it begins", ErrNone, q.Name)
}

// finish returns the receipt of an offboarding.
func (o *offboarding) finish(person Person, span audit.Span) Receipt {
	r := o.receipt
	r.Person, r.Record = person, span
	if r.Enforced.Last.Before(r.Offboarding.Done) {
		r.Enforced.Last = r.Offboarding.Done
	}
	r.Enforced.Milliseconds = milliseconds(r.Enforced.Last.Sub(r.Offboarding.Received))
	r.Still.Access = AccessNone
	if o.returned != nil {
		since := o.returned.Done
		r.Still.Access, r.Still.Since = AccessReturned, &since
	}
	for _, c := range r.Later {
		if c.User != "" && !slices.Contains(r.Still.Others, c.User) {
			r.Still.Others = append(r.Still.Others, c.User)
		}
	}
	// An empty list is written as one, and not as null.
	r.Replicas, r.Sessions, r.Cuts, r.Later = orEmpty(r.Replicas), orEmpty(r.Sessions), orEmpty(r.Cuts), orEmpty(r.Later)
	r.Gaps = orEmpty(r.Gaps)
	for _, a := range []*Attempts{&r.Attempts, &r.Allowed} {
		a.Kinds, a.Lines = orEmpty(a.Kinds), orEmpty(a.Lines)
	}
	return r
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
