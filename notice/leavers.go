package notice

import (
	"slices"
	"time"

	"sallyport/admin"
	"sallyport/audit"
)

// When an offboarding is told, and how often.
const (
	settle       = 2 * time.Second  // nothing more was heard of it for so long
	settleAtMost = 10 * time.Second // after it was heard of first
	pause        = time.Minute      // in which so many are told one by one:
	oneByOne     = 20
	maxLeavers   = 10_000 // who are remembered; of others only their number is told
)

// leaver is a user of whom something was heard.
type leaver struct {
	Offboarded
	known bool // the change is known, and not only what it ended
	first time.Time
	last  time.Time // when something was heard last
	cut   time.Time // the last one
}

// settled reports whether no more is awaited of l at now. What a change ended may be heard of before the change itself.
func (l *leaver) settled(now time.Time) bool {
	return now.Sub(l.first) >= settleAtMost || l.known && now.Sub(l.last) >= settle
}

// leavers are the users who leave, by id.
type leavers struct {
	all    map[string]*leaver
	began  time.Time  // of the pause
	told   int        // one by one since then
	rest   int        // who are told together when the pause ends
	latest Offboarded // of them
}

// hear returns the user with this id, as somebody of whom something was heard at now; nil if there are too many.
func (s *leavers) hear(id string, now time.Time) *leaver {
	l, ok := s.all[id]
	if !ok {
		if len(s.all) >= maxLeavers {
			return nil
		}
		l = &leaver{first: now}
		s.all[id] = l
	}
	l.last = now
	return l
}

// add notes that a user was offboarded. Of one who is deactivated and then deleted, one event tells.
func (s *leavers) add(user admin.NoticeUser, cause string, actor audit.Actor, received, now time.Time) {
	l := s.hear(user.ID, now)
	if l == nil {
		s.rest++
		s.latest = Offboarded{User: user, Cause: cause, Actor: actor, Received: received}
		return
	}
	if !l.known {
		l.known, l.first, l.Received = true, now, received
	}
	if l.User.Name == "" {
		l.User = user
	}
	l.Cause, l.Actor = cause, actor
}

// observe notes that a session or a request of a user ended.
func (s *leavers) observe(e audit.Event, now time.Time) {
	l := s.hear(e.User, now)
	switch {
	case l == nil:
	case e.Kind == audit.KindEnd:
		l.Sessions++
	default:
		l.Requests++
		if e.Time.After(l.cut) {
			l.cut = e.Time
		}
	}
}

// due removes the users of whom no more is awaited at now, or all, and returns what to tell of them: one event each,
// or, if there are many, of some and of the number of the others.
func (s *leavers) due(now time.Time, everything bool) (list []Offboarded) {
	if now.Sub(s.began) >= pause {
		list = s.begin(now)
	}
	for _, l := range s.settled(now, everything) {
		if s.told < oneByOne {
			s.told++
			list = append(list, l)
			continue
		}
		s.rest++
		s.latest = l
	}
	if everything && s.rest > 0 {
		list = append(list, s.begin(now)...)
	}
	return list
}

// begin begins a pause at now, and returns the event that tells of those who were not told of in the last one.
func (s *leavers) begin(now time.Time) []Offboarded {
	rest, latest := s.rest, s.latest
	s.began, s.told, s.rest, s.latest = now, 0, 0, Offboarded{}
	if rest == 0 {
		return nil
	}
	s.told = 1
	latest.More = rest - 1
	return []Offboarded{latest}
}

// settled removes the users of whom no more is awaited, and returns those whose change is known, in the order in which they
// were offboarded.
func (s *leavers) settled(now time.Time, everything bool) (list []Offboarded) {
	for id, l := range s.all {
		if !everything && !l.settled(now) {
			continue
		}
		delete(s.all, id)
		if !l.known { // it was suspended, or the offboarding was told of before
			continue
		}
		if !l.cut.IsZero() {
			took := max(0, l.cut.Sub(l.Received).Milliseconds())
			l.LastCut = &took
		}
		list = append(list, l.Offboarded)
	}
	slices.SortFunc(list, func(a, b Offboarded) int { return a.Received.Compare(b.Received) })
	return list
}

// userOf returns the user of an event, with their name if the directory still has it.
func (f *Follower) userOf(e audit.Event) admin.NoticeUser {
	if u, ok := f.parts.Directory.ByID(e.User); ok && u.UserName == e.UserName {
		return admin.NoticeOf(u)
	}
	return admin.NoticeUser{ID: e.User, UserName: e.UserName}
}
