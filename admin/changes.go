package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport/audit"
	"sallyport/directory"
)

// DirectoryChange is a change of one user or group, and who made it.
type DirectoryChange struct {
	Revision uint64          `json:"revision"`
	Time     time.Time       `json:"time"`
	By       directory.Cause `json:"by"`
	Address  string          `json:"address,omitempty"` // from which it was made
	Push     string          `json:"push,omitempty"`    // what the identity provider asked for, such as PATCH; "" if that is not known any more, or nobody pushed
	What     []Difference    `json:"what"`
}

// Difference is one thing that a change made different.
type Difference struct {
	Kind   DifferenceKind `json:"kind"`
	Field  string         `json:"field,omitempty"` // the attribute that changed
	Before string         `json:"before,omitempty"`
	After  string         `json:"after,omitempty"`
	ID     string         `json:"id,omitempty"`    // of the group or member of a membership
	Name   string         `json:"name,omitempty"`  // its name now; "" if it was deleted
	Group  bool           `json:"group,omitempty"` // ID is that of a group
	Count  int            `json:"count,omitempty"` // how many more memberships there are of the kind
}

// DifferenceKind is what a [Difference] tells; the set is closed.
type DifferenceKind string

// The kinds of differences.
const (
	DifferenceCreated     DifferenceKind = "created"
	DifferenceDeleted     DifferenceKind = "deleted"
	DifferenceChanged     DifferenceKind = "changed"
	DifferenceUnreadable  DifferenceKind = "unreadable" // the record cannot be read
	DifferenceSuspended   DifferenceKind = "suspended"
	DifferenceUnsuspended DifferenceKind = "unsuspended"
	DifferenceJoined      DifferenceKind = "joined" // the user joined a group, or a member the group
	DifferenceLeft        DifferenceKind = "left"
	DifferenceMore        DifferenceKind = "more" // there are more memberships that began or ended
	DifferenceLost        DifferenceKind = "lost" // the store was replaced by an older one, and changes are lost
)

// Changes are changes of one user or group, the newest first.
type Changes struct {
	Changes []DirectoryChange `json:"changes"`
	Since   time.Time         `json:"since"`          // the history was looked at back to then
	Next    uint64            `json:"next,omitempty"` // what to give as before for earlier ones; 0 if there are none
}

// Changes returns the changes of the user or group with an id that a query is about; at most 1,000, and at least one. The
// user or group may be deleted.
func (a *Admin) Changes(ctx context.Context, _ Actor, id string, q directory.HistoryQuery) (Changes, error) {
	q.Limit = min(max(q.Limit, 1), maxFound)
	h, err := a.directory.History(ctx, id, q)
	if err != nil {
		return Changes{}, err
	}
	out := Changes{Changes: []DirectoryChange{}, Since: h.Since, Next: h.Next}
	for i := range h.Changes {
		if change := a.directoryChange(id, &h.Changes[i]); len(change.What) > 0 {
			out.Changes = append(out.Changes, change)
		}
	}
	return out, nil
}

func (a *Admin) directoryChange(id string, c *directory.Change) DirectoryChange {
	out := DirectoryChange{Revision: c.Revision, Time: c.Time, By: c.By, What: []Difference{}}
	var event audit.Event
	if len(c.Event) > 0 && json.Unmarshal(c.Event, &event) == nil {
		out.Address = event.Actor.Address
		if event.Actor.Kind == audit.ActorToken {
			out.Push = event.Method
		}
	}
	if c.Lost {
		out.What = append(out.What, Difference{Kind: DifferenceLost})
	}
	if c.Record {
		out.What = append(out.What, differences(c.Before, c.After)...)
	}
	if c.Suspension {
		out.What = append(out.What, suspensionDifference(c))
	}
	return a.withMemberships(out, id, c)
}

func suspensionDifference(c *directory.Change) Difference {
	d := Difference{Kind: DifferenceUnsuspended}
	if c.SuspendedBefore != nil {
		d.Before = c.SuspendedBefore.Reason
	}
	if c.Suspended != nil {
		d.Kind, d.After = DifferenceSuspended, c.Suspended.Reason
	}
	return d
}

// withMemberships adds the memberships that began and ended.
func (a *Admin) withMemberships(out DirectoryChange, id string, c *directory.Change) DirectoryChange {
	for _, of := range []struct {
		kind  DifferenceKind
		edges []directory.Edge
		count int
	}{{DifferenceJoined, c.Joined, c.JoinedMembers}, {DifferenceLeft, c.Left, c.LeftMembers}} {
		for _, edge := range of.edges {
			d := Difference{Kind: of.kind, ID: edge.Group, Group: true}
			if edge.Group == id {
				d.ID = edge.Member
				_, isUser := a.directory.ByID(edge.Member)
				_, isGroup := a.directory.GroupByID(edge.Member)
				d.Group = isGroup && !isUser
			}
			if g, ok := a.directory.GroupByID(d.ID); ok {
				d.Name = g.DisplayName
			} else if u, ok := a.directory.ByID(d.ID); ok {
				d.Name = cmp.Or(u.DisplayName, u.UserName)
			}
			out.What = append(out.What, d)
		}
		if more := of.count - len(of.edges); more > 0 {
			out.What = append(out.What, Difference{Kind: DifferenceMore, Field: string(of.kind), Count: more})
		}
	}
	return out
}

// differences returns what differs between two records of one user or group, of which one may be missing.
func differences(before, after json.RawMessage) (list []Difference) {
	was, wasOK := attributesOf(before)
	is, isOK := attributesOf(after)
	switch {
	case !wasOK && !isOK:
		return []Difference{{Kind: DifferenceUnreadable}}
	case !wasOK:
		list = append(list, Difference{Kind: DifferenceCreated})
	case !isOK:
		return []Difference{{Kind: DifferenceDeleted, Before: cmp.Or(was["userName"], was["displayName"])}}
	}
	for _, field := range slices.Sorted(maps.Keys(merged(was, is))) {
		if was[field] != is[field] {
			list = append(list, Difference{Kind: DifferenceChanged, Field: field, Before: was[field], After: is[field]})
		}
	}
	return list
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// attributesOf returns the attributes in a record of the directory as text. ok is false if there is no record.
func attributesOf(record json.RawMessage) (attributes map[string]string, ok bool) {
	if len(record) == 0 {
		return nil, false
	}
	var stored struct {
		ExternalID, UserName, DisplayName string
		Active                            *bool
		Document                          map[string]json.RawMessage
	}
	if json.Unmarshal(record, &stored) != nil {
		return nil, false
	}
	attributes = map[string]string{}
	for name, value := range stored.Document {
		if name == "schemas" {
			continue
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(value, &inner) == nil && inner != nil { // name, and extensions
			for part, value := range inner {
				attributes[shortURN(name)+"."+part] = attributeText(value)
			}
			continue
		}
		attributes[name] = attributeText(value)
	}
	for name, value := range map[string]string{"externalId": stored.ExternalID, "userName": stored.UserName, "displayName": stored.DisplayName} {
		if value != "" {
			attributes[name] = shorten(value)
		}
	}
	if stored.Active != nil {
		attributes["active"] = strconv.FormatBool(*stored.Active)
	}
	return attributes, true
}

// shortURN returns the name of an extension without what all extensions begin with.
func shortURN(name string) string {
	if rest, ok := strings.CutPrefix(name, "urn:ietf:params:scim:schemas:extension:"); ok {
		return rest
	}
	return name
}

// maxAttributeText bounds the value of an attribute in a difference, in bytes.
const maxAttributeText = 300

// attributeText returns a value as text: a string as it is, anything else as JSON.
func attributeText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		var compact bytes.Buffer
		if json.Compact(&compact, value) != nil {
			return ""
		}
		text = compact.String()
	}
	if len(text) <= maxAttributeText {
		return text
	}
	end := maxAttributeText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// String returns the difference as one line of text.
func (d Difference) String() string {
	name := cmp.Or(d.Name, d.ID)
	switch d.Kind {
	case DifferenceChanged:
		return fmt.Sprintf("%s: %s -> %s", d.Field, cmp.Or(d.Before, "(none)"), cmp.Or(d.After, "(none)"))
	case DifferenceSuspended:
		return "suspended: " + d.After
	case DifferenceJoined, DifferenceLeft:
		return string(d.Kind) + " " + name
	case DifferenceMore:
		return fmt.Sprintf("%d more %s", d.Count, d.Field)
	}
	return string(d.Kind)
}
