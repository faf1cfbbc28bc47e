package scim

import (
	"fmt"
	"slices"
	"strconv"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// membersChange changes a group's members within a transaction, edge by edge:
// never the whole.
type membersChange struct {
	tx             *directory.Tx
	request        *request
	group          string
	added, removed int
	sample         []string // the first of those concerned, for the record
	unknown        int      // ids that name nothing
	shrank         bool     // a replacement took most of many members away
}

// apply carries out one operation on members.
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

// found are the ids of the members that a value filter finds.
func (m *membersChange) findMembers(where *schema.Filter) (ids []string, err error) {
	if ids, ok := listedIDs(where); ok {
		return ids, nil
	}
	for one, err := range memberDocuments(m.tx, m.request, m.group) {
		if err != nil {
			return nil, err
		}
		if where.MatchesElement(one) {
			ids = append(ids, one["value"].(string))
		}
	}
	return ids, nil
}

// listedIDs are the ids in value eq "a" or value eq "b" ….
func listedIDs(f *schema.Filter) ([]string, bool) {
	if f.Op == "or" {
		left, ok1 := listedIDs(f.Left)
		right, ok2 := listedIDs(f.Right)
		return append(left, right...), ok1 && ok2
	}
	id, ok := f.Value.(string)
	return []string{id}, ok && f.Op == "eq" && f.Path.Attribute.Name == "value"
}

func (m *membersChange) add(ids []string) error {
	n, err := m.tx.AddMembers(m.group, ids)
	m.countChanges(ids, n, 0)
	if n < len(ids) {
		err = m.countUnknown(ids, err)
	}
	return err
}

func (m *membersChange) remove(ids []string) error {
	n, err := m.tx.RemoveMembers(m.group, ids)
	m.countChanges(ids, 0, n)
	return err
}

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

// noteUnknown counts the ids that name nothing; they were passed over.
func (m *membersChange) countUnknown(ids []string, err error) error {
	for _, id := range ids {
		if err != nil {
			return err
		}
		var exists bool
		if _, exists, err = m.tx.Exists(id); err == nil && !exists {
			m.request.quirks.Add(schema.QuirkUnknownMember)
			m.unknown++
		}
	}
	return err
}

// recordedMembers bounds how many ids a record names.
const recordedMembers = 20

func (m *membersChange) countChanges(ids []string, added, removed int) {
	m.added, m.removed = m.added+added, m.removed+removed
	if added+removed > 0 {
		m.sample = append(m.sample, ids[:min(len(ids), max(0, recordedMembers-len(m.sample)))]...)
	}
}

// manyMembers is from how many members on it is remarked that most of them left.
const manyMembers = 10

// remark tells operators what may be a slip at the identity provider.
func (s *Server) warn(m *membersChange) {
	if m.unknown > 0 {
		s.log.Warn("members that were never pushed were passed over", "group", m.group, "count", m.unknown)
	}
	if m.shrank {
		s.log.Warn("a group was replaced by less than half of it", "group", m.group, "count", m.removed)
	}
}

// changes is for the provisioning log.
func (m *membersChange) changes() []string {
	if m.added+m.removed == 0 {
		return nil
	}
	return []string{fmt.Sprintf("members +%d -%d", m.added, m.removed)}
}

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
