package entratest

import (
	"fmt"
	"slices"
	"sync"
)

// Company is a tenant that pushes each change at once.
type Company struct {
	Tenant      *Tenant
	Provisioner *Provisioner

	mu     sync.Mutex        // one change at a time; guards remote
	remote map[string]string // object ID → id at the target
}

// NewCompany returns a company that pushes the changes of t with p.
func NewCompany(t *Tenant, p *Provisioner) *Company {
	return &Company{Tenant: t, Provisioner: p, remote: map[string]string{}}
}

// Sync pushes all people and groups, like the initial cycle of Entra.
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

// Hire adds a person to the tenant and to teams, by object ID, and pushes both.
func (c *Company) Hire(p Person, teams ...string) (Person, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.Tenant.Add(p)
	if err := c.pushPerson(p); err != nil {
		return p, err
	}
	return p, c.move(p.OID, teams)
}

// Move replaces the teams of a person by teams, by object ID, and pushes the difference.
func (c *Company) Move(oid string, teams ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.move(oid, teams)
}

func (c *Company) move(oid string, teams []string) error {
	for _, g := range c.Tenant.Teams() {
		member, wanted := slices.Contains(g.Members, oid), slices.Contains(teams, g.OID)
		if member == wanted {
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

// Offboard disables a person, who can then not sign in, and pushes that.
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

// Restore reverts [Company.Offboard]. It does not push memberships.
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

// Update changes a person and pushes the attributes that changed. The object ID stays.
func (c *Company) Update(oid string, change func(*Person)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.Tenant.Person(oid)
	if id := c.remote[oid]; !ok || id == "" {
		return fmt.Errorf("%s was never pushed", oid)
	}
	now, err := c.Tenant.change(oid, func(p *Person) { change(p); p.OID, p.Disabled = old.OID, old.Disabled })
	if err != nil {
		return err
	}
	attributes := differences(old, now)
	if len(attributes) == 0 {
		return nil
	}
	return c.Provisioner.UpdateUser(c.remote[oid], attributes)
}

// Delete removes a person here and at the target.
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

// Remote returns the id of a person or team at the target.
func (c *Company) Remote(oid string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote[oid]
}
