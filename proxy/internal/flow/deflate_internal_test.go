package flow

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDeflate_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte("h" + strings.Repeat(rapid.StringN(0, 40, -1).Draw(t, "text"), rapid.IntRange(1, 200).Draw(t, "times")))
		packed := deflate(text)
		if len(packed) > len(text) {
			t.Fatalf("%d bytes become %d", len(text), len(packed))
		}
		if got, err := inflate(packed); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%q becomes %q, %v", text, got, err)
		}
	})
}

func TestInflate_IsBounded(t *testing.T) {
	if got, err := inflate(deflate(bytes.Repeat([]byte("x"), maxInflated))); err != nil || len(got) != maxInflated {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := inflate(deflate(bytes.Repeat([]byte("x"), maxInflated+1))); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"\x00", "\x00x", "\x00\xff\xff\xff"} {
		if got, err := inflate([]byte(text)); err == nil {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
