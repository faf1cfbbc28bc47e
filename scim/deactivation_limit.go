package scim

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// The deactivation limit (in the documentation: the brake) holds deactivations beyond a number in a time, so that a
// mistake at the identity provider does not lock out everybody at once. A held deactivation is rejected with 503, so
// that the identity provider tries again. It stays held until an operator decides, or the identity provider says that
// the user is active after all. Its state is in the store, so a restart does not reset the limit.

// rejectionLifetime is how long a rejection holds: long enough to correct a mistake at the identity provider, short
// enough that it does not keep a user active for ever.
const rejectionLifetime = 24 * time.Hour

// checkDeactivation counts a deactivation of u and allows it, or returns a *heldError.
func (s *Server) checkDeactivation(tx *directory.Tx, u *directory.User) error {
	limit, now, w := s.settings.MaxDeactivations, tx.Now(), tx.Writer()
	if limit.Count == 0 || limit.Per == 0 {
		return nil
	}
	switch h, ok, err := readHold(w, u.ID); {
	case err != nil:
		return err
	case ok && h.Pending():
		return &heldError{user: u, after: limit.Per}
	case ok && now.Sub(h.Rejected) < rejectionLifetime:
		return &heldError{user: u, rejected: true}
	}
	n, first, err := countDeactivations(w, now.Add(-limit.Per), limit.Count)
	if err != nil {
		return err
	}
	if n >= limit.Count {
		return &heldError{user: u, after: first.Add(limit.Per).Sub(now)}
	}
	return errors.Join(logDeactivation(w, u.ID, now, now.Add(-limit.Per)), deleteHold(w, u.ID))
}

// countDeactivations counts the logged deactivations from since on, up to limit, and returns when the first was.
func countDeactivations(r store.Reader, since time.Time, limit int) (n int, first time.Time, err error) {
	for e, err := range r.Scan([]byte(deactivationKeys), deactivationKey(since, "")) {
		if err != nil {
			return n, first, err
		}
		if n == 0 {
			first = deactivationTime(e.Key)
		}
		if n++; n >= limit {
			break
		}
	}
	return n, first, nil
}

// expiredAtOnce is how many old entries of the deactivation log are deleted with each new one.
const expiredAtOnce = 4

// logDeactivation logs that a user is deactivated now, and deletes a few entries from before since.
func logDeactivation(w store.Writer, user string, now, since time.Time) error {
	var expired [][]byte
	for e := range w.Scan([]byte(deactivationKeys), nil) {
		if len(expired) == expiredAtOnce || string(e.Key) >= string(deactivationKey(since, "")) {
			break
		}
		expired = append(expired, e.Key)
	}
	for _, key := range expired {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	return w.Put(deactivationKey(now, user), nil)
}

// heldError is a deactivation that is held for an operator, or that an operator rejected.
type heldError struct {
	user     *directory.User
	after    time.Duration // when to try again
	rejected bool
}

func (h *heldError) Error() string { return h.problem().detail }

// How the details of the responses about held deactivations begin. Entries of the provisioning log have them.
const (
	heldBegin     = "This deactivation is held"
	rejectedBegin = "An operator rejected this deactivation"
)

func (h *heldError) problem() *problem {
	if h.rejected {
		return &problem{status: http.StatusConflict, detail: rejectedBegin + "; nothing was changed. " +
			"If it is meant, an operator lets it through with `sallyport scim held release`."}
	}
	return &problem{status: http.StatusServiceUnavailable, detail: heldBegin + ": too many were asked for in a short time (scim.max_deactivations). " +
		"Nothing was changed. If they are meant, an operator lets them through with `sallyport scim held release`."}
}

// retryAfter returns the value of the Retry-After header: whole seconds, at least one.
func (h *heldError) retryAfter() string { return strconv.Itoa(int(h.after/time.Second) + 1) }

// recordHold stores the hold that err, from a handler, tells of. The handler's own transaction was rolled back.
func (s *Server) recordHold(req *request, err error) {
	var held *heldError
	if !errors.As(err, &held) || held.rejected {
		return
	}
	u := held.user
	err = s.directory.Update(req.Context(), func(tx *directory.Tx) error {
		old, ok, err := readHold(tx.Writer(), u.ID)
		if err != nil || ok && old.Pending() {
			return err
		}
		store.Urgent(tx.Writer())
		hold := Hold{ID: u.ID, UserName: u.UserName, Since: tx.Now()}
		return errors.Join(writeHold(tx.Writer(), hold), s.recordEvent(tx, req, change{operation: "held", user: u}))
	})
	if err != nil {
		s.log.Error("held deactivation not stored", "user", u.ID, "err", err)
		return
	}
	s.log.Warn("deactivation held", "user", u.ID, "count", s.settings.MaxDeactivations.Count, "per", s.settings.MaxDeactivations.Per.String())
}

// pendingHoldCount is the value of the metric of held deactivations; NaN if the store cannot be read.
func (s *Server) pendingHoldCount() float64 {
	n, err := s.provisioning.Waiting(context.Background())
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}
