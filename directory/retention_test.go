package directory_test

import (
	"errors"
	"testing"
	"time"

	"sallyport/directory"
)

func TestRetention_ReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]time.Duration{"off": 0, "0": 0, "400d": 9600 * time.Hour, "1d12h": 36 * time.Hour, "1h": time.Hour, "36h30m0s": 36*time.Hour + 30*time.Minute, "3650d": 87600 * time.Hour} {
		var r directory.Retention
		if err := r.UnmarshalText([]byte(text)); err != nil || time.Duration(r) != want {
			t.Errorf("%s is %v, %v", text, time.Duration(r), err)
		}
		written, err := r.MarshalText()
		again := r
		if err = errors.Join(err, again.UnmarshalText(written)); err != nil || again != r {
			t.Errorf("%s is written as %s, %v", text, written, err)
		}
	}
	for _, text := range []string{"", "1", "-1d", "d", "59m", "3651d", "99999999999999999999d", "1.5d", "on", "-400h", "87601h"} {
		r := directory.DefaultRetention
		if err := r.UnmarshalText([]byte(text)); err == nil || r != directory.DefaultRetention {
			t.Errorf("%q is accepted as %v, %v", text, time.Duration(r), err)
		}
	}
}
