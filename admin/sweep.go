package admin

import (
	"context"
	"errors"
	"time"

	"sallyport/audit"
	"sallyport/grant"
	"sallyport/store"
)

const sweepEvery = time.Minute

// Run ends the requests and grants whose time is over or whose person left, and deletes old ones, until ctx ends or the
// store is closed. Nothing depends on it but lists, metrics and the record: a request or grant that has not been swept
// counts for nothing either. Of several replicas, the one that leads does it:
// the record tells of each end once.
func (a *Admin) Run(ctx context.Context) error {
	tick, recorded := time.NewTicker(sweepEvery), map[string]bool{}
	defer tick.Stop()
	for {
		leads, err := a.leads(ctx)
		if err == nil && leads {
			err = a.sweep(ctx, recorded)
		}
		if errors.Is(err, store.ErrClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C: // what failed is tried again
		}
	}
}

// sweep records what is due, and then stores that it ended. After a crash between both, it is recorded twice. recorded has
// the ids of what was recorded and not stored, as on a full disk, which must not fill the record too.
func (a *Admin) sweep(ctx context.Context, recorded map[string]bool) error {
	for {
		now := time.Now().UTC()
		due := a.grants.Due(now, a.isAlive)
		if err := a.directory.Fresh(); err != nil {
			return err
		}
		if due.Empty() {
			return a.grants.Prune(ctx, now)
		}
		if err := a.recordDue(due, recorded); err != nil {
			return err
		}
		if err := a.grants.Sweep(ctx, due, now); err != nil {
			return err
		}
		clear(recorded)
		for _, requests := range [][]grant.Request{due.Expired, due.Abandoned} {
			for _, r := range requests {
				r.State = grant.StateExpired
				a.notifyRequest(NoticeRequestDecided, r)
			}
		}
	}
}

// recordDue writes the events of what is due and was not recorded before.
func (a *Admin) recordDue(due grant.Due, recorded map[string]bool) error {
	record := func(cause, id string, event audit.Event) error {
		if recorded[id] {
			return nil
		}
		err := a.record(System(cause), event)
		recorded[id] = err == nil
		return err
	}
	const byTime = "time"
	for cause, requests := range map[string][]grant.Request{byTime: due.Expired, grant.EndedByLeaving: due.Abandoned} {
		for _, r := range requests {
			if err := record(cause, r.ID, requestEvent(r, string(grant.StateExpired), "", 0)); err != nil {
				return err
			}
		}
	}
	for cause, grants := range map[string][]grant.Grant{byTime: due.Ended, grant.EndedByLeaving: due.Dead} {
		reason := GrantEnded
		if cause != byTime {
			reason = GrantDead
		}
		for _, g := range grants {
			if err := record(cause, g.ID, grantEvent(g, string(reason))); err != nil {
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
