package demo

import (
	"slices"
	"strings"
	"unicode"

	"sallyport/entratest"
)

const domain = "@castle-works.example"

// The groups of Castle Works. Everybody is in All staff and in one team.
const (
	allStaff       = "All staff"
	administrators = "Administrators"
)

var teams = []string{"Operations", "Research", "Finance"}

// employee is a person who works at Castle Works.
type employee struct{ name, title, team string }

var cast = []employee{
	{"Ada Lovelace", "Site reliability engineer", "Operations"},
	{"Grace Hopper", "Head of operations", "Operations"},
	{"Alan Turing", "Researcher", "Research"},
	{"Katherine Johnson", "Controller", "Finance"},
}

const admin = "Grace Hopper"

// addGroups adds the groups of Castle Works to a tenant and returns their object IDs by name.
func addGroups(t *entratest.Tenant) map[string]string {
	ids := map[string]string{}
	for _, name := range slices.Concat(teams, []string{allStaff, administrators}) {
		ids[name] = t.AddTeam(name).OID
	}
	return ids
}

// newPerson returns a person with the attributes that follow from the name.
func newPerson(name, title string) entratest.Person {
	given, family, _ := strings.Cut(name, " ")
	return entratest.Person{UPN: userName(name), Name: name, GivenName: given, FamilyName: family, Title: title}
}

// userName returns the lower-case words of a name, joined by dots, at the domain of the company; "" without words.
func userName(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, ".") + domain
}
