package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/store"
)

// Hold is a deactivation that the identity provider asked for and that waits for an operator.
type Hold struct {
	ID       string    `json:"id"` // the user's
	UserName string    `json:"userName"`
	Since    time.Time `json:"since"`             // when it was first asked for
	Rejected time.Time `json:"rejected,omitzero"` // when an operator rejected it; zero: undecided
}

// Pending reports whether no operator has decided yet.
func (h Hold) Pending() bool { return h.Rejected.IsZero() }

// readHold returns the hold of a user's deactivation; ok is false if there is none.
func readHold(r store.Reader, user string) (h Hold, ok bool, err error) {
	return readRecord[Hold](r, holdKeys, user)
}

func writeHold(w store.Writer, h Hold) error { return writeRecord(w, holdKeys, h.ID, h) }

// deleteHold removes a user's hold, if there is one.
func deleteHold(w store.Writer, user string) error {
	if _, ok, err := readHold(w, user); err == nil && !ok {
		return nil // nothing is written, so that an unchanged user makes no revision
	}
	return deleteRecord(w, holdKeys, user)
}

// Holds returns every hold, decided or not.
func (p *Provisioning) Holds(ctx context.Context) (holds []Hold, err error) {
	err = p.store.View(ctx, func(r store.Reader) error {
		holds = []Hold{}
		for h, err := range records[Hold](r, holdKeys) {
			if err != nil {
				return err
			}
			holds = append(holds, h)
		}
		return nil
	})
	return holds, err
}

// Waiting returns how many held deactivations no operator has decided about.
func (p *Provisioning) Waiting(ctx context.Context) (int, error) {
	holds, err := p.Holds(ctx)
	return len(pendingHolds(holds)), err
}

// Release carries out the held deactivations of the users named by userName or ID, or all that are undecided if none
// is named. It returns those of the users whom it deactivated. The record of each names the actor who released it.
func (p *Provisioning) Release(ctx context.Context, actor audit.Actor, users []string) ([]Hold, error) {
	return p.decide(ctx, users, func(tx *directory.Tx, h Hold) (released bool, err error) {
		u, err := tx.User(h.ID)
		if err != nil && !errors.Is(err, directory.ErrNotFound) {
			return false, err
		}
		if err == nil {
			if released, err = deactivate(tx, &u, h.Since, actor); err != nil {
				return false, err
			}
		}
		return released, deleteHold(tx.Writer(), h.ID)
	})
}

// deactivate makes u inactive because actor released the deactivation, which is held since a time, and records that. It
// reports whether u was active.
func deactivate(tx *directory.Tx, u *directory.User, since time.Time, actor audit.Actor) (bool, error) {
	if !u.Active {
		return false, nil
	}
	document, err := decodeDocument(u.Document)
	if err != nil {
		return false, err
	}
	document["active"] = false
	if err := setUserDocument(u, document); err != nil {
		return false, err
	}
	if err := tx.PutUser(u); err != nil {
		return false, err
	}
	tx.By(causeOf(actor))
	return true, recordDecision(tx, audit.Event{Actor: actor, Reason: "release", User: u.ID, UserName: u.UserName,
		Detail: leaverDetail(u, map[string]string{"result": "deactivated", "held_since": since.UTC().Format(time.RFC3339Nano)})})
}

// recordDecision stores the event of what an operator did to the directory in the identity provider's place.
func recordDecision(tx *directory.Tx, e audit.Event) error {
	e.Time, e.Kind, e.Revision = tx.Now(), audit.KindSCIM, tx.Revision()
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	return tx.Record(directory.Record{Received: tx.Now(), Event: data})
}

// Reject rejects held deactivations for a day: the users stay active, and the identity provider is told so.
// It chooses them as [Provisioning.Release] does, and returns how many it rejected.
func (p *Provisioning) Reject(ctx context.Context, actor audit.Actor, users []string) (int, error) {
	rejected, err := p.decide(ctx, users, func(tx *directory.Tx, h Hold) (bool, error) {
		h.Rejected = tx.Now()
		return true, errors.Join(writeHold(tx.Writer(), h), recordDecision(tx, audit.Event{Actor: actor, Reason: "reject", User: h.ID, UserName: h.UserName,
			Detail: map[string]string{"held_since": h.Since.UTC().Format(time.RFC3339Nano)}}))
	})
	return len(rejected), err
}

// decide calls f with each chosen hold, in a transaction of its own, and returns those for which f reports true. A hold
// that the identity provider withdrew meanwhile is not decided about.
func (p *Provisioning) decide(ctx context.Context, users []string, f func(*directory.Tx, Hold) (bool, error)) (list []Hold, err error) {
	all, err := p.Holds(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := ChooseHolds(all, users)
	if err != nil {
		return nil, err
	}
	for _, h := range chosen {
		decided := false
		err := p.directory.Update(ctx, func(tx *directory.Tx) error {
			decided = false // the transaction may run again
			_, ok, err := readHold(tx.Writer(), h.ID)
			if err == nil && !ok {
				return nil
			}
			decided, err = f(tx, h)
			return err
		})
		if err != nil {
			return list, fmt.Errorf("deciding about %s: %w", h.UserName, err)
		}
		if decided {
			list = append(list, h)
		}
	}
	return list, nil
}

// ChooseHolds returns the holds of the users named by userName or ID, or the undecided ones if none is named.
func ChooseHolds(all []Hold, users []string) (chosen []Hold, err error) {
	if len(users) == 0 {
		return pendingHolds(all), nil
	}
	for _, name := range users {
		found := false
		for _, h := range all {
			if h.ID == name || strings.EqualFold(h.UserName, name) {
				chosen, found = append(chosen, h), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no deactivation of %q is held; `sallyport scim held list` shows those that are", name)
		}
	}
	return chosen, nil
}

func pendingHolds(all []Hold) (pending []Hold) {
	for _, h := range all {
		if h.Pending() {
			pending = append(pending, h)
		}
	}
	return pending
}
