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
	s.count(reason, 1)
	return nil
}

// EndUser ends every session of a user and returns how many there were.
func (s *Sessions) EndUser(ctx context.Context, user string, reason Reason) (n int, err error) {
	err = s.update(ctx, func(w store.Writer) error {
		n = 0
		records, err := recordsOf(w, user)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Reason != "" {
				continue
			}
			n++
			if err := s.end(w, r, reason); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ending the sessions of user %s: %w", user, err)
	}
	s.count(reason, n)
	return n, nil
}

// end writes the record of a session that has ended.
func (s *Sessions) end(w store.Writer, r record, reason Reason) error {
	r.Reason, r.Ended = reason, s.clock.now()
	return putRecord(w, r)
}

// limitSessions ends the oldest sessions of a user, so that one more stays within MaxSessions, and deletes the
// oldest ended ones beyond that number.
func (s *Sessions) limitSessions(w store.Writer, user string) (replaced int, err error) {
	records, err := recordsOf(w, user)
	if err != nil {
		return 0, err
	}
	live, ended := partition(records)
	for ; len(live) >= s.settings.MaxSessions; live = live[1:] {
		if err := s.end(w, live[0], ReasonReplaced); err != nil {
			return 0, err
		}
		replaced++
		ended = append(ended, live[0])
	}
	for ; len(ended) > s.settings.MaxSessions; ended = ended[1:] {
		if err := deleteSession(w, user, ended[0].ID); err != nil {
			return 0, err
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
