package admin

import (
	"context"
	"net/http"
	"regexp"
	"sync"
	"time"

	"sallyport/directory"
	"sallyport/scim"
)

// Stats are the figures of the directory and of provisioning that `sallyport doctor` judges.
type Stats struct {
	Users             int        `json:"users"`
	Active            int        `json:"active"`
	GUIDs             int        `json:"guids"`               // users whose externalId is a GUID
	WithoutExternalID int        `json:"without_external_id"` // users who have none
	Shared            int        `json:"shared"`              // active users whose externalId another active user has too
	Nested            []string   `json:"nested"`              // groups that have groups as members
	LastPush          *time.Time `json:"last_push"`           // nil: none in the provisioning log
	Held              int        `json:"held"`                // undecided deactivations
	Refused           int        `json:"refused"`             // pushes that failed, among Exchanges
	RefusedInRow      int        `json:"refused_in_row"`      // how many of the newest pushes failed, before one that did not
	Exchanges         int        `json:"exchanges"`           // the newest pushes in the provisioning log
	Rejected          *Rejection `json:"rejected"`            // the newest request with a token that was rejected; nil: none in the log
}

// Rejection is a request to the SCIM server whose token was rejected.
type Rejection struct {
	Time    time.Time `json:"time"`
	Address string    `json:"address"`
	Token   string    `json:"token"` // the name of a token that is no longer valid; "": the token is none of ours
	Reason  string    `json:"reason"`
}

var guid = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
})

// How many of the newest entries of the provisioning log Stats reads, and how many if no push is among those: rejected
// requests may have come between.
const (
	statsPushes = 500
	statsLog    = 10_000
)

// Stats counts what is stored now.
func (a *Admin) Stats(ctx context.Context, _ Actor) (Stats, error) {
	s := Stats{Nested: []string{}}
	err := a.directory.View(ctx, func(tx *directory.Tx) error {
		if err := s.countUsers(tx); err != nil {
			return err
		}
		return s.findNested(tx)
	})
	if err != nil {
		return Stats{}, err
	}
	if err := s.countPushes(ctx, a.provisioning); err != nil {
		return Stats{}, err
	}
	return s, nil
}

func (s *Stats) countUsers(tx *directory.Tx) error {
	sharing := map[string]int{} // active users by externalId
	for u, err := range tx.Users("") {
		if err != nil {
			return err
		}
		s.Users++
		if u.Active {
			s.Active++
		}
		switch {
		case u.ExternalID == "":
			s.WithoutExternalID++
		case guid().MatchString(u.ExternalID):
			s.GUIDs++
		}
		if u.Active {
			sharing[u.ExternalID]++
		}
	}
	for external, users := range sharing {
		if external != "" && users > 1 {
			s.Shared += users
		}
	}
	return nil
}

func (s *Stats) findNested(tx *directory.Tx) error {
	for g, err := range tx.Groups("") {
		if err != nil {
			return err
		}
		for m, err := range tx.Members(g.ID, "") {
			if err != nil {
				return err
			}
			if m.IsGroup {
				s.Nested = append(s.Nested, g.DisplayName)
				break
			}
		}
	}
	return nil
}

func (s *Stats) countPushes(ctx context.Context, p *scim.Provisioning) error {
	holds, err := p.Holds(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if h.Pending() {
			s.Held++
		}
	}
	for _, n := range []int{statsPushes, statsLog} {
		entries, err := p.Log(ctx, n)
		if err != nil {
			return err
		}
		if s.countEntries(entries); s.LastPush != nil || len(entries) < n {
			break
		}
	}
	return nil
}

// countEntries counts entries of the provisioning log, the newest first.
func (s *Stats) countEntries(entries []scim.LogEntry) {
	s.LastPush, s.Rejected, s.Refused, s.RefusedInRow, s.Exchanges = nil, nil, 0, 0, 0
	for _, e := range entries {
		if e.Rejected() {
			if s.Rejected == nil {
				s.Rejected = &Rejection{e.Time, e.Address, e.Token, e.Problem}
			}
			continue
		}
		if s.LastPush == nil {
			s.LastPush = &e.Time
		}
		s.Exchanges++
		if e.Code >= http.StatusBadRequest && e.Code != http.StatusNotFound {
			s.Refused++
			if s.Refused == s.Exchanges {
				s.RefusedInRow++
			}
		}
	}
}
