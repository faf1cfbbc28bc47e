package response

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// counting returns Uses that count into n.
func counting(n *int) Uses { return Uses{Session: noter(func() { *n++ })} }

// noter is a function that counts uses.
type noter func()

// Note calls the function.
func (n noter) Note() { n() }

const large = "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" // the header of a frame of 64 KiB

var webSocketUses = map[string]struct {
	frames                string
	used, pings, engineIO bool // by default, with Pings, with EngineIO
}{
	"nothing":                        {"", false, false, false},
	"text":                           {"\x81\x02ok", true, true, true},
	"binary":                         {"\x82\x01x", true, true, true},
	"continuation":                   {"\x01\x01a\x80\x01b", true, true, true},
	"masked text":                    {"\x81\x82mask\x01\x02", true, true, true},
	"compressed text":                {"\xc1\x04\xf2\x48\xcd\x00", true, true, true},
	"text of 64 KiB":                 {large + strings.Repeat("x", 1<<16), true, true, true},
	"the first byte of a large one":  {large + "x", true, true, true},
	"the header of a large one":      {large, false, true, false},
	"the greatest length, no byte":   {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", false, true, false},
	"part of a header":               {"\x81", false, true, false},
	"empty text":                     {"\x81\x00", false, true, false},
	"empty masked text":              {"\x81\x80mask", false, true, false},
	"many empty fragments":           {"\x01\x00" + strings.Repeat("\x00\x00", 1000), false, true, false},
	"ping":                           {"\x89\x00", false, true, false},
	"ping with payload":              {"\x89\x04ping", false, true, false},
	"masked pong":                    {"\x8a\x84mask\x01\x02\x03\x04", false, true, false},
	"close":                          {"\x88\x02\x03\xe8", false, true, false},
	"ping of 64 KiB, against §5.5":   {"\x89" + large[1:] + strings.Repeat("x", 1<<16), false, true, false},
	"frame of a reserved opcode":     {"\x83\x02ok", false, true, false},
	"control of a reserved opcode":   {"\x8b\x02ok", false, true, false},
	"ping between fragments":         {"\x01\x00\x89\x02hi\x80\x00", false, true, false},
	"message after pings":            {"\x89\x02hi\x8a\x02hi\x81\x02ok", true, true, true},
	"Engine.IO ping":                 {"\x81\x012", true, true, false},
	"Engine.IO pong, masked":         {"\x81\x81mask" + string(rune('3'^'m')), true, true, false},
	"Engine.IO ping, then a message": {"\x81\x012\x81\x034hi", true, true, true},
	"Engine.IO noop":                 {"\x81\x016", true, true, true},
	"Engine.IO probe":                {"\x81\x062probe", true, true, true},
	"binary 2":                       {"\x82\x012", true, true, true},
	"compressed 2":                   {"\xc1\x012", true, true, true},
}

// TestFrameTracker_CountsMessages checks what counts as use in both directions, however the bytes are split.
func TestFrameTracker_CountsMessages(t *testing.T) {
	for name, c := range webSocketUses {
		for _, piece := range []int{1, 2, 3, 1 << 20} {
			for _, setting := range []struct {
				Uses
				want bool
			}{{Uses{}, c.used}, {Uses{Pings: true}, c.pings}, {Uses{EngineIO: true}, c.engineIO}} {
				want := setting.want
				sent, received := 0, 0
				to := &FrameTracker{Conn: discardConn{}, uses: setting.Uses}
				to.uses.Session = noter(func() { sent++ })
				for p := range slices.Chunk([]byte(c.frames), piece) {
					_, _ = to.Write(p)
				}
				from := &FrameTracker{Conn: readConn{Reader: strings.NewReader(c.frames[len(c.frames)/2:])}, buffered: []byte(c.frames[:len(c.frames)/2]), uses: setting.Uses}
				from.uses.Session = noter(func() { received++ })
				got, _ := io.ReadAll(pieces{from, piece})
				if string(got) != c.frames || sent > 0 != want || received > 0 != want {
					t.Errorf("%s in pieces of %d with pings %v and Engine.IO %v: %d uses sent, %d received, want %v", name, piece, setting.Pings, setting.EngineIO, sent, received, want)
				}
			}
		}
	}
}

// TestFrameTracker_CountsWhatWasWritten checks that a message which cannot be written is no use.
func TestFrameTracker_CountsWhatWasWritten(t *testing.T) {
	n := 0
	here, there := net.Pipe()
	_ = there.Close()
	f := &FrameTracker{Conn: here, uses: counting(&n)}
	if _, err := f.Write([]byte("\x81\x02ok")); err == nil || n != 0 {
		t.Errorf("%d uses, %v", n, err)
	}
}

func TestSent_CountsEvents(t *testing.T) {
	stream := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
	for name, c := range map[string]struct {
		body        string
		header      http.Header
		used, pings bool
	}{
		"event":                  {"data: x\n\n", stream, true, true},
		"event after a comment":  {": ping\n\ndata: x\n\n", stream, true, true},
		"comment":                {":\n\n", stream, false, true},
		"comments":               {": ping\n\n: ping\r\n\r\n:x\r\r", stream, false, true},
		"part of a comment":      {": dat", stream, false, true},
		"empty lines":            {"\n\r\n\r\n", stream, false, true},
		"nothing":                {"", stream, false, false},
		"a colon within a field": {"data:x\n", stream, true, true},
		"the media type in capitals": {": ping\n\n", http.Header{"Content-Type": {"Text/Event-Stream"}},
			false, true},
		"a compressed stream": {": ping\n\n", http.Header{"Content-Type": stream["Content-Type"], "Content-Encoding": {"gzip"}}, true, true},
		"a page":              {": ping\n\n", http.Header{"Content-Type": {"text/html"}}, true, true},
	} {
		for _, piece := range []int{1, 2, 1 << 20} {
			for pings, want := range map[bool]bool{false: c.used, true: c.pings} {
				n := 0
				s := NewSent(Uses{Session: noter(func() { n++ }), Pings: pings}, c.header)
				for p := range slices.Chunk([]byte(c.body), piece) {
					s.Count(p)
				}
				if n > 0 != want {
					t.Errorf("%s in pieces of %d, with pings %v: %d uses, want %v", name, piece, pings, n, want)
				}
			}
		}
	}
}

func TestBody_CountsBytes(t *testing.T) {
	n := 0
	b := &Body{Reader: pieces{strings.NewReader("0123456789"), 4}, Uses: counting(&n)}
	if _, err := io.ReadAll(b); err != nil || n != 3 {
		t.Errorf("%d uses, %v; want one a read that brought bytes, 3", n, err)
	}
}

// FuzzFrames checks that splitting bytes changes nothing, and that only payload counts.
func FuzzFrames(f *testing.F) {
	for _, c := range webSocketUses {
		f.Add([]byte(c.frames[:min(len(c.frames), 64)]), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		var whole, split frames
		used, usedSplit := whole.follow(data, Uses{}), false
		for p := range slices.Chunk(data, int(piece)+1) {
			usedSplit = split.follow(p, Uses{}) || usedSplit
		}
		if used != usedSplit || whole != split {
			t.Errorf("in pieces of %d: %v %+v, in one: %v %+v", int(piece)+1, usedSplit, split, used, whole)
		}
		if used && len(data) < 3 {
			t.Error("less than a header and a byte counts as use")
		}
	})
}

// pieces reads at most n bytes at once.
type pieces struct {
	io.Reader
	n int
}

func (p pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.n)]) }

type discardConn struct{ net.Conn }

func (discardConn) Write(p []byte) (int, error) { return len(p), nil }

type readConn struct {
	io.Reader
	net.Conn
}

func (c readConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
