package admin

import (
	"context"
	"errors"
	"slices"

	"sallyport/audit"
	"sallyport/session"
)

// ErrNoSession means that the actor has no such session.
var ErrNoSession = errors.New("you have no such session; it may have ended already")

// OwnSessions returns the valid sessions of the actor.
func (a *Admin) OwnSessions(_ context.Context, actor Actor) ([]Session, error) {
	u, ok := a.userOf(actor)
	if !ok {
		return nil, ErrNoSession
	}
	sessions := []Session{}
	for _, s := range a.sessions.ListUser(u.ID) {
		if s.Epoch == u.Epoch {
			sessions = append(sessions, viewOf(s))
		}
	}
	return sessions, nil
}

// EndOwnSession ends one session of the actor, on every host.
func (a *Admin) EndOwnSession(ctx context.Context, actor Actor, id string) error {
	return a.endOwn(ctx, actor, func(s Session) bool { return s.ID == id })
}

// EndOwnSessions ends every session of the actor but the one with the id except, on every host. It is no error if there is
// none.
func (a *Admin) EndOwnSessions(ctx context.Context, actor Actor, except string) error {
	err := a.endOwn(ctx, actor, func(s Session) bool { return s.ID != except })
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	return err
}

// endOwn records and ends the sessions of the actor that which chooses.
func (a *Admin) endOwn(ctx context.Context, actor Actor, which func(Session) bool) error {
	sessions, err := a.OwnSessions(ctx, actor)
	if err != nil {
		return err
	}
	sessions = slices.DeleteFunc(sessions, func(s Session) bool { return !which(s) })
	if len(sessions) == 0 {
		return ErrNoSession
	}
	events := make([]audit.Event, len(sessions))
	for i, s := range sessions {
		events[i] = audit.Event{Kind: audit.KindEnd, User: s.User, UserName: s.UserName, Session: s.ID, Reason: string(session.ReasonLogout)}
	}
	return a.perform(ctx, actor, action{event: events[0], more: events[1:]}, func(ctx context.Context) error {
		var errs []error
		for _, s := range sessions {
			if err := a.sessions.End(ctx, s.ID, session.ReasonLogout); !errors.Is(err, session.ErrNone) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}
