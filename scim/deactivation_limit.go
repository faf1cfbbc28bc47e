package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/directory"
)

// The brake holds deactivations back beyond so many in so long a time: a slip at
// the identity provider must not shut out everybody at once. What is held is
// answered with 503, so the provider tries again; it waits for a human, however
// long, unless the provider says that the user is active after all. What the
// brake knows is in the store, so a restart loosens nothing.

// rejectionLasts is how long a human's no stands: long enough to mend a mistake at
// the identity provider, short enough not to shield somebody for ever.
const rejectionLifetime = 24 * time.Hour

// mayLeave lets one deactivation of u through, or is a *heldBack.
func (s *Server) checkDeactivation(tx *directory.Tx, u *directory.User) error {
	b, now := s.settings.MaxDeactivations, tx.Now()
	if b.Count == 0 || b.Per == 0 {
		return nil
	}
	switch h, err := tx.Held(u.ID); {
	case err == nil && h.Waiting():
		return &heldError{user: u, after: b.Per}
	case err == nil && now.Sub(h.Rejected) < rejectionLifetime:
		return &heldError{user: u, rejected: true}
	case err != nil && !errors.Is(err, directory.ErrNotFound):
		return err
	}
	n, first, err := tx.Departures(now.Add(-b.Per), b.Count)
	if err != nil {
		return err
	}
	if n >= b.Count {
		return &heldError{user: u, after: first.Add(b.Per).Sub(now)}
	}
	return errors.Join(tx.NoteDeparture(u.ID, now.Add(-b.Per)), tx.DeleteHeld(u.ID))
}

// heldBack is a deactivation that waits for a human, or was rejected by one.
type heldError struct {
	user     *directory.User
	after    time.Duration // when to try again
	rejected bool
}

func (h *heldError) Error() string { return h.problem().detail }

func (h *heldError) problem() *problem {
	if h.rejected {
		return &problem{status: http.StatusConflict, detail: "An operator rejected this deactivation; nothing was changed. " +
			"If it is meant, an operator lets it through with `sallyport scim held release`."}
	}
	return &problem{status: http.StatusServiceUnavailable, detail: "This deactivation is held: too many came in a short time (scim.max_deactivations). " +
		"Nothing was changed. If they are meant, an operator lets them through with `sallyport scim held release`."}
}

// seconds is for Retry-After: whole, and at least one.
func (h *heldError) seconds() string { return fmt.Sprint(int(h.after/time.Second) + 1) }

// hold keeps what an error says is held, so that a human can decide about it.
func (s *Server) recordHold(ctx context.Context, err error) {
	var h *heldError
	if !errors.As(err, &h) || h.rejected {
		return
	}
	err = s.directory.Update(ctx, func(tx *directory.Tx) error {
		had, err := tx.Held(h.user.ID)
		switch {
		case err == nil && had.Waiting():
			return nil
		case err != nil && !errors.Is(err, directory.ErrNotFound):
			return err
		}
		return tx.PutHeld(directory.Held{ID: h.user.ID, UserName: h.user.UserName, Since: tx.Now()})
	})
	if err != nil {
		s.log.Error("a held deactivation was not written down", "user", h.user.ID, "err", err)
		return
	}
	s.log.Warn("a deactivation is held back", "user", h.user.ID, "count", s.settings.MaxDeactivations.Count, "per", s.settings.MaxDeactivations.Per.String())
}

// Held lists what waits for a human or was rejected by one.
func Held(ctx context.Context, d *directory.Directory) (list []directory.Held, err error) {
	err = d.View(ctx, func(tx *directory.Tx) error {
		list = []directory.Held{}
		for h, err := range tx.AllHeld() {
			if err != nil {
				return err
			}
			list = append(list, h)
		}
		return nil
	})
	return list, err
}

// Release carries held deactivations out, of the users named by userName or id,
// or of all; it returns how many.
func Release(ctx context.Context, d *directory.Directory, users []string) (int, error) {
	return decide(ctx, d, users, func(tx *directory.Tx, h directory.Held) error {
		u, err := tx.User(h.ID)
		if errors.Is(err, directory.ErrNotFound) {
			return tx.DeleteHeld(h.ID)
		}
		if err != nil {
			return err
		}
		return errors.Join(deactivate(tx, &u), tx.DeleteHeld(h.ID))
	})
}

// deactivate makes u inactive by an operator's word.
func deactivate(tx *directory.Tx, u *directory.User) error {
	if !u.Active {
		return nil
	}
	document, err := decodeDocument(u.Document)
	if err != nil {
		return err
	}
	document["active"] = false
	if err := setUserDocument(u, document); err != nil {
		return err
	}
	if err := tx.PutUser(u); err != nil {
		return err
	}
	event, err := json.Marshal(audit.Event{Time: tx.Now(), Kind: audit.KindSCIM, Reason: "release", Revision: tx.Revision(),
		User: u.ID, UserName: u.UserName, Detail: map[string]string{"result": "deactivated"}})
	if err != nil {
		return err
	}
	return tx.Record(directory.Record{Received: tx.Now(), Event: event})
}

// Reject refuses held deactivations for a day: the users stay active, and the
// identity provider is told so.
func Reject(ctx context.Context, d *directory.Directory, users []string) (int, error) {
	return decide(ctx, d, users, func(tx *directory.Tx, h directory.Held) error {
		h.Rejected = tx.Now()
		return tx.PutHeld(h)
	})
}

// decide does f with what is held of users, each in a transaction of its own
// where it is recorded.
func decide(ctx context.Context, d *directory.Directory, users []string, f func(*directory.Tx, directory.Held) error) (n int, err error) {
	all, err := Held(ctx, d)
	if err != nil {
		return 0, err
	}
	chosen, err := choose(all, users)
	if err != nil {
		return 0, err
	}
	for _, h := range chosen {
		err := d.Update(ctx, func(tx *directory.Tx) error {
			if _, err := tx.Held(h.ID); errors.Is(err, directory.ErrNotFound) {
				return nil // withdrawn meanwhile
			}
			return f(tx, h)
		})
		if err != nil {
			return n, fmt.Errorf("deciding about %s: %w", h.UserName, err)
		}
		n++
	}
	return n, nil
}

// heldCount is how many deactivations nobody decided about yet.
func (s *Server) heldCount() float64 {
	all, err := Held(context.Background(), s.directory)
	if err != nil {
		return math.NaN()
	}
	waiting, _ := choose(all, nil)
	return float64(len(waiting))
}

// choose is those of all that users name; no users: all that nobody decided yet.
func choose(all []directory.Held, users []string) (chosen []directory.Held, err error) {
	if len(users) == 0 {
		for _, h := range all {
			if h.Waiting() {
				chosen = append(chosen, h)
			}
		}
		return chosen, nil
	}
	for _, name := range users {
		found := false
		for _, h := range all {
			if h.ID == name || strings.EqualFold(h.UserName, name) {
				chosen, found = append(chosen, h), true
			}
		}
		if !found {
			return nil, fmt.Errorf("nothing is held of %q; `sallyport scim held list` shows what is", name)
		}
	}
	return chosen, nil
}
