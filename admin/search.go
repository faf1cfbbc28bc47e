package admin

import (
	"cmp"
	"context"
	"regexp"
	"sallyport/directory"
	"strings"
	"sync"
)

// HitKind is what a search found; the set is closed.
type HitKind string

// The kinds of hits, in the order in which they are listed.
const (
	HitUser     HitKind = "user"
	HitGroup    HitKind = "group"
	HitRoute    HitKind = "route"
	HitRequest  HitKind = "request"  // a request for access, by its id
	HitGrant    HitKind = "grant"    // by its id
	HitDecision HitKind = "decision" // what looks like the number of a request that was decided; the record is not asked
)

// Hit is one thing that a search found.
type Hit struct {
	Kind  HitKind `json:"kind"`
	ID    string  `json:"id"` // of a user, a group, a request or a grant; the name of a route
	Title string  `json:"title"`
	Note  string  `json:"note,omitempty"`  // what tells it from others with the title
	State string  `json:"state,omitempty"` // of a user who may use nothing: [directory.User.Barred]
}

// maxText bounds what is searched for, in bytes.
const maxText = 200

var (
	requestNumber = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{32}$`) })
	grantNumber   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{16}$`) })
)

// Search returns what has a text in a name, or is named by it: users, groups, routes, requests for access and grants by
// their ids, and decisions by the numbers of their requests; at most limit of each kind.
func (a *Admin) Search(_ context.Context, actor Actor, text string, limit int) ([]Hit, error) {
	hits := []Hit{}
	if text = strings.TrimSpace(text); text == "" || len(text) > maxText {
		return hits, nil
	}
	hits = append(hits, a.searchByNumber(actor, strings.ToLower(text))...)
	var groups []directory.Group
	var searching sync.WaitGroup
	searching.Go(func() { groups, _ = a.directory.FindGroups(directory.GroupQuery{Text: text, Limit: limit}) })
	users, _ := a.directory.Find(directory.Query{Text: text, Limit: limit})
	searching.Wait()
	for _, u := range users {
		hits = append(hits, Hit{HitUser, u.ID, cmp.Or(u.DisplayName, u.UserName, u.ID), u.UserName, u.Barred()})
	}
	for _, g := range groups {
		hits = append(hits, Hit{Kind: HitGroup, ID: g.ID, Title: cmp.Or(g.DisplayName, g.ID), Note: g.ExternalID})
	}
	return append(hits, a.searchRoutes(text, limit)...), nil
}

// searchRoutes returns the routes whose name, host, path or owner has a text.
func (a *Admin) searchRoutes(text string, limit int) (hits []Hit) {
	if a.rules == nil {
		return nil
	}
	text = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(text, "https://"), "http://"))
	for _, route := range a.rules().Routes {
		if len(hits) < limit && strings.Contains(strings.ToLower(route.Name+"\n"+route.Host+route.Path+"\n"+route.Owner), text) {
			hits = append(hits, Hit{Kind: HitRoute, ID: route.Name, Title: route.Name, Note: route.Host + route.Path})
		}
	}
	return hits
}

// searchByNumber returns what a number names.
func (a *Admin) searchByNumber(actor Actor, text string) (hits []Hit) {
	switch {
	case requestNumber().MatchString(text):
		_, isUser := a.directory.ByID(text)
		if _, isGroup := a.directory.GroupByID(text); !isUser && !isGroup {
			hits = append(hits, Hit{Kind: HitDecision, ID: text, Title: text})
		}
	case grantNumber().MatchString(text) && a.grants != nil && !isUser(actor):
		if r, err := a.grants.Request(text); err == nil {
			hits = append(hits, Hit{Kind: HitRequest, ID: r.ID, Title: r.ID, Note: r.Person.UserName + ", " + r.Route})
		}
		if g, err := a.grants.Grant(text); err == nil {
			hits = append(hits, Hit{Kind: HitGrant, ID: g.ID, Title: g.ID, Note: g.Person.UserName + ", " + g.Policy})
		}
	}
	return hits
}
