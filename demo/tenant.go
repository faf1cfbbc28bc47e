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

// clockTimeout bounds how long a change waits for clocks to stop.
const clockTimeout = time.Second

// tenant is the fictional Entra tenant of Castle Works. It pushes each change.
type tenant struct {
	issuer  *entratest.Tenant
	groups  map[string]string // name → object ID
	clocks  *clocks
	journal *journal

	mu        sync.Mutex         // held during a change; guards the fields below
	company   *entratest.Company // nil until connected
	exchanges []exchange         // of the change under way
	responded time.Time          // when the response to its last change came
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

// add hires an employee. It requires mu to be held.
func (t *tenant) add(h employee) error {
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
			return fmt.Errorf("%s exists already", upn)
		}
		return t.add(employee{name, "New here", team})
	})
}

// move puts a person into another team; their other groups stay.
func (t *tenant) move(oid, team string) error {
	p, ok := t.issuer.Person(oid)
	if !ok || !slices.Contains(teams, team) {
		return errNotFound
	}
	return t.do(p.Name+" moved to "+team, p.UPN, func() error {
		return t.company.Move(oid, t.groupsAfter(oid, team)...)
	})
}

// groupsAfter returns the object IDs of the groups that a person has once they are in team.
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
		return errNotFound
	}
	return t.do(p.Name+" offboarded", p.UPN, func() error { return t.company.Offboard(oid) })
}

func (t *tenant) restore(oid string) error {
	p, ok := t.issuer.Person(oid)
	if !ok {
		return errNotFound
	}
	return t.do(p.Name+" restored", p.UPN, func() error { return t.company.Restore(oid) })
}

var (
	errNotFound     = errors.New("there is no such person or team")
	errNotConnected = errors.New("the tenant is not connected to Sallyport yet; wait a moment")
)

// do makes a change, adds it to the journal, and waits for the clocks to stop that ticked for user when it began.
//
// The measured time begins just before the first SCIM request and ends when the dashboard sees the WebSocket end, by
// one monotonic clock. It includes the request over loopback, everything that Sallyport does (parse, store with an
// fsync, decide again, cut) and the end of the connection to the dashboard. A person who closes the page within that
// time is counted too: a server cannot tell who ended a connection.
func (t *tenant) do(what, user string, change func() error) error {
	t.mu.Lock()
	if t.company == nil && user != "" {
		t.mu.Unlock()
		return errNotConnected
	}
	t.exchanges = nil
	watched := t.clocks.of(user)
	began := time.Now()
	t.responded = began
	err := change()
	p := &push{At: began.UTC(), What: what, Exchanges: t.exchanges, Clocks: len(watched), Waiting: len(watched) > 0,
		Responded: milliseconds(t.responded.Sub(began))}
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
	took, ok := awaitStops(watched, began, clockTimeout)
	t.journal.amend(p, func(p *push) {
		p.Waiting = false
		if ok {
			stopped := milliseconds(took)
			p.Stopped = &stopped
		}
	})
}

// observe receives each SCIM request of the change under way, in the goroutine that holds mu.
func (t *tenant) observe(p entratest.Push) {
	if p.Method != "GET" {
		t.responded = time.Now()
	}
	t.exchanges = append(t.exchanges, exchange{Method: p.Method, Path: p.Path, Body: p.Body, Status: p.Status,
		Took: milliseconds(p.Took), Problem: p.Problem})
}
