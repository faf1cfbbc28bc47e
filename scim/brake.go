package scim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport/directory"
)

// brake holds deactivations back beyond so many in so long a time: a slip at the
// identity provider must not shut out everybody at once. What is held is
// answered with 503, so the provider tries again; an operator lets it through.
// Its memory is the process's own: a restart begins to count anew.
type brake struct {
	settings Brake

	mu    sync.Mutex // guards what follows
	times []time.Time
	held  map[string]string // users held back, by id: their userName
}

// maxHeld bounds how many held users are remembered by name.
const maxHeld = 1000

// take lets one deactivation of u through, or holds it back until after.
func (b *brake) take(u *directory.User, now time.Time) (ok bool, after time.Duration) {
	if b.settings.Count == 0 || b.settings.Per == 0 {
		return true, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.times = slices.DeleteFunc(b.times, func(t time.Time) bool { return now.Sub(t) >= b.settings.Per })
	if len(b.times) < b.settings.Count {
		b.times = append(b.times, now)
		delete(b.held, u.ID)
		return true, 0
	}
	if len(b.held) < maxHeld {
		b.held[u.ID] = u.UserName
	}
	return false, b.times[0].Add(b.settings.Per).Sub(now)
}

// giveBack undoes a take whose deactivation did not come about.
func (b *brake) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.times) > 0 {
		b.times = b.times[:len(b.times)-1]
	}
}

// heldBack is a deactivation that waits for a human.
type heldBack struct{ after time.Duration }

func (h *heldBack) Error() string {
	return "This deactivation is held: too many came in a short time (scim.max_deactivations). " +
		"Nothing was changed. If they are meant, an operator lets them through with `sallyport scim held release`."
}

// Held lists the userNames of users whose deactivation is held back.
func (s *Server) Held() []string {
	s.brake.mu.Lock()
	defer s.brake.mu.Unlock()
	return slices.Sorted(maps.Values(s.brake.held))
}

// Release lets as many deactivations through again as the settings allow, from
// now on; it returns how many were held back.
func (s *Server) Release() int {
	s.brake.mu.Lock()
	defer s.brake.mu.Unlock()
	n := len(s.brake.held)
	s.brake.times = nil
	clear(s.brake.held)
	return n
}

// deactivation is the brake's hold on one request, whose change may be tried
// more than once.
type deactivation struct {
	server *Server
	taken  bool
}

// of asks the brake, once for the request, whether u may be deactivated.
func (d *deactivation) of(u *directory.User) error {
	if d.taken {
		return nil
	}
	ok, after := d.server.brake.take(u, d.server.now())
	if !ok {
		d.server.log.Warn("a deactivation is held back", "user", u.UserName, "count", d.server.brake.settings.Count, "per", d.server.brake.settings.Per.String())
		return &heldBack{after}
	}
	d.taken = true
	return nil
}

// done gives the brake back what was taken for nothing.
func (d *deactivation) done(err error) {
	if err != nil && d.taken {
		d.server.brake.giveBack()
	}
}

func (h *heldBack) problem() *problem {
	return &problem{http.StatusServiceUnavailable, "", h.Error()}
}

// seconds is for Retry-After: whole, and at least one.
func (h *heldBack) seconds() string { return fmt.Sprint(int(h.after/time.Second) + 1) }
