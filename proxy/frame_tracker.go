package proxy

import (
	"net"
	"sync"
)

// frameTracker is a WebSocket's client as its upstream writes to it. It follows where one frame ends and the next begins
// (RFC 6455 §5.2), so that the proxy can say a last word of its own between two.
type frameTracker struct {
	net.Conn

	mu   sync.Mutex // held while something is written; guards what follows
	head [14]byte   // of the frame that has begun to come,
	seen int        // as much as has
	left uint64     // of the payload under way
}

// Write passes on what the upstream says.
func (f *frameTracker) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.track(p)
	return f.Conn.Write(p)
}

// CloseWrite says that no more comes.
func (f *frameTracker) CloseWrite() error { return closeWrite(f.Conn) }

func (f *frameTracker) track(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left, p = f.left-n, p[n:]
			continue
		}
		f.head[f.seen] = p[0]
		f.seen, p = f.seen+1, p[1:]
		if length, whole := payload(f.head[:f.seen]); whole {
			f.seen, f.left = 0, length
		}
	}
}

// payload is how many bytes follow a frame's head, once that is whole.
func payload(head []byte) (length uint64, whole bool) {
	if len(head) < 2 {
		return 0, false
	}
	size, more := 2, 0 // the head's, and of it the length's
	switch head[1] & 0x7f {
	case 126:
		more = 2
	case 127:
		more = 8
	default:
		length = uint64(head[1] & 0x7f)
	}
	if size += more; head[1]&0x80 != 0 {
		size += 4 // the mask
	}
	if len(head) < size {
		return 0, false
	}
	for _, b := range head[2 : 2+more] {
		length = length<<8 | uint64(b)
	}
	return length, true
}

// goingAwayFrame is a close frame with the code 1001 (RFC 6455 §7.4.1).
var goingAwayFrame = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// sendGoingAway tells the client that the server stops, unless the upstream is in the middle of saying something. What is
// being written has until the write deadline to be taken.
func (f *frameTracker) sendGoingAway() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == 0 && f.left == 0 {
		_, _ = f.Conn.Write(goingAwayFrame)
	}
}
