package response

import (
	"errors"
	"net"
	"sync"
)

// FrameTracker is the connection to the client of a WebSocket. It tracks where the frames end that are written to it (RFC
// 6455 §5.2), so that the proxy can send a close frame of its own between two of them.
type FrameTracker struct {
	net.Conn

	mu      sync.Mutex // held during a write; guards what follows
	header  [14]byte   // of the current frame, as far as it has arrived
	n       int        // bytes of header that have arrived
	payload uint64     // bytes of the current payload that are still to come
}

// Write writes bytes from the upstream.
func (f *FrameTracker) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.track(p)
	return f.Conn.Write(p)
}

// CloseWrite shuts down the writing side of the connection.
func (f *FrameTracker) CloseWrite() error { return CloseWrite(f.Conn) }

func (f *FrameTracker) track(p []byte) {
	for len(p) > 0 {
		if f.payload > 0 {
			n := min(f.payload, uint64(len(p)))
			f.payload, p = f.payload-n, p[n:]
			continue
		}
		f.header[f.n] = p[0]
		f.n, p = f.n+1, p[1:]
		if length, ok := payloadLength(f.header[:f.n]); ok {
			f.n, f.payload = 0, length
		}
	}
}

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

// goingAwayFrame is a close frame with the code 1001 (RFC 6455 §7.4.1).
var goingAwayFrame = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// SendGoingAway tells the client that the server stops, unless a frame is incomplete. The write deadline bounds how long
// it waits for a write that is under way.
func (f *FrameTracker) SendGoingAway() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 && f.payload == 0 {
		_, _ = f.Conn.Write(goingAwayFrame)
	}
}

// CloseWrite shuts down the writing side of a connection. It fails if the connection cannot do that.
func CloseWrite(conn any) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
