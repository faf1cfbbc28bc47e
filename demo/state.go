package demo

import (
	"slices"

	"sallyport/entratest"
)

// state is what the pages show.
type state struct {
	People []person `json:"people"`
	Teams  []string `json:"teams"`
	Pushes []push   `json:"pushes"`
}

type person struct {
	ID       string `json:"id"`
	Initials string `json:"initials"`
	Hue      int    `json:"hue"` // of the picture, in degrees
	User     string `json:"user"`
	Name     string `json:"name"`
	Title    string `json:"title"`
	Team     string `json:"team"`
	Active   bool   `json:"active"`
	Clocks   int    `json:"clocks"` // that tick for the person now
}

func (t *tenant) state() state {
	s := state{People: []person{}, Teams: teams, Pushes: t.journal.all()}
	groups := t.issuer.Teams()
	for _, p := range t.issuer.People() {
		if isColleague(p) {
			continue
		}
		i := slices.IndexFunc(groups, func(g entratest.Team) bool {
			return slices.Contains(teams, g.Name) && slices.Contains(g.Members, p.OID)
		})
		team := ""
		if i >= 0 {
			team = groups[i].Name
		}
		s.People = append(s.People, person{ID: p.OID, Initials: p.Initials(), Hue: p.Hue(), User: p.UPN, Name: p.Name, Title: p.Title, Team: team,
			Active: !p.Disabled, Clocks: len(t.clocks.of(p.UPN))})
	}
	return s
}
