package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/audit"
	"sallyport/session"
)

// Session is a session as operators see it.
type Session struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	UserName string    `json:"userName"`
	Address  string    `json:"address"`
	Agent    string    `json:"agent"` // the User-Agent at the sign-in
	Began    time.Time `json:"began"`
	Used     time.Time `json:"used"`
	Expires  time.Time `json:"expires"`

	BreakGlass string `json:"breakGlass,omitempty"` // why an operator allowed it without a login; "" for any other session
}

// Sessions returns every valid session. A session of a user who was deactivated or suspended since is not valid.
func (a *Admin) Sessions(context.Context, Actor) ([]Session, error) {
	sessions := []Session{}
	for _, s := range a.sessions.List() {
		if u, ok := a.directory.ByID(s.User); !ok || !u.Active || u.Epoch != s.Epoch {
			continue
		}
		sessions = append(sessions, viewOf(s))
	}
	return sessions, nil
}

func viewOf(s session.Session) Session {
	return Session{s.ID, s.User, s.UserName, s.Address, s.Agent, s.Began, s.Used, s.Expires, s.BreakGlass}
}

// EndSession ends one session, on every host.
func (a *Admin) EndSession(ctx context.Context, actor Actor, id string) error {
	live, err := a.sessions.Live(id)
	if errors.Is(err, session.ErrStopped) {
		return err
	} else if err != nil {
		return fmt.Errorf("no live session has the id %q; `sallyport sessions list` shows them", id)
	}
	e := audit.Event{Kind: audit.KindEnd, User: live.User, UserName: live.UserName, Session: id, Reason: string(session.ReasonOperator)}
	return a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		return a.sessions.End(ctx, id, session.ReasonOperator)
	})
}

// EndUserSessions ends every session of the user with this id, on every host, and returns how many there were.
func (a *Admin) EndUserSessions(ctx context.Context, actor Actor, user string) (ended int, err error) {
	e := audit.Event{Kind: audit.KindEnd, User: user, Reason: string(session.ReasonOperator)}
	if u, ok := a.directory.ByID(user); ok {
		e.UserName = u.UserName
	}
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) (err error) {
		ended, err = a.sessions.EndUser(ctx, user, session.ReasonOperator)
		return err
	})
	return ended, err
}
