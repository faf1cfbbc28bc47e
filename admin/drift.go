package admin

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/policy"
)

// Drift is where what the identity provider pushes and what else is known differ.
type Drift struct {
	Groups    []DriftGroup `json:"groups"`    // that rules name, and that were not pushed
	Strangers []Stranger   `json:"strangers"` // who proved who they are, and were not pushed
	Since     time.Time    `json:"since"`     // sign-ins since then were looked at
	More      bool         `json:"more,omitempty"`
	Missing   []Missing    `json:"missing,omitempty"`

	Tokens *TokenDrift `json:"tokens,omitempty"` // nil if no server runs
}

// DriftGroup is a group that rules name.
type DriftGroup struct {
	ID       string   `json:"id,omitempty"` // as rules name it
	Name     string   `json:"name,omitempty"`
	Policies []string `json:"policies"` // that name it
}

// Stranger is somebody whom the identity provider signed in, and whom the directory does not have.
type Stranger struct {
	Claim     string    `json:"claim"`
	Value     string    `json:"value"`
	Attribute string    `json:"attribute"` // of users, that the claim was compared with
	Name      string    `json:"name,omitempty"`
	Last      time.Time `json:"last"`
	Count     int       `json:"count"`
}

const (
	driftDays    = 30 * 24 * time.Hour
	maxStrangers = 200
	maxTried     = 1000 // lines of sign-ins
)

// Drift returns the groups that rules name and nobody pushed, who was denied lately because they were not pushed, and where
// tokens name other groups than were pushed.
func (a *Admin) Drift(ctx context.Context, actor Actor) (Drift, error) {
	d := Drift{Groups: a.unpushedGroups(), Strangers: []Stranger{}, Since: time.Now().UTC().Add(-driftDays)}
	var err error
	if d.Tokens, err = a.tokenDrift(ctx); err != nil || a.source.Open == nil {
		return d, err
	}
	found, err := a.SearchRecord(ctx, actor, RecordFilter{Reason: "unknown_user", Kinds: []audit.Kind{audit.KindLogin, audit.KindDecision}, Since: d.Since}, maxTried)
	if err != nil {
		return d, err
	}
	d.Missing = found.Missing
	if !found.CutOff.IsZero() {
		d.Since, d.More = found.CutOff, true
	} else if len(found.Lines) == maxTried {
		d.Since, d.More = found.Lines[maxTried-1].Time, true
	}
	byValue := map[string]*Stranger{}
	for _, l := range found.Lines {
		value := cmp.Or(l.Detail["value"], l.UserName)
		if value == "" || a.isPushed(value) {
			continue
		}
		s, ok := byValue[value]
		if !ok {
			s = &Stranger{Claim: l.Detail["claim"], Value: value, Attribute: l.Detail["attribute"], Name: l.UserName, Last: l.Time}
			byValue[value] = s
		}
		s.Count++
	}
	for _, s := range byValue {
		d.Strangers = append(d.Strangers, *s)
	}
	slices.SortFunc(d.Strangers, func(x, y Stranger) int { return cmp.Or(y.Last.Compare(x.Last), strings.Compare(x.Value, y.Value)) })
	d.More = d.More || len(d.Strangers) > maxStrangers
	d.Strangers = d.Strangers[:min(len(d.Strangers), maxStrangers)]
	return d, nil
}

// isPushed reports whether the directory has the user by now whom a claim names.
func (a *Admin) isPushed(value string) bool {
	_, ok := a.directory.Lookup(value)
	return ok
}

// unpushedGroups returns the groups that rules and those who may approve name, and that the directory does not have.
func (a *Admin) unpushedGroups() []DriftGroup {
	list := []DriftGroup{}
	if a.rules == nil {
		return list
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for _, g := range a.directory.Groups() {
		ids[strings.ToLower(g.ExternalID)], names[g.DisplayName] = true, true
	}
	found := map[policy.GroupRef]map[string]bool{}
	for _, p := range a.rules().Policies {
		for _, ref := range groupsOf(p) {
			if ref.ID != "" && ids[strings.ToLower(ref.ID)] || ref.ID == "" && names[ref.Name] {
				continue
			}
			if found[ref] == nil {
				found[ref] = map[string]bool{}
			}
			found[ref][p.Name] = true
		}
	}
	for ref, policies := range found {
		list = append(list, DriftGroup{ref.ID, ref.Name, slices.Sorted(maps.Keys(policies))})
	}
	slices.SortFunc(list, func(x, y DriftGroup) int { return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.ID, y.ID)) })
	return list
}

// groupsOf returns the groups that a policy names.
func groupsOf(p policy.Named) (refs []policy.GroupRef) {
	for _, r := range p.Rules {
		for _, m := range []*policy.Match{r.Allow, r.Deny} {
			if m != nil {
				refs = append(refs, m.Groups...)
			}
		}
	}
	if p.Requestable != nil {
		refs = append(append(refs, p.Requestable.By.Groups...), p.Requestable.Approvers.Groups...)
	}
	return refs
}
