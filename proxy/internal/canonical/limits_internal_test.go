package canonical

import (
	"strings"
	"testing"
)

func TestHasDots(t *testing.T) {
	for reading, want := range map[string]bool{"/.": true, "/..": true, "/a/./b": true, "/a/../b": true, "/a/..": true,
		"/": false, "/.hidden": false, "/a/.git/b": false, "/...": false, "/a.b": false, "/a./b": false, "/..a": false} {
		if got := hasDots(reading); got != want {
			t.Errorf("%s: %t, want %t", reading, got, want)
		}
	}
}

func TestHasUnicodeEscape(t *testing.T) {
	for reading, want := range map[string]bool{"/%u002f": true, "/%U002F": true, "/a%u0041b": true, "/%41%u0041": true, "/%%u0041": true, "/%zz%%u0041": true,
		"/%u004": false, "/%u00g1": false, "/%u004\u00e9": false, "/%41": false, "/u0041": false, "/%v0041": false, "/%": false} {
		if got := hasUnicodeEscape(reading); got != want {
			t.Errorf("%s: %t, want %t", reading, got, want)
		}
	}
}

func TestContainsDotSegment(t *testing.T) {
	for path, want := range map[string]bool{"/a/..": true, "/..;x/b": true, `/a\..\b`: true, "/.\x00/b": true, "/;/a": false, "/;..": false, "/;x/.git": false, "/.git": false, "/a;..": false} {
		if got := containsDotSegment(path); got != want {
			t.Errorf("%q: %t, want %t", path, got, want)
		}
	}
}

func TestDecodeIf_AtTheEnd(t *testing.T) {
	for path, want := range map[string]string{"/%41": "/A", "/%4": "/%4", "/%": "/%", "/a%41": "/aA", "/%zz": "/%zz", "/%4z": "/%4z", "/%2f": "/%2f"} {
		if got := decodeIf(path, func(c byte) bool { return c != '/' }); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestIsText(t *testing.T) {
	for text, want := range map[string]bool{"": true, " ": true, "~": true, "\u00a0": true, "é": true, "\x1f": false, "\x7f": false, "\u0080": false, "\u009f": false, "\xff": false, "\ufffd": true} {
		if got := isText([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestPath_Limits(t *testing.T) {
	for raw, want := range map[string]bool{"/" + strings.Repeat("a", MaxPath-1): true, "/" + strings.Repeat("a", MaxPath): false, "": false, "/%4": false, "/%": false, "/a%4": false, "/%41": true} {
		if _, _, err := Path(raw); (err == nil) != want {
			t.Errorf("%d characters, %.10q: %v", len(raw), raw, err)
		}
	}
}

func TestHost_Limits(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label + "." + label[:61] // 253 characters
	for name, want := range map[string]bool{long: true, long + "a": false, label: true, label + "a": false, "": false, ":80": false, "[::1": false, "[": false, "[::1]": true, "[::1]:80": true, "a:80": true} {
		if _, err := Host(name); (err == nil) != want {
			t.Errorf("%d characters, %.20q: %v", len(name), name, err)
		}
	}
}

// TestReadings_Limits: as many readings and bytes as the limits say are accepted, and no more.
func TestReadings_Limits(t *testing.T) {
	count := func(start string, step func(string) string) (int, error) {
		all, err := readingsOf(start, []func(string) string{step})
		return len(all), err
	}
	grow := func(most int) func(string) string {
		return func(path string) string {
			if len(path) < most {
				return path + "a"
			}
			return path
		}
	}
	if n, err := count("/", grow(maxReadings)); err != nil || n != maxReadings {
		t.Errorf("%d readings: %v", n, err)
	}
	if _, err := count("/", grow(maxReadings+1)); err == nil {
		t.Errorf("more than %d readings are accepted", maxReadings)
	}
	same := func(path string) string { return path }
	if _, err := count("/"+strings.Repeat("a", maxReadingBytes-1), same); err != nil {
		t.Error(err)
	}
	if _, err := count("/"+strings.Repeat("a", maxReadingBytes), same); err == nil {
		t.Errorf("readings of more than %d bytes are accepted", maxReadingBytes)
	}
}
