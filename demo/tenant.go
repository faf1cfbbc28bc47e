package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/entratest"
)

// patience is how long a deed watches clocks that do not stop.
const patience = time.Second

// tenant is the make-believe Entra tenant: who works at Castle Works, and the pushing of each change.
type tenant struct {
	issuer  *entratest.Tenant
	groups  map[string]string // name → object ID
	clocks  *clocks
	journal *journal

	mu        sync.Mutex         // one deed at a time; guards what follows
	company   *entratest.Company // nil until connected
	exchanges []exchange         // of the deed under way
	answered  time.Time          // when its last change was
}

// connect pushes everybody to a new target.
func (t *tenant) connect(p entratest.Provisioner) error {
	p.Observe = t.observe
	err := t.do("First synchronisation", "", func() error {
		t.company = entratest.NewCompany(t.issuer, &p)
		if err := t.company.Sync(); err != nil {
			return err
		}
		for _, h := range cast {
			if err := t.add(h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("pushing everybody to %s: %w", p.BaseURL, err)
	}
	return nil
}

// add hires h. The tenant's lock is held.
func (t *tenant) add(h hand) error {
	in := []string{t.groups[allStaff], t.groups[h.team]}
	if h.name == admin {
		in = append(in, t.groups[administrators])
	}
	_, err := t.company.Hire(newPerson(h.name, h.title), in...)
	return err
}

func (t *tenant) hire(name, team string) error {
	name = strings.Join(strings.Fields(name), " ")
	upn := userName(name)
	if upn == "" || len(name) > 60 {
		return errors.New("a new person needs a name of up to 60 letters")
	}
	if !slices.Contains(teams, team) {
		return fmt.Errorf("there is no team %q", team)
	}
	return t.do(name+" joined "+team, upn, func() error {
		if slices.ContainsFunc(t.issuer.People(), func(p entratest.Person) bool { return p.UPN == upn }) {
			return fmt.Errorf("there is a %s already", upn)
		}
		return t.add(hand{name, "New here", team})
	})
}

// move puts a person into another team; their other groups stay.
func (t *tenant) move(oid, team string) error {
	p, ok := t.issuer.Person(oid)
	if !ok || !slices.Contains(teams, team) {
		return errNobody
	}
	return t.do(p.Name+" moved to "+team, p.UPN, func() error {
		return t.company.Move(oid, t.groupsAfter(oid, team)...)
	})
}

// groupsAfter are the object IDs of a person's groups once they are in team.
func (t *tenant) groupsAfter(oid, team string) []string {
	in := []string{t.groups[team]}
	for _, g := range t.issuer.Teams() {
		if !slices.Contains(teams, g.Name) && slices.Contains(g.Members, oid) {
			in = append(in, g.OID)
		}
	}
	return in
}

func (t *tenant) offboard(oid string) error {
	p, ok := t.issuer.Person(oid)
	if !ok {
		return errNobody
	}
	return t.do(p.Name+" offboarded", p.UPN, func() error { return t.company.Offboard(oid) })
}

func (t *tenant) restore(oid string) error {
	p, ok := t.issuer.Person(oid)
	if !ok {
		return errNobody
	}
	return t.do(p.Name+" restored", p.UPN, func() error { return t.company.Restore(oid) })
}

var (
	errNobody       = errors.New("there is no such person or team")
	errNotConnected = errors.New("the tenant is not connected to Sallyport yet; wait a moment")
)

// do does a deed, writes it into the journal, and watches what becomes of the clocks that ticked for user when it began.
//
// What is measured: one monotonic clock is read just before the first SCIM request of the deed is made, and again when
// the dashboard's server sees a socket end. Between the two lie the request's way through loopback, all that Sallyport
// does (parse, store with an fsync, decide anew, cut) and the cut's way to the dashboard. A person who closes the page in
// that very second is counted too: a server cannot tell who ended a socket.
func (t *tenant) do(what, user string, deed func() error) error {
	t.mu.Lock()
	if t.company == nil && user != "" {
		t.mu.Unlock()
		return errNotConnected
	}
	t.exchanges = nil
	watched := t.clocks.of(user)
	began := time.Now()
	t.answered = began
	err := deed()
	p := &push{At: began.UTC(), What: what, Exchanges: t.exchanges, Clocks: len(watched), Waiting: len(watched) > 0,
		Answered: milliseconds(t.answered.Sub(began))}
	t.mu.Unlock()
	if err != nil {
		p.Problem = err.Error()
	}
	t.journal.add(p)
	t.await(p, watched, began)
	return err
}

func (t *tenant) await(p *push, watched []*clock, began time.Time) {
	if len(watched) == 0 {
		return
	}
	took, ok := stops(watched, began, patience)
	t.journal.amend(p, func(p *push) {
		p.Waiting = false
		if ok {
			stopped := milliseconds(took)
			p.Stopped = &stopped
		}
	})
}

// observe is told of each SCIM request of the deed under way, in the deed's own goroutine.
func (t *tenant) observe(p entratest.Push) {
	if p.Method != "GET" {
		t.answered = time.Now()
	}
	t.exchanges = append(t.exchanges, exchange{Method: p.Method, Path: p.Path, Body: p.Body, Status: p.Status,
		Took: milliseconds(p.Took), Problem: p.Problem})
}
