package response

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBody_Timeouts sends bodies at different paces and demands how long each is read, and what ends it.
func TestBody_Timeouts(t *testing.T) {
	const never = time.Duration(0)
	type pace struct {
		size  int
		pause time.Duration
	}
	for name, c := range map[string]struct {
		stall time.Duration
		rate  int
		paces []pace // the last one is repeated
		after time.Duration
		by    Cause
	}{
		"stalls":                       {time.Minute, 0, []pace{{1, time.Second}, {1, time.Hour}}, 61 * time.Second, ByStall},
		"slow without a rate":          {time.Minute, 0, []pace{{1, 50 * time.Second}}, never, ""},
		"without limits":               {0, 0, []pace{{1, time.Hour}}, never, ""},
		"a byte a second":              {time.Minute, 240, []pace{{1, time.Second}}, 20 * time.Second, BySlow},
		"nothing":                      {time.Minute, 240, []pace{{1, time.Hour}}, 20 * time.Second, BySlow},
		"nothing, stalls first":        {10 * time.Second, 240, []pace{{1, time.Hour}}, 10 * time.Second, ByStall},
		"slow, with a shorter stall":   {10 * time.Second, 240, []pace{{1, time.Second}}, 20 * time.Second, BySlow},
		"slow, without a stall":        {0, 240, []pace{{1, time.Second}}, 20 * time.Second, BySlow},
		"at the rate":                  {time.Minute, 240, []pace{{240, time.Second}}, never, ""},
		"at the rate, in large pieces": {time.Minute, 240, []pace{{15 * 240, 15 * time.Second}}, never, ""},
		"half the rate":                {time.Minute, 240, []pace{{120, time.Second}}, 39 * time.Second, BySlow},
		"fast, then slow":              {time.Minute, 240, []pace{{1 << 20, time.Second}, {1 << 20, time.Second}, {1, time.Second}}, 22 * time.Second, BySlow},
		"a pause, then at the rate":    {time.Minute, 240, []pace{{1, 15 * time.Second}, {240, time.Second}}, never, ""},
		"two pauses, little between":   {time.Minute, 240, []pace{{1, 15 * time.Second}, {1, 15 * time.Second}}, 20 * time.Second, BySlow},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := io.Pipe()
				begun, ended := time.Now(), make(chan Cause, 1)
				body := &Body{Reader: from, StallTimeout: c.stall, Pace: Pace{BytesPerSecond: c.rate, Tolerance: 20 * time.Second}, OnStall: func(by Cause) {
					ended <- by
					_ = from.CloseWithError(io.ErrUnexpectedEOF)
				}}
				go func() {
					for i := 0; time.Since(begun) < 10*time.Hour; i++ {
						p := c.paces[min(i, len(c.paces)-1)]
						time.Sleep(p.pause)
						if _, err := to.Write(bytes.Repeat([]byte("x"), p.size)); err != nil {
							return
						}
					}
					_ = to.Close()
				}()
				_, err := io.Copy(io.Discard, body)
				took, by := time.Since(begun), Cause("")
				if err != nil {
					by = <-ended
				}
				if by != c.by || by != "" && took.Round(time.Second) != c.after {
					t.Errorf("it ends after %s by %q; want %s by %q", took, by, c.after, c.by)
				}
				time.Sleep(2 * time.Hour) // until the writer has noticed
			})
		})
	}
}

// TestBody_TimeOfReadsCounts: while nothing is read from the body, the client waits for the server, and is not slow.
func TestBody_TimeOfReadsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &Body{Reader: strings.NewReader("0123456789"), StallTimeout: time.Minute, Pace: Pace{BytesPerSecond: 240, Tolerance: 20 * time.Second},
			OnStall: func(by Cause) { t.Errorf("it ends by %s", by) }}
		for range 10 {
			time.Sleep(time.Hour)
			if _, err := io.ReadFull(body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
