// Package touched says whose live requests may have another outcome since somebody last looked.
//
// What must hold: whatever decisions read of the directory, the sessions, the grants and the keys of the provider, a change
// of it is either told by naming those whom it is about, or by saying that it may be about anybody. Design 022 has the
// table of facts.
package touched

import (
	"slices"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/proxy/internal/liveset"
	"sallyport/session"
)

// Reader reads what its sources tell of changes, each change once. One goroutine at a time may use it.
type Reader struct {
	directory *directory.Directory
	sessions  *session.Sessions
	grants    *grant.Grants

	seen struct{ directory, sessions, grants uint64 } // positions in what each of them tells
	keys <-chan struct{}                              // closed if keys of the provider were withdrawn since; nil: not known
}

// NewReader returns a Reader to which every change is new. grants may be nil.
func NewReader(d *directory.Directory, s *session.Sessions, g *grant.Grants) *Reader {
	return &Reader{directory: d, sessions: s, grants: g}
}

// Read returns the subjects that were touched by what has changed since the last Read, or false if it may be any. Whoever
// then looks at memory sees all these changes. related are the users, by userName or externalId, on whom decisions about
// others depend; keys returns a channel that is closed when keys of the provider in force are withdrawn.
func (r *Reader) Read(related map[string]bool, keys func() <-chan struct{}) (subjects map[liveset.Subject]bool, known bool) {
	var users []directory.Touched
	var ended, granted []string
	var named [3]bool
	withdrawn := r.withdrawn(keys)
	users, r.seen.directory, named[0] = r.directory.Touched(r.seen.directory)
	ended, r.seen.sessions, named[1] = r.sessions.Touched(r.seen.sessions)
	granted, r.seen.grants, named[2] = r.grants.Touched(r.seen.grants)
	if withdrawn || slices.Contains(named[:], false) || slices.ContainsFunc(users, func(t directory.Touched) bool { return t.Named(related) }) {
		return nil, false
	}
	subjects = map[liveset.Subject]bool{}
	for i := range users {
		add(subjects, users[i].ID, users[i].Names[:]...)
	}
	for _, id := range slices.Concat(ended, granted) {
		add(subjects, id)
		// Tokens are of whoever has their key now. If the user has just lost it, the directory tells of that itself.
		if u, ok := r.directory.ByID(id); ok {
			add(subjects, id, u.UserName, u.ExternalID)
		}
	}
	return subjects, true
}

// add adds a user by id, and whoever has one of names, of which "" is none.
func add(subjects map[liveset.Subject]bool, id string, names ...string) {
	subjects[liveset.User(id)] = true
	for _, name := range names {
		subjects[liveset.Named(name)] = true
	}
}

// ReadAll reads everything and returns nothing of it, for whoever looks at everybody anyway. The provider may have been
// replaced.
func (r *Reader) ReadAll(keys func() <-chan struct{}) {
	r.keys = nil
	r.Read(nil, keys)
}

// withdrawn reports whether keys of the provider may have been withdrawn since it was called last.
func (r *Reader) withdrawn(keys func() <-chan struct{}) bool {
	select {
	case <-r.keys: // blocks if it is nil
	default:
		if r.keys != nil {
			return false
		}
	}
	r.keys = keys()
	return true
}
