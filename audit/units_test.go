package audit_test

import (
	"encoding"
	"testing"

	"sallyport/audit"
)

// TestRotation_ReadsUnits: what is written back is what was read.
func TestRotation_ReadsUnits(t *testing.T) {
	for _, c := range []struct {
		value interface {
			encoding.TextUnmarshaler
			encoding.TextMarshaler
		}
		texts map[string]string // "" is refused
	}{
		{new(audit.Size), map[string]string{"100MiB": "100MiB", "64KiB": "64KiB", "65536": "64KiB", "65537": "65537", "2048MiB": "2GiB", "1024GiB": "1024GiB", "off": "off", "0": "off",
			"": "", "100": "", "1KiB": "", "1025GiB": "", "-1MiB": "", "1MB": "", "1.5MiB": "", "MiB": "", " 1MiB": "", "99999999999999999999": "", "9223372036854775807GiB": ""}},
		{new(audit.Keep), map[string]string{"400d": "400d", "48h": "2d", "36h": "36h0m0s", "1d": "1d", "3650d": "3650d", "off": "off", "0": "off",
			"": "", "1h": "", "3651d": "", "-1d": "", "d": "", "1.5d": "", "forever": "", "99999999999999999999d": ""}},
	} {
		for text, want := range c.texts {
			err := c.value.UnmarshalText([]byte(text))
			if (err == nil) != (want != "") {
				t.Errorf("%T %q: %v", c.value, text, err)
			}
			if err != nil {
				continue
			}
			if got, err := c.value.MarshalText(); err != nil || string(got) != want {
				t.Errorf("%T %q is written as %q, %v; want %q", c.value, text, got, err, want)
			}
		}
	}
}
