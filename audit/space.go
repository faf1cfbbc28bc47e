package audit

import (
	"fmt"

	"sallyport/disk"
)

// growth is how many bytes of the disk are allocated at once, beyond the reserve.
const growth = 256 << 10

// space is the part of the disk behind the last line. Blocks are allocated before lines
// are written into them. The last of them are a reserve, which decisions and logins may
// not use: there are many of them, and unless AllowUnrecorded was called, to refuse them
// lets nobody in.
type space struct {
	reserve   int64
	allocated int64 // the end of the allocated blocks, as an offset in the file
	full      error // why no more can be allocated, so that decisions and logins are refused; nil if it can
}

// ordinary reports whether events of kind may not use the reserve.
func ordinary(kind Kind) bool { return kind == KindDecision || kind == KindLogin }

// Reserve begins to keep bytes of the disk for events other than decisions and logins: at
// most an eighth of the disk. Call it once, before any other method.
func (l *Log) Reserve(bytes int64) {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	l.space.reserve = disk.Reserve(l.file, bytes)
	l.mu.Unlock()
	l.allocate(0)
}

// allocate makes sure that the reserve stays whole when lines of size bytes are written.
// If it cannot, decisions and logins are refused until it can. writeMu is held.
func (l *Log) allocate(size int) {
	l.mu.Lock()
	s, f, offset := l.space, l.file, l.written.offset
	l.mu.Unlock()
	need := int64(size) + s.reserve
	if s.reserve == 0 || s.full == nil && offset+need <= s.allocated {
		return
	}
	err := disk.Keep(f, offset, need+growth)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.space.allocated, l.space.full = offset+need+growth, nil
	case disk.IsFull(err):
		until := "are refused"
		if l.tell.Load() != nil {
			until = "go on without a line in it"
		}
		l.space.full = fmt.Errorf("%w: its disk is full: free some space; until then requests and sign-ins %s, and what takes access away is still recorded (%w)", ErrUnwritable, until, err)
	default: // the file system cannot allocate blocks
		l.space = space{}
	}
}

// refill tries to allocate blocks again if the disk was full, and records how many events
// were refused meanwhile. It also records those that were refused while the record
// recovered, after the event that tells of the others.
func (l *Log) refill() {
	l.writeMu.Lock()
	l.mu.Lock()
	full := l.failure == nil && l.space.full != nil
	l.mu.Unlock()
	if full {
		l.allocate(0)
	}
	l.mu.Lock()
	sound := l.failure == nil && l.space.full == nil
	l.mu.Unlock()
	l.writeMu.Unlock()
	if sound {
		l.tellOfLost(full)
	}
}
