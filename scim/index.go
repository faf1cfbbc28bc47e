package scim

import (
	"errors"
	"slices"
	"strings"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// lookup is an attribute and a value by which an index finds resources.
type lookup struct{ attribute, value string }

// lookups returns by which lookups indexes find everything that may match: every match has the value of one of them. ok is false
// if no indexes do.
func (p *subquery) lookups() (list []lookup, ok bool) {
	if p.filter == nil {
		return nil, false
	}
	return lookupsIn(p.filter, p.lookup)
}

// lookupsIn returns the lookups of a filter; comparison returns that of a comparison or a value filter.
func lookupsIn(f *schema.Filter, comparison func(*schema.Filter) (lookup, bool)) (list []lookup, ok bool) {
	switch f.Op {
	case "and": // one side suffices
		left, ok := lookupsIn(f.Left, comparison)
		right, rightOK := lookupsIn(f.Right, comparison)
		if !ok || rightOK && len(right) < len(left) {
			return right, rightOK
		}
		return left, true
	case "or":
		left, ok := lookupsIn(f.Left, comparison)
		if !ok {
			return nil, false
		}
		right, ok := lookupsIn(f.Right, comparison)
		return append(left, right...), ok
	case "not":
		return nil, false
	}
	l, ok := comparison(f)
	return []lookup{l}, ok
}

// lookup returns by which value an index finds what matches a comparison.
func (p *subquery) lookup(f *schema.Filter) (l lookup, ok bool) {
	path := f.Path
	if path.Extension != "" {
		return l, false
	}
	isUser := p.resourceType.Name == "User"
	switch name := path.Attribute.Name; {
	case isUser && name == "emails" && f.Op == "[]":
		list, ok := lookupsIn(f.Left, emailLookup)
		if !ok || len(list) != 1 {
			return l, false
		}
		return list[0], true
	case isUser && name == "emails" && path.Compared().Name == "value", name == "id", name == "externalId", name == "displayName", isUser && name == "userName":
		l.value, ok = indexedText(f)
		l.attribute = name
	case !isUser && name == schema.MembersAttribute:
		l.value, ok = f.MemberID()
		l.attribute = name
	}
	return l, ok
}

// emailLookup is lookup within a value filter of emails.
func emailLookup(f *schema.Filter) (lookup, bool) {
	text, ok := indexedText(f)
	return lookup{"emails", text}, ok && f.Path.Attribute.Name == "value"
}

// indexedText returns the text that a value must equal to match, if an index may have it.
func indexedText(f *schema.Filter) (text string, ok bool) {
	text, ok = f.Value.(string)
	return text, ok && f.Op == "eq" && text != "" && directory.Indexed(text)
}

// userIDs returns the ids of the users that lookups find, in order.
func userIDs(tx *directory.Tx, lookups []lookup) (ids []string, err error) {
	for _, l := range lookups {
		found, err := tx.UserIDsBy(l.attribute, l.value)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// groupsBy returns the groups that lookups find, in the order of their ids.
func groupsBy(tx *directory.Tx, lookups []lookup) (groups []directory.Group, err error) {
	for _, l := range lookups {
		var found directory.Group
		var err error
		switch l.attribute {
		case "id":
			found, err = tx.Group(l.value)
		case "displayName":
			found, err = tx.GroupByName(l.value)
		case "externalId":
			found, err = tx.GroupByExternalID(l.value)
		case schema.MembersAttribute:
			list, err := tx.GroupsOf(l.value)
			if err != nil {
				return nil, err
			}
			groups = append(groups, list...)
			continue
		}
		switch {
		case err == nil:
			groups = append(groups, found)
		case !errors.Is(err, directory.ErrNotFound):
			return nil, err
		}
	}
	slices.SortFunc(groups, func(a, b directory.Group) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(groups, func(a, b directory.Group) bool { return a.ID == b.ID }), nil
}

// usesAttribute reports whether a filter uses an attribute.
func usesAttribute(f *schema.Filter, name string) bool {
	return f != nil && (f.Path != nil && f.Path.Attribute.Name == name || usesAttribute(f.Left, name) || f.Op != "[]" && usesAttribute(f.Right, name))
}
