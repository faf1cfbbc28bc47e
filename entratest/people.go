package entratest

import (
	"crypto/rand"
	"fmt"
	"slices"
)

// Person is an account in the tenant.
type Person struct {
	OID        string // object ID: never changes
	UPN        string // userPrincipalName: may change
	Name       string
	GivenName  string
	FamilyName string
	Mail       string
	Title      string
	Department string
	Disabled   bool // may not sign in
}

// Team is a security group.
type Team struct {
	OID     string
	Name    string
	Members []string // by OID
}

// guid returns a random UUID; object IDs have that form.
func guid() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Add adds a person to the tenant and returns them with missing fields filled in.
func (t *Tenant) Add(p Person) Person {
	if p.OID == "" {
		p.OID = guid()
	}
	if p.Mail == "" {
		p.Mail = p.UPN
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.people = append(t.people, p)
	return p
}

// People returns all people, in the order of Add.
func (t *Tenant) People() []Person {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.people)
}

// Person returns the person with an object ID.
func (t *Tenant) Person(oid string) (Person, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.index(oid); i >= 0 {
		return t.people[i], true
	}
	return Person{}, false
}

// index returns the position of a person, or -1. It requires mu to be held.
func (t *Tenant) index(oid string) int {
	return slices.IndexFunc(t.people, func(p Person) bool { return p.OID == oid })
}

// change changes a person in place.
func (t *Tenant) change(oid string, f func(*Person)) (Person, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.index(oid)
	if i < 0 {
		return Person{}, fmt.Errorf("nobody in the tenant has the object ID %s", oid)
	}
	f(&t.people[i])
	return t.people[i], nil
}

// drop removes a person and their memberships.
func (t *Tenant) drop(oid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.people = slices.DeleteFunc(t.people, func(p Person) bool { return p.OID == oid })
	for _, g := range t.groups {
		g.Members = slices.DeleteFunc(g.Members, func(m string) bool { return m == oid })
	}
}

// AddTeam adds a group to the tenant.
func (t *Tenant) AddTeam(name string) Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &Team{OID: guid(), Name: name}
	t.groups = append(t.groups, g)
	return *g
}

// Teams returns the groups, in the order of AddTeam.
func (t *Tenant) Teams() []Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	var teams []Team
	for _, g := range t.groups {
		teams = append(teams, Team{g.OID, g.Name, slices.Clone(g.Members)})
	}
	return teams
}

// setMember adds a person to a team or removes them.
func (t *Tenant) setMember(team, oid string, member bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.groups {
		if g.OID != team {
			continue
		}
		g.Members = slices.DeleteFunc(g.Members, func(m string) bool { return m == oid })
		if member {
			g.Members = append(g.Members, oid)
		}
	}
}
