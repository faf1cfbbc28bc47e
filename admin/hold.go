package admin

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sallyport/audit"
	"sallyport/scim"
)

// Hold is a held deactivation as operators see it.
type Hold struct {
	ID       string     `json:"id"` // the user's
	UserName string     `json:"userName"`
	Since    time.Time  `json:"since"`
	Rejected *time.Time `json:"rejected"` // nil: undecided
}

// Holds returns the held deactivations, and those that were rejected lately.
func (a *Admin) Holds(ctx context.Context, _ Actor) ([]Hold, error) {
	stored, err := a.provisioning.Holds(ctx)
	holds := make([]Hold, 0, len(stored))
	for _, h := range stored {
		holds = append(holds, Hold{h.ID, h.UserName, h.Since, timeOrNil(h.Rejected)})
	}
	return holds, err
}

// Release carries out the held deactivations of users, each a userName or an id, or of all users if none is named. It
// returns how many there were.
func (a *Admin) Release(ctx context.Context, actor Actor, users []string) (released int, err error) {
	todo := holdAction("released", users)
	var holds []scim.Hold
	todo.changes = func() (events []audit.Event) {
		for _, h := range holds {
			events = append(events, audit.Event{Kind: audit.KindSCIM, Reason: "release", User: h.ID, UserName: h.UserName})
		}
		return events
	}
	err = a.perform(ctx, actor, todo, func(ctx context.Context) (err error) {
		holds, err = a.provisioning.Release(ctx, actor, users)
		return err
	})
	return len(holds), err
}

// Reject rejects held deactivations for a day, of the same users as [Admin.Release] would: they stay active. If one of them
// is the actor's own, the error is [ErrOwnHold], and nothing was done.
func (a *Admin) Reject(ctx context.Context, actor Actor, users []string) (rejected int, err error) {
	todo := holdAction("rejected", users)
	todo.adds = true
	if actor.Kind == audit.ActorUser {
		if users, err = a.othersHeld(ctx, actor, users); err != nil || len(users) == 0 {
			return 0, err
		}
	}
	err = a.perform(ctx, actor, todo, func(ctx context.Context) (err error) {
		rejected, err = a.provisioning.Reject(ctx, actor, users)
		return err
	})
	return rejected, err
}

// namedInDetail bounds how many users an event names. The event of each deactivation names its user.
const namedInDetail = 20

func holdAction(decision string, users []string) action {
	detail := map[string]string{"users": "all"}
	if len(users) > 0 {
		detail["users"] = strconv.Itoa(len(users))
		for i, user := range users[:min(len(users), namedInDetail)] {
			detail["user_"+strconv.Itoa(i+1)] = user
		}
	}
	return action{event: audit.Event{Kind: audit.KindSCIM, Reason: "held deactivations " + decision, Detail: detail}}
}

// ProvisioningLog returns the newest n entries of the provisioning log, the newest first: of all entries, or of the
// pushes that were refused.
func (a *Admin) ProvisioningLog(ctx context.Context, _ Actor, n int, refused bool) ([]scim.LogEntry, error) {
	if n < 1 {
		return nil, errors.New("the number of entries must be 1 or more")
	}
	if !refused {
		return a.provisioning.Log(ctx, n)
	}
	entries, err := a.provisioning.Log(ctx, math.MaxInt)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e scim.LogEntry) bool { return e.Code < http.StatusBadRequest })
	return entries[:min(n, len(entries))], nil
}
