package liveset

import "time"

// Round says which entries of a set are looked at as time passes. Each entry is looked at once in each
// round, a part of them in each step, so that nothing else has to wait for all; and those that are due, when they are.
type Round struct {
	Step  time.Duration // between two looks
	Parts int           // steps of a round

	elapsed time.Duration // at the last look
	now     time.Time     // likewise
}

// Length returns how long a round lasts.
func (r *Round) Length() time.Duration { return time.Duration(r.Parts) * r.Step }

// Pass returns the values of the entries that are to be looked at when elapsed has passed since the beginning, by a clock
// that is never set, and it is now. If the clock that tells now was set to a later time since the last look, that is all.
func (s *Set[T]) Pass(r *Round, elapsed time.Duration, now time.Time) []T {
	first, last := int(r.elapsed/r.Step), int(elapsed/r.Step)
	set := !r.now.IsZero() && now.Round(0).Sub(r.now.Round(0))-(elapsed-r.elapsed) > r.Step
	r.elapsed, r.now = elapsed, now
	due := s.Due(now)
	if set || last-first >= r.Parts {
		return s.All()
	}
	for part := first; part < last; part++ {
		due = append(due, s.Part(part%r.Parts, r.Parts)...)
	}
	return due
}
