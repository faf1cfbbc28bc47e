// Package pins remembers which applications people have pinned in the portal.
//
// What is pinned shows nothing and allows nothing: the portal shows an application if its person may open it.
package pins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/store"
)

// The key of this package in the store:
//
//	pins/USER   the routes that a user has pinned, in their order; the directory's id, as text
const prefix = "pins/"

// Max is how many routes one user may pin.
const Max = 50

// ErrTooMany means that the user has pinned as many routes as one may.
var ErrTooMany = errors.New("as many applications are pinned as can be")

var errRecord = errors.New("the record is not what was written")

// record is what the store keeps of a user.
type record struct {
	Routes []string `json:"routes"`
}

// Pins are the pinned routes of all users. Its methods may be called concurrently.
type Pins struct {
	store store.Store
}

// New returns the pins in st.
func New(st store.Store) *Pins { return &Pins{st} }

// Of returns the routes that a user has pinned, in the order in which they were.
func (p *Pins) Of(ctx context.Context, user string) (routes []string, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		routes, err = read(r, user)
		return err
	})
	return routes, err
}

// Pin pins a route. It forgets pinned routes that known does not know. It returns [ErrTooMany] if there is no space for one
// more.
func (p *Pins) Pin(ctx context.Context, user, route string, known func(route string) bool) error {
	return p.change(ctx, user, func(routes []string) ([]string, error) {
		routes = slices.DeleteFunc(routes, func(pinned string) bool { return !known(pinned) })
		switch {
		case slices.Contains(routes, route):
			return routes, nil
		case len(routes) >= Max:
			return nil, ErrTooMany
		}
		return append(routes, route), nil
	})
}

// Unpin undoes [Pins.Pin].
func (p *Pins) Unpin(ctx context.Context, user, route string) error {
	return p.change(ctx, user, func(routes []string) ([]string, error) {
		return slices.DeleteFunc(routes, func(pinned string) bool { return pinned == route }), nil
	})
}

func (p *Pins) change(ctx context.Context, user string, fn func(routes []string) ([]string, error)) error {
	if user == "" || strings.Contains(user, "/") {
		return fmt.Errorf("pinning: %q is not a user's id", user)
	}
	_, err := p.store.Update(ctx, func(w store.Writer) error {
		before, err := read(w, user)
		if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, errRecord) { // what cannot be read is replaced
			return err
		}
		after, err := fn(slices.Clone(before))
		switch {
		case err != nil || slices.Equal(before, after):
			return err
		case len(after) == 0:
			return w.Delete(key(user))
		}
		text, err := json.Marshal(record{after})
		if err != nil {
			return err
		}
		return w.Put(key(user), text)
	})
	return err
}

func key(user string) []byte { return []byte(prefix + user) }

// read returns what a user has pinned; nothing if there is no record.
func read(r store.Reader, user string) ([]string, error) {
	text, err := r.Get(key(user))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return decode(text)
}

func decode(text []byte) ([]string, error) {
	var stored record
	if json.Unmarshal(text, &stored) != nil || len(stored.Routes) == 0 || len(stored.Routes) > Max {
		return nil, errRecord
	}
	return stored.Routes, nil
}

// EndUser deletes what a user has pinned, in the change that deletes the user.
func EndUser(w store.Writer, user string) error { return w.Delete(key(user)) }

// Inspect looks at one record of the store. It reports whether the record belongs to this package, and what is wrong with it.
func Inspect(e store.Entry) (ours bool, err error) {
	user, ours := strings.CutPrefix(string(e.Key), prefix)
	if !ours {
		return false, nil
	}
	if _, err := decode(e.Value); err != nil || user == "" || strings.Contains(user, "/") {
		return true, errRecord
	}
	return true, nil
}
