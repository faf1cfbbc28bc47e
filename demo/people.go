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

// hand is somebody who works at Castle Works from the beginning.
type hand struct{ name, title, team string }

var cast = []hand{
	{"Ada Lovelace", "Site reliability engineer", "Operations"},
	{"Grace Hopper", "Head of operations", "Operations"},
	{"Alan Turing", "Researcher", "Research"},
	{"Katherine Johnson", "Controller", "Finance"},
}

const admin = "Grace Hopper"

// found makes the groups of Castle Works in a tenant and returns their object IDs by name.
func found(t *entratest.Tenant) map[string]string {
	ids := map[string]string{}
	for _, name := range slices.Concat(teams, []string{allStaff, administrators}) {
		ids[name] = t.AddTeam(name).OID
	}
	return ids
}

// newPerson makes up the rest of a person from their name.
func newPerson(name, title string) entratest.Person {
	given, family, _ := strings.Cut(name, " ")
	return entratest.Person{UPN: userName(name), Name: name, GivenName: given, FamilyName: family, Title: title}
}

// userName is name in small letters with dots between its words, at the company's domain; "" if name has none.
func userName(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, ".") + domain
}
