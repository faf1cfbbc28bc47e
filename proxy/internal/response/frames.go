package response

import (
	"errors"
	"net"
	"sync"
)

// FrameTracker is the connection to the client of a WebSocket. It follows the frames in both directions (RFC 6455 §5.2):
// those to the client, so that the proxy can send a close frame of its own between two of them, and both, so that what
// they carry counts as use.
type FrameTracker struct {
	net.Conn
	buffered []byte // what was read of the connection along with the handshake
	uses     Uses
	traffic  *Traffic
	received frames // followed by the one goroutine that reads

	mu   sync.Mutex // held during a write; guards sent
	sent frames
}

// Read reads bytes for the upstream.
func (f *FrameTracker) Read(p []byte) (n int, err error) {
	if len(f.buffered) > 0 {
		n = copy(p, f.buffered)
		f.buffered = f.buffered[n:]
	} else {
		n, err = f.Conn.Read(p)
	}
	f.traffic.receive(n)
	f.uses.note(f.received.follow(p[:n], f.uses))
	return n, err
}

// Write writes bytes from the upstream.
func (f *FrameTracker) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	carried := f.sent.follow(p, f.uses)
	n, err := f.Conn.Write(p)
	f.traffic.send(n)
	f.uses.note(carried && err == nil)
	return n, err
}

// CloseWrite shuts down the writing side of the connection.
func (f *FrameTracker) CloseWrite() error { return CloseWrite(f.Conn) }

// goingAwayFrame is a close frame with the code 1001 (RFC 6455 §7.4.1).
var goingAwayFrame = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// SendGoingAway tells the client that the server stops, unless a frame is incomplete. The write deadline bounds how long
// it waits for a write that is under way.
func (f *FrameTracker) SendGoingAway() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sent.between() {
		_, _ = f.Conn.Write(goingAwayFrame)
	}
}

// frames is where in the frames of one direction of a WebSocket the bytes so far have ended. Its memory is bounded,
// whatever the lengths that frames claim to have. It reads headers alone, so that compression does not matter.
type frames struct {
	header  [14]byte // of the current frame, as far as it has arrived
	n       int      // bytes of header that have arrived
	message bool     // the current payload is part of a message
	payload uint64   // bytes of the current payload that are still to come
}

// between reports whether the last frame is complete and the next has not begun.
func (f *frames) between() bool { return f.n == 0 && f.payload == 0 }

// follow reads the next bytes, and reports whether any of them counts as use: the content of a message. Headers, control
// frames and frames without payload carry none.
func (f *frames) follow(p []byte, uses Uses) (used bool) {
	used = uses.Pings && len(p) > 0
	for len(p) > 0 {
		if f.payload > 0 {
			used = used || f.message && !(uses.EngineIO && f.isHeartbeat(p[0]))
			n := min(f.payload, uint64(len(p)))
			f.payload, p = f.payload-n, p[n:]
			continue
		}
		f.header[f.n] = p[0]
		f.n, p = f.n+1, p[1:]
		if length, ok := payloadLength(f.header[:f.n]); ok {
			f.n, f.payload, f.message = 0, length, isMessage(f.header[0])
		}
	}
	return used
}

// isHeartbeat reports whether the current frame, whose payload begins with first, is a ping or pong of Engine.IO: the
// whole text "2" or "3".
func (f *frames) isHeartbeat(first byte) bool {
	const wholeText, masked = 0x81, 0x80
	if f.header[0] != wholeText || f.header[1]&^masked != 1 {
		return false
	}
	if f.header[1]&masked != 0 {
		first ^= f.header[2]
	}
	return first == '2' || first == '3'
}

// isMessage reports whether a frame that begins with first is part of a message: text, binary, or their continuation.
func isMessage(first byte) bool { return first&0x0f <= 2 }

// payloadLength returns the length of a frame's payload. ok is false if the header is not complete.
func payloadLength(header []byte) (length uint64, ok bool) {
	if len(header) < 2 {
		return 0, false
	}
	size, extended := 2, 0 // bytes of the header, and of the extended length in it
	switch header[1] & 0x7f {
	case 126:
		extended = 2
	case 127:
		extended = 8
	default:
		length = uint64(header[1] & 0x7f)
	}
	if size += extended; header[1]&0x80 != 0 {
		size += 4 // the mask
	}
	if len(header) < size {
		return 0, false
	}
	for _, b := range header[2 : 2+extended] {
		length = length<<8 | uint64(b)
	}
	return length, true
}

// CloseWrite shuts down the writing side of a connection. It fails if the connection cannot do that.
func CloseWrite(conn any) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
