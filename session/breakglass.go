package session

import (
	"context"
	"errors"
	"time"
)

// BeginBreakGlass starts a session for n.User without a login at the provider, in the manner of [Sessions.Begin]. why says
// why an operator allowed it. The session ends at until, or earlier by the lifetime of every session. It has no claim of a
// login: nothing says when or how its user last proved who they are.
func (s *Sessions) BeginBreakGlass(ctx context.Context, n Session, why string, until time.Time) (Session, error) {
	left := time.Until(until) // by the monotonic clock
	if why == "" || left <= 0 {
		return Session{}, errors.New("beginning a break-glass session: it has no reason, or is over")
	}
	latest := until.Round(0).UTC()
	if byClock := s.clock.now().Add(left); byClock.Before(latest) {
		latest = byClock
	}
	return s.begin(ctx, Session{User: n.User, Epoch: n.Epoch, UserName: n.UserName, Address: n.Address, Agent: n.Agent,
		BreakGlass: truncate(why)}, latest)
}

// IsBreakGlass reports whether the session began by a break-glass code, without a login at the provider.
func (s *Session) IsBreakGlass() bool { return s != nil && s.BreakGlass != "" }
