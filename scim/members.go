package scim

import (
	"fmt"
	"slices"
	"strconv"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// membersChange changes the members of a group within a transaction. It writes single memberships, never the whole
// list, and collects what it did.
type membersChange struct {
	tx             *directory.Tx
	request        *request
	group          string
	added, removed int
	sample         []string // the first members that were concerned, for the record
	unknown        int      // IDs that name no user or group
	shrank         bool     // a replacement removed most of many members
}

// apply applies one PATCH operation on the attribute members.
func (m *membersChange) apply(o schema.Operation) error {
	if o.Path.Sub != nil {
		return invalid("mutability", "A member cannot be changed, only added and removed.")
	}
	if o.Path.Filter != nil {
		if o.Op != "remove" {
			return invalid("invalidPath", "Members are removed by members[value eq \"ID\"], and added and replaced without a filter.")
		}
		ids, err := m.findMembers(o.Path.Filter)
		if err != nil {
			return err
		}
		return m.remove(ids)
	}
	if o.Op == "remove" && !o.HasValue {
		return m.set(nil)
	}
	ids, err := schema.MemberIDs(o.Value, &m.request.quirks)
	if err != nil {
		return err
	}
	switch o.Op {
	case "add":
		return m.add(ids)
	case "replace":
		return m.set(ids)
	}
	m.request.quirks.Add(schema.QuirkRemoveListed)
	return m.remove(ids)
}

// findMembers returns the IDs of the members that a value filter matches.
func (m *membersChange) findMembers(where *schema.Filter) (ids []string, err error) {
	if ids, ok := listedIDs(where); ok {
		return ids, nil
	}
	for member, err := range memberDocuments(m.tx, m.request, m.group) {
		if err != nil {
			return nil, err
		}
		if where.MatchesElement(member) {
			ids = append(ids, member["value"].(string))
		}
	}
	return ids, nil
}

// listedIDs returns the IDs in a filter value eq "a" or value eq "b" …; ok is false for other filters.
func listedIDs(f *schema.Filter) (ids []string, ok bool) {
	if f.Op == "or" {
		left, ok1 := listedIDs(f.Left)
		right, ok2 := listedIDs(f.Right)
		return append(left, right...), ok1 && ok2
	}
	id, ok := f.Value.(string)
	return []string{id}, ok && f.Op == "eq" && f.Path.Attribute.Name == "value"
}

// add makes users and groups members.
func (m *membersChange) add(ids []string) error {
	n, err := m.tx.AddMembers(m.group, ids)
	m.countChanges(ids, n, 0)
	if n < len(ids) {
		err = m.countUnknown(ids, err)
	}
	return err
}

// remove ends memberships.
func (m *membersChange) remove(ids []string) error {
	n, err := m.tx.RemoveMembers(m.group, ids)
	m.countChanges(ids, 0, n)
	return err
}

// set replaces all members.
func (m *membersChange) set(ids []string) error {
	before, err := m.tx.Group(m.group)
	if err != nil {
		return err
	}
	added, removed, err := m.tx.SetMembers(m.group, ids)
	m.countChanges(ids, added, removed)
	m.shrank = m.shrank || before.Members >= manyMembers && 2*removed > before.Members
	if added < len(ids) {
		err = m.countUnknown(ids, err)
	}
	return err
}

// countUnknown counts the IDs that name no user or group; they were ignored. It does nothing if err is not nil.
func (m *membersChange) countUnknown(ids []string, err error) error {
	for _, id := range ids {
		if err != nil {
			return err
		}
		var ok bool
		if _, ok, err = m.tx.Exists(id); err == nil && !ok {
			m.request.quirks.Add(schema.QuirkUnknownMember)
			m.unknown++
		}
	}
	return err
}

// recordedMembers is how many members an audit event names at most.
const recordedMembers = 20

// countChanges adds to what was done, with ids as the members concerned.
func (m *membersChange) countChanges(ids []string, added, removed int) {
	m.added, m.removed = m.added+added, m.removed+removed
	if added+removed > 0 {
		m.sample = append(m.sample, ids[:min(len(ids), max(0, recordedMembers-len(m.sample)))]...)
	}
}

// manyMembers is how many members a group must have before the removal of most of them is logged as a warning.
const manyMembers = 10

// warnAboutMembers logs what may be a mistake at the identity provider.
func (s *Server) warnAboutMembers(m *membersChange) {
	if m.unknown > 0 {
		s.log.Warn("unknown members ignored; they were never pushed", "group", m.group, "count", m.unknown)
	}
	if m.shrank {
		s.log.Warn("group replaced by less than half of its members", "group", m.group, "count", m.removed)
	}
}

// changes describes the change for the provisioning log.
func (m *membersChange) changes() []string {
	if m.added+m.removed == 0 {
		return nil
	}
	return []string{fmt.Sprintf("members +%d -%d", m.added, m.removed)}
}

// detail describes the change for the audit record.
func (m *membersChange) detail() map[string]string {
	detail := map[string]string{}
	if m.added > 0 {
		detail["members_added"] = strconv.Itoa(m.added)
	}
	if m.unknown > 0 {
		detail["members_unknown"] = strconv.Itoa(m.unknown)
	}
	if m.removed > 0 {
		detail["members_removed"] = strconv.Itoa(m.removed)
	}
	for i, id := range slices.Compact(slices.Sorted(slices.Values(m.sample))) {
		detail["member_"+strconv.Itoa(i+1)] = id
	}
	return detail
}
