package directory

import (
	"slices"
	"sync"
	"sync/atomic"
)

const enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// Manager returns the id of the user's manager (RFC 7643 §4.3), or "".
func (u *User) Manager() string {
	extension, _ := u.Attributes()[enterpriseURN].(map[string]any)
	manager, _ := extension["manager"].(map[string]any)
	id, _ := manager["value"].(string)
	return id
}

// Manager returns userName and externalId of the manager of the user with an id. It
// returns false if the user has none, or one who was not pushed.
func (d *Directory) Manager(id string) (userName, externalID string, ok bool) {
	return d.index.Load().users.managerOf(id)
}

func (idx *userIndex) managerOf(id string) (userName, externalID string, ok bool) {
	u, ok := idx.find(id)
	if !ok {
		return "", "", false
	}
	manager, ok := idx.find(u.Manager())
	if !ok {
		return "", "", false
	}
	return manager.UserName, manager.ExternalID, true
}

// Manages reports whether the user with an id is the manager of a user whose userName
// or externalId is exactly name.
func (d *Directory) Manages(id, name string) bool { return d.index.Load().users.manages(id, name) }

func (idx *userIndex) manages(id, name string) bool {
	return id != "" && slices.ContainsFunc(idx.named(name), func(report string) bool {
		u, ok := idx.find(report)
		return ok && u.Manager() == id
	})
}

// nameIndex finds the ids of users by userName and externalId. It is empty until it is
// first asked, since most directories never are.
//
// asked is set before the users are read for the index, and read after a user is put:
// so a user who is put meanwhile is either read, or added afterwards.
type nameIndex struct {
	asked atomic.Bool
	mu    sync.RWMutex // guards ids
	ids   map[string][]string
}

// replace takes the names of old out and puts those of new in; each may be nil.
func (n *nameIndex) replace(old, new *User) {
	if !n.asked.Load() || old != nil && new != nil && old.UserName == new.UserName && old.ExternalID == new.ExternalID {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(old)
	n.add(new)
}

func (n *nameIndex) add(u *User) {
	for _, name := range u.names() {
		n.ids[name] = append(n.ids[name], u.ID)
	}
}

func (n *nameIndex) remove(u *User) {
	for _, name := range u.names() {
		rest := slices.DeleteFunc(slices.Clone(n.ids[name]), func(id string) bool { return id == u.ID })
		if n.ids[name] = rest; len(rest) == 0 {
			delete(n.ids, name)
		}
	}
}

// names returns the names by which rules name a user; none for nil.
func (u *User) names() (names []string) {
	if u == nil {
		return nil
	}
	for _, name := range []string{u.UserName, u.ExternalID} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// named returns the ids of the users with a name. It builds the index when it is first
// called.
func (idx *userIndex) named(name string) []string {
	n := &idx.names
	n.mu.RLock()
	ids, built := n.ids[name], n.ids != nil
	n.mu.RUnlock()
	if built {
		return ids
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ids == nil {
		n.asked.Store(true)
		n.ids = map[string][]string{}
		for _, u := range idx.snapshot() {
			n.add(u)
		}
	}
	return n.ids[name]
}
