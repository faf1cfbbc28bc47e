package notice

import (
	"time"

	"sallyport/admin"
	"sallyport/audit"
)

// holds are the deactivations that were held since the last event.
type holds struct {
	Held
	first time.Time // when the first of them was heard of
	told  time.Time // when the last event was
}

// add notes that a deactivation is held.
func (h *holds) add(user admin.NoticeUser, actor audit.Actor, since, now time.Time) {
	switch len(h.Users) {
	case 0:
		h.first, h.Since, h.Actor = now, since, actor
	case maxNamed:
		h.More++
		return
	}
	h.Users = append(h.Users, user)
}

// due returns the event to tell at now, or nil if there is none: shortly after the first deactivation was held, and a
// pause after the last event.
func (h *holds) due(now time.Time, everything bool) *Held {
	if len(h.Users) == 0 || !everything && (now.Sub(h.first) < settle || now.Sub(h.told) < pause) {
		return nil
	}
	held := h.Held
	h.Held, h.told = Held{}, now
	return &held
}
