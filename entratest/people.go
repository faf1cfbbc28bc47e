package entratest

import (
	"crypto/rand"
	"fmt"
	"slices"
)

// Person is somebody in the tenant.
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

// guid is a random UUID, as object IDs are.
func guid() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Add puts a person into the tenant and returns them with what was missing filled in.
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

// People lists everybody, in the order they came.
func (t *Tenant) People() []Person {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.people)
}

// Person finds somebody by object ID.
func (t *Tenant) Person(oid string) (Person, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.index(oid); i >= 0 {
		return t.people[i], true
	}
	return Person{}, false
}

// index is where somebody stands; -1 for nobody. t is locked.
func (t *Tenant) index(oid string) int {
	return slices.IndexFunc(t.people, func(p Person) bool { return p.OID == oid })
}

// change alters a person in place.
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

// AddTeam puts a group into the tenant.
func (t *Tenant) AddTeam(name string) Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &Team{OID: guid(), Name: name}
	t.groups = append(t.groups, g)
	return *g
}

// Teams lists the groups, in the order they were made.
func (t *Tenant) Teams() []Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	var teams []Team
	for _, g := range t.groups {
		teams = append(teams, Team{g.OID, g.Name, slices.Clone(g.Members)})
	}
	return teams
}

// setMember makes a person a member of a team, or none.
func (t *Tenant) setMember(team, oid string, in bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.groups {
		if g.OID != team {
			continue
		}
		g.Members = slices.DeleteFunc(g.Members, func(m string) bool { return m == oid })
		if in {
			g.Members = append(g.Members, oid)
		}
	}
}
