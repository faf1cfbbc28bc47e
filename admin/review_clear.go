package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

const (
	clearEvery = time.Hour
	clearAgain = 10 * time.Second // after a failure

	clearedAtOnce = 1000 // revocations that are forgotten in one revision
)

// RunReviews records which revocations the identity provider has made needless by removing
// the membership, and deletes reviews that are too old, until ctx ends.
//
// The revocation is cleared by the change that removes the membership (see
// [grant.EndMemberships]). RunReviews clears those that no change did, as after the store of
// an older backup was put in place. Of several replicas, the one that leads does it.
func (a *Admin) RunReviews(ctx context.Context, report func(error)) error {
	var next time.Time // of the look at everything
	for ctx.Err() == nil {
		changed, wait := a.grants.Changed(), clearEvery
		leads, err := a.leads(ctx)
		if !leads {
			wait = sweepEvery
		} else if err == nil {
			err = a.recordCleared(ctx, func(string) bool { return true })
		}
		if now := time.Now(); leads && err == nil && !now.Before(next) {
			err = errors.Join(a.clearEnded(ctx), a.grants.PruneReviews(ctx, now))
			next = now.Add(clearEvery)
		}
		if err != nil && ctx.Err() == nil {
			report(err)
			changed, wait = nil, clearAgain
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

// clearing is what [Admin.recordCleared] does, by one goroutine at a time.
type clearing struct {
	mu       sync.Mutex              // held over I/O; guards recorded
	recorded map[[2]string]time.Time // by user and group: cleared revocations that could not be forgotten, so that they are not recorded again
}

// recordCleared records every revocation that was cleared, of the users for whom is returns true, and then forgets it.
func (a *Admin) recordCleared(ctx context.Context, is func(user string) bool) error {
	c := &a.clearing
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recorded == nil {
		c.recorded = map[[2]string]time.Time{}
	}
	_, cleared := a.grants.Revocations()
	cleared = slices.DeleteFunc(cleared, func(r grant.Revocation) bool { return !is(r.User) })
	for part := range slices.Chunk(cleared, clearedAtOnce) {
		for _, r := range part {
			key := [2]string{r.User, r.Group}
			if c.recorded[key].Equal(r.Cleared) {
				continue
			}
			if err := a.record(System("membership removed"), clearedEvent(r)); err != nil {
				return fmt.Errorf("%w: %w", ErrNotRecorded, err)
			}
			c.recorded[key] = r.Cleared
		}
		if err := a.grants.Forget(ctx, part); err != nil {
			return err
		}
		for _, r := range part {
			delete(c.recorded, [2]string{r.User, r.Group})
		}
	}
	return nil
}

func clearedEvent(r grant.Revocation) audit.Event {
	e := audit.Event{Kind: audit.KindReview, User: r.User, UserName: r.UserName, Group: r.Group, Reason: "cleared",
		Detail: map[string]string{"group": r.Name, "groups": r.Key, "since": r.Since.Format(time.RFC3339), "cleared": r.Cleared.Format(time.RFC3339)}}
	if len(r.Rows) > 0 {
		e.Detail["review"], e.Detail["row"] = r.Rows[0].Review, strconv.Itoa(r.Rows[0].Row)
	}
	return e
}

// clearEnded clears the revocations of memberships that there are not.
func (a *Admin) clearEnded(ctx context.Context) error {
	inForce, _ := a.grants.Revocations()
	for _, r := range inForce {
		var member bool
		if err := a.directory.View(ctx, func(tx *directory.Tx) (err error) { member, err = tx.IsMember(r.Group, r.User); return err }); err != nil || member {
			if err != nil {
				return err
			}
			continue
		}
		err := a.directory.Update(ctx, func(tx *directory.Tx) error {
			if member, err := tx.IsMember(r.Group, r.User); err != nil || member {
				return err
			}
			return grant.EndMemberships(tx.Writer(), r.Group, []string{r.User}, tx.Now())
		})
		if err != nil {
			return err
		}
	}
	return nil
}
