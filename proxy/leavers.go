package proxy

import (
	"context"
	"slices"
	"time"

	"sallyport/directory"
	"sallyport/session"
)

const (
	leaversEvery = time.Minute            // a session may have begun while its user was deactivated
	leaversPause = 100 * time.Millisecond // between two looks, however fast the directory changes
)

// countLeavers ends sessions in lists and metrics when their user is deactivated, suspended or deleted. It decides
// nothing: decide asks the directory about each request.
func (p *Proxy) countLeavers(ctx context.Context) {
	wait := func(d time.Duration, changed <-chan struct{}) {
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(d):
		}
	}
	seen, last := uint64(0), time.Time{}
	for ctx.Err() == nil {
		changed := p.directory.Changed() // before the look: a change from now on causes another
		touched, now, known := p.directory.Touched(seen)
		if !known || time.Since(last) >= leaversEvery || slices.ContainsFunc(touched, func(t directory.Touched) bool { return t.Ended }) {
			p.sessions.EndWithUsers(p.userEnded(), true)
			last = time.Now()
		}
		seen = now
		wait(leaversEvery, changed)
		wait(leaversPause, nil)
	}
}

// userEnded returns what reports whether the user of a session ended since it began. A user who cannot be read may come
// back. It asks once about sessions of one user that follow each other.
func (p *Proxy) userEnded() func(*session.Session) bool {
	var id string
	var user *directory.User
	return func(s *session.Session) bool {
		if id != s.User || user == nil {
			id = s.User
			user, _ = p.directory.ByID(id)
		}
		return p.directory.Fresh() == nil && (user == nil || !user.Damaged && user.Epoch > s.Epoch)
	}
}
