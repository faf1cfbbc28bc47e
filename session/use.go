package session

import (
	"sync/atomic"
	"time"
)

// useGrain is how precisely uses are kept: those of a busy stream that follow each other faster are one.
const useGrain = int64(time.Millisecond)

// Use counts what a request does after [Sessions.Read] let it in as use of its session: the bytes of a long upload or
// download, the messages of a WebSocket. The zero Use counts nothing.
type Use struct {
	last  *lastUse
	clock *clock
}

// Use returns what counts uses of the session with id; the zero Use if there is none. Looking it up is no use.
func (s *Sessions) Use(id string) Use {
	e := s.entry(id)
	if e == nil {
		return Use{}
	}
	return Use{&e.used, s.clock}
}

// Note counts a use now. It is cheap enough for every read of a stream: it writes to memory alone. A session that was
// found to be idle, or that ended, stays so.
func (u Use) Note() {
	if u.last != nil {
		u.last.note(u.clock.nanos())
	}
}

// lastUse is when a session was last used, in nanoseconds since 1970. It is negative once the session was found to be
// idle for too long. Finding that and counting a use are steps of one atomic value, so one of them comes first: a use
// that comes first keeps the session, and one that comes later does not bring it back.
type lastUse struct{ nanos atomic.Int64 }

// get returns when the session was last used.
func (l *lastUse) get() int64 {
	last := l.nanos.Load()
	return max(last, -last)
}

// note counts a use at a time, unless a later one is known. It reports false if the session was found to be idle before.
func (l *lastUse) note(at int64) bool {
	for {
		last := l.nanos.Load()
		if last <= 0 || at-last < useGrain || l.nanos.CompareAndSwap(last, at) {
			return last > 0
		}
	}
}

// stored counts a use that the store has. One that is later than all that memory knows was made elsewhere: the session is
// not idle then.
func (l *lastUse) stored(at int64) {
	for {
		last := l.nanos.Load()
		if at <= max(last, -last) || l.nanos.CompareAndSwap(last, at) {
			return
		}
	}
}

// endIfIdle reports whether the session has not been used for as long as idle, or was found so before.
func (l *lastUse) endIfIdle(now int64, idle time.Duration) bool {
	for {
		last := l.nanos.Load()
		switch {
		case last <= 0:
			return true
		case now-last < int64(idle):
			return false
		case l.nanos.CompareAndSwap(last, -last):
			return true
		}
	}
}
