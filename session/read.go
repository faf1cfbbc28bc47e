package session

// Read finds the session a cookie's value opens on host: ErrNone, ErrExpired, ErrEnded, or ErrStopped (doubt: not a
// denial). It reads memory only, and counts as use of the session. host is compared byte for byte with the host of
// the grant.
func (s *Sessions) Read(cookie, host string) (*Session, error) {
	d, ok := digestOf(cookie)
	if !ok {
		return nil, ErrNone
	}
	s.mu.RLock()
	g, ok := s.memory.tokens[d]
	s.mu.RUnlock()
	switch {
	case s.mirror.Err() != nil:
		return nil, ErrStopped
	case !ok || g.host != host:
		return nil, ErrNone
	}
	r, now := g.entry.record.Load(), s.clock.now()
	if err := s.standing(g.entry, r, now); err != nil {
		return nil, err
	}
	g.entry.touch(now.UnixNano())
	return &r.Session, nil
}
