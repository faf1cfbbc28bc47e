package directory

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/store/plainjson"
)

// Group is a group that the identity provider pushed.
type Group struct {
	ID          string          `json:"id"`
	ExternalID  string          `json:"externalId,omitempty"`
	DisplayName string          `json:"displayName"`
	Document    json.RawMessage `json:"document,omitempty"` // the SCIM resource without id, meta and members
	Members     int             `json:"members"`            // how many direct members it has
	Version     uint64          `json:"version"`
	Created     time.Time       `json:"created"`
	Modified    time.Time       `json:"modified"`

	damaged bool
	search  string // its names, as memory has it: see searchText
}

// Member is a direct member of a group: a user or another group. The members of that
// other group are not members of the first.
type Member struct {
	ID      string
	IsGroup bool
}

// newGroup returns the group at id as memory has it: without its document. If the
// record cannot be read, the group is damaged, and so are the users in it.
func newGroup(id string, record []byte, err error) *Group {
	g := &Group{}
	if err == nil {
		err = decodeGroup(record, g)
	}
	if err != nil {
		g = &Group{ID: id, damaged: true}
	}
	g.search = g.searchText()
	return g
}

// decodeGroup decodes a stored group, but for its document.
func decodeGroup(record []byte, g *Group) error {
	if g.readPlain(record) {
		return nil
	}
	*g = Group{}
	err := json.Unmarshal(record, g)
	g.Document = nil
	return err
}

// readPlain reads a group as nearly all are stored, as that of a [User] does.
func (g *Group) readPlain(record []byte) bool {
	object := plainjson.New(record)
	for name, ok := object.Next(); ok; name, ok = object.Next() {
		switch string(name) {
		case "id":
			g.ID = string(object.Text())
		case "externalId":
			g.ExternalID = string(object.Text())
		case "displayName":
			g.DisplayName = string(object.Text())
		case "document":
			object.Object()
		case "members":
			n := object.Uint()
			if n > math.MaxInt {
				return false
			}
			g.Members = int(n)
		case "version":
			g.Version = object.Uint()
		case "created":
			g.Created = object.Time()
		case "modified":
			g.Modified = object.Time()
		default:
			return false
		}
	}
	return object.End()
}

// sameForDecisions reports whether a and b are equal in what decisions read of a
// group.
func sameForDecisions(a, b *Group) bool {
	return a.ExternalID == b.ExternalID && a.DisplayName == b.DisplayName && a.damaged == b.damaged
}

func sortGroups(groups []*Group) {
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(strings.Compare(a.ExternalID, b.ExternalID), strings.Compare(a.ID, b.ID))
	})
}
