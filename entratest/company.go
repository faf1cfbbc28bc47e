package entratest

import (
	"fmt"
	"slices"
	"sync"
)

// Company is a tenant whose changes are pushed as they happen.
type Company struct {
	Tenant      *Tenant
	Provisioner *Provisioner

	mu     sync.Mutex        // one change at a time; guards remote
	remote map[string]string // object ID → the id at the target
}

// NewCompany joins a tenant and a provisioner.
func NewCompany(t *Tenant, p *Provisioner) *Company {
	return &Company{Tenant: t, Provisioner: p, remote: map[string]string{}}
}

// Sync pushes everybody and every group, as an initial cycle does.
func (c *Company) Sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.Tenant.People() {
		if err := c.pushPerson(p); err != nil {
			return err
		}
	}
	for _, g := range c.Tenant.Teams() {
		if err := c.pushTeam(g); err != nil {
			return err
		}
	}
	return nil
}

func (c *Company) pushPerson(p Person) (err error) {
	if c.remote[p.OID] == "" {
		c.remote[p.OID], err = c.Provisioner.CreateUser(p)
	}
	return err
}

func (c *Company) pushTeam(g Team) error {
	id, err := c.Provisioner.CreateGroup(g)
	if err != nil {
		return err
	}
	c.remote[g.OID] = id
	if len(g.Members) == 0 {
		return nil
	}
	return c.Provisioner.AddMembers(id, c.remotes(g.Members)...)
}

func (c *Company) remotes(oids []string) (ids []string) {
	for _, oid := range oids {
		ids = append(ids, c.remote[oid])
	}
	return ids
}

// Hire adds a person to the tenant and to teams (by object ID), and pushes it.
func (c *Company) Hire(p Person, teams ...string) (Person, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.Tenant.Add(p)
	if err := c.pushPerson(p); err != nil {
		return p, err
	}
	return p, c.move(p.OID, teams)
}

// Move makes teams (by object ID) the ones a person is in, and pushes the difference.
func (c *Company) Move(oid string, teams ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.move(oid, teams)
}

func (c *Company) move(oid string, teams []string) error {
	for _, g := range c.Tenant.Teams() {
		in, wanted := slices.Contains(g.Members, oid), slices.Contains(teams, g.OID)
		if in == wanted {
			continue
		}
		c.Tenant.setMember(g.OID, oid, wanted)
		change := c.Provisioner.RemoveMembers
		if wanted {
			change = c.Provisioner.AddMembers
		}
		if err := change(c.remote[g.OID], c.remote[oid]); err != nil {
			return err
		}
	}
	return nil
}

// Offboard disables a person: they cannot sign in, and the target is told.
func (c *Company) Offboard(oid string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.Tenant.change(oid, func(p *Person) { p.Disabled = true }); err != nil {
		return err
	}
	id := c.remote[oid]
	if id == "" {
		return fmt.Errorf("%s was never pushed", oid)
	}
	return c.Provisioner.Disable(id)
}

// Restore undoes Offboard; memberships are not pushed again.
func (c *Company) Restore(oid string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	person, err := c.Tenant.change(oid, func(p *Person) { p.Disabled = false })
	if err != nil {
		return err
	}
	id, err := c.Provisioner.Restore(person)
	if err == nil && id != c.remote[oid] {
		err = fmt.Errorf("%s is restored under another id, %s instead of %s", person.UPN, id, c.remote[oid])
	}
	return err
}

// Update changes a person, and pushes what is different; their object ID stays.
func (c *Company) Update(oid string, change func(*Person)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, known := c.Tenant.Person(oid)
	if id := c.remote[oid]; !known || id == "" {
		return fmt.Errorf("%s was never pushed", oid)
	}
	now, err := c.Tenant.change(oid, func(p *Person) { change(p); p.OID, p.Disabled = was.OID, was.Disabled })
	if err != nil {
		return err
	}
	attributes := differences(was, now)
	if len(attributes) == 0 {
		return nil
	}
	return c.Provisioner.UpdateUser(c.remote[oid], attributes)
}

// Delete removes a person for good, here and at the target.
func (c *Company) Delete(oid string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.remote[oid]
	if id == "" {
		return fmt.Errorf("%s was never pushed", oid)
	}
	c.Tenant.drop(oid)
	delete(c.remote, oid)
	return c.Provisioner.DeleteUser(id)
}

// Remote is the id the target gave to a person or team.
func (c *Company) Remote(oid string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote[oid]
}
