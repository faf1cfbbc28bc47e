package main

import (
	"net/http"
	"regexp"
	"time"

	"sallyport/directory"
	"sallyport/scim"
)

// facts are what doctor judges of the directory.
type facts struct {
	Users             int        `json:"users"`
	Active            int        `json:"active"`
	GUIDs             int        `json:"guids"`               // users whose externalId is a GUID
	WithoutExternalID int        `json:"without_external_id"` // users who have none
	Shared            int        `json:"shared"`              // users whose externalId another has too
	Nested            []string   `json:"nested"`              // groups that have groups as members
	LastPush          *time.Time `json:"last_push"`
	Held              int        `json:"held"`
	Refused           int        `json:"refused"` // of the latest exchanges
	Exchanges         int        `json:"exchanges"`
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// latest is how many exchanges doctor looks at.
const latest = 500

func (c *control) facts(r *http.Request) (any, error) {
	f := facts{Nested: []string{}}
	err := c.directory.View(r.Context(), func(tx *directory.Tx) error {
		if err := f.countUsers(tx); err != nil {
			return err
		}
		return f.findNested(tx)
	})
	if err != nil {
		return nil, err
	}
	held, err := c.scim.Holds(r.Context())
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		if h.Pending() {
			f.Held++
		}
	}
	return f, f.readLog(r, c.scim)
}

func (f *facts) countUsers(tx *directory.Tx) error {
	seen := map[string]int{}
	for u, err := range tx.Users("") {
		if err != nil {
			return err
		}
		f.Users++
		if u.Active {
			f.Active++
		}
		switch {
		case u.ExternalID == "":
			f.WithoutExternalID++
		case guid.MatchString(u.ExternalID):
			f.GUIDs++
		}
		seen[u.ExternalID]++
	}
	for external, n := range seen {
		if external != "" && n > 1 {
			f.Shared += n
		}
	}
	return nil
}

func (f *facts) findNested(tx *directory.Tx) error {
	for g, err := range tx.Groups("") {
		if err != nil {
			return err
		}
		for m, err := range tx.Members(g.ID, "") {
			if err != nil {
				return err
			}
			if m.IsGroup {
				f.Nested = append(f.Nested, g.DisplayName)
				break
			}
		}
	}
	return nil
}

func (f *facts) readLog(r *http.Request, p *scim.Provisioning) error {
	entries, err := p.Log(r.Context(), latest)
	if err != nil {
		return err
	}
	f.Exchanges = len(entries)
	for _, e := range entries {
		if e.Code >= http.StatusBadRequest && e.Code != http.StatusNotFound {
			f.Refused++
		}
	}
	if len(entries) > 0 {
		f.LastPush = &entries[0].Time
	}
	return nil
}
