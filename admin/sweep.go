package admin

import (
	"context"
	"errors"
	"time"

	"sallyport/grant"
	"sallyport/store"
)

const sweepEvery = time.Minute

// Run ends the requests and grants whose time is over or whose person left, and deletes old ones, until ctx ends or the
// store is closed. Nothing depends on it but lists, metrics and the record: a request or grant that has not been swept
// counts for nothing either.
func (a *Admin) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := a.sweep(ctx); errors.Is(err, store.ErrClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C: // what failed is tried again
		}
	}
}

// sweep records what is due, and then stores that it ended. After a crash between both, it is recorded twice.
func (a *Admin) sweep(ctx context.Context) error {
	for {
		now := time.Now().UTC()
		due := a.grants.Due(now, a.isAlive)
		if err := a.directory.Fresh(); err != nil {
			return err
		}
		if due.Empty() {
			return a.grants.Prune(ctx, now)
		}
		if err := a.recordDue(due); err != nil {
			return err
		}
		if err := a.grants.Sweep(ctx, due, now); err != nil {
			return err
		}
		for _, requests := range [][]grant.Request{due.Expired, due.Abandoned} {
			for _, r := range requests {
				r.State = grant.StateExpired
				a.notifyRequest(NoticeRequestDecided, r)
			}
		}
	}
}

// recordDue writes the events of what is due.
func (a *Admin) recordDue(due grant.Due) error {
	byTime, left := System("time"), System(grant.EndedByLeaving)
	for actor, requests := range map[Actor][]grant.Request{byTime: due.Expired, left: due.Abandoned} {
		for _, r := range requests {
			if err := a.record(actor, requestEvent(r, string(grant.StateExpired), "", 0)); err != nil {
				return err
			}
		}
	}
	for reason, grants := range map[GrantState][]grant.Grant{GrantEnded: due.Ended, GrantDead: due.Dead} {
		actor := byTime
		if reason == GrantDead {
			actor = left
		}
		for _, g := range grants {
			if err := a.record(actor, grantEvent(g, string(reason))); err != nil {
				return err
			}
		}
	}
	return nil
}

// isAlive reports whether a person is still the same user, who was not suspended or deactivated since. A user whose record
// is damaged may use nothing, but may be repaired.
func (a *Admin) isAlive(p grant.Person) bool {
	u, ok := a.directory.ByID(p.ID)
	return ok && (u.Damaged || u.Epoch == p.Epoch)
}
