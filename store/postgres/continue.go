package postgres

import "sallyport/store"

// Continue makes the next revision greater than after. A store that is older than what was made from it must not use
// revisions twice. Call it before anything else. Whoever follows the store reads everything again after the first change
// beyond the gap.
func (s *Store) Continue(after store.Revision) {
	for {
		base := s.base.Load()
		if uint64(after) <= base || s.base.CompareAndSwap(base, uint64(after)) {
			return
		}
	}
}
