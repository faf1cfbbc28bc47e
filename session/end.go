package session

import (
	"context"
	"errors"
	"fmt"

	"sallyport/store"
)

// End ends one session, on every host. It returns once Read and Live report the end. A session that has ended
// already, or that is unknown, is [ErrNone].
func (s *Sessions) End(ctx context.Context, id string, reason Reason) error {
	e := s.entry(id)
	if e == nil {
		return ErrNone
	}
	ended := false
	err := s.update(ctx, func(w store.Writer) error {
		ended = false
		r, err := readRecord(w, e.record.Load().User, id)
		switch {
		case err != nil:
			return err
		case r.Reason != "":
			return nil
		}
		ended = true
		store.Urgent(w)
		return s.end(w, r, reason)
	})
	switch {
	case errors.Is(err, ErrNone):
		return ErrNone
	case err != nil:
		return fmt.Errorf("ending session %s: %w", id, err)
	case !ended:
		return ErrNone
	}
	s.count(reason, id)
	return nil
}

// EndUser ends every session of a user and returns how many there were.
func (s *Sessions) EndUser(ctx context.Context, user string, reason Reason) (n int, err error) {
	var ended []string
	err = s.update(ctx, func(w store.Writer) error {
		ended = nil
		store.Urgent(w)
		records, err := recordsOf(w, user)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Reason != "" {
				continue
			}
			ended = append(ended, r.ID)
			if err := s.end(w, r, reason); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ending the sessions of user %s: %w", user, err)
	}
	s.count(reason, ended...)
	return len(ended), nil
}

// EndWithUsers ends, for List and for the metrics, the sessions for which ended reports that their user ended since they
// began. Their records stay as they are: whoever decides about requests denies these sessions already, and says why.
// Without count, they are not counted in the metrics: they ended before the server started.
func (s *Sessions) EndWithUsers(ended func(*Session) bool, count bool) {
	for _, e := range s.markEnded(ended) {
		if count {
			s.ended.WithLabelValues(string(ReasonUser)).Inc()
			s.tell(e)
		}
	}
}

// markEnded marks the sessions for which ended reports true as counted, and returns those that were not.
func (s *Sessions) markEnded(ended func(*Session) bool) (marked []*entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for e := range s.memory.each() {
		r := e.record.Load()
		if r.Reason == "" && !e.counted.Load() && ended(&r.Session) && s.memory.sessions[r.ID] == e && !e.counted.Swap(true) {
			marked = append(marked, e)
		}
	}
	return marked
}

// TellOfUsers has fn called with each session that ends because its user was deactivated, suspended or deleted, once,
// within about a second of it. Call it before any other method. A session whose user ended before the server started is
// not told of.
func (s *Sessions) TellOfUsers(fn func(Session)) { s.endedWithUser = fn }

// end writes the record of a session that has ended.
func (s *Sessions) end(w store.Writer, r record, reason Reason) error {
	r.Reason, r.Ended = reason, s.clock.now()
	if reason == ReasonLogout {
		if err := s.shortenIDToken(w, r.ID); err != nil {
			return err
		}
	}
	return putRecord(w, r)
}

// limitSessions ends the oldest sessions of a user, so that one more stays within MaxSessions, and deletes the
// oldest ended ones beyond that number.
func (s *Sessions) limitSessions(w store.Writer, user string) (replaced []string, err error) {
	records, err := recordsOf(w, user)
	if err != nil {
		return nil, err
	}
	live, ended := partition(records)
	most := s.inForce.Load().MaxSessions
	for ; len(live) >= most; live = live[1:] {
		if err := s.end(w, live[0], ReasonReplaced); err != nil {
			return nil, err
		}
		replaced = append(replaced, live[0].ID)
		ended = append(ended, live[0])
	}
	for ; len(ended) > most; ended = ended[1:] {
		if err := deleteSession(w, user, ended[0].ID); err != nil {
			return nil, err
		}
	}
	return replaced, nil
}

func partition(records []record) (live, ended []record) {
	for _, r := range records {
		if r.Reason == "" {
			live = append(live, r)
		} else {
			ended = append(ended, r)
		}
	}
	return live, ended
}
