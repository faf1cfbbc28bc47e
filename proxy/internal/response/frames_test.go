package response

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestFrameTracker_SendsCloseBetweenFrames(t *testing.T) {
	for name, c := range map[string]struct {
		written  string
		complete bool
	}{
		"no frame":                  {"", true},
		"empty frame":               {"\x81\x00", true},
		"short frame":               {"\x81\x02ok", true},
		"two frames":                {"\x81\x02ok\x82\x01x", true},
		"16-bit length":             {"\x82\x7e\x01\x00" + strings.Repeat("x", 256), true},
		"64-bit length":             {"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 1<<16), true},
		"masked frame":              {"\x81\x82mask\x00\x00", true},
		"incomplete header":         {"\x81", false},
		"incomplete length":         {"\x82\x7f\x00\x00", false},
		"incomplete payload":        {"\x81\x03ok", false},
		"complete, then incomplete": {"\x81\x00\x81\x01", false},
	} {
		for _, piece := range []int{1, 2, 3, 1 << 20} {
			here, there := net.Pipe()
			read := make(chan string)
			go func() {
				text, _ := io.ReadAll(there)
				read <- string(text)
			}()
			f := &FrameTracker{Conn: here}
			for p := range slices.Chunk([]byte(c.written), piece) {
				_, _ = f.Write(p)
			}
			f.SendGoingAway()
			_ = here.Close()
			if text := <-read; strings.HasSuffix(text, string(goingAwayFrame)) != c.complete {
				t.Errorf("%s, written in pieces of %d: ends with %x", name, piece, text[max(0, len(text)-6):])
			}
		}
	}
}
