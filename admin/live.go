package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sallyport/audit"
	"sallyport/live"
)

// LiveRequests are the live requests of every replica.
type LiveRequests struct {
	List  func(context.Context, live.Filter) live.List                              // nil if no server runs
	Lists func(context.Context, []live.Filter) []live.List                          // of each filter; nil if no server runs
	End   func(context.Context, live.Filter, Actor) (ended int, unreached []string) // nil if no server runs
}

// errNoUser means that live requests were to be ended, and not said whose.
var errNoUser = errors.New("say whose live requests are to be ended")

// Live returns live requests of every replica. Replicas that did not say theirs in time are named in the list.
func (a *Admin) Live(ctx context.Context, _ Actor, f live.Filter) (live.List, error) {
	if a.live.List == nil {
		return live.List{}, ErrNoServer
	}
	list := a.live.List(ctx, f)
	if list.Requests == nil {
		list.Requests = []live.Request{}
	}
	return list, nil
}

// EndLive ends one live request, whichever replica serves it. Another one like it may be let in: whoever shall not come back
// is suspended.
func (a *Admin) EndLive(ctx context.Context, actor Actor, id string) error {
	list, err := a.Live(ctx, actor, live.Filter{ID: id, Limit: 1})
	switch {
	case err != nil:
		return err
	case id == "" || len(list.Requests) == 0:
		return fmt.Errorf("no live request has the number %q: it has ended, or never was; `sallyport live list` shows them%s", id, unreachedText(list.Missing))
	}
	r := list.Requests[0]
	e := audit.Event{Kind: audit.KindLive, Reason: "one", Request: r.ID, Route: r.Route, User: r.User, UserName: r.UserName, Session: r.Session}
	_, err = a.endLive(ctx, actor, e, live.Filter{ID: id})
	return err
}

// EndUserLive ends every live request of the user with this id or, by app: and its client ID, of an application, and returns
// how many there were. Replicas that cannot be reached are an error; what the others had is ended.
func (a *Admin) EndUserLive(ctx context.Context, actor Actor, user string) (ended int, err error) {
	switch {
	case user == "":
		return 0, errNoUser
	case a.live.End == nil:
		return 0, ErrNoServer
	}
	e := audit.Event{Kind: audit.KindLive, Reason: "all", User: user}
	if u, ok := a.directory.ByID(user); ok {
		e.UserName = u.UserName
	} else if strings.HasPrefix(user, appPrefix) {
		e.User, e.UserName = "", user
	}
	return a.endLive(ctx, actor, e, live.Filter{User: user})
}

// appPrefix begins the name of an application where users have their userName.
const appPrefix = "app:"

func (a *Admin) endLive(ctx context.Context, actor Actor, e audit.Event, f live.Filter) (ended int, err error) {
	err = a.perform(ctx, actor, action{event: e, local: true}, func(ctx context.Context) error {
		var unreached []string
		if ended, unreached = a.live.End(ctx, f, actor); len(unreached) > 0 {
			return fmt.Errorf("%d ended; try again%s", ended, unreachedText(unreached))
		}
		return nil
	})
	return ended, err
}

// unreachedText names replicas that did not reply.
func unreachedText(replicas []string) string {
	if len(replicas) == 0 {
		return ""
	}
	return "; these replicas did not say whether they have it: " + strings.Join(replicas, ", ")
}
